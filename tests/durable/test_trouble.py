"""A disk that is full, a file that is locked, a database that is damaged: the engine goes on where it can."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path

import pytest

from segue import Engine
from segue.errors import InputError, StoreCorrupt, StoreError, StoreFull, StoreLocked, StoreMissing, Undecodable
from segue.journal import Journal, blobs
from segue.runtime.check import Finding, check
from tests.durable import places
from tests.durable.checks import sound
from tests.durable.flows import bulky, waits

HOLD = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("begin exclusive")
print("held", flush=True)
sys.stdin.readline()
"""


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


@contextmanager
def filled(folder: Path):
    """Nothing more fits on the disk of the folder."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
    yield
    ballast.unlink()


@contextmanager
def full_disk(at: Path):
    with places.small_disk(at, 12_288):
        yield at / "segue.db", lambda: filled(at)


@contextmanager
def full_quota(at: Path):
    at.mkdir()
    path = at / "segue.db"
    yield path, lambda: places.file_size_limit(Path(f"{path}-wal").stat().st_size)


@pytest.mark.parametrize("place", [full_disk, full_quota])
async def test_on_a_full_disk_running_work_waits_and_new_starts_are_refused(
    tmp_path: Path, place: Callable[[Path], AbstractContextManager]
) -> None:
    with place(tmp_path / "disk") as (path, full):
        async with Engine(str(path)) as engine:
            before = await engine.run(bulky, 3, id="before")
            run = await engine.start(bulky, 400, 1000, id="running")
            with full():
                await until(lambda: engine.journal.trouble is not None)
                for name in ("a", "b"):
                    with pytest.raises(StoreError) as refused:
                        await asyncio.wait_for(engine.start(bulky, 2, id=name), 5)
                    assert str(path) in str(refused.value)
                    assert place is full_quota or type(refused.value) is StoreFull
            assert await run.result() == 400_000
            assert engine.journal.trouble is None
            assert await engine.run(bulky, 3, id="a") == before
        sound(path)


async def test_a_first_start_on_a_full_disk_leaves_no_file(tmp_path: Path) -> None:
    with places.small_disk(tmp_path / "disk", 256) as folder:
        path = folder / "segue.db"
        with filled(folder):
            for _ in range(2):
                with pytest.raises(StoreFull, match="free some space"):
                    async with Engine(str(path)):
                        pass
                assert not path.exists()
                with pytest.raises(StoreMissing):
                    Journal.open_readonly(str(path))
            path.touch()
            with pytest.raises(StoreFull):
                async with Engine(str(path)):
                    pass
            assert path.exists(), "it is not its own"
        async with Engine(str(path)) as engine:
            assert await engine.run(bulky, 1, id="r") == 1000
        sound(path)


async def test_a_payload_file_that_does_not_fit_waits_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "FILE_MIN", 50_000)
    with places.small_disk(tmp_path / "disk", 4096) as folder:
        path = folder / "segue.db"
        async with Engine(str(path)) as engine:
            run = await engine.start(waits, id="r")
            with filled(folder):
                started = asyncio.create_task(engine.start(bulky, 1, 1_000_000, id="big"))
                with pytest.raises(StoreFull):
                    await started
                big = asyncio.create_task(run.signal("word", "x" * 10, id="w"))
                with pytest.raises(StoreFull):
                    await big
            assert await engine.run(bulky, 1, 1_000_000, id="big") == 1_000_000
        assert [p.suffix for p in (folder / "segue.db-blobs").iterdir()] == [""]
        sound(path)


@asynccontextmanager
async def held(path: Path) -> AsyncIterator[int]:
    """Another process holds the file; gives its id."""
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=-1, stdout=-1, text=True)
    assert holder.stdin is not None and holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    try:
        yield holder.pid
    finally:
        holder.communicate("\n")


async def test_a_locked_file_makes_running_work_wait_and_names_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path), lock_timeout_s=0.2) as engine:
        run = await engine.start(bulky, 300, id="running")
        async with held(path) as pid:
            with pytest.raises(StoreLocked, match=r"segue\.db.*locked") as refused:
                await engine.start(bulky, 1, id="new")
            assert not Path("/proc/locks").exists() or f"process {pid}" in str(refused.value)
            await until(lambda: engine.journal.trouble is not None)
            with pytest.raises(StoreLocked):
                await engine.start(bulky, 1, id="new")
        assert await run.result() == 300_000
        await engine.run(bulky, 1, id="new")
    sound(path)


async def test_a_run_whose_writes_wait_says_so_and_what_helps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path), lock_timeout_s=0.05) as engine:
        run = await engine.start(bulky, 300, id="running")
        async with held(path):
            async with asyncio.timeout(10):
                while (status := await run.status()).message is None:
                    await asyncio.sleep(0.01)
            assert status.message.startswith(f"waits for the database: {path}: database is locked")
            assert status.remedy is not None and "end the program that holds it" in status.remedy
            assert status.state == "running" and status.reason is None
            await asyncio.sleep(0.5)
        await run.result()
        assert (await run.status()).message is None
    (said,) = [r for r in caplog.records if r.name == "segue.journal"]
    assert said.levelname == "WARNING" and f"{path}: database is locked" in said.getMessage()


async def test_a_file_that_is_moved_away_takes_no_more_writes(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        run = await engine.start(waits, id="r")
        await until(lambda: engine.journal.query("select 1 from events where seq > 4") != [])
        path.rename(tmp_path / "elsewhere.db")
        with pytest.raises(StoreMissing, match="moved, deleted or replaced"):
            await run.signal("word", "x")
        (tmp_path / "elsewhere.db").rename(path)
        await run.signal("word", "there")
        assert await run.result() == "there"


@pytest.mark.parametrize("how", ["deleted", "replaced"])
async def test_a_log_that_is_deleted_takes_nothing_with_it(tmp_path: Path, how: str) -> None:
    """What was acknowledged is in the database by the time that somebody is refused, though the process is killed."""
    path, copy = tmp_path / "segue.db", tmp_path / "copy.db"
    async with Engine(str(path)) as engine:
        await engine.run(bulky, 30, id="r")
        Path(f"{path}-wal").unlink()
        if how == "replaced":
            Path(f"{path}-wal").write_bytes(b"")
        with pytest.raises(StoreMissing, match=r"segue\.db-wal was moved, deleted or replaced") as refused:
            await engine.start(bulky, 1, id="new")
        assert "start the process again" in str(refused.value)
        copy.write_bytes(path.read_bytes())  # as kill -9 leaves it
    async with Engine(str(copy)) as engine:
        assert await (await engine.get("r")).result() == 30_000
        assert await engine.run(bulky, 1, id="new") == 1000
    sound(copy)


async def test_whoever_waits_is_told_when_the_file_is_deleted(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        run = await engine.start(bulky, 2000, id="r")
        path.unlink()
        with pytest.raises(StoreMissing, match="moved, deleted or replaced"):
            await asyncio.wait_for(run.result(), 10)


@pytest.mark.parametrize("linger_s", [0.0, 100.0], ids=["parked", "in memory"])
async def test_whoever_waits_for_a_run_that_only_waits_is_told_too(tmp_path: Path, linger_s: float) -> None:
    """Nothing is written meanwhile."""
    path = tmp_path / "segue.db"
    async with Engine(str(path), linger_s=linger_s, tick_s=0.02) as engine:
        run = await engine.start(waits, id="r")
        waiting = asyncio.ensure_future(run.result())
        await asyncio.sleep(0.1)
        path.unlink()
        with pytest.raises(StoreMissing, match="moved, deleted or replaced"):
            await asyncio.wait_for(waiting, 5)


async def test_a_log_beside_the_file_that_a_link_names_is_looked_after(tmp_path: Path) -> None:
    (tmp_path / "real.db").touch()
    path = tmp_path / "segue.db"
    path.symlink_to(tmp_path / "real.db")
    async with Engine(str(path)) as engine:
        await engine.run(bulky, 3, id="r")
        (tmp_path / "real.db-wal").unlink()
        with pytest.raises(StoreMissing, match=r"real\.db-wal was moved, deleted or replaced"):
            await engine.start(bulky, 1, id="new")


async def test_what_cannot_be_stored_is_its_writers_fault_alone(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "segue.db")) as engine:
        run, other = await engine.start(waits, id="r"), await engine.start(waits, id="s")
        bad = asyncio.create_task(run.signal("\ud800", "x"))
        good = asyncio.create_task(other.signal("word", "x"))
        with pytest.raises(InputError, match="cannot be stored"):
            await bad
        assert await good
        assert await other.result() == "x"


def damage(path: Path, marker: bytes) -> None:
    """Fill the page that holds the marker with zeros and noise."""
    data = bytearray(path.read_bytes())
    page = data.index(marker) // 4096
    assert page > 0
    data[page * 4096 : (page + 1) * 4096] = os.urandom(4096)
    path.write_bytes(data)


async def test_a_damaged_page_of_one_run_takes_no_other_run_down(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path), linger_s=0.01) as engine:
        for name in "abc":
            await engine.start(waits, 20, 1900, id=name)
            await until(lambda: engine.host.executions == {})
    damage(path, b'"%s' % (await noise_of(7))[:400])
    async with Engine(str(path)) as engine:
        runs = [await engine.get(name) for name in "abc"]
        for run in runs:
            await run.signal("word", f"for {run.id}")
        results = await asyncio.gather(*(r.result() for r in runs), return_exceptions=True)
        assert results[1:] == ["for b", "for c"]
        assert isinstance(results[0], StoreCorrupt | Undecodable)
        assert str(path) in str(results[0])
        assert results[0].remedy
        assert await engine.run(bulky, 2, id="new") == 2000


@pytest.mark.sampled(3)
@pytest.mark.parametrize("value", ["[", "[]", "5"])
async def test_a_damaged_row_of_one_run_takes_no_other_run_down(tmp_path: Path, value: str) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path), linger_s=0.01) as engine:
        for name in "abc":
            await engine.start(waits, 1, 10, id=name)
            await until(lambda: engine.host.executions == {})
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("update runs set state = 'queued', detail = ? where id = 'a'", (value,))
    async with Engine(str(path)) as engine:
        for name in "bc":
            run = await engine.get(name)
            await run.signal("word", f"for {name}")
            assert await run.result() == f"for {name}"
        with pytest.raises(StoreCorrupt, match="the row of run a is damaged") as error:
            await engine.get("a")
        assert str(path) in error.value.message
        assert [(row.id, row.state) for row in engine.journal.runs()] == [
            ("c", "completed"), ("b", "completed"), ("a", "queued"),
        ]  # fmt: skip
        assert [(one.run, one.finding) for one in check(engine.journal)] == [("a", Finding.UNDECODABLE)]
    resume = [sys.executable, "-m", "segue", "resume", "--db", str(path)]
    done = subprocess.run(resume, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (5, "")
    assert f"{path}: the row of run a is damaged" in done.stderr


async def noise_of(i: int) -> bytes:
    from tests.durable.flows import noise

    return (await noise(i, 1900)).encode()


async def test_a_damaged_log_loses_its_tail_and_nothing_else(tmp_path: Path) -> None:
    """What is in the log and damaged there cannot be told from a write that never ended: SQLite stops before it."""
    path, copy = tmp_path / "segue.db", tmp_path / "copy.db"
    async with Engine(str(path)) as engine:
        await engine.run(bulky, 5, id="early")
        middle = Path(f"{path}-wal").stat().st_size
        await engine.run(bulky, 30, id="late")
        copy.write_bytes(path.read_bytes())
        wal = bytearray(Path(f"{path}-wal").read_bytes())
    wal[middle + 300] ^= 0xFF
    Path(f"{copy}-wal").write_bytes(wal)
    async with Engine(str(copy)) as engine:
        assert await (await engine.get("early")).result() == 5000
        assert await engine.run(bulky, 30, id="late") == 30_000
    sound(copy)


async def test_who_may_open_no_more_files_takes_nobody_for_dead(tmp_path: Path) -> None:
    """Else it would take over the runs of processes that live, and their steps would be made twice."""
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine, Engine(str(path), tick_s=0.02) as other:
        run = await engine.start(waits, id="r")
        with places.no_more_files():
            assert other.journal.alive(engine.journal.owner)
            await asyncio.sleep(0.2)
        assert engine.journal.query("select owner, epoch from runs") == [(engine.journal.owner, 1)]
        assert other.journal.alive(engine.journal.owner)
        assert engine.journal.owner in [p.name for p in (tmp_path / "segue.db-live").iterdir()]
        await run.signal("word", "x")
        assert await run.result() == "x"


async def test_a_start_that_may_open_no_more_files_says_so_and_leaves_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        await engine.run(bulky, 3, id="r")
    gc.collect()
    before = sorted(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else []
    lowest = os.dup(0)
    os.close(lowest)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for more in range(12):
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + more, hard))
        try:
            with suppress(StoreError):
                async with Engine(str(path)):
                    pass
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        gc.collect()
        assert before in ([], sorted(os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        with pytest.raises(StoreError, match="ulimit -n") as refused:
            async with Engine(str(path)):
                pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert str(path) in str(refused.value)
    async with Engine(str(path)) as engine:
        assert await engine.run(bulky, 1, id="after") == 1000


@pytest.mark.soak
async def test_any_flipped_byte_gives_a_typed_error_or_none(tmp_path: Path) -> None:
    path, copy = tmp_path / "segue.db", tmp_path / "copy.db"
    async with Engine(str(path)) as engine:
        for n in range(20):
            await engine.run(bulky, 10, id=f"r{n}")
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 400)):
        flipped = bytearray(whole)
        flipped[at] ^= 0x55
        copy.write_bytes(flipped)
        for suffix in ("-wal", "-shm"):
            Path(f"{copy}{suffix}").unlink(missing_ok=True)
        try:
            async with Engine(str(copy)) as engine:
                for n in range(20):
                    await (await engine.get(f"r{n}")).result()
        except Exception as error:  # noqa: BLE001
            assert hasattr(error, "code"), f"byte {at}: {error!r}"
