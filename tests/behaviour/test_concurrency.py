"""Branches and plain asyncio: the same order, live and replayed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import segue
from segue import flow, gather, step, testing
from tests.behaviour.world import World, keys_of

ran: list[str] = []


@step
async def work(n: int, late_s: float = 0.0) -> int:
    ran.append(f"+{n}")
    await asyncio.sleep(late_s)
    ran.append(f"-{n}")
    return n


@step
async def broken(n: int) -> int:
    raise LookupError(n)


async def both(world: World, flow_: Any, *args: Any) -> Any:
    """The result, live; a fork of all but the end replays to the same."""
    ran.clear()
    async with world.engine() as engine:
        run = await engine.start(flow_, *args)
        result = await run.result()
        before = list(ran)
        assert await (await run.fork()).result() == result
        assert ran == before, "a step with an outcome ran again"
    return result


@flow
async def gathered(n: int, limit: int | None) -> list[int]:
    return await gather(*(work(i, 0.01) for i in range(n)), limit=limit)


async def test_gather_keeps_the_order_and_the_limit(world: World) -> None:
    assert await both(world, gathered, 6, 2) == [0, 1, 2, 3, 4, 5]
    assert ran[:4] == ["+0", "+1", "-0", "-1"] or ran[:3] == ["+0", "+1", "-0"]
    open_, most = 0, 0
    for mark in ran:
        open_ += 1 if mark[0] == "+" else -1
        most = max(most, open_)
    assert most == 2


async def test_gather_of_nothing_and_of_hundreds(world: World) -> None:
    assert await both(world, gathered, 0, None) == []
    assert await both(world, gathered, 300, None) == list(range(300))


@flow
async def with_errors() -> list[str]:
    results = await gather(work(1), broken(2), return_exceptions=True)
    try:
        await gather(work(3, 30.0), broken(4))
    except LookupError as error:
        results.append(error)
    return [repr(r) for r in results]


async def test_an_error_cancels_the_siblings_or_is_a_result(world: World) -> None:
    assert await both(world, with_errors) == ["1", "LookupError(2)", "LookupError(4)"]
    assert "-3" not in ran


@flow
async def mapped(names: list[str]) -> list[str]:
    async def one(name: str) -> str:
        return f"{name}{await work(len(name))}"

    return await segue.map(one, names, key=lambda n: n, limit=3)


async def test_map_names_its_branches(world: World) -> None:
    nasty = ["a/b", "a", "[", "]#1", "%5B", "", "ü 😀"]
    assert await both(world, mapped, nasty) == [f"{n}{len(n)}" for n in nasty]
    async with world.engine() as engine:
        run = await engine.start(mapped, ["a"])
        await run.result()
        assert (await keys_of(run))[0].startswith("map#1/a/work[")
        with pytest.raises(segue.SegueError, match="two items have the key 'a'"):
            await engine.run(mapped, ["a", "a"])


@flow
async def first_ones(n: int) -> list[int]:
    return [r async for r in segue.as_completed(*(work(i, 0.05 * (n - i)) for i in range(n)))]


async def test_as_completed(world: World) -> None:
    assert sorted(await both(world, first_ones, 4)) == [0, 1, 2, 3]


@flow
async def plain_asyncio() -> dict[str, Any]:
    order: list[int] = []
    lock, bell, queue = asyncio.Lock(), asyncio.Event(), asyncio.Queue[int]()

    async def locked(n: int) -> None:
        async with lock:
            order.append(await work(n))
        if n == 2:
            bell.set()

    async def worker() -> None:
        while not queue.empty():
            order.append(await work(queue.get_nowait(), 0.01))

    async with asyncio.TaskGroup() as group:
        for n in range(3):
            group.create_task(locked(n))
        await bell.wait()
    for n in range(10, 16):
        queue.put_nowait(n)
    await asyncio.gather(*(worker() for _ in range(3)))
    done = [await f for f in asyncio.as_completed([work(n, 0.01 * n) for n in (23, 21, 22)])]
    first = asyncio.ensure_future(work(30))
    return {"order": order, "done": done, "last": await first}


async def test_task_groups_locks_events_queues(world: World) -> None:
    result = await both(world, plain_asyncio)
    assert result["order"][:3] == [0, 1, 2]
    assert sorted(result["order"][3:]) == list(range(10, 16))
    assert sorted(result["done"]) == [21, 22, 23]


@flow
async def task_group_fails() -> str:
    said = "no error"
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(work(1, 30.0))
            group.create_task(broken(2))
    except* LookupError as errors:
        said = repr(errors.exceptions[0])
    return said


async def test_a_task_group_cancels_its_steps(world: World) -> None:
    assert await both(world, task_group_fails) == "LookupError(2)"
    assert ran == ["+1"]


@flow
async def forgotten() -> str:
    asyncio.ensure_future(work(1, 30.0))  # noqa: RUF006  it is meant to be forgotten
    return "done"


async def test_a_forgotten_task_ends_with_the_flow(world: World) -> None:
    assert await both(world, forgotten) == "done"
    assert "-1" not in ran


@flow
async def cancelled_at_once() -> str:
    task = asyncio.ensure_future(work(1))
    await work(0)
    other = asyncio.ensure_future(work(2))
    await asyncio.sleep(0)
    other.cancel()
    await segue.wait_for("go")
    return str(await task)


async def test_a_step_that_is_cancelled_before_it_began(world: World) -> None:
    """It leaves nothing behind that would keep the run from parking."""
    async with world.parking() as engine:
        run = await engine.start(cancelled_at_once)
        for _ in range(1000):
            if (await run.status()).state == "parked":
                break
            await asyncio.sleep(0.005)
        assert (await run.status()).state == "parked"
        await run.signal("go")
        assert await run.result() == "1"


@step
async def stubborn() -> int:
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        return 1
    return 0


@flow
async def gives_up_the_stubborn() -> str:
    try:
        async with segue.timeout(0.01):
            await stubborn()
    except TimeoutError:
        await segue.sleep(0.01)
        return "timed out"
    return "no"


async def test_a_step_that_swallows_its_cancellation(world: World) -> None:
    assert await both(world, gives_up_the_stubborn) == "timed out"


@flow
async def takes_the_first(n: int) -> list[Any]:
    first: Any = None
    async for found in segue.as_completed(*(_late(i, n) for i in range(n))):
        first = found
        break
    await segue.sleep(20)
    return [first, await quick("after")]


async def _late(i: int, n: int) -> int:
    await segue.sleep((i + 1) % n)
    await quick(f"branch {i}")
    return i


@step
async def quick(what: str) -> str:
    return what


def test_leaving_as_completed_early_gives_the_other_branches_up() -> None:
    async def scenario(engine: testing.Engine) -> list[Any]:
        return await (await engine.start(takes_the_first, 4, id="r")).result()

    def check(found: list[Any], engine: testing.Engine) -> None:
        assert found == [3, "after"]
        events = engine.history("r")
        assert sum(e.type == "step.completed" for e in events) == 2, "no other branch went on"
        assert {e.key for e in events if e.type == "step.cancelled"} == {
            f"as_completed#1/{i}/sleep#1" for i in range(3)
        }

    assert testing.crash_everywhere(scenario, check=check, linger_s=0.0) > 10
