"""Whoever asked gives up waiting: what was asked for is done all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from segue import NotApplied, flow, step, wait_for
from segue.core.faults import Fault
from segue.core.recovery import Again, Answer, AskPerson, Attempt
from segue.errors import RunCancelled
from tests.behaviour.world import World, events_of, in_state, until

effects: list[str] = []


@step
async def one(n: int) -> int:
    return n


@flow
async def counts(n: int) -> int:
    return await one(n)


@step(effect="once")
async def takes_a_while() -> str:
    effects.append("begins")
    await asyncio.sleep(2)
    effects.append("ends")
    return "done"


@flow
async def pays() -> str:
    return await takes_a_while()


def asks(fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
    return AskPerson("ann")


def backs_off(fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
    return Again(1e6)


async def it_was_not() -> NotApplied:
    return NotApplied()


@step(effect="once", retry=asks, reconcile=it_was_not)
async def asks_a_person() -> str:
    raise ConnectionError


@step(effect="once", retry=backs_off, reconcile=it_was_not)
async def waits_for_days() -> str:
    raise ConnectionError


@flow
async def tries(which: str) -> str:
    return await (asks_a_person() if which == "asks" else waits_for_days())


@flow
async def leaves(which: str) -> str:
    forgotten = asyncio.ensure_future(tries.function(which))
    there = await wait_for("go", returns=str)
    assert not forgotten.done()
    return there


@pytest.mark.parametrize("lingers", [0.0, 100.0], ids=["parked", "in memory"])
@pytest.mark.parametrize("which", ["asks", "waits"])
@pytest.mark.parametrize("how", ["cancelled", "overridden", "left"])
async def test_an_effect_between_two_attempts_keeps_no_run_from_its_end(
    world: World, which: str, how: str, lingers: float
) -> None:
    """An attempt has failed, and time or a person is waited for: no call is on its way."""
    async with world.engine(linger_s=lingers) as engine:
        run = await engine.start(leaves if how == "left" else tries, which, id="r")
        failed = "select 1 from events where type = 'attempt.failed'"
        await until(lambda: engine.journal.query(failed))
        await world.pass_()
        if how == "cancelled":
            await run.cancel()
            with pytest.raises(RunCancelled):
                await asyncio.wait_for(run.result(), 5)
        elif how == "overridden":
            await run.override((await run.status()).waits_on[0]["key"], "there")
            assert await asyncio.wait_for(run.result(), 5) == "there"
        else:
            await run.signal("go", "there")
            assert await asyncio.wait_for(run.result(), 5) == "there"
        if how != "overridden":
            assert [e.body for e in await events_of(run) if e.type == "step.cancelled"][-1] == b'{"applied":false}'


@pytest.mark.parametrize("turns", range(8))
async def test_a_run_whose_start_nobody_waits_for_is_carried_out(world: World, turns: int) -> None:
    async with world.engine() as engine:
        asked = asyncio.create_task(engine.start(counts, 7, id="r"))
        for _ in range(turns):
            await asyncio.sleep(0)
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked
        again = await engine.start(counts, 7, id="r")
        assert await asyncio.wait_for(again.result(), 5) == 7


async def test_a_fork_that_nobody_waits_for_is_carried_out(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(counts, 7, id="r")
        await run.result()
        asked = asyncio.create_task(run.fork(id="f"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked
        if [s for s in await engine.runs() if s.id == "f"]:
            assert await asyncio.wait_for((await engine.get("f")).result(), 5) == 7


async def test_an_engine_that_nobody_waits_for_closes(world: World) -> None:
    effects.clear()
    first = world.engine()
    await first.__aenter__()
    await first.start(pays, id="p")
    run = await first.start(counts, 1, id="r")
    await run.result()
    await until(lambda: effects)
    with suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            await first.close()
    async with world.engine() as engine:
        assert await asyncio.wait_for((await engine.get("r")).result(), 5) == 1
        assert (await in_state(await engine.get("p"), "stuck")).reason == "unknown effect"
        assert effects == ["begins"]
