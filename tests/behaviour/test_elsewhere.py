"""No once-effect begins, and no child that has one, while the journal holds what may be the same under another key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import segue
from segue import Run, delegate, detach, flow, gather, step, wait_for
from segue.errors import ReplayMismatch
from segue.runtime.check import Finding, check_one
from tests.behaviour.world import World, in_state, keys_of

paid: list[str] = []
Body = Callable[[], Awaitable[Any]]


@pytest.fixture(autouse=True)
def _clean() -> None:
    paid.clear()


@step
async def look(what: str) -> str:
    return what


@step(effect="once")
async def pay(order: str, cents: int) -> str:
    paid.append(f"{order} {cents}")
    return f"paid {cents}"


@step
async def note(order: str, cents: int) -> str:
    paid.append(f"noted {cents}")
    return f"noted {cents}"


async def cashier(request: str) -> str:
    """Pays orders that are due."""
    return await pay("o", 200 if "in two parts" in request else 100)


async def branch(what: str, order: str, cents: int) -> str:
    await look(what)
    return await pay(order, cents)


@flow
async def settles(order: str) -> str:
    """Whom it asks, and with which words, depends on what it finds."""
    found = await look("due today")
    return await delegate(f"Pay this order, {found}.", to=[cashier])


async def fork_of(run: Run[Any], found: str, **more: Any) -> Run[Any]:
    """A fork that has found something else."""
    return await run.fork(results={(await keys_of(run))[0]: found} | more.pop("results", {}), **more)


async def mismatch_of(run: Run[Any]) -> ReplayMismatch:
    with pytest.raises(ReplayMismatch, match="may happen again") as stopped:
        await run.result()
    return stopped.value


@pytest.mark.parametrize("found", ["due tomorrow", "due in two parts"])
async def test_a_fork_led_elsewhere_does_not_pay_again(world: World, found: str) -> None:
    """With the same arguments, and with others."""
    async with world.engine() as engine:
        run = await engine.start(settles, "o", id="r")
        await run.result()
        (old,) = await keys_of(run, "attempt.started")
        fork = await fork_of(run, found)
        error = await mismatch_of(fork)
        assert error.key == old
        assert error.asks is not None and f"{error.asks!r} --retry" in (error.remedy or "").replace('"', "'")
        assert paid == ["o 100"]
        again = await fork.fork(at=old)
        assert await again.repeats() == [old]
        assert (await again.result()).startswith("paid") and len(paid) == 2


async def test_what_comes_of_it_may_be_said(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(settles, "o", id="r")
        await run.result()
        fork = await fork_of(run, "due tomorrow")
        new = (await mismatch_of(fork)).message.partition("asks for ")[2].partition(",")[0]
        await fork.override(new, "said")
        await fork.resume()
        assert await fork.result() == "said"
        given = await fork_of(run, "due tomorrow", results={new: "given"})
        assert await given.result() == "given"
        assert paid == ["o 100"]


def deploy(body: Body, revision: str) -> Any:
    async def main() -> Any:
        return await body()

    return flow(name="main", revision=revision)(main)


async def halfway(world: World, body: Body) -> None:
    async with world.parking() as engine:
        run = await engine.start(deploy(body, "1"), id="r")
        await in_state(run, "parked")
    paid.clear()


async def stops(world: World, body: Body, finding: Finding = Finding.MISMATCH) -> ReplayMismatch:
    deploy(body, "2")
    async with world.engine() as engine:
        run = await engine.get("r")
        assert check_one(engine.journal, engine.journal.get("r")).finding is finding
        await run.signal("go", "went")
        return await mismatch_of(run)


async def goes_on(world: World, body: Body) -> Any:
    deploy(body, "2")
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.signal("go", "went")
        return await run.result()


@pytest.mark.parametrize("new_step", [False, True])
async def test_a_payment_that_moves_into_a_branch_is_not_made_again(world: World, new_step: bool) -> None:
    async def first() -> list[str]:
        return [await pay("o", 1), str(await wait_for("go"))]

    async def then() -> list[str]:
        first = [await look("new")] if new_step else []
        return [*first, *await gather(branch("x", "o", 1), look("y")), str(await wait_for("go"))]

    await halfway(world, first)
    await stops(world, then, Finding.UNSURE)
    assert paid == []


async def test_a_payment_that_moves_out_of_a_branch_is_not_made_again(world: World) -> None:
    async def first() -> list[str]:
        return [*await gather(pay("o", 1), look("y")), str(await wait_for("go"))]

    async def then() -> list[str]:
        return [await pay("o", 1), *await gather(look("y")), str(await wait_for("go"))]

    await halfway(world, first)
    await stops(world, then)
    assert paid == []


async def test_a_payment_whose_call_still_comes_does_not_hinder_another_branch(world: World) -> None:
    async def first() -> list[Any]:
        return list(await gather(pay("a", 1), wait_for("go"), both("b", 2)))

    async def both(order: str, cents: int) -> str:
        await wait_for("go")
        return await pay(order, cents)

    async def then() -> list[Any]:
        return list(await gather(branch("new", "a", 1), wait_for("go"), branch("new too", "b", 2)))

    await halfway(world, first)
    assert await goes_on(world, then) == ["paid 1", "went", "paid 2"]
    assert paid == ["b 2"]


async def test_other_steps_move_as_they_did(world: World) -> None:
    async def first() -> list[str]:
        return [await note("o", 1), str(await wait_for("go"))]

    async def then() -> list[str]:
        return [*await gather(note("o", 1)), str(await wait_for("go"))]

    await halfway(world, first)
    assert await goes_on(world, then) == ["noted 1", "went"]


@flow
async def child(order: str, cents: int, effect: bool = True) -> str:
    return await (pay if effect else note)(order, cents)


@flow
async def above(order: str, cents: int, effect: bool = True) -> str:
    return await child(order, cents, effect)


@flow
async def waits(order: str, cents: int, effect: bool = True) -> str:
    said = await child(order, cents, effect)
    await wait_for("end")
    return said


async def apart(order: str, cents: int, effect: bool = True) -> str:
    return await detach(child, order, cents, effect)


async def by_name(order: str, cents: int, effect: bool = True) -> str:
    return await detach(child, order, cents, effect, id=f"{order} {cents}")


WAYS: dict[str, Any] = {"child": child, "above": above, "apart": apart, "by name": by_name, "waits": waits}


def called(way: str, *given: Any, new_step: bool = False) -> Body:
    async def body() -> list[str]:
        first = [await look("new")] if new_step else []
        call = asyncio.ensure_future(WAYS[way](*given))
        if way != "waits":
            await call
        return [*first, str(await wait_for("go"))]

    return body


async def settled(engine: segue.Engine) -> None:
    for (run,) in engine.journal.query("select id from runs where id != 'r'"):
        await in_state(await engine.get(run), "completed", "parked")


async def halfway_with_children(world: World, body: Body) -> None:
    async with world.parking() as engine:
        run = await engine.start(deploy(body, "1"), id="r")
        await in_state(run, "parked")
        await settled(engine)
    paid.clear()


@pytest.mark.parametrize("new_step", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_a_child_with_other_arguments_is_not_started_where_one_has_paid(
    world: World, way: str, new_step: bool
) -> None:
    await halfway_with_children(world, called(way, "o", 1))
    await stops(world, called(way, "o", 2, new_step=new_step), Finding.UNSURE if new_step else Finding.MISMATCH)
    assert paid == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_child_without_effects_is_started_with_other_arguments(world: World, way: str) -> None:
    await halfway_with_children(world, called(way, "o", 1, False))
    assert await goes_on(world, called(way, "o", 2, False)) == ["went"]


async def test_a_child_whose_end_was_said_has_paid_too(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(deploy(called("waits", "o", 1), "1"), id="r")
        await in_state(run, "parked")
        await settled(engine)
        await run.override((await keys_of(run, "child.started"))[0], "said")
        await world.pass_()
        await in_state(run, "parked")
    paid.clear()
    await stops(world, called("waits", "o", 2))
    assert paid == []


async def test_a_child_that_was_given_up_has_paid_too(world: World) -> None:
    def twice(cents: int) -> Body:
        async def body() -> list[str]:
            task = asyncio.ensure_future(waits("o", cents))
            await wait_for("look")
            task.cancel()
            return [str(await wait_for("go"))]

        return body

    async with world.parking() as engine:
        run = await engine.start(deploy(twice(1), "1"), id="r")
        await in_state(run, "parked")
        await settled(engine)
        await run.signal("look")
        await world.pass_()
        await in_state(run, "parked")
        for (id_,) in engine.journal.query("select id from runs where parent = 'r'"):
            await in_state(await engine.get(id_), "cancelled")
    paid.clear()
    await stops(world, called("waits", "o", 2))
    assert paid == []


@flow
async def settles_in_a_branch(order: str) -> str:
    found = await look("today")
    (said,) = await segue.map(lambda day: waits(order, len(day)), [found], key=str)
    return said


@flow
async def settles_below(order: str) -> str:
    found = await look("today")
    said = await waits(order, len(found))
    return said


@pytest.mark.parametrize("settles", [settles_below, settles_in_a_branch])
async def test_a_fork_of_a_run_whose_child_is_on_its_way_starts_none_with_other_arguments(
    world: World, settles: Any
) -> None:
    async with world.parking() as engine:
        run = await engine.start(settles, "o", id="r")
        await in_state(run, "parked")
        await settled(engine)
        fork = await fork_of(run, "another day")
        assert (await mismatch_of(fork)).key == (await keys_of(run, "child.started"))[0]
        assert paid == ["o 5"]


@step(effect="once")
async def charges(card: str) -> str:
    if card == "expired":
        raise ValueError("the card has expired")
    paid.append(card)
    return f"charged {card}"


@flow
async def charged() -> str:
    return await charges(await look("expired"))


async def test_an_effect_that_failed_stands_in_nobodys_way(world: World) -> None:
    """It raised, so nothing was applied: a fork that is given what was wrong goes on."""
    async with world.engine() as engine:
        run = await engine.start(charged, id="r")
        with pytest.raises(segue.RunFailed, match="expired"):
            await run.result()
        assert await (await fork_of(run, "valid")).result() == "charged valid"
    assert paid == ["valid"]
