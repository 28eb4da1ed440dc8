"""A fork at a wait for a signal: no event has its key, and the fork waits anew."""

from __future__ import annotations

import pytest

from segue import flow, gather, step, wait_for
from segue.errors import InputError
from segue.runtime import registry
from tests.behaviour.world import World, in_state

ran: list[int] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    ran.clear()


@step
async def count(n: int) -> int:
    ran.append(n)
    return n


@flow
async def one(timeout_s: float | None = None) -> list[int]:
    first = await count(1)
    told = await wait_for("go", returns=int, timeout_s=timeout_s)
    return [first, told, await count(told)]


@flow
async def late() -> str:
    await count(1)
    try:
        return await wait_for("go", returns=str, timeout_s=5)
    except TimeoutError:
        return "nobody"


@flow
async def branches() -> list[int]:
    async def branch(n: int) -> int:
        return await wait_for("go", returns=int) + await count(n)

    return list(await gather(branch(10), branch(20)))


@pytest.mark.parametrize("timeout_s", [None, 60.0])
async def test_it_keeps_what_came_before_the_signal_that_was_taken(world: World, timeout_s: float | None) -> None:
    async with world.engine() as engine:
        run = await engine.start(one, timeout_s)
        await in_state(run, "parked")
        await run.signal("go", 7)
        assert await run.result() == [1, 7, 7]
        ran.clear()
        fork = await run.fork(at="wait[go]#1")
        await in_state(fork, "parked")
        assert ran == [], "what the wait had seen is kept"
        await fork.signal("go", 8)
        assert await fork.result() == [1, 8, 8]
        again = await fork.fork(at="wait[go]#1")
        await again.signal("go", 9)
        assert await again.result() == [1, 9, 9]


async def test_a_signal_that_came_early_is_not_taken_again(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(one)
        await run.signal("go", 7)
        assert await run.result() == [1, 7, 7]
        fork = await run.fork(at="wait[go]#1")
        await in_state(fork, "parked")
        await fork.signal("go", 8)
        assert await fork.result() == [1, 8, 8]


async def test_one_that_is_still_open(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(one)
        await in_state(run, "parked")
        fork = await run.fork(at="wait[go]#1")
        await fork.signal("go", 8)
        assert await fork.result() == [1, 8, 8]
        assert ran == [1, 8]
        assert (await run.status()).state == "parked"


async def test_one_that_was_too_late_counts_its_time_anew(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(late)
        await in_state(run, "parked")
        await run.override("timeout#1", skip=True)
        assert await run.result() == "nobody"
        fork = await run.fork(at="wait[go]#1")
        await fork.signal("go", "somebody")
        assert await fork.result() == "somebody"


async def test_each_wait_is_forked_at_its_own_signal(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(branches)
        await in_state(run, "parked")
        await run.signal("go", 1)
        await run.signal("go", 2)
        assert await run.result() == [11, 22]
        fork = await run.fork(at="gather#1/1/wait[go]#1")
        await in_state(fork, "parked")
        status = await fork.status()
        assert [wait["key"] for wait in status.waits_on] == ["gather#1/0/wait[go]#1", "gather#1/1/wait[go]#1"]


async def test_a_wait_that_the_flow_does_not_make_is_refused(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(one)
        await in_state(run, "parked")
        with pytest.raises(InputError, match="no step 'wait\\[stop\\]#1'"):
            await run.fork(at="wait[stop]#1")


async def test_without_the_code_nothing_tells_where_a_wait_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.engine() as engine:
        run = await engine.start(one)
        await run.signal("go", 7)
        await run.result()
        monkeypatch.setattr(registry, "_known", {})
        with pytest.raises(InputError, match="a wait has no event of its own, and the flow is not known here"):
            await run.fork(at="wait[go]#1")
