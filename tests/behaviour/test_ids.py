"""Ids: what is asked twice, and what another run has taken."""

from __future__ import annotations

import asyncio

import pytest

from segue import RunCancelled, RunFailed, flow, sleep, step, wait_for
from segue.errors import DuplicateRun
from tests.behaviour.world import World, until

cleaned: list[str] = []


@step
async def nought() -> int:
    return 0


@flow
async def waits() -> bool:
    return await wait_for("go", returns=bool)


@flow
async def cleans_up_slowly() -> bool:
    try:
        return await wait_for("go", returns=bool)
    except asyncio.CancelledError:
        cleaned.append("began")
        await wait_for("swept", returns=bool)
        cleaned.append("ended")
        raise


@flow
async def other() -> int:
    return 1


@flow
async def parent() -> int:
    return await other()


async def test_a_signal_called_cancel_does_not_stand_in_a_cancels_way(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(waits, id="w")
        assert await run.signal("hello", 1, id="cancel")
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()


async def test_a_second_cancel_interrupts_a_cleanup_that_waits(world: World) -> None:
    cleaned.clear()
    async with world.engine() as engine:
        run = await engine.start(cleans_up_slowly, id="w")
        await until(lambda: run.id)
        await run.cancel()
        await until(lambda: cleaned == ["began"])
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
    assert cleaned == ["began"]


async def test_a_child_whose_id_is_taken_fails_the_call(world: World) -> None:
    async with world.engine() as engine:
        clean = await engine.start(parent, id="p")
        await clean.result()
        key = next(e.key for e in [e async for e in clean.events(follow=False)] if e.type == "child.started")
        await engine.start(waits, id=f"q/{key}")
        run = await engine.start(parent, id="q")
        with pytest.raises(RunFailed) as failed:
            await run.result()
    assert isinstance(failed.value.__cause__, DuplicateRun)
    assert f"q/{key} is taken" in str(failed.value.__cause__)


async def test_an_id_names_one_fork_only(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(other, id="a")
        await run.result()
        fork = await run.fork(id="f")
        assert (await run.fork(id="f")).id == fork.id
        with pytest.raises(DuplicateRun):
            await run.fork(id="f", results={"x#1": 1})
        with pytest.raises(DuplicateRun):
            await run.fork(id="a")


@flow
async def sleeps() -> str:
    await nought()
    await sleep(100)
    return "rested"


async def test_a_timer_has_as_much_time_left_in_a_fork(world: World) -> None:
    if not world.virtual:
        pytest.skip("it sleeps for minutes")
    async with world.engine() as engine:
        run = await engine.start(sleeps, id="s")
        await asyncio.sleep(60)
        events = [e async for e in run.events(follow=False)]
        await asyncio.sleep(1000)
        began = engine.clock.now()
        fork = await run.fork(at=events[-1].seq)
        assert await fork.result() == "rested"
        assert 30 <= engine.clock.now() - began <= 101
