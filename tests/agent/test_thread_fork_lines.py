"""What is heard of a thread below a fork and in a branch, when turns are answered by their children."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from segue import Thread, ask, detach, flow, wait_for
from segue.core.events import EventType
from segue.errors import RunFailed
from segue.journal import threads
from segue.journal.connect import connect_memory
from segue.testing.provider import Served, serve
from tests.agent.served import KEYS
from tests.agent.test_thread_forks import after_answer, opened
from tests.agent.test_thread_retention import aged
from tests.agent.test_thread_runs import recalls
from tests.behaviour.world import events_of
from tests.durable.test_trouble import until

late: list[int] = []


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    late.clear()
    for name in KEYS:
        monkeypatch.setenv(name, "test")


@flow
async def told(text: str) -> str:
    return await ask(text, thread="t", timeout_s=5, max_tokens=300)


@flow
async def says(text: str, by: str = "itself") -> str:
    """Answers by itself, or lets a child do it; or fails."""
    if by == "nobody":
        raise ValueError(text)
    return await (told(text) if by == "child" else ask(text, timeout_s=5, max_tokens=300))


@flow
async def says_both(text: str, child: bool = True) -> str:
    """Answers, and so does its child; without one, only in a fork."""
    await ask(f"{text} self", timeout_s=5, max_tokens=300)
    return await told(f"{text} child") if child or late else "nothing"


@pytest.mark.parametrize("by", ["child", "itself", "nobody"])
async def test_a_branch_shares_the_turns_before_however_they_were_answered(tmp_path: Path, by: str) -> None:
    """It shared only what turns had said themselves."""
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server) as engine:
        thread = Thread("t", engine)
        await (await thread.start(says, "turn 0", "child")).result()
        second = await thread.start(says, "turn 1", by)
        if by == "nobody":
            with pytest.raises(RunFailed):
                await second.result()
        else:
            await second.result()
        await (await thread.start(says, "turn 2", "child")).result()
        edited = await thread.edit(second, "turn 1b", "itself")
        assert await edited.result() == "heard 2: turn 0 | turn 1b"
        assert await (await edited.fork(at=2)).result() == "heard 2: turn 0 | turn 1b"
        if by != "nobody":
            assert await (await second.fork(at=2)).result() == "heard 2: turn 0 | turn 1"


@pytest.mark.parametrize("child", [True, False])
async def test_the_child_of_a_fork_of_a_turn_hears_nothing_of_later_turns(tmp_path: Path, child: bool) -> None:
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server) as engine:
        thread = Thread("t", engine)
        first = await thread.start(says_both, "turn 0", child)
        heard = "heard 2: turn 0 self | turn 0 child"
        assert await first.result() == (heard if child else "nothing")
        await (await thread.start(says, "turn 1")).result()
        late.append(1)
        fork = await first.fork(at=await after_answer(first, 0))
        assert await fork.result() == heard
        assert await (await fork.fork()).result() == heard, "a fork of a fork too"


async def test_the_fork_of_a_child_of_a_turn_hears_nothing_of_later_turns(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server) as engine:
        thread = Thread("t", engine)
        first = await thread.start(says, "turn 0", "child")
        await first.result()
        await (await thread.start(says, "turn 1", "child")).result()
        child = next(e for e in await events_of(first) if e.type == EventType.CHILD_STARTED).key
        row = next(row for row in engine.journal.runs() if row.parent == first.id and row.parent_key == child)
        assert await (await (await engine.get(row.id)).fork(at=2)).result() == "heard 1: turn 0"


@flow
async def speaks_up(text: str) -> str:
    """Says it when it is told to."""
    await wait_for("word", returns=str)
    return await told(text)


@flow
async def sends(name: str) -> str:
    await detach(speaks_up, name, id=f"{name}-late")
    return "sent"


@flow
async def has_sent(name: str) -> str:
    return await sends(name) if late else "nothing"


async def test_what_is_below_a_fork_that_ended_says_no_turn(tmp_path: Path) -> None:
    """`gc` took the fork, and then nobody knew that the rest was only tried out."""
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server) as engine:
        first = await engine.start(has_sent, "first", id="first")
        assert await first.result() == "nothing"
        late.append(1)
        assert await (await first.fork(id="fork")).result() == "sent"
        assert await engine.run(has_sent, "plain", id="plain") == "sent"
        await until(lambda: {engine.journal.get(f"{name}-late").state for name in ("first", "plain")} == {"parked"})
        await aged(engine, "state = 'completed'")
        listed = await engine.gc(60, dry_run=True)
        gone = await engine.gc(60)
        assert (listed.runs, listed.kept) == (gone.runs, gone.kept)
        assert gone.runs == ("plain",), "it is no fork, and no parent of what is open"
        assert (gone.kept["fork"], gone.kept["child of a fork"], gone.kept["open child"]) == (1, 1, 2)
        speaking = await engine.get("first-late")
        await speaking.signal("word", "now")
        assert await speaking.result() == "heard 1: first"
        assert await (await Thread("t", engine).start(says, "turn 1")).result() == "heard 1: turn 1"
        await aged(engine, "state = 'completed'")
        assert {"first", "fork"} <= set((await engine.gc(60)).runs), "then they go"


@pytest.fixture
def db() -> sqlite3.Connection:
    db = connect_memory()
    db.execute("drop trigger events_in_order")  # only the events that matter are written
    return db


def add(db: sqlite3.Connection, id: str, **given: str | float) -> None:
    row = {
        "id": id, "tenant": "d", "flow": "m:f", "version": 1, "input_hash": "", "seed": "", "state": "completed",
        "created_at": 1.0, "updated_at": 1.0,
    } | given  # fmt: skip
    db.execute(f"insert into runs ({', '.join(row)}) values ({', '.join('?' * len(row))})", tuple(row.values()))


def outcomes(db: sqlite3.Connection, *of: tuple[int, int]) -> None:
    """Of these runs, each with the `seq` of its answer, in the order in which they came."""
    for run, seq in of:
        event(db, seq, "step.completed", "ask[q]#1", run)
        db.execute("insert into turns select 'd', 't', coalesce(max(no), 0) + 1, ?, ? from turns", (run, seq))


def heard(db: sqlite3.Connection, run: str) -> int:
    return threads.heard_by(threads.query_of(db), "d", "t", run)


def event(
    db: sqlite3.Connection, seq: int, type: str, key: str | None, run: int = 1, *, value: str | None = None
) -> None:
    args = b'{"thread":"t"}' if value is not None else None
    db.execute(
        "insert into events (run, seq, epoch, at, type, version, key, args, value) values (?, ?, 0, 1, ?, 1, ?, ?, ?)",
        (run, seq, type, key, args, None if value is None else value.encode()),
    )


def test_a_child_of_a_fork_of_a_turn_hears_what_the_fork_hears(db: sqlite3.Connection) -> None:
    add(db, "1", thread="t")
    add(db, "2", thread="t")
    add(db, "fork", thread="t", memo_run=1, memo_seq=10)
    add(db, "fork/c", parent="fork", parent_key="c")
    add(db, "fork/c/d", parent="fork/c")
    add(db, "again", memo_run=4, memo_seq=3)
    outcomes(db, (1, 5), (2, 5))
    assert [heard(db, run) for run in ("fork", "fork/c", "fork/c/d", "again")] == [1, 1, 1, 1]
    assert [heard(db, run) for run in ("1", "2")] == [2, 2], "it is no fork"


def test_a_fork_of_a_fork_hears_what_all_that_it_comes_from_kept(db: sqlite3.Connection) -> None:
    add(db, "1")
    add(db, "fork", memo_run=1, memo_seq=4)
    add(db, "later", memo_run=2, memo_seq=9)
    add(db, "earlier", memo_run=2, memo_seq=2)
    add(db, "of a child", parent="earlier", parent_key="c")
    add(db, "last", memo_run=5, memo_seq=30)
    outcomes(db, (1, 3), (1, 5))
    assert [heard(db, run) for run in ("fork", "later", "earlier", "of a child", "last")] == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("ended", [False, True], ids=["no child had ended", "a child had ended"])
def test_what_a_detached_run_said_before_a_fork_is_heard(db: sqlite3.Connection, ended: bool) -> None:
    """It was heard only if no other child had ended."""
    add(db, "1")
    add(db, "1/d", parent="1")
    add(db, "fork", memo_run=1, memo_seq=20)
    event(db, 1, "child.detached", "d")
    if ended:
        event(db, 2, "child.ended", "c")
    outcomes(db, (2, 5), (1, 8))
    assert heard(db, "fork") == 2


def test_the_fork_of_a_detached_run_hears_what_that_heard(db: sqlite3.Connection) -> None:
    """Other turns came before it spoke: it waits for none, and none waits for it."""
    add(db, "1", thread="t")
    add(db, "1/d", parent="1")
    add(db, "2", thread="t")
    add(db, "fork", memo_run=2, memo_seq=2)
    outcomes(db, (1, 5), (3, 5), (2, 8))
    assert heard(db, "fork") == 2


def test_what_a_later_turn_let_a_detached_run_say_is_not_heard(db: sqlite3.Connection) -> None:
    add(db, "1", thread="t")
    add(db, "2", thread="t")
    add(db, "2/d", parent="2")
    add(db, "fork", thread="t", memo_run=1, memo_seq=9)
    outcomes(db, (1, 5))
    event(db, 2, "run.started", None, 2)
    outcomes(db, (3, 5))
    assert heard(db, "fork") == 1
    assert threads.branch(db, "d", "u", 2, 2.0).upto == 1


@pytest.mark.parametrize("answered", [True, False])
def test_a_fork_and_a_branch_share_what_children_of_earlier_turns_said(db: sqlite3.Connection, answered: bool) -> None:
    add(db, "1", thread="t")
    add(db, "1/c", parent="1", parent_key="c")
    add(db, "2", thread="t")
    add(db, "2/c", parent="2", parent_key="c")
    add(db, "3", thread="t")
    add(db, "fork", thread="t", memo_run=3, memo_seq=2)
    outcomes(db, (2, 5))
    event(db, 2, "run.started", None, 3)
    event(db, 3, "child.started", "c", 3)
    outcomes(db, (4 if answered else 5, 5))
    assert heard(db, "fork") == 1, "as turn 2 has heard"
    assert threads.branch(db, "d", "u", 3, 2.0).upto == 1
    add(db, "u/1", thread="u")
    add(db, "of the branch", thread="u", memo_run=7, memo_seq=2)
    assert threads.heard_by(threads.query_of(db), "d", "u", "of the branch") == 1
