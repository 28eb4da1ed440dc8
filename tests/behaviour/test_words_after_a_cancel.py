"""A person's word on what a run asks, once the run was asked to end: it would come to nothing, so it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from segue import Engine, Run, approve, ask_human, detach, flow, step, wait_for
from segue.core.faults import Fault
from segue.core.recovery import AskPerson
from segue.errors import AlreadyDecided, RunCancelled, RunEnded
from segue.runtime.questions import InboxItem
from tests.behaviour.test_asking_people import said_of, waiting
from tests.behaviour.world import World, in_state, kinds_of

Word = Callable[[InboxItem], Coroutine[Any, Any, None]]
WORDS: dict[str, Word] = {
    "approve": lambda item: item.approve(by="ada"),
    "deny": lambda item: item.deny(by="ada"),
    "reassign": lambda item: item.reassign("bob", by="ada"),
}


@flow
async def pays() -> str:
    return f"paid: {bool(await approve('Pay?', by='lead'))}"


@flow
async def rolls_back() -> str:
    try:
        await approve("Pay?")
    finally:
        if await approve("Roll back?"):
            await undo()
    return "paid"


@step
async def undo() -> None: ...


def asks(fault: Fault, history: object, luck: float) -> AskPerson:
    return AskPerson("ann")


@step(retry=asks)
async def fetch() -> str:
    raise ConnectionError("gone")


@flow
async def fetches() -> str:
    return await fetch()


@flow
async def unlocks() -> str:
    try:
        return await ask_human("Which?")
    finally:
        await wait_for("key", returns=str)


async def cancelled(run: Run[Any]) -> None:
    with pytest.raises(RunCancelled):
        await run.result()


async def left(world: World, flow_: Any) -> tuple[InboxItem, Engine]:
    """What run `r` asks, itself or by a child, once all is parked; and an engine that carries nothing out."""
    async with world.parking() as engine:
        run = await engine.start(flow_, id="r")
        (item,) = await waiting(engine)
        await in_state(run, "parked")
        await in_state(await engine.get(item.run), "parked")
    engine = world.engine()
    engine.carries = False
    return item, engine


@pytest.mark.parametrize("word", WORDS)
async def test_while_nobody_carries_the_run_out_it_is_refused_and_says_who_ends_it(world: World, word: str) -> None:
    """It was taken, and when the run went on it ended all the same."""
    item, engine = await left(world, pays)
    async with engine:
        await (await engine.get("r")).cancel(by="ops", why="too late")
        assert await engine.inbox() == []
        for given in (item.id, "r"):
            with pytest.raises(RunEnded, match=r"asked to end \(ops: too late\): nobody is asked 'Pay\?' any") as ended:
                await engine.decide(given, approved=True, by="ada")
            assert ended.value.key == item.key and "segue fork r" in (ended.value.remedy or "")
        with pytest.raises(RunEnded, match="asked to end"):
            await WORDS[word](item_of(item, engine))
    async with world.engine() as engine:
        run = await engine.get("r")
        await cancelled(run)
        assert "signal.received" not in await kinds_of(run)


@flow
async def orders() -> str:
    return await pays()


@flow
async def leaves() -> str:
    await detach(pays, id="d")
    return await wait_for("go", returns=str)


@pytest.mark.parametrize("above", [orders, leaves], ids=["awaited", "detached"])
async def test_so_is_one_on_what_a_child_asks_that_the_run_waits_for(world: World, above: Any) -> None:
    """It was taken: the child made what was approved, after its parent was asked to end."""
    item, engine = await left(world, above)
    async with engine:
        await (await engine.get("r")).cancel(by="ops")
        if above is leaves:
            assert [one.id for one in await engine.inbox()] == [item.id], "a detached run goes on"
            return
        assert await engine.inbox() == []
        with pytest.raises(RunEnded, match=r"asked to end \(ops\)"):
            await engine.decide(item.id, approved=True, by="ada")
        with pytest.raises(RunEnded, match="asked to end"):
            await item_of(item, engine).approve(by="ada")
    async with world.engine() as engine:
        await cancelled(await engine.get("r"))
        await in_state(await engine.get(item.run), "cancelled")


def item_of(item: InboxItem, engine: Any) -> InboxItem:
    """An item that was read before, for another engine."""
    object.__setattr__(item, "_engine", engine)
    return item


@pytest.mark.parametrize("word", WORDS)
async def test_it_is_refused_right_after_a_cancel_of_a_run_that_is_carried_out(
    world: World, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.engine() as engine:
        run = await engine.start(pays)
        (item,) = await waiting(engine)
        with monkeypatch.context() as held:  # once it is taken up, and until that is on disk, a word still counts
            held.setattr(engine.host, "scan_soon", lambda: None)
            await run.cancel()
            with pytest.raises(RunEnded, match=r"nobody is asked 'Pay\?' any more"):
                await WORDS[word](item)
        engine.host.scan_soon()
        await cancelled(run)


@pytest.mark.parametrize("word", WORDS)
async def test_of_a_cancel_and_a_word_at_once_the_first_counts(world: World, word: str) -> None:
    """A question that was open when its word was made ready may no longer be when it is put into the inbox."""
    async with world.engine() as engine:
        run = await engine.start(pays)
        (item,) = await waiting(engine)
        ending, given = await asyncio.gather(run.cancel(), WORDS[word](item), return_exceptions=True)
        assert ending is None and isinstance(given, RunEnded) and "asked to end" in given.message
        await cancelled(run)


async def test_a_word_that_came_before_the_cancel_counts(world: World) -> None:
    item, engine = await left(world, pays)
    async with engine:
        item = item_of(item, engine)
        await item.approve(by="ada")
        await (await engine.get("r")).cancel(by="ops")
        with pytest.raises(AlreadyDecided, match="ada has approved it"):
            await item.deny(by="bob")
    async with world.engine() as engine:
        run = await engine.get("r")
        assert await run.result() == "paid: True"
        assert [said[:2] for said in await said_of(run)] == [("approved", "ada")]


async def test_what_is_asked_in_the_cleanup_can_be_answered(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(rolls_back, id="r")
        (item,) = await waiting(engine)
        await run.cancel(by="ops")
        with pytest.raises(RunEnded):
            await item.approve(by="ada")
        while [one.question for one in await engine.inbox()] != ["Roll back?"]:
            await asyncio.sleep(0.005)
        (again,) = await engine.inbox()
        await in_state(run, "parked")
        await again.approve(by="ada")
        await cancelled(run)
        assert [said[:2] for said in await said_of(run)] == [("withdrawn", "segue"), ("approved", "ada")]
        assert "step.completed" in await kinds_of(run)


async def test_a_second_cancel_ends_what_the_cleanup_asks_too(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(rolls_back, id="r")
        await waiting(engine)
        await run.cancel()
        while [one.question for one in await engine.inbox()] != ["Roll back?"]:
            await asyncio.sleep(0.005)
        (again,) = await engine.inbox()
        await run.cancel(by="ops")
        with pytest.raises(RunEnded, match=r"nobody is asked 'Roll back\?' any more"):
            await again.approve(by="ada")
        await cancelled(run)


async def test_what_a_failed_step_asks_takes_no_word_either(world: World) -> None:
    item, engine = await left(world, fetches)
    async with engine:
        run = await engine.get("r")
        await run.cancel(by="ops")
        assert await engine.inbox() == []
        with pytest.raises(RunEnded, match=r"asked to end \(ops\)"):
            await run.decide(item.key, result="x", by="ada")
        with pytest.raises(RunEnded, match=r"asked to end \(ops\)"):
            await item_of(item, engine).answer("x", by="ada")
    async with world.engine() as engine:
        await cancelled(await engine.get("r"))


async def test_a_signal_that_answers_no_question_is_taken_after_a_cancel(world: World) -> None:
    """The cleanup may wait for it."""
    async with world.parking() as engine:
        run = await engine.start(unlocks, id="r")
        await waiting(engine)
        await in_state(run, "parked")
    engine = world.engine()
    engine.carries = False
    async with engine:
        run = await engine.get("r")
        await run.cancel()
        await run.signal("key", "k")
    async with world.engine() as engine:
        await cancelled(await engine.get("r"))
