"""What a fork would apply again: the once-effects of the run, and those of the children that it starts anew."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from segue import Run, continue_as_new, detach, flow, gather, step, timeout, wait_for
from tests.behaviour.world import World, events_of, in_state, keys_of

paid: list[str] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    paid.clear()


@step
async def look(what: str) -> int:
    return 1


@step(effect="once")
async def pay(order: str) -> str:
    paid.append(order)
    return f"paid {order}"


@flow
async def settle(order: str) -> str:
    return await pay(order)


@flow
async def settle_below(order: str) -> str:
    return await settle(order)


@flow
async def settle_apart(order: str) -> str:
    await detach(settle, order)
    return await detach(settle, order, id=f"{order} by name")


@flow
async def settle_and_go_on(order: str, part: int = 0) -> str:
    if part == 0:
        await pay(order)
        continue_as_new(order, 1)
    return order


@flow
async def settle_slowly(order: str) -> str:
    await pay(order)
    return str(await wait_for("go"))


@flow
async def asks(order: str, way: str) -> str:
    """What is settled in one of these ways, after a look."""
    await look(order)
    by: dict[str, Any] = {"awaited": settle, "below": settle_below, "apart": settle_apart, "on": settle_and_go_on}
    if way == "detached":
        await detach(settle, order)
    elif way == "detached by name":
        await detach(settle, order, id=f"{order} by name")
    elif way == "twice":
        await gather(settle(order), settle(order))
    else:
        await by[way](order)
    return str(await look("after"))


def names(keys: list[str]) -> list[str]:
    """The calls that keys are made of, without what they are called with."""
    return ["/".join(part.partition("[")[0] for part in key.split("/")) for key in keys]


async def key_of(run: Run[Any], name: str, type_: str = "step.completed") -> str:
    """The key of the first event of this type whose key begins with a name."""
    return next(key for key in await keys_of(run, type_) if key.startswith(f"{name}["))


async def all_end(engine: Any) -> None:
    for (run,) in engine.journal.query("select id from runs"):
        await in_state(await engine.get(run), "completed")


@pytest.mark.parametrize(
    ("way", "again"),
    [
        ("awaited", ["settle/pay"]),
        ("below", ["settle_below/settle/pay"]),
        ("on", ["settle_and_go_on/pay"]),
        ("detached", ["settle/pay"]),
        ("detached by name", []),
        ("apart", ["settle_apart/settle/pay"]),
        ("twice", ["gather#1/0/settle/pay", "gather#1/1/settle/pay"]),
    ],
)
async def test_children_that_are_started_anew_apply_theirs_again(world: World, way: str, again: list[str]) -> None:
    async with world.engine() as engine:
        run = await engine.start(asks, "o", way, id="r")
        await run.result()
        await all_end(engine)
        first = await key_of(run, "look")
        last = (await events_of(run))[-2].key
        before, fork = len(paid), await run.fork(at=first, id="fork")
        told = await fork.repeats()
        assert names(told) == again
        await fork.result()
        await all_end(engine)
        assert len(paid) - before == len(again)
        assert await (await run.fork(at=last)).repeats() == []
        assert await (await run.fork()).repeats() == []


@flow
async def waits_for_it(order: str) -> str:
    return await settle_slowly(order)


async def test_a_child_on_its_way_is_started_anew_and_so_is_its_effect(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(waits_for_it, "o", id="r")
        await in_state(run, "parked")
        child = await key_of(run, "settle_slowly", "child.started")
        await in_state(await engine.get(f"r/{child}"), "parked")
        whole = await run.fork(id="whole")
        assert names(await whole.repeats()) == ["settle_slowly/pay"], "its start is kept, and its end is not"
        in_turn = await whole.fork(id="in turn")
        assert names(await in_turn.repeats()) == ["settle_slowly/pay"]
        given = await run.fork(results={child: "said"}, id="given")
        assert await given.repeats() == []
        assert await given.result() == "said"
        for one in ("r", "whole", "in turn"):
            await in_state(await engine.get(one), "parked")
            await (await engine.get(f"{one}/{child}")).signal("go", "went")
            assert await (await engine.get(one)).result() == "went"
        assert len(paid) == 3


async def test_a_child_whose_end_was_said_is_not_started_anew(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(waits_for_it, "o", id="r")
        await in_state(run, "parked")
        child = await key_of(run, "settle_slowly", "child.started")
        await in_state(await engine.get(f"r/{child}"), "parked")
        await run.override(child, "said")
        assert await run.result() == "said"
        fork = await run.fork()
        assert await fork.repeats() == []
        assert await fork.result() == "said"
        assert names(await (await run.fork(at=child)).repeats()) == ["settle_slowly/pay"]


@flow
async def gives_up_then_looks(order: str) -> str:
    try:
        async with timeout(1):
            await settle_slowly(order)
    except TimeoutError:
        pass
    return str(await look(order))


async def test_a_child_that_was_given_up_is_not_started_anew(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(gives_up_then_looks, "o", id="r")
        assert await run.result() == "1"
        fork = await run.fork(at=await key_of(run, "look"))
        assert await fork.repeats() == []
        assert await fork.result() == "1"
        assert paid == ["o"]


@flow
async def in_parts(order: str, part: int = 0) -> str:
    if part == 0:
        task = asyncio.ensure_future(settle_slowly(order))
        await look(order)
        await wait_for("on")
        task.cancel()
        continue_as_new(order, 1)
    await look(order)
    return await settle(order)


async def test_a_part_that_went_on_as_new_leaves_its_children_behind(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(in_parts, "o", id="r")
        await in_state(run, "parked")
        child = await engine.get(f"r/{await key_of(run, 'settle_slowly', 'child.started')}")
        await in_state(child, "parked")
        await run.signal("on")
        assert await run.result() == "paid o"
        early, late = await key_of(run, "look"), await key_of(run, "continued#1/look")
        assert names(await (await run.fork(at=early)).repeats()) == ["settle_slowly/pay", "continued#1/settle/pay"]
        assert names(await (await run.fork(at=late)).repeats()) == ["continued#1/settle/pay"]
        settled = await key_of(run, "continued#1/settle", "child.ended")
        assert await (await run.fork(at=late, results={settled: "said"})).repeats() == []


async def test_what_a_fork_was_given_a_result_for_is_not_repeated(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(asks, "o", "awaited", id="r")
        await run.result()
        at, child = await key_of(run, "look"), await key_of(run, "settle", "child.ended")
        fork = await run.fork(at=at, results={child: "said"}, id="f")
        assert await fork.repeats() == []
        assert await fork.result() == "1"
        again = await fork.fork(at=child)
        assert await again.repeats() == [child], "what it was given is what the first run has paid"
        assert await again.result() == "1"
