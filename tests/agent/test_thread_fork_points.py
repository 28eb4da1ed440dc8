"""A fork knows of a thread what had been said, begun and summed up when it left the run that it was forked from."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, Run, Thread, ask, detach, flow, wait_for
from segue.core.events import EventType
from segue.errors import RunFailed
from segue.journal import retention, threads
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import KEYS
from tests.agent.test_long_threads import answers, small
from tests.agent.test_thread_fork_lines import add, db, event, heard, outcomes
from tests.agent.test_thread_forks import chats, opened, sorted_in, visits
from tests.agent.test_thread_retention import ASKS, HOUR, KNOWS, aged, summaries, talked
from tests.agent.test_thread_runs import recalls
from tests.behaviour.world import events_of
from tests.durable.test_trouble import until

__all__ = ["db"]

late: list[int] = []


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in KEYS:
        monkeypatch.setenv(name, "test")
    yield
    late.clear()


@asynccontextmanager
async def open_engine(path: Path, shown: list[str] | None = None) -> AsyncIterator[Engine]:
    def notes(asked: Asked) -> str:
        if shown is not None:
            shown.append("\n".join(turn.text for turn in asked.turns))
        return recalls(asked)

    async with serve({"chat": Served(answer=notes)}) as server, opened(path, server) as engine:
        yield engine


@flow
async def listens(text: str) -> str:
    """Says nothing, but in a fork."""
    await sorted_in(text)
    return await ask(text, thread="t", timeout_s=5, max_tokens=300) if late else "silent"


@flow
async def has_listened(text: str) -> str:
    await listens(f"{text} first")
    await listens(f"{text} second")
    return await ask(text, timeout_s=5, max_tokens=300)


async def test_a_fork_of_a_silent_child_hears_nothing_that_was_said_since(tmp_path: Path) -> None:
    """It heard the words of its parent, and of children that came after it."""
    async with open_engine(tmp_path) as engine:
        thread = Thread("t", engine)
        await (await thread.start(chats, "turn 0")).result()
        second = await thread.start(has_listened, "turn 1")
        assert await second.result() == "heard 2: turn 0 | turn 1"
        child = [row.id for row in engine.journal.runs() if row.parent == second.id][-1]
        late.append(1)
        assert await (await (await engine.get(child)).fork(at=2)).result() == "heard 2: turn 0 | turn 1 first"


@flow
async def waits(text: str) -> str:
    return await wait_for("word", returns=str)


@flow
async def leaves_one(text: str) -> str:
    await detach(waits, text, id=f"{text}-bg")
    return await ask(text, timeout_s=5, max_tokens=300)


async def test_a_fork_is_not_told_of_runs_that_came_after_it(tmp_path: Path) -> None:
    """It was told not to start what later turns had in flight."""
    shown: list[str] = []
    async with open_engine(tmp_path, shown) as engine:
        thread = Thread("t", engine)
        runs = [await thread.start(does, f"turn {n}") for n, does in enumerate((leaves_one, chats, leaves_one, chats))]
        for run in runs:
            await run.result()
        assert [text.count(": waits") for text in shown] == [0, 1, 2, 2], "each knows its own"
        for n in range(4):
            shown.clear()
            await (await runs[n].fork(at=2)).result()
            assert [text.count(": waits") for text in shown] == [(0, 1, 1, 2)[n]], n
        shown.clear()
        detached = next(e.seq for e in await events_of(runs[2]) if e.type == EventType.CHILD_DETACHED)
        await (await runs[2].fork(at=detached)).result()
        assert [text.count(": waits") for text in shown] == [2], "it has started the second one itself"


@flow
async def fails(text: str) -> str:
    await sorted_in(text)
    return await ask(text, thread="u", timeout_s=5, max_tokens=300, check=lambda _: "never good", attempts=1)


@flow
async def waits_first(text: str) -> str:
    await sorted_in(text)
    await wait_for("word", returns=str)
    return await visits(text) if text == "by a child" else await ask(text, thread="u", timeout_s=5, max_tokens=300)


async def read(run: Run[Any]) -> list[bytes | None]:
    return [event.value for event in await events_of(run) if (event.key or "").startswith("thread[")]


async def test_a_fork_of_a_run_whose_question_failed_hears_what_that_heard(tmp_path: Path) -> None:
    async with open_engine(tmp_path) as engine:
        await engine.run(visits, "before")
        run = await engine.start(fails, "x")
        with pytest.raises(RunFailed):
            await run.result()
        for n in range(2):
            await engine.run(visits, f"after {n}")
        fork = await run.fork(at=2)
        with pytest.raises(RunFailed):
            await fork.result()
        assert await read(fork) == await read(run) == [b"1"]


@pytest.mark.parametrize("asks", ["itself", "by a child"])
async def test_a_fork_from_before_a_wait_hears_what_was_said_in_it_too(tmp_path: Path, asks: str) -> None:
    """As the run that was forked did."""
    async with open_engine(tmp_path) as engine:
        run = await engine.start(waits_first, asks)
        await until(lambda: engine.journal.get(run.id).state == "parked")
        await engine.run(visits, "meanwhile")
        await run.signal("word", "now")
        assert await run.result() == f"heard 2: meanwhile | {asks}"
        await engine.run(visits, "after")
        fork = await run.fork(at=2)
        await fork.signal("word", "now")
        assert await fork.result() == f"heard 2: meanwhile | {asks}"


async def test_a_fork_does_not_hear_the_answer_that_it_asks_for_again(tmp_path: Path) -> None:
    """Its parent did, when it asked once more. What was kept is that it had read the thread, not what it was told."""
    async with open_engine(tmp_path) as engine:
        run = await Thread("t", engine).start(chats, "turn 0", 2)
        assert await run.result() == "heard 2: turn 0 | turn 01"
        first = next(event.seq for event in await events_of(run) if (event.key or "").startswith("thread["))
        assert await (await run.fork(at=first)).result() == "heard 1: turn 01"


async def test_a_fork_in_use_keeps_the_summary_that_it_goes_on_from(tmp_path: Path) -> None:
    """`gc` kept it for a branch in the same place, and took it from a fork."""
    async with (
        serve({"chat": Served(answer=answers)}) as server,
        Engine(str(tmp_path / "x.db"), resources=small(server, "chat", window=2_600)) as engine,
    ):
        thread = Thread("t", engine)
        await talked(thread, range(28))
        first, *later = await summaries(engine, "t")
        assert later, "the thread itself goes on from another one"
        after = await engine.get(f"t/{int(first.rpartition('/')[2]) + 1}")
        fork = await after.fork(at=1, input={"text": ASKS})
        assert await fork.result() == KNOWS
        await aged(engine, f"id != '{fork.id}'")
        listed = await engine.gc(HOUR, dry_run=True)
        gone = await engine.gc(HOUR)
        assert gone.kept == listed.kept == {"fork": 1, "newest summary": 1}
        assert await summaries(engine, "t") == [first]
        assert await (await fork.fork(at=1, input={"text": f"{ASKS} "})).result() == KNOWS
        await aged(engine, "memo_run is not null")
        await engine.gc(HOUR)
        assert await summaries(engine, "t") == []


def test_the_fork_of_a_child_hears_no_other_one_that_spoke_later(db: sqlite3.Connection) -> None:
    add(db, "1", thread="t")
    for name in "ab":
        add(db, f"1/{name}", parent="1", parent_key=name)
    add(db, "fork", memo_run=2, memo_seq=2)
    for seq in (1, 2, 3):
        event(db, seq, "step.completed", f"s[{seq}]#1", 2)
    outcomes(db, (3, 5))
    assert heard(db, "fork") == 0


def test_a_fork_of_a_turn_that_was_cancelled_in_line_hears_all_turns_before(db: sqlite3.Connection) -> None:
    add(db, "1", thread="t")
    add(db, "2", thread="t", state="cancelled")
    add(db, "1/c", parent="1", parent_key="c")
    add(db, "4", thread="t")
    add(db, "fork", thread="t", memo_run=2, memo_seq=1)
    event(db, 1, "run.accepted", None, 2)
    event(db, 2, "run.cancelled", None, 2)
    outcomes(db, (1, 5), (3, 5), (1, 6), (4, 5), (1, 9))
    assert heard(db, "fork") == 3
    assert threads.branch(db, "d", "u", 2, 2.0).upto == 3


def test_a_fork_of_a_branch_hears_what_that_shares(db: sqlite3.Connection) -> None:
    add(db, "1", thread="t")
    outcomes(db, (1, 5), (1, 6))
    add(db, "2", thread="t")
    event(db, 2, "run.started", None, 2)
    threads.branch(db, "d", "u", 2, 2.0)
    add(db, "u/1", thread="u")
    event(db, 1, "run.accepted", None, 3)
    event(db, 2, "run.started", None, 3)
    db.execute("insert into turns values ('d', 'u', 3, 3, 5)")
    event(db, 5, "step.completed", "ask[q]#1", 3)
    add(db, "of the branch", thread="u", memo_run=3, memo_seq=1)
    assert threads.heard_by(threads.query_of(db), "d", "u", "of the branch") == 2


def test_a_fork_knows_what_later_turns_could_not_sum_up_no_more_than_what_they_said(db: sqlite3.Connection) -> None:
    """That a summary had failed was told to a fork from before that, and so it made none."""
    for run in range(1, 7):
        add(db, str(run), thread="t")
        for seq, key in ((1, None), (2, "thread[q]#1"), (3, "compact[q]#1")):
            event(db, seq, "step.completed", key, run, value=str(run - 1))
        outcomes(db, (run, 5))
    add(db, "fork", thread="t", memo_run=3, memo_seq=1)
    add(db, "plain", memo_run=3, memo_seq=1)
    query = threads.query_of(db)
    for run, known in (("fork", [2, 1]), ("plain", [2, 1]), ("6", [6, 5, 2, 1])):
        found = threads.results_of(query, "d", "t", 2, 0, step="compact", run=run)
        assert [no for no, _ in found] == known, run


def test_a_summary_tells_a_fork_what_was_said_when_all_of_it_is_gone(db: sqlite3.Connection) -> None:
    for run in range(1, 9):
        add(db, str(run), thread="t")
        event(db, 2, "run.started", None, run)
        event(db, 4, "step.completed", "compact[q]#1", run)
        if run != 3:  # it failed
            outcomes(db, (run, 5))
    add(db, "9", thread="t", state="parked")
    add(db, "fork", thread="t", memo_run=4, memo_seq=2, state="parked")
    db.execute("insert into summaries values ('d', 't', 2, 3, 4)")
    db.execute("insert into summaries values ('d', 't', 5, 8, 4)")
    assert heard(db, "fork") == 2
    page = retention._delete(db, list(range(10, 0, -1)), 2.0)
    retention._forget_turns(db)
    assert [no for no, *_ in page.collected] == [7, 6, 5, 2, 1]
    assert heard(db, "fork") == 2
    found = threads.summed_up(threads.query_of(db), "d", "t", 2)
    assert found is not None and found.run == 3
