"""What the database itself refuses: a gap, a double, an event of an owner that has lost the run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from segue.core.events import Event
from segue.errors import SegueError, StaleOwner, StoreError
from segue.journal import Journal, NewRun, Write
from tests.durable.checks import sound


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Journal]:
    journal = Journal.open(str(path))
    try:
        yield journal
    finally:
        await journal.close()


async def accepted(journal: Journal, id_: str) -> int:
    """A run with two events, owned here."""
    row, _ = await journal.accept(NewRun(id_, "default", "f", None, 1, b"{}", 1.0, "", owner=journal.owner))
    return row.no


async def written(journal: Journal, *events: Event) -> list[Exception | None]:
    """Queue them at once, so that they share a transaction: what was said of each."""
    said: dict[int, Exception | None] = {}
    done = asyncio.Event()

    def heard(write: Write, error: Exception | None) -> None:
        said[[e is write.event for e in events].index(True)] = error
        if len(said) == len(events):
            done.set()

    for event in events:
        journal.write(Write(event, heard))
    await done.wait()
    return [said[n] for n in range(len(events))]


def event(run: int, seq: int, epoch: int = 1, key: str | None = None) -> Event:
    return Event(run, seq, epoch, 1.0, "attempt.started", key=key)


async def test_nothing_follows_an_event_that_could_not_be_written(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with opened(path) as journal:
        a, b = await accepted(journal, "a"), await accepted(journal, "b")
        bad = event(a, 3, key="\ud800")
        said = await written(journal, bad, event(a, 4), event(b, 3), event(a, 5), event(b, 4))
        assert [type(s) for s in said] == [UnicodeEncodeError, StoreError, type(None), StoreError, type(None)]
        assert "the one before it is missing" in str(said[1])
        assert await written(journal, event(a, 3), event(a, 4)) == [None, None]
    sound(path)


async def test_an_event_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with opened(path) as journal:
        run = await accepted(journal, "a")
        said = await written(journal, event(run, 3), event(run, 3))
        assert said[0] is None
        assert isinstance(said[1], StoreError)
    sound(path)


async def test_an_owner_that_has_lost_the_run_writes_nothing_more(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(opened(path))
        lost, kept = await accepted(old, "lost"), await accepted(old, "kept")
        new = await stack.enter_async_context(opened(path))  # it has not heard the other's heart since
        claim = await new.claim(lost, [old.owner], 2.0, "")
        assert claim is not None
        row, seq = claim
        assert (row.owner, row.epoch, seq) == (new.owner, 2, 3)
        said = await written(old, event(lost, 3), event(kept, 3), event(lost, 4))
        assert [type(s) for s in said] == [StaleOwner, type(None), StaleOwner]
        assert await written(new, event(lost, 4, epoch=2)) == [None]
        assert await old.claim(lost, [], 3.0, "") is None
    sound(path)


async def test_an_event_of_a_run_that_is_gone_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path / "segue.db") as journal:
        (said,) = await written(journal, event(99, 1))
        assert isinstance(said, StoreError)


async def test_one_listener_that_fails_keeps_no_other_from_hearing(tmp_path: Path) -> None:
    complaints: list[dict] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    async with opened(tmp_path / "segue.db") as journal:
        a, b = await accepted(journal, "a"), await accepted(journal, "b")
        heard = asyncio.Event()

        def fails(write: Write, error: Exception | None) -> None:
            raise RuntimeError("a bug in a listener")

        journal.write(Write(event(a, 3), fails))
        journal.write(Write(event(b, 3), lambda write, error: heard.set()))
        async with asyncio.timeout(5):
            await heard.wait()
    assert [str(c["exception"]) for c in complaints] == ["a bug in a listener"]


async def test_a_question_that_fails_is_its_own_fault_alone(tmp_path: Path) -> None:
    async with opened(tmp_path / "segue.db") as journal:
        run = await accepted(journal, "a")
        wrong = journal.ask(lambda c: c.execute("select nonsense"))
        buggy = journal.ask(lambda c: 1 / 0)
        right = journal.ask(lambda c: c.execute("select 7").fetchone()[0])
        assert await written(journal, event(run, 3)) == [None]
        assert await right == 7
        for future in (wrong, buggy):
            with pytest.raises(SegueError):
                await future
