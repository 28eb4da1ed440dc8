"""Whoever asked gives up waiting: what was asked for is done all the same."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from segue import flow, step
from tests.behaviour.world import World, in_state, until

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
