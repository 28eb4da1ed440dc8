"""A run that was asked to end, and that nobody carries out, says so; a child ends in its own time."""

from __future__ import annotations

import pytest

from segue import RunCancelled, flow, step, wait_for
from tests.behaviour.world import World, in_state

DONE: list[str] = []


@step
async def unlock() -> None:
    DONE.append("unlocked")


@flow
async def locked() -> str:
    try:
        return await wait_for("key", returns=str)
    finally:
        await unlock()


@flow
async def asks_it() -> str:
    return await locked()


async def test_a_status_says_that_it_is_being_cancelled(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(locked, id="l")
        assert (await in_state(run, "parked")).waits_on[0]["signal"] == "key"
    engine = world.engine()
    engine.carries = False
    async with engine:
        run = await engine.get("l")
        await run.cancel(by="ann", why="too late")
        for status in (await run.status(), (await engine.runs())[0]):
            assert (status.waits_on, status.message) == ([], "being cancelled (ann: too late)")
            assert "segue resume l" in (status.remedy or "")
    async with world.engine() as engine:
        with pytest.raises(RunCancelled):
            await (await engine.get("l")).result()
        assert (await (await engine.get("l")).status()).message is None


async def test_the_child_of_a_cancelled_run_is_waited_for_by_its_own_result(world: World) -> None:
    DONE.clear()
    async with world.engine() as engine:
        run = await engine.start(asks_it, id="p")
        while not (below := await engine.runs(parent="p")):
            await world.pass_()
        await in_state(await engine.get(below[0].id), "running", "parked")
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
        with pytest.raises(RunCancelled):
            await (await engine.get(below[0].id)).result()
        assert DONE == ["unlocked"]
