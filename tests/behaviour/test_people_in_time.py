"""All times of a question count from asking, also where no process was there to see them pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from segue import Engine, Run, approve, escalate, flow, step, wait_for
from segue.core.codec import dumps
from segue.core.events import EventType
from segue.core.faults import Fault
from segue.core.questions import question_id
from segue.core.records import ApprovalDecided, record_of
from segue.core.recovery import Answer, AskPerson, Attempt, Take
from segue.errors import AlreadyDecided, RunFailed
from segue.journal import Post, tables
from segue.journal.connect import connect
from segue.testing import simulated
from tests.behaviour.test_asking_people import waiting
from tests.behaviour.world import World, events_of, in_state, kinds_of, until

HOUR = 3600.0


@flow(name="asks_in_time")
async def asks() -> str:
    said = await approve(
        "Pay?",
        by="lead",
        remind_s=HOUR,
        reassign_s=2 * HOUR,
        or_else=["cfo", "owner"],
        timeout_s=6 * HOUR,
        default=None,
    )
    return said.by


async def hours_of(run: Run[Any], asked_at: float) -> list[tuple[str, int]]:
    """What was said, and after how many hours it is on record."""
    found: list[tuple[str, int]] = []
    for event in await events_of(run):
        record = record_of(event) if event.type == EventType.APPROVAL_DECIDED else None
        if isinstance(record, ApprovalDecided):
            found.append((record.verdict.value, round((event.at - asked_at) / HOUR)))
    return found


async def asked_and_left(world: World) -> float:
    """A question that waits, and a process that has gone."""
    async with world.parking() as engine:
        run = await engine.start(asks, id="r")
        (item,) = await waiting(engine)
        await in_state(run, "parked")
    return item.asked_at


@simulated
async def test_a_question_ends_in_its_time_though_nobody_saw_its_reminder() -> None:
    """It went on for as long again after each timer that was seen late, and refused every word meanwhile."""
    world = World(None)
    asked_at = await asked_and_left(world)
    await asyncio.sleep(5 * HOUR)
    async with world.parking() as engine:
        run: Run[str] = await engine.get("r")
        (item,) = await waiting(engine, for_="owner")
        assert item.due_at == asked_at + 6 * HOUR
        with pytest.raises(RunFailed, match="nobody answered 'Pay\\?' within 21600 s"):
            await run.result()
        assert await hours_of(run, asked_at) == [
            ("reminded", 5), ("reassigned", 5), ("reassigned", 5), ("expired", 6),
        ]  # fmt: skip


@simulated
async def test_a_question_whose_time_is_over_is_decided_by_time_as_soon_as_a_process_is_there() -> None:
    world = World(None)
    asked_at = await asked_and_left(world)
    await asyncio.sleep(9 * HOUR)
    async with world.parking() as engine:
        run: Run[str] = await engine.get("r")
        with pytest.raises(RunFailed):
            await run.result()
        assert [at for _, at in await hours_of(run, asked_at)] == [9, 9, 9, 9]


@simulated
async def test_after_a_pause_the_times_are_those_of_before() -> None:
    async with World(None).engine() as engine:
        run = await engine.start(asks, id="r")
        (item,) = await waiting(engine)
        await run.pause()
        await asyncio.sleep(5 * HOUR)
        await run.resume()
        with pytest.raises(RunFailed):
            await run.result()
        assert (await hours_of(run, item.asked_at))[-1] == ("expired", 6)


@simulated
async def test_a_word_in_time_counts_also_where_it_is_taken_up_after_it() -> None:
    world = World(None)
    await asked_and_left(world)
    async with world.engine(recover=False) as sender:
        await sender.decide("r", approved=True, by="ada")
    await asyncio.sleep(9 * HOUR)
    async with world.parking() as engine:
        run: Run[str] = await engine.get("r")
        assert await run.result() == "ada"


@simulated
async def test_a_fork_has_as_much_time_as_was_left_for_all_that_comes_next() -> None:
    async with World(None).engine() as engine:
        run = await engine.start(asks, id="r")
        (item,) = await waiting(engine)
        await asyncio.sleep(1.5 * HOUR)  # the reminder is over, the reassignment is set
        await run.cancel()
        await asyncio.sleep(100 * HOUR)
        fork = await _forked(run)
        (again,) = await waiting(engine)
        assert again.id != item.id and again.due_at is not None
        with pytest.raises(RunFailed):
            await fork.result()
        assert engine.clock.now() == pytest.approx(again.due_at, abs=1)
        with pytest.raises(AlreadyDecided, match="its time was over"):
            await engine.decide(again.id, approved=True, by="ada")


async def _forked(run: Run[str]) -> Run[str]:
    """A fork from right after the reminder."""
    said = [e for e in await events_of(run) if e.type == EventType.APPROVAL_DECIDED]
    return await run.fork(at=said[0].seq)


@flow(name="escalates_what_takes_too_long")
async def escalates(seconds: float) -> str:
    try:
        return str(await wait_for("delivered", timeout_s=seconds))
    except TimeoutError:
        return await escalate("Nothing has come. What now?", by="lead")


async def test_a_fork_keeps_the_answer_to_what_took_too_long(world: World) -> None:
    """The error named its run, and was shown: the fork asked something else, and what was answered was lost."""
    async with world.engine() as engine:
        run = await engine.start(escalates, 0.05)
        (item,) = await waiting(engine)
        (told,) = item.story
        assert told["error"].startswith("TimeoutError: ") and run.id not in told["error"]
        await item.answer("send it again", by="ada")
        assert await run.result() == "send it again"
        assert await (await run.fork()).result() == "send it again"


@flow(name="asks_for_a_second")
async def asks_for_a_second() -> str:
    return (await approve("Pay?", by="lead", timeout_s=1.0)).by


def asks_the_lead(fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
    return AskPerson("lead", timeout_s=1.0)


@step(retry=asks_the_lead)
async def bills() -> str:
    raise ValueError("no address")


@flow(name="bills_with_help")
async def bills_with_help() -> str:
    return await bills()


def from_elsewhere(path: Path, id: str, **word: Any) -> None:
    """A word is sent by an engine of its own, while this thread stands still."""

    async def sent() -> None:
        async with Engine(str(path), recover=False) as engine:
            await engine.decide(id, by="ada", **word)

    sender = Thread(target=lambda: asyncio.run(sent()))
    sender.start()
    sender.join()


@pytest.mark.parametrize("flow_, word", [(asks_for_a_second, {"approved": True}), (bills_with_help, {"answer": "ada"})])
async def test_a_word_in_time_counts_though_its_process_stood_still_until_the_time_was_over(
    tmp_path: Path, flow_: Any, word: dict[str, Any]
) -> None:
    """It was told that it is sent, and then nobody had answered in time."""
    path = tmp_path / "x.db"
    async with Engine(str(path)) as engine:
        run = await engine.start(flow_, id="r")
        (item,) = await waiting(engine)
        from_elsewhere(path, item.id, **word)
        time.sleep(max(0.0, (item.due_at or 0.0) - time.time()))
        assert await run.result() == "ada"
        assert await (await run.fork()).result() == "ada"


def posted(path: Path, kind: str, name: str, body: dict[str, Any], value: bytes | None = None) -> None:
    """What another process sends that is killed before it rings: it is seen when the time is over, and not before."""
    with closing(connect(str(path))) as database:
        database.execute("begin immediate")
        tables.post(database, Post("r", kind, "1", name, time.time(), value, dumps(body)))
        database.execute("commit")


async def test_a_pause_in_time_holds_the_end_of_the_time_back(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with Engine(str(path), tick_s=30.0) as engine:
        run = await engine.start(bills_with_help, id="r")
        await waiting(engine)
        posted(path, "pause", "", {"by": "ann"})
        await asyncio.sleep(1.2)
        assert EventType.RUN_PAUSED in await kinds_of(run)
        assert EventType.APPROVAL_DECIDED not in await kinds_of(run), "it ran out while the run was paused"
        await run.resume(by="ann")
        with pytest.raises(RunFailed):
            await run.result()
        assert EventType.APPROVAL_DECIDED in await kinds_of(run)


@pytest.mark.parametrize("act", ["result", "retry"])
async def test_an_override_in_time_is_not_followed_by_that_nobody_has_answered(tmp_path: Path, act: str) -> None:
    path = tmp_path / "x.db"
    async with Engine(str(path), tick_s=30.0) as engine:
        run = await engine.start(bills_with_help, id="r")
        (item,) = await waiting(engine)
        posted(path, "override", item.key, {"act": act, "by": "ann"}, b'"by hand"' if act == "result" else None)
        await asyncio.sleep(1.2)
        assert EventType.OPERATOR_ACTED in await kinds_of(run)
        assert EventType.APPROVAL_DECIDED not in await kinds_of(run)
        if act == "result":
            assert await run.result() == "by hand"
        else:
            (again,) = await engine.inbox()
            assert again.id != item.id, "it was made again, and asks anew"


# a step's question ends in its time too


def asks_for_hours(fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
    return AskPerson("lead", timeout_s=6 * HOUR, default=Take("the default"))


@step(retry=asks_for_hours)
async def ships() -> str:
    raise ValueError("no address")


@flow(name="ships_with_help")
async def ships_with_help() -> str:
    return await ships()


async def left_asking(world: World, flow_: Any = ships_with_help) -> str:
    """A step's question that waits, and a process that has gone. Gives the key of the step."""
    async with world.parking() as engine:
        run = await engine.start(flow_, id="r")
        await until(lambda: engine.journal.query("select 1 from events where type = 'approval.asked'"))
        await in_state(run, "parked")
        return next(e.key or "" for e in await events_of(run) if e.type == EventType.APPROVAL_ASKED)


