"""A database of an older version: who acts brings it forward, who only looks says how, and changes nothing."""

from __future__ import annotations

import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from segue.journal import connect, schema
from tests.cli.terminal import Terminal

FIRST = Path(__file__).parents[1] / "durable" / "first_version.sql"
TODAY = len(schema.MIGRATIONS)
STEP = "wait[word]#1"
ACTS = [
    ("resume", "--patience-s", "0"), ("resume", "old", "--patience-s", "0"), ("resume", "--all"),
    ("fork", "old", "--at", STEP, "--detach"), ("signal", "old", "word", "--payload", '"here"'), ("cancel", "old"),
    ("cancel", "--where", "state=parked", "--yes"), ("pause", "old"), ("pause", "--all"),
    ("override", "old", STEP, "--result", '"here"'), ("feedback", "old", "1"), ("gc", "--older-than", "1d"),
    ("run", "tests.durable.flows:waits", "--detach"),
]  # fmt: skip
WRONG = [
    ("decide", "old", "x", "--retry"), ("approve", "old"), ("deny", "old"), ("answer", "old", "--value", "1"),
    ("reassign", "old", "--to", "ann"),
]  # fmt: skip
LOOKS = [
    ("runs",), ("show", "old"), ("watch", "old"), ("events", "old"), ("check",), ("inbox",), ("acts",), ("threads",),
    ("budgets",), ("route", "Hello"), ("gc", "--older-than", "1d", "--dry-run"),
    ("cancel", "--where", "state=parked", "--dry-run"),
]  # fmt: skip


def made(path: Path, version: int = 1) -> None:
    """A database as that version left it: a run that waits for a signal."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript(FIRST.read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:version])
        connect.connect(str(path)).close()
    assert version_of(path) == version


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return schema.version_of(db)


@pytest.mark.parametrize("words", [*ACTS, *WRONG], ids=" ".join)
def test_who_acts_brings_it_forward(terminal: Terminal, words: tuple[str, ...]) -> None:
    made(terminal.db)
    done = terminal.segue(*words)
    assert done.code in ((2, 6) if words in WRONG else (0, 2) if words == ("resume", "--all") else (0, 7)), done
    assert version_of(terminal.db) == TODAY
    assert terminal.segue("show", "old").code == 0


@pytest.mark.parametrize("version", range(1, TODAY))
def test_a_run_of_every_older_version_goes_on(terminal: Terminal, version: int) -> None:
    made(terminal.db, version)
    assert terminal.segue("signal", "old", "word", "--payload", '"here"').code == 0
    done = terminal.segue("resume", "old")
    assert (done.code, done.out.strip()) == (0, "here"), done


@pytest.mark.parametrize("version", range(1, TODAY))
def test_who_only_looks_changes_nothing_and_names_the_command_that_does(terminal: Terminal, version: int) -> None:
    terminal.db = terminal.folder / "my books.db"
    made(terminal.db, version)
    for words in LOOKS if version == 1 else LOOKS[:1]:
        done = terminal.segue(*words, "--db", "my books.db")
        assert done.code == 5, (words, done)
        assert version_of(terminal.db) == version
        named = shlex.split(done.err.rpartition("segue ")[2])
        assert named == ["resume", "--db", "my books.db"], done.err
    assert terminal.segue("resume", "--db", "my books.db", "--patience-s", "0").code == 0
    assert terminal.segue("runs", "--db", "my books.db").code == 0


def test_a_newer_one_is_refused_to_who_acts(terminal: Terminal) -> None:
    made(terminal.db)
    with closing(sqlite3.connect(terminal.db)) as db:
        db.execute(f"pragma user_version = {TODAY + 1}")
    done = terminal.segue("signal", "old", "word")
    assert done.code == 5, done
    assert "upgrade Segue" in done.err
    assert version_of(terminal.db) == TODAY + 1
