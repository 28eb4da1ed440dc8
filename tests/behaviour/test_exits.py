"""Steps and flows that leave by another door than an Exception."""

from __future__ import annotations

import asyncio
import sys

import pytest

from segue import RunFailed, flow, step
from segue.errors import StepFailed
from tests.behaviour.world import World


@step
async def exits() -> int:
    sys.exit(3)


@step
def exits_in_a_thread() -> int:
    sys.exit("enough")


@step
def interrupts_in_a_thread() -> int:
    raise KeyboardInterrupt


@step
async def leaks() -> int:
    inner = asyncio.ensure_future(asyncio.sleep(60))
    asyncio.get_running_loop().call_soon(inner.cancel)
    return await inner or 1


@flow
async def one(which: str) -> int:
    return await {"exits": exits, "thread": exits_in_a_thread, "ctrl-c": interrupts_in_a_thread, "leaks": leaks}[
        which
    ]()


@flow
async def catches(which: str) -> str:
    try:
        await one.function(which)
    except StepFailed as error:
        return str(error)
    return ""


@flow
async def exits_itself() -> int:
    sys.exit(4)


@pytest.mark.parametrize("which", ["exits", "thread", "ctrl-c", "leaks"])
async def test_a_step_that_leaves_by_another_door_has_failed(world: World, which: str) -> None:
    if which in ("thread", "ctrl-c") and world.virtual:
        pytest.skip("virtual time has no threads")
    async with world.engine() as engine:
        with pytest.raises(RunFailed, match=r"sys\.exit|KeyboardInterrupt|CancelledError"):
            await asyncio.wait_for(engine.run(one, which), 5)


@pytest.mark.parametrize("which", ["exits", "leaks"])
async def test_a_flow_may_catch_it(world: World, which: str) -> None:
    async with world.engine() as engine:
        assert "the step" in await engine.run(catches, which)


async def test_a_flow_that_exits_has_failed(world: World) -> None:
    async with world.engine() as engine:
        with pytest.raises(RunFailed, match="SystemExit"):
            await asyncio.wait_for(engine.run(exits_itself), 5)
