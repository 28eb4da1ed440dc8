"""A file that cannot be opened: a typed error names it and the next thing to do, and the file is left as it was."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, flow, step, wait_for
from segue.errors import InputError, StoreCorrupt, StoreError, StoreLocked, StoreMissing, StoreReadOnly, StoreTooNew
from segue.journal import Journal, connect
from tests.durable import places
from tests.durable.checks import sound
from tests.durable.flows import bulky


async def refused(path: Path, kind: type[StoreError], *words: str) -> None:
    """Opening it raises `kind`, which names the file, what it is and what to do."""
    with pytest.raises(StoreError) as caught:
        async with Engine(str(path), lock_timeout_s=0.1):
            pass
    assert type(caught.value) is kind
    assert str(path) in str(caught.value)
    assert caught.value.path == str(path)
    assert caught.value.remedy
    for word in words:
        assert word in str(caught.value)


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("create table notes (text)")
        db.execute("pragma user_version = 7")


def newer(path: Path) -> None:
    with closing(connect.connect(str(path))) as db:
        db.execute("pragma user_version = 99")


def garbage(path: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to look like one " * 200)


def torn_header(path: Path) -> None:
    connect.connect(str(path)).close()
    data = bytearray(path.read_bytes())
    data[:64] = os.urandom(64)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (foreign, StoreCorrupt, ("another program", "name another file")),
        (newer, StoreTooNew, ("99", "upgrade Segue")),
        (garbage, StoreCorrupt, ("not a database",)),
        (torn_header, StoreCorrupt, ("not a database",)),
        (Path.mkdir, StoreError, ("this is a folder", "name a file in it")),
    ],
)
async def test_what_is_no_database_of_ours_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], None], kind: type[StoreError], words: tuple[str, ...]
) -> None:
    path = tmp_path / "segue.db"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    await refused(path, kind, *words)
    assert [p.name for p in tmp_path.iterdir()] == ["segue.db"]
    assert (path.read_bytes() if path.is_file() else b"") == before


async def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    await refused(tmp_path / "no" / "segue.db", StoreMissing, "mkdir -p", str(tmp_path / "no"))


async def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with places.read_only(folder):
        await refused(folder / "segue.db", StoreReadOnly, "writable")


async def test_a_read_only_file_is_refused_to_engines_and_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    path = folder / "segue.db"
    async with Engine(str(path)) as engine:
        await engine.run(bulky, 3, id="r")
    with places.read_only(folder):
        await refused(path, StoreReadOnly, "writable")
        with Journal.open_readonly(str(path)) as journal:
            assert len(list(journal.events(journal.get("r")))) == 6


async def test_a_read_only_file_in_a_folder_that_is_not_is_refused_before_the_first_write(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        await engine.run(bulky, 3, id="r")
    with places.read_only(path):
        await refused(path, StoreReadOnly, "writable")


async def test_a_truncated_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        await engine.run(bulky, 50, id="r")
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(StoreCorrupt, match=r"segue\.db") as caught:
        async with Engine(str(path)) as engine:
            await (await engine.get("r")).result()
    assert caught.value.remedy


@pytest.mark.parametrize("size", [0, 1, 50, 99, 100, 511])
async def test_a_database_that_was_cut_off_before_its_header_ends_is_refused(tmp_path: Path, size: int) -> None:
    """SQLite would take the first two for new ones, and the runs that were in them would be made again."""
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        await engine.run(bulky, 3, id="r")
    os.truncate(path, size)
    await refused(path, StoreCorrupt)
    with pytest.raises(StoreCorrupt, match=r"segue\.db"):
        Journal.open_readonly(str(path))
    assert path.stat().st_size == size
    path.unlink()
    async with Engine(str(path)) as engine:
        assert await engine.run(bulky, 3, id="r") == 3000


async def test_an_empty_file_beside_the_log_of_a_database_is_refused(tmp_path: Path) -> None:
    """SQLite would throw the log away."""
    path, log = tmp_path / "segue.db", tmp_path / "segue.db-wal"
    path.touch()
    log.write_bytes(b"what was committed")
    await refused(path, StoreCorrupt, "it is empty, and was a database")
    assert log.read_bytes() == b"what was committed"


async def test_an_empty_file_is_made_a_database(tmp_path: Path) -> None:
    """As `mktemp` makes one; also one that a process left which died before its first write."""
    path = tmp_path / "segue.db"
    path.touch()
    (tmp_path / "segue.db-live").mkdir()
    with pytest.raises(StoreError, match="no run was ever recorded") as caught:
        Journal.open_readonly(str(path))
    assert "segue run" in str(caught.value)
    async with Engine(str(path)) as engine:
        assert await engine.run(bulky, 3, id="r") == 3000


async def test_a_file_of_a_byte_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    path.write_bytes(b"\n")
    await refused(path, StoreCorrupt, "it has 1 byte", "restore it from a copy, or name another file")
    assert [p.name for p in tmp_path.iterdir()] == ["segue.db"]
    assert path.read_bytes() == b"\n"


async def test_a_database_that_was_deleted_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    for _ in range(2):
        async with Engine(str(path)) as engine:
            assert await engine.runs() == []
            await engine.run(bulky, 3, id="r")
        path.unlink()


async def test_a_file_that_another_program_locks_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path)):
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("pragma locking_mode = exclusive")
        db.execute("begin exclusive")
        await refused(path, StoreLocked, "locked")


async def test_two_engines_may_make_one_database_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as one, Engine(str(path)) as two:
        assert await one.run(bulky, 2, id="a") == await two.run(bulky, 2, id="b") == 2000
        assert [r.id for r in await one.runs()] == ["b", "a"]
    sound(path)


@pytest.mark.parametrize("how", ["deleted", "emptied", "garbled"])
async def test_a_database_whose_tables_were_in_a_log_that_is_lost_is_refused(tmp_path: Path, how: str) -> None:
    """As after kill -9 soon after the first start: its file has one page, and the runs would be made again."""
    live, path = tmp_path / "live.db", tmp_path / "segue.db"
    async with Engine(str(live)) as engine:
        await engine.run(bulky, 3, id="r")
        path.write_bytes(live.read_bytes())
        log = bytearray(Path(f"{live}-wal").read_bytes())
        Path(f"{path}-live").mkdir()
        (Path(f"{path}-live") / "made").touch()
    log[:100] = os.urandom(100)
    if how != "deleted":
        Path(f"{path}-wal").write_bytes(log if how == "garbled" else b"")
    await refused(path, StoreCorrupt, "no tables", "segue.db-wal", f"rm {path}")
    with pytest.raises(StoreCorrupt, match="no tables"):
        Journal.open_readonly(str(path))
    path.unlink()
    async with Engine(str(path)) as engine:
        await engine.run(bulky, 1, id="anew")
    sound(path)


@step
def moves_to(folder: str) -> str:
    os.chdir(folder)
    return "there"


@flow
async def moves(folder: str) -> str:
    here = await moves_to(folder)
    await wait_for("go")
    return here


async def test_a_process_that_goes_to_another_folder_keeps_its_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it take those for dead that share it."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    async with Engine("segue.db") as engine, Engine(Path("segue.db"), tick_s=0.02) as other:
        run = await engine.start(moves, str(tmp_path / "elsewhere"), id="r")
        while (await run.status()).waits_on[0].get("signal") != "go":
            await asyncio.sleep(0.01)
        assert other.journal.alive(engine.journal.owner)
        await asyncio.sleep(0.1)
        assert engine.journal.query("select owner, epoch from runs") == [(engine.journal.owner, 1)]
        await run.signal("go")
        assert await run.result() == "there"
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("path", [12, None, b"segue.db"])
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(InputError, match="this is no path"):
        Engine(path)
