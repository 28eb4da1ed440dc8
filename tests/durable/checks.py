"""What must be true of every database at every time."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def sound(path: Path) -> None:
    """The pages are intact; each run's events have no gap and no double, epochs only grow, outcomes come once a key."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
        gaps = "select run, count(*), max(seq) - min(seq) + 1 from events group by run having count(*) <> max(seq) - min(seq) + 1"
        assert db.execute(gaps).fetchall() == []
        falls = "select a.run, a.seq from events a join events b on b.run = a.run and b.seq = a.seq + 1 and b.epoch < a.epoch"
        assert db.execute(falls).fetchall() == []
        doubles = "select run, key from events where type in ('step.completed', 'step.failed') group by run, key having count(*) > 1"
        assert db.execute(doubles).fetchall() == []
        ends = "select run from events where type in ('run.completed', 'run.failed', 'run.cancelled') group by run having count(*) > 1"
        assert db.execute(ends).fetchall() == []