async def result_of(world: World) -> Any:
    """What comes of it once a process is there."""
    async with world.parking() as engine:
        return await (await engine.get("r")).result()


@pytest.mark.parametrize("hours", [6, 9])
@simulated
async def test_a_word_to_a_step_that_comes_after_its_time_is_refused_while_no_process_is_there(hours: int) -> None:
    world = World(None)
    key = await left_asking(world)
    async with world.engine(recover=False) as sender:
        run: Run[Any] = await sender.get("r")
        (item,) = await sender.inbox()
        await asyncio.sleep(max(0.0, item.asked_at + hours * HOUR - sender.clock.now()))
        words: list[dict[str, Any]] = [{"result": "by hand"}, {"retry": True}, {"fail": True}]
        for word in words:
            assert not await run.decide(key, by="ada", **word)
        words = [{"answer": "by hand"}, {"approved": False}, {"to": "bob"}]
        for word in words:
            with pytest.raises(AlreadyDecided, match="its time was over: the default holds"):
                await sender.decide(item.id, by="ada", **word)
    assert await result_of(world) == "the default"


@simulated
async def test_a_word_to_a_step_in_time_counts_also_where_it_is_taken_up_after_it() -> None:
    world = World(None)
    key = await left_asking(world)
    await asyncio.sleep(5 * HOUR)
    async with world.engine(recover=False) as sender:
        assert await (await sender.get("r")).decide(key, result="by hand", by="ada")
    await asyncio.sleep(9 * HOUR)
    assert await result_of(world) == "by hand"


