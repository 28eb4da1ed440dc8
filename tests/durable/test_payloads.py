"""Payloads by content: stored once, compressed, in files when very large; a damaged one sets its run aside only."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from segue import Engine, flow
from segue.core.lifecycle import RunState
from segue.errors import StoreCorrupt, Undecodable
from segue.journal import Journal, batch, blobs
from tests.durable.checks import sound
from tests.durable.flows import bulky, noise, waits
from tests.durable.test_trouble import until


@flow
async def repeats(times: int, size: int) -> int:
    """One text, many times."""
    return sum([len(await noise(0, size)) for _ in range(times)])


def rows(path: Path, sql: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


async def test_a_payload_is_stored_once_and_compressed(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        for name in ("a", "b"):
            assert await engine.run(repeats, 5, 60_000, id=name) == 300_000
    ((size, stored),) = rows(path, "select size, length(data) from blobs")
    assert size == 60_002
    assert stored < 0.65 * size
    assert rows(path, "select count(*) from refs") == [(2,)]
    assert rows(path, "select max(length(value)) from events") == [(21,)]


async def test_what_does_not_shrink_is_stored_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs.zlib, "compress", lambda data, level: data + b"!")
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        assert await engine.run(bulky, 1, 5000, id="r") == 5000
        assert [len(e.value or b"") for e in engine.journal.events(engine.journal.get("r"))].count(5002) == 1
    assert rows(path, "select size = length(data) from blobs") == [(1,)]


async def test_twenty_megabytes_go_through_and_become_a_file(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    size = 20 << 20
    async with Engine(str(path)) as engine:
        other = await engine.start(bulky, 200, 100, id="other")
        began = time.perf_counter()
        assert await engine.run(bulky, 1, size, id="big") == size
        print(f"20 MB: {time.perf_counter() - began:.2f} s")
        assert await other.result() == 20_000
    ((file, stored),) = rows(path, "select file, length(data) from blobs")
    assert stored == 0
    assert 8 << 20 < (Path(f"{path}-blobs") / file).stat().st_size < 0.65 * size
    async with Engine(str(path)) as engine:
        value = next(e for e in engine.journal.events(engine.journal.get("big")) if e.key).value
        assert value == b'"%s"' % (await noise(0, size)).encode()
    sound(path)


async def test_the_writers_lock_is_not_held_while_a_payload_is_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "segue.db"
    compress = blobs.zlib.compress
    monkeypatch.setattr(blobs.zlib, "compress", lambda data, level: (time.sleep(0.5), compress(data, level))[1])
    async with Engine(str(path)) as one, Engine(str(path)) as two:
        big = asyncio.create_task(one.run(bulky, 1, 5000, id="big"))
        await until(lambda: two.journal.find("big") is not None)
        await asyncio.sleep(0.1)
        began = time.perf_counter()
        await two.journal.ask(lambda c: c.execute("insert into switches values ('x', 0, '', '')"))
        assert time.perf_counter() - began < 0.3
        await big


def wipe(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("delete from blobs")
        db.commit()


def scramble(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("update blobs set data = zeroblob(length(data))")
        db.commit()


def swap(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("update blobs set data = x'22787822', size = 4")
        db.commit()


def lose_file(path: Path) -> None:
    for file in Path(f"{path}-blobs").iterdir():
        file.unlink()


def cut_file(path: Path) -> None:
    for file in Path(f"{path}-blobs").iterdir():
        file.write_bytes(file.read_bytes()[:100])


@pytest.mark.parametrize("damage", [wipe, scramble, swap, lose_file, cut_file])
async def test_a_damaged_payload_takes_its_run_aside_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage
) -> None:
    if damage in (lose_file, cut_file):
        monkeypatch.setattr(blobs, "FILE_MIN", 1000)
    path = tmp_path / "segue.db"
    async with Engine(str(path), linger_s=0.01) as engine:
        await engine.start(waits, 1, 9000, id="hurt")
        await engine.start(waits, 1, 900, id="whole")
        await until(lambda: {r.state for r in engine.journal.runs()} == {RunState.PARKED})
        ((digest,),) = engine.journal.query("select lower(hex(hash)) from blobs")
    damage(path)
    async with Engine(str(path)) as engine:
        hurt, whole = await engine.get("hurt"), await engine.get("whole")
        with pytest.raises(StoreCorrupt, match=rf"payload {digest} of run hurt") as caught:
            list(engine.journal.events(engine.journal.get("hurt")))
        assert (caught.value.run, caught.value.path) == ("hurt", str(path))
        for run in (hurt, whole):
            await run.signal("word", "go")
        assert await whole.result() == "go"
        with pytest.raises(Undecodable, match=rf"payload {digest} of run hurt"):
            await hurt.result()
        assert (await hurt.status()).state == RunState.STUCK
        assert await engine.run(bulky, 1, id="new") == 1000


async def test_a_run_whose_payload_was_restored_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path), linger_s=0.01) as engine:
        await engine.start(waits, 1, 9000, id="hurt")
        await until(lambda: engine.journal.get("hurt").state == RunState.PARKED)
    kept = rows(path, "select hash, size, data, file from blobs")
    wipe(path)
    async with Engine(str(path)) as engine:
        run = await engine.get("hurt")
        await run.signal("word", "go")
        with pytest.raises(Undecodable):
            await run.result()
        await engine.journal.ask(
            lambda c: c.executemany("insert into blobs (hash, size, data, file) values (?, ?, ?, ?)", kept).rowcount
        )
        await run.resume()
        assert await run.result() == "go"


def test_a_crash_before_the_commit_leaves_no_half_payload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is there before the row that names it; without the row nobody asks for it, and it is written again."""
    monkeypatch.setattr(blobs, "FILE_MIN", 1000)
    path = tmp_path / "segue.db"

    async def run(name: str) -> None:
        async with Engine(str(path)) as engine:
            assert await engine.run(bulky, 1, 9000, id=name) == 9000

    asyncio.run(run("a"))
    (file,) = Path(f"{path}-blobs").iterdir()
    wipe(path)
    file.write_bytes(b"torn")
    asyncio.run(run("b"))
    with Journal.open_readonly(str(path)) as journal:
        assert any(len(e.value or b"") == 9002 for e in journal.events(journal.get("b")))


async def test_a_file_that_vanishes_before_the_commit_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep of another process may find it without its row."""
    monkeypatch.setattr(blobs, "FILE_MIN", 1000)
    path = tmp_path / "segue.db"
    commit = batch.Batcher.commit

    def late(self: batch.Batcher, jobs: list, meanwhile: Callable[[], None]) -> object:
        if Path(f"{path}-blobs").exists():
            lose_file(path)
            monkeypatch.setattr(batch.Batcher, "commit", commit)
        return commit(self, jobs, meanwhile)

    monkeypatch.setattr(batch.Batcher, "commit", late)
    async with Engine(str(path)) as engine:
        assert await engine.run(bulky, 1, 9000, id="r") == 9000
        assert batch.Batcher.commit is commit
        assert [len(e.value or b"") for e in engine.journal.events(engine.journal.get("r")) if e.key] == [9002]
