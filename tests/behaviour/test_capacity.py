"""More runs than there is room for: they wait, and none of them for ever."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import segue
from segue import flow, gather, step
from tests.behaviour.world import World


@step
async def hangs() -> None:
    await asyncio.sleep(1e9)


@flow
async def hanging_child(n: int) -> None:
    await hangs()


@flow
async def limits_its_children(limit_s: float) -> str:
    with suppress(TimeoutError):
        async with segue.timeout(limit_s):
            await gather(*(hanging_child(n) for n in range(4)))
    return "in time"


async def test_a_parent_whose_time_has_come_is_not_kept_out_by_its_children(world: World) -> None:
    async with world.parking(capacity=2) as engine:
        run = await engine.start(limits_its_children, 10 * world.while_s, id="r")
        assert await asyncio.wait_for(run.result(), 100 * world.while_s) == "in time"
        while open_ := await engine.runs(state="open"):
            assert all(one.id != "r" for one in open_)
            await asyncio.sleep(0.01)