@simulated
async def test_an_override_is_not_bound_by_the_time_of_a_question() -> None:
    world = World(None)
    key = await left_asking(world)
    await asyncio.sleep(9 * HOUR)
    async with world.engine(recover=False) as sender:
        await (await sender.get("r")).override(key, "by hand", by="ada")
    assert await result_of(world) == "by hand"


@simulated
async def test_a_late_word_to_a_step_that_was_sent_all_the_same_is_on_record_and_changes_nothing() -> None:
    """As an older version of Segue sends it."""
    world = World(None)
    key = await left_asking(world)
    await asyncio.sleep(9 * HOUR)
    async with world.engine(recover=False) as sender:
        await sender.journal.post(late_word(sender, key, {"word": "result", "by": "ada", "why": "I know"}))
    assert await result_of(world) == "the default"
    async with world.engine(recover=False) as reader:
        said = [record_of(e) for e in await events_of(await reader.get("r")) if e.type == EventType.APPROVAL_DECIDED]
        assert [(s.verdict, s.by) for s in said if isinstance(s, ApprovalDecided)] == [
            ("refused", "ada"), ("expired", "segue"),
        ]  # fmt: skip


def late_word(sender: Engine, key: str, body: dict[str, Any]) -> Post:
    return Post("r", "decide", question_id(key, 1), key, sender.clock.now(), b'"late"', dumps(body))


@simulated
async def test_a_pause_lengthens_no_question_of_a_step() -> None:
    """A word that came in a pause was taken, however late it was."""
    async with World(None).engine() as engine:
        run = await engine.start(ships_with_help, id="r")
        (item,) = await waiting(engine)
        await run.pause()
        await asyncio.sleep(9 * HOUR)
        assert not await run.decide(item.key, result="by hand", by="ada")
        await run.resume()
        assert await run.result() == "the default"


def asks_a_service(fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
    return AskPerson("a service", timeout_s=6 * HOUR, default=Take("the default"), service=True)


@step(retry=asks_a_service)
async def served() -> str:
    raise ValueError("queued")


@flow(name="is_served")
async def is_served() -> str:
    return await served()


@simulated
async def test_what_a_service_answers_is_taken_however_late_while_nobody_has_seen_that_its_time_is_over() -> None:
    world = World(None)
    key = await left_asking(world, is_served)
    await asyncio.sleep(9 * HOUR)
    async with world.engine(recover=False) as sender:
        await sender.journal.post(late_word(sender, key, {"word": "result", "by": "the service"}))
    assert await result_of(world) == "late"


def asks_without_a_limit(fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
    limit = HOUR if len(history) == 1 else None
    return AskPerson("lead", f"question {len(history)}", timeout_s=limit)


@step(retry=asks_without_a_limit)
async def sends() -> str:
    raise ValueError("no address")


@flow(name="sends_with_help")
async def sends_with_help() -> str:
    return await sends()


@pytest.mark.parametrize("restart", [True, False])
@simulated
async def test_a_question_without_a_limit_does_not_end_with_the_one_before_it(restart: bool) -> None:
    """Taken up from its journal it had the limit of the first one, and was over."""
    world = World(None)
    async with world.parking() as engine:
        run: Run[Any] = await engine.start(sends_with_help, id="r")
        (first,) = await waiting(engine)
        assert await run.decide(first.key, retry=True, by="ada")
        await until(lambda: len(engine.journal.query("select 1 from events where type = 'approval.asked'")) == 2)
        if not restart:
            await asyncio.sleep(9 * HOUR)
            assert await run.decide(first.key, result="by hand", by="ada")
            assert await run.result() == "by hand"
            return
    await asyncio.sleep(9 * HOUR)
    async with world.parking() as engine:
        run = await engine.get("r")
        await run.signal("anything")  # it is taken up from its journal
        await asyncio.sleep(HOUR)
        (second,) = await engine.inbox()
        assert (second.question, second.due_at) == ("question 2", None)
        assert await run.decide(second.key, result="by hand", by="ada")
        assert await run.result() == "by hand"
