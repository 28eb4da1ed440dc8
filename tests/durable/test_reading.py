"""Reading while others write, and reading without an engine."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from segue import Engine
from segue.core.events import Event
from segue.errors import StoreMissing, StoreReadOnly, UnknownRun
from segue.journal import Journal, NewRun, Write
from tests.durable.checks import sound
from tests.durable.flows import bulky, waits


async def filled(journal: Journal, events: int, id_: str = "long") -> int:
    """A run of so many events: gives its number."""
    row, _ = await journal.accept(NewRun(id_, "default", "f", None, 1, b"{}", 1.0, "", owner=journal.owner))
    done = asyncio.Event()
    for seq in range(3, events + 1):
        event = Event(row.no, seq, 1, 1.0, "step.completed", key=f"work[{seq}]#1", attempt=1, seen=seq - 1,
                      args=b'{"i":1}', value=b'"a result of middling length"')  # fmt: skip
        journal.write(Write(event, lambda write, error, last=seq == events: last and done.set()))
    await done.wait()
    return row.no


async def test_ten_thousand_events_are_read_in_a_moment(tmp_path: Path) -> None:
    journal = Journal.open(str(tmp_path / "segue.db"))
    await filled(journal, 10_000)
    row = journal.get("long")
    began = time.process_time()
    events = list(journal.events(row))
    took = time.process_time() - began
    print(f"10,000 events: {took * 1000:.0f} ms of CPU")
    assert [e.seq for e in events] == list(range(1, 10_001))
    assert took < 0.5
    began = time.process_time()
    for _ in range(1000):
        assert next(journal.events(row, 9_999)).seq == 10_000
    assert time.process_time() - began < 0.5, "the tail is read without the head"
    await journal.close()


async def test_a_reader_sees_whole_units_while_others_write(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        for n in range(8):
            await engine.start(bulky, 60, 500, id=f"r{n}")
        looked = 0
        with Journal.open_readonly(str(path)) as journal:
            while any(r.state == "running" for r in engine.journal.runs()):
                for row in journal.runs():
                    events = list(journal.events(row))
                    assert [e.seq for e in events] == list(range(1, len(events) + 1))
                    assert (row.state == "completed") <= (events[-1].type == "run.completed")
                    looked += 1
                await asyncio.sleep(0.002)
        assert looked > 50
    sound(path)


async def test_finding_a_run_stays_quick_while_others_write(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "segue.db")) as engine:
        runs = [asyncio.create_task(engine.run(bulky, 400, 200, id=f"r{n}")) for n in range(20)]
        async with asyncio.timeout(30):
            while engine.journal.find("r7") is None:
                await asyncio.sleep(0.02)
        took: list[float] = []
        while any(not done.done() for done in runs):
            began = time.perf_counter()
            assert engine.journal.find("r7") is not None
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0)
        took.sort()
        print(f"find: median {took[len(took) // 2] * 1e6:.0f} us, p99 {took[int(len(took) * 0.99)] * 1e6:.0f} us")
        assert took[len(took) // 2] < 0.005
        assert took[int(len(took) * 0.99)] < 0.25


def test_opening_to_read_makes_nothing_and_misses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    with pytest.raises(StoreMissing, match="there is no such file") as caught:
        Journal.open_readonly(str(path))
    assert caught.value.path == str(path)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_needs_no_loop_and_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"

    async def fill() -> None:
        async with Engine(str(path)) as engine:
            await engine.run(bulky, 2, 5000, id="r")

    asyncio.run(fill())
    before = sorted(p.name for p in (tmp_path / "segue.db-live").iterdir())
    with Journal.open_readonly(str(path)) as journal:
        row = journal.get("r")
        assert [r.id for r in journal.runs("state = ?", ("completed",))] == ["r"]
        assert [len(e.value or b"") for e in journal.events(row) if e.key] == [5002, 5002]
        assert journal.end(row).type == "run.completed"
        assert journal.items() == []
        with pytest.raises(UnknownRun):
            journal.get("other")
    assert sorted(p.name for p in (tmp_path / "segue.db-live").iterdir()) == before


def test_writing_through_a_reader_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    asyncio.run(_make(path))
    with Journal.open_readonly(str(path)) as journal:
        for write in (
            lambda: journal.ask(lambda c: c.execute("delete from runs")),
            lambda: journal.write(Write(Event(1, 1, 1, 1.0, "x"), lambda write, error: None)),
            lambda: journal.query("delete from runs"),
            lambda: journal.query("create table t (a)"),
        ):
            with pytest.raises(StoreReadOnly, match=r"segue\.db"):
                write()


async def _make(path: Path) -> None:
    async with Engine(str(path)) as engine:
        await engine.start(waits, id="r")


async def test_what_was_never_closed_is_read_with_its_log(tmp_path: Path) -> None:
    """The log of a process that was killed holds the newest events."""
    path, copy = tmp_path / "segue.db", tmp_path / "copy.db"
    async with Engine(str(path)) as engine:
        await engine.run(bulky, 5, id="r")
        for suffix in ("", "-wal"):
            Path(f"{copy}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    with Journal.open_readonly(str(copy)) as journal:
        assert journal.end(journal.get("r")).type == "run.completed"


async def test_an_error_that_is_kept_does_not_hold_the_reader_back(tmp_path: Path) -> None:
    """A traceback keeps frames alive, and with them cursors: none may stay open."""
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        await engine.run(bulky, 3, 5000, id="hurt")
        with closing(sqlite3.connect(path)) as db:
            db.execute("delete from blobs")
            db.commit()
        kept = []
        try:
            list(engine.journal.events(engine.journal.get("hurt")))
        except Exception as error:  # noqa: BLE001
            kept.append(error)
        assert kept
        await engine.run(bulky, 1, id="later")
        assert engine.journal.find("later") is not None
