"""Databases of older versions are brought forward, in one piece or not at all."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from segue import Engine
from segue.core.lifecycle import RunState
from segue.errors import StoreError, StoreLocked, StoreMissing, StoreReadOnly, StoreTooNew
from segue.journal import Journal, connect, schema
from tests.durable import places
from tests.durable.checks import sound
from tests.durable.flows import waits

FIRST = Path(__file__).parent / "first_version.sql"
NEXT = """
alter table runs add column note text;
create table labels (run integer not null, label text not null);
create trigger labels_are_short before insert on labels begin
    select raise(abort, 'too long') where length(new.label) > 10;
end;
insert into labels select no, 'old' from runs;
"""
CRASH = """
import os, sqlite3, sys
from segue.journal import connect, schema
from tests.durable.test_schema import NEXT
schema.MIGRATIONS = (*schema.MIGRATIONS, NEXT)
seen = []
def died(statement):
    seen.append(statement)
    if "create trigger" in statement:
        os._exit(9)
connection = connect.look(sys.argv[1])
connection.set_trace_callback(died)
connect.prepare(connection, sys.argv[1])
"""


def first_version(path: Path) -> None:
    """A database as the first version wrote it: text, so that no change of today's code can change it."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript(FIRST.read_text())


async def test_a_database_of_the_first_version_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    first_version(path)
    async with Engine(str(path)) as engine:
        run = await engine.get("old")
        assert (await run.status()).state == RunState.PARKED
        await run.signal("word", "still here")
        assert await run.result() == "still here"
        assert [e.seq for e in engine.journal.events(engine.journal.get("old"))][:6] == [1, 2, 3, 4, 5, 6]
    sound(path)


def test_todays_tables_are_those_of_the_first_version_and_what_was_added(tmp_path: Path) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    first_version(old)
    connect.connect(str(old)).close()
    connect.connect(str(new)).close()
    tables = "select type, name, sql from sqlite_master where name not like 'sqlite_%' order by name"
    with closing(sqlite3.connect(old)) as a, closing(sqlite3.connect(new)) as b:
        normal = lambda rows: [(t, n, " ".join((s or "").split())) for t, n, s in rows]  # noqa: E731
        assert normal(a.execute(tables)) == normal(b.execute(tables))


def test_a_migration_that_is_interrupted_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "segue.db"
    first_version(path)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", "."])}
    done = subprocess.run([sys.executable, "-c", CRASH, str(path)], env=env, check=False)
    assert done.returncode == 9
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("pragma user_version").fetchone() == (1,)
        assert "note" not in [c[1] for c in db.execute("pragma table_info(runs)")]
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, NEXT))
    connect.connect(str(path)).close()
    connect.connect(str(path)).close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("pragma user_version").fetchone() == (len(schema.MIGRATIONS),)
        assert db.execute("select label from labels").fetchall() == [("old",)]
        with pytest.raises(sqlite3.IntegrityError, match="too long"):
            db.execute("insert into labels values (1, 'much longer than ten')")


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "segue.db"
    first_version(path)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "alter table runs add column note text; nonsense;"))
    with pytest.raises(StoreError, match=r"segue\.db"):
        connect.connect(str(path))
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("pragma user_version").fetchone() == (1,)
        assert "note" not in [c[1] for c in db.execute("pragma table_info(runs)")]


async def test_a_reader_brings_nothing_forward_and_older_code_refuses_newer_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "segue.db"
    first_version(path)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, NEXT))
        with pytest.raises(StoreError, match="segue resume --db"):
            Journal.open_readonly(str(path))
        newer = len(schema.MIGRATIONS)
        connect.connect(str(path)).close()
    with pytest.raises(StoreTooNew, match=f"schema version is {newer}"):
        async with Engine(str(path)):
            pass
    with pytest.raises(StoreTooNew):
        Journal.open_readonly(str(path))


@pytest.mark.parametrize("place", ["segue.db", "."])
def test_an_older_file_that_cannot_be_written_stays_as_it_is(tmp_path: Path, place: str) -> None:
    path = tmp_path / "segue.db"
    first_version(path)
    before = path.read_bytes()
    with places.read_only(tmp_path / place):
        with pytest.raises(StoreReadOnly, match="writ"):
            Journal.bring_forward(str(path))
        with pytest.raises(StoreError, match=r"copy it .* segue resume --db COPY"):
            Journal.open_readonly(str(path))
    assert [p.name for p in tmp_path.iterdir()] == ["segue.db"]
    assert path.read_bytes() == before


def test_bringing_forward_makes_no_database_and_waits_for_its_turn(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    with pytest.raises(StoreMissing):
        Journal.bring_forward(str(path))
    assert list(tmp_path.iterdir()) == []
    first_version(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(StoreLocked):
            Journal.bring_forward(str(path), lock_timeout_s=0.1)
        other.execute("rollback")
    Journal.bring_forward(str(path))
    Journal.bring_forward(str(path))
    Journal.open_readonly(str(path)).shut()
    sound(path)


def test_the_first_version_is_never_changed() -> None:
    """When it must change, a second entry of MIGRATIONS says how; this file stays as it is."""
    assert waits.name in FIRST.read_text()
    assert "user_version" in FIRST.read_text()
