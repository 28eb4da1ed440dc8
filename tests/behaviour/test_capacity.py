"""More runs than there is room for: they wait, and none of them for ever."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, suppress

import pytest

import segue
from segue import flow, gather, step, testing
from segue.runtime.embedded import parents
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


@pytest.mark.parametrize("options", [{}, {"recover": False}], ids=["recovering", "not recovering"])
def test_nor_where_nothing_is_recovered(options: dict[str, bool]) -> None:
    """An engine that recovers nothing lets in what was asked for there."""

    @testing.simulated
    async def told() -> None:
        async with testing.Engine(capacity=2, linger_s=0.0, **options) as engine:
            run = await engine.start(limits_its_children, 3600.0, id="r")
            assert await asyncio.wait_for(run.result(), 7200.0) == "in time"

    told()


@testing.simulated
async def test_a_parent_that_was_not_asked_for_here_is_not_let_in() -> None:
    async with testing.Engine(linger_s=0.0) as engine:
        await engine.start(limits_its_children, 3600.0, id="r")
        await asyncio.sleep(10)
    async with testing.Engine(after=engine, recover=False, capacity=1) as engine:
        (child, *_) = engine.journal.query("select id from runs where parent = 'r' order by no")[0]
        await (await engine.get(child)).resume(by="ann")
        await asyncio.sleep(7200)
        assert engine.host.room <= 0 and [e.row.id for e in engine.host.executions.values()] == [child]
        assert (await (await engine.get("r")).status()).state == "parked"


@flow
async def hands_down(n: int) -> None:
    await hanging_child(n)


@flow
async def limits_its_grandchildren(limit_s: float) -> str:
    with suppress(TimeoutError):
        async with segue.timeout(limit_s):
            await gather(*(hands_down(n) for n in range(3)))
    return "in time"


async def test_nor_by_those_of_its_children(world: World) -> None:
    async with world.parking(capacity=1) as engine:
        run = await engine.start(limits_its_grandchildren, 10 * world.while_s, id="r")
        assert await asyncio.wait_for(run.result(), 100 * world.while_s) == "in time"
        while await engine.runs(state="open"):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("limited", [limits_its_children, limits_its_grandchildren], ids=["children", "grandchildren"])
async def test_nor_by_what_was_taken_up_before_it(world: World, limited: segue.Flow[[float], str]) -> None:
    """Its process was killed as it was in memory, with its timer, and another one has given the others back: there is
    room for one run in the next.
    """
    if world.path is None:
        pytest.skip("an engine in memory has no ticks: a process of its own is never killed")
    async with world.engine(linger_s=1e9) as first:
        await first.start(limited, 10 * world.while_s, id="r")
        await world.pass_(1)
    with closing(sqlite3.connect(world.path)) as database:
        database.execute("update runs set state = 'running', owner = '1-dead', wake_at = null where id = 'r'")
        database.execute("update runs set state = 'queued', owner = null, wake_at = null where id != 'r'")
        database.commit()
    async with world.parking(capacity=1) as engine:
        run = await engine.get("r")
        assert await asyncio.wait_for(run.result(), 100 * world.while_s) == "in time"
        while await engine.runs(state="open"):
            await asyncio.sleep(0.01)


async def nobody_knows() -> None:
    raise LookupError("nobody knows")


@step(effect="once", reconcile=nobody_knows, timeout_s=0.01)
async def in_doubt() -> None:
    await asyncio.sleep(1e4)


@flow
async def is_set_aside() -> None:
    await gather(hanging_child(0), in_doubt())


@flow
async def limits_one_that_is_set_aside(limit_s: float) -> str:
    with suppress(TimeoutError):
        async with segue.timeout(limit_s):
            await is_set_aside()
    return "in time"


async def test_nor_where_a_run_in_between_is_set_aside(world: World) -> None:
    async with world.parking(capacity=1) as engine:
        run = await engine.start(limits_one_that_is_set_aside, 10 * world.while_s, id="r")
        while not engine.journal.runs("state = 'stuck'"):
            await world.pass_(0.1)
        assert await asyncio.wait_for(run.result(), 100 * world.while_s) == "in time"


@testing.simulated
async def test_a_look_without_room_reads_no_run_that_has_ended() -> None:
    """It is made at every tick, and a database holds many runs that have ended."""
    said: list[str] = []
    async with testing.Engine(capacity=1, linger_s=0.0) as engine:
        await engine.start(limits_its_children, 1e6, id="r")
        await asyncio.sleep(10)
        assert engine.host.room <= 0
        database = engine.journal.connection
        database.execute("update runs set state = 'running', owner = '1-dead', wake_at = null where id = 'r'")
        database.set_trace_callback(said.append)
        parents.kept_out(engine.host)
        database.set_trace_callback(None)
        looks = [sql for sql in said if " runs " in sql]
        assert len(looks) > 2
        for sql in looks:
            plan = [str(row[3]) for row in database.execute(f"explain query plan {sql}")]
            searches = [step for step in plan if "SEARCH" in step]
            assert searches and not any("SCAN runs" in step for step in plan), plan
            assert all("(id=?)" in s or "(state=? AND owner=?)" in s for s in searches), plan
            if "above" not in sql:  # nor one that waits for a place
                assert all("(id=?)" in s for s in searches), plan
