"""How far a fork hears, where children of the forked run are at work, where it is a fork of a fork, and after `gc`."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from segue import ask, flow, gather, wait_for
from segue.core.events import EventType
from segue.journal import retention, summaries, threads
from segue.testing.provider import Served, serve
from tests.agent.served import KEYS
from tests.agent.test_thread_fork_lines import add, db, event, heard, outcomes
from tests.agent.test_thread_forks import hears, opened, visits
from tests.agent.test_thread_retention import aged
from tests.agent.test_thread_runs import recalls
from tests.behaviour.world import events_of
from tests.durable.test_trouble import until

__all__ = ["db"]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


def reads(db: sqlite3.Connection, run: int, seq: int, value: int) -> None:
    event(db, seq, "step.completed", "thread[x]#1", run, value=str(value))


def begun(db: sqlite3.Connection, run: int = 1) -> None:
    event(db, 1, "run.accepted", None, run)
    event(db, 2, "run.started", None, run)


def collected(db: sqlite3.Connection, before: float = 50.0) -> list[str]:
    gone = retention._delete(db, list(range(20, 0, -1)), before)
    while retention._bury(db) is not None:
        pass
    retention._forget_turns(db)
    return [id_ for _, id_, *_ in gone.collected]


def test_what_a_child_read_before_a_fork_left_hides_nothing_from_it(db: sqlite3.Connection) -> None:
    """It had read, and its model was slow: the fork heard no more than it, not even what it had kept itself."""
    add(db, "1")
    for name in "ab":
        add(db, f"1/{name}", parent="1", parent_key=name)
    begun(db)
    reads(db, 2, 2, 0)
    reads(db, 3, 2, 0)
    outcomes(db, (3, 5))
    event(db, 5, "child.ended", "b")
    outcomes(db, (2, 5))
    event(db, 6, "child.ended", "a")
    reads(db, 1, 7, 2)
    add(db, "fork", memo_run=1, memo_seq=5)
    assert heard(db, "fork") == 1, "the word of b, whose end is kept; not that of a"


@flow
async def holds(text: str) -> str:
    """Asks, and is at work then."""
    await ask(f"{text} hello", thread="u", timeout_s=5, max_tokens=300)
    await wait_for("end", returns=str)
    return text


@flow
async def talks(text: str) -> str:
    async def talking() -> str:
        said = ""
        for n in range(3):
            await wait_for(f"s{n}", returns=str)
            said = await ask(f"{text}{n}", thread="u", timeout_s=5, max_tokens=300)
        return said

    return (await gather(holds("child"), talking()))[1]


async def test_the_word_of_a_child_at_work_hides_no_answer_that_a_fork_has_kept(tmp_path: Path) -> None:
    """All that came after it was hidden, as the child says it again. What is last is still not heard twice."""
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server) as engine:

        async def ended(run: Any) -> str:
            await until(lambda: any(row.parent == run.id for row in engine.journal.runs()))
            child = next(row.id for row in engine.journal.runs() if row.parent == run.id)
            await (await engine.get(child)).signal("end", "now")
            return await run.result()

        run = await engine.start(talks, "mine", id="run")
        for n in range(3):
            await until(lambda n=n: engine.journal.query("select count(*) from turns")[0][0] == n + 1)
            if n == 0:
                await run.fork(id="early")
            await run.signal(f"s{n}", "x")
        await until(lambda: engine.journal.query("select count(*) from turns")[0][0] == 4)
        assert await ended(run) == "heard 4: child hello | mine0 | mine1 | mine2"
        asked = [e.seq for e in await events_of(run) if e.type == EventType.STEP_COMPLETED and "ask[" in (e.key or "")]
        fork = await run.fork(at=asked[1])
        await fork.signal("s2", "x")
        assert await ended(fork) == "heard 4: child hello | mine0 | mine1 | mine2"
        assert threads.heard_by(engine.journal.query, "default", "u", "early") == 0, "the child says it again"


def test_what_a_child_detached_is_not_done_again(db: sqlite3.Connection) -> None:
    """It read the thread days later, and so a fork of a silent run, and an edit of a silent turn, heard days more."""
    add(db, "1", thread="t")
    add(db, "1/c", parent="1", parent_key="c")
    add(db, "1/c/d", parent="1/c")
    for n in range(3):
        add(db, f"v{n}")
    begun(db)
    event(db, 3, "child.started", "c")
    event(db, 4, "child.ended", "c")
    event(db, 5, "run.completed", None)
    outcomes(db, (4, 5), (5, 5), (6, 5))
    reads(db, 3, 3, 3)
    add(db, "fork", memo_run=1, memo_seq=2)
    assert heard(db, "fork") == 0
    assert threads.branch(db, "d", "u", 1, 2.0).upto == 0


@flow
async def project(text: str) -> str:
    await hears(f"{text} first")
    await wait_for("approved", returns=str)
    return await ask(f"{text} last", thread="u", timeout_s=5, max_tokens=300)


async def test_gc_keeps_the_child_whose_reading_tells_how_far_a_fork_hears(tmp_path: Path) -> None:
    """It had ended long before its parent. Without it, the fork heard what its parent read weeks later."""
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server) as engine:
        await engine.run(visits, "before")
        run = await engine.start(project, "mine", id="run")
        await until(lambda: engine.journal.get("run").state == "parked")
        await engine.run(visits, "later")
        await run.signal("approved", "yes")
        assert await run.result() == "heard 4: before | mine first | later | mine last"
        ended = next(e.seq for e in await events_of(run) if e.type == EventType.CHILD_ENDED)
        late = await run.fork(at=ended, id="late")
        await until(lambda: engine.journal.get("late").state == "parked")
        await late.cancel()
        await until(lambda: engine.journal.get("late").state == "cancelled")
        await aged(engine, "parent = 'run' or id = 'late'")
        early = await run.fork(at=2, id="early")
        await until(lambda: engine.journal.get("early").state == "parked")
        listed = await engine.gc(3600, dry_run=True)
        gone = await engine.gc(3600)
        assert (gone.runs, gone.kept) == (listed.runs, listed.kept) == (("late",), {"fork": 1})
        again = await run.fork(at=2, id="again")
        await until(lambda: engine.journal.get("again").state == "parked")
        child = next(row.id for row in engine.journal.runs() if row.parent == "again")
        assert await (await engine.get(child)).result() == "heard 2: before | mine first"
        for fork in (early, again):
            await fork.cancel()
            await until(lambda fork=fork: engine.journal.get(fork.id).state == "cancelled")
        await engine.run(visits, "newest")
        await aged(engine, "memo_run is not null or parent in ('early', 'again')")
        await engine.gc(3600)
        assert {row.parent for row in engine.journal.runs()} == {None}, "the forks are gone, and so is it"


def test_gc_takes_a_child_whose_end_all_forks_have_kept(db: sqlite3.Connection) -> None:
    add(db, "1", updated_at=100.0)
    for name in "ab":
        add(db, f"1/{name}", parent="1", parent_key=name)
    add(db, "1/b/c", parent="1/b", parent_key="c")
    add(db, "1/b/d", parent="1/b")
    begun(db)
    event(db, 3, "child.ended", "a")
    event(db, 4, "child.ended", "b")
    add(db, "fork", memo_run=1, memo_seq=4, updated_at=100.0)
    add(db, "fork of it", memo_run=6, memo_seq=3, updated_at=100.0)
    event(db, 5, "run.forked", None, 6)
    assert collected(db) == ["1/b/d", "1/a"], "b, and what is below it, is done again"


@pytest.mark.parametrize("who", ["it", "its child", "its fork"])
def test_gc_keeps_the_summary_of_a_fork_whoever_spoke(db: sqlite3.Connection, who: str) -> None:
    """It was kept only where the forked run itself had spoken in the thread."""
    for run in range(1, 5):
        add(db, f"v{run}")
        event(db, 4, "step.completed", "compact[q]#1", run)
        outcomes(db, (run, 5))
    db.execute("insert into summaries values ('d', 't', 3, 4, 4)")
    add(db, "run")
    add(db, "run/c", parent="run", parent_key="c")
    begun(db, 5)
    event(db, 3, "child.started", "c", 5)
    if who == "it":
        outcomes(db, (5, 5))
    if who == "its child":
        reads(db, 6, 2, 4)
    add(db, "v7")
    event(db, 4, "step.completed", "compact[q]#1", 7)
    outcomes(db, (7, 5))
    db.execute("insert into summaries values ('d', 't', 5, 7, 4)")
    add(db, "fork", memo_run=5, memo_seq=2, state="parked")
    add(db, "other", memo_run=7, memo_seq=5, state="parked", tenant="another")
    if who == "its fork":
        reads(db, 8, 3, 4)
    assert heard(db, "fork") == 4
    assert summaries.needed(threads.query_of(db), [7, 4], 2.0) == {4}
    collected(db, 2.0)
    assert heard(db, "fork") == 4
    assert threads.summed_up(threads.query_of(db), "d", "t", 4) == threads.Summary(3, 4, 4)


def test_what_forks_hear_is_looked_up_once_in_a_collection(db: sqlite3.Connection) -> None:
    """It was for each summary, while nobody else could write."""
    asked: list[str] = []

    def query(sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        asked.append(sql)
        return db.execute(sql, values).fetchall()

    for run in range(1, 41):
        add(db, str(run), thread="t")
        begun(db, run)
        reads(db, run, 3, run - 1)
        outcomes(db, (run, 5))
        db.execute("insert into summaries values ('d', 't', ?, ?, 4)", (run - 1, run))
    for fork in range(20):
        add(db, f"fork{fork}", thread="t", memo_run=10 + fork, memo_seq=2, state="parked")
        add(db, f"fork{fork}/c", parent=f"fork{fork}", parent_key="c", state="parked")
    counts: list[int] = []
    for runs in ([20], list(range(11, 31))):
        asked.clear()
        assert summaries.needed(query, runs, 2.0) == {run for run in runs if run < 30}
        counts.append(len(asked))
    assert counts[1] == counts[0] + 19


@flow
async def waits_then(text: str) -> str:
    await wait_for("word", returns=str)
    return await ask(text, thread="u", timeout_s=5, max_tokens=300)


async def test_a_fork_of_a_fork_hears_what_that_read(tmp_path: Path) -> None:
    """It heard what was said later, as the run at the beginning had not gone on."""
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server) as engine:
        await engine.run(visits, "before")
        run = await engine.start(waits_then, "mine", id="run")
        await until(lambda: engine.journal.get("run").state == "parked")
        fork = await run.fork()
        await fork.signal("word", "now")
        assert await fork.result() == "heard 2: before | mine"
        await engine.run(visits, "after")
        forked = next(e.seq for e in await events_of(fork) if e.type == EventType.RUN_FORKED)
        read = next(e.seq for e in await events_of(fork) if (e.key or "").startswith("thread["))
        for later in (False, True):
            if later:
                await run.signal("word", "now")
                assert await run.result() == "heard 3: before | after | mine"
            for at in (forked - 1, forked, read - 1):
                second = await fork.fork(at=at)
                if at <= forked:
                    await second.signal("word", "now")
                assert await second.result() == "heard 2: before | mine", (at, later)
                third = await second.fork(at=at)
                assert threads.heard_by(engine.journal.query, "default", "u", third.id) == 1, (at, later)


def test_a_fork_of_the_child_of_a_fork_hears_what_that_read(db: sqlite3.Connection) -> None:
    add(db, "1", state="parked")
    begun(db)
    add(db, "v")
    add(db, "fork", memo_run=1, memo_seq=2, state="parked")
    add(db, "fork/c", parent="fork", parent_key="c")
    begun(db, 4)
    outcomes(db, (2, 3))
    reads(db, 4, 3, 1)
    event(db, 4, "run.completed", None, 4)
    outcomes(db, (2, 4), (2, 5))
    add(db, "again", memo_run=4, memo_seq=2)
    add(db, "at its end", memo_run=4, memo_seq=4)
    assert [heard(db, run) for run in ("fork", "again", "at its end")] == [3, 1, 1]


@pytest.mark.parametrize("later", ["feedback.given", "attempt.recorded"])
def test_what_is_noted_of_a_run_after_its_end_moves_no_fork(db: sqlite3.Connection, later: str) -> None:
    add(db, "1")
    begun(db)
    add(db, "v")
    outcomes(db, (2, 3))
    event(db, 3, "run.completed", None)
    outcomes(db, (2, 4))
    event(db, 4, later, None)
    outcomes(db, (2, 5))
    event(db, 5, later, None)
    for at in (3, 4, 5):
        add(db, str(at), memo_run=1, memo_seq=at)
        assert heard(db, str(at)) == 1, at


def test_a_fork_does_not_share_what_failed_before_it_left_with_a_child_at_work(db: sqlite3.Connection) -> None:
    """What an early reading bounded was also which runs were in flight, and what could not be summed up."""
    add(db, "1")
    add(db, "1/a", parent="1", parent_key="a")
    begun(db)
    reads(db, 2, 2, 0)
    add(db, "2", thread="t")
    begun(db, 3)
    event(db, 3, "step.completed", "compact[q]#1", 3)
    add(db, "2/d", parent="2", state="parked")
    event(db, 1, "run.accepted", None, 4)
    event(db, 3, "signal.received", None)
    add(db, "fork", memo_run=1, memo_seq=3)
    query = threads.query_of(db)
    assert threads.in_flight(query, "d", "t", "fork") == [("2/d", "m:f")]
    assert threads.results_of(query, "d", "t", 8, 0, step="compact", run="fork") == [(3, 3)]


def test_a_summary_tells_what_was_said_where_nothing_was_said_later(db: sqlite3.Connection) -> None:
    """It was asked only where an outcome stood behind it that the fork did not hear."""
    add(db, "1")
    outcomes(db, (1, 5))
    add(db, "2", updated_at=100.0)
    event(db, 4, "step.completed", "compact[q]#1", 2)
    db.execute("insert into summaries values ('d', 't', 1, 2, 4)")
    add(db, "3", updated_at=100.0)
    begun(db, 3)
    event(db, 3, "run.completed", None, 3)
    add(db, "fork", memo_run=3, memo_seq=2, updated_at=100.0)
    assert heard(db, "fork") == 1
    assert collected(db) == ["1"]
    assert heard(db, "fork") == 1
