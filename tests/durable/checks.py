"""What must be true of every database at every time."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

GAPS = "select run from events group by run having count(*) <> max(seq) - min(seq) + 1"
FALLS = "select b.run from events a join events b on b.run = a.run and b.seq = a.seq + 1 where b.epoch < a.epoch"
OUTCOMES = "type in ('step.completed', 'step.failed')"
ENDS = "type in ('run.completed', 'run.failed', 'run.cancelled')"


def sound(path: Path) -> None:
    """The pages are intact; each run's events have no gap and no double, epochs only grow, outcomes come once a key."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert db.execute(GAPS).fetchall() == []
        assert db.execute(FALLS).fetchall() == []
        doubles = f"select run, key from events where {OUTCOMES} group by run, key having count(*) > 1"
        assert db.execute(doubles).fetchall() == []
        assert db.execute(f"select run from events where {ENDS} group by run having count(*) > 1").fetchall() == []
