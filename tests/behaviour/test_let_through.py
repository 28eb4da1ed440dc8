"""An effect on record stands in the way of a new one until somebody has said what the new one is: then of no other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from segue import Run, flow, step, wait_for
from segue.core.events import OUTCOMES
from segue.errors import ReplayMismatch
from tests.behaviour.world import World, events_of, in_state, until

applied: list[str] = []
how = SimpleNamespace(tidy=False, declined=False)


@pytest.fixture(autouse=True)
def _clean() -> None:
    how.tidy = how.declined = False
    applied.clear()


@step
async def price(order: str) -> int:
    return 5


@step
async def ship(order: str) -> str:
    return f"shipped {order}"


@step(effect="once")
async def pay(order: str, cents: int) -> str:
    if how.declined:
        raise PermissionError("the card was declined")
    applied.append(order)
    return f"paid {order}"


@flow
async def settle(order: str, cents: int) -> str:
    return await pay(order, cents)


async def desk(below: bool) -> list[str]:
    """Pays what comes in, as long as it comes in."""
    said: list[str] = []
    while (order := await wait_for("order", returns=str)) != "done":
        order = order.lower() if how.tidy else order
        said.append(await settle(order, 100) if below else await pay(order, 100))
    return said


def deploy(revision: str) -> Any:
    return flow(name="desk", revision=revision)(desk)


async def closed(world: World, *, below: bool) -> Run[Any]:
    """The desk after one order."""
    async with world.parking() as engine:
        run = await engine.start(deploy("1"), below, id="desk")
        await run.signal("order", "A1")
        await in_state(run, "parked")
        await until(lambda: applied)
    return run


async def paid_under(run: Run[Any]) -> tuple[str, str]:
    """The keys of the price and of what pays."""
    ended = [e.key or "" for e in await events_of(run) if e.type in OUTCOMES]
    return ended[0], next(key for key in ended if key.startswith(("pay[", "settle[")))


async def mismatch_of(run: Run[Any]) -> ReplayMismatch:
    with pytest.raises(ReplayMismatch, match="may happen again") as stopped:
        await run.result()
    return stopped.value


@pytest.mark.parametrize("below", [False, True], ids=["step", "child"])
@pytest.mark.parametrize("word", ["the same", "another one"])
async def test_a_word_on_one_call_lets_all_later_ones_be_made(world: World, word: str, below: bool) -> None:
    await closed(world, below=below)
    how.tidy = True
    deploy("2")
    async with world.engine() as engine:
        run = await engine.get("desk")
        await run.signal("order", "B2")
        error = await mismatch_of(run)
        assert error.asks is not None and error.asks in error.message and error.key != error.asks
        assert applied == ["A1"]
        if word == "the same":
            await run.override(error.asks, "paid by hand")
        else:
            await run.override(error.asks, retry=True)
        await run.resume()
        await in_state(run, "parked", "running")
    deploy("3")
    async with world.engine() as engine:  # the word holds in whichever process, under whichever code
        run = await engine.get("desk")
        for order in ("C3", "done"):
            await run.signal("order", order)
        first = "paid by hand" if word == "the same" else "paid a1"
        assert await run.result() == [first, "paid b2", "paid c3"]
        assert applied == (["A1", "b2", "c3"] if word == "the same" else ["A1", "a1", "b2", "c3"])


async def test_each_effect_on_record_is_asked_about(world: World) -> None:
    """Two are on record under keys that the code no longer makes: a word on one is none on the other."""
    async with world.parking() as engine:
        run = await engine.start(deploy("1"), False, id="desk")
        for order in ("A1", "B2"):
            await run.signal("order", order)
        await until(lambda: len(applied) > 1)
    how.tidy = True
    deploy("2")
    async with world.engine() as engine:
        run = await engine.get("desk")
        await run.signal("order", "C3")
        asked = list[str | None]()
        for said in ("one", "two"):
            error = await mismatch_of(run)
            asked.append(error.asks)
            await run.override(error.asks or "", said)
            await run.resume()
        await run.signal("order", "done")
        assert await run.result() == ["one", "two", "paid c3"]
        assert len(set(asked)) == 2 and applied == ["A1", "B2", "c3"]


async def test_the_word_is_no_word_on_the_recorded_call(world: World) -> None:
    """Code that asks for it again is given what came of it."""
    await closed(world, below=False)
    how.tidy = True
    deploy("2")
    async with world.parking() as engine:
        run = await engine.get("desk")
        await run.resume()
        error = await mismatch_of(run)
        await run.override(error.asks or "", retry=True)
        await run.resume()
        await until(lambda: len(applied) > 1)
    how.tidy = False
    deploy("1")
    async with world.engine() as engine:
        run = await engine.get("desk")
        await run.signal("order", "done")
        assert await run.result() == ["paid A1"] and applied == ["A1", "a1"]


@flow
async def order(name: str) -> str:
    cents = await price(name)
    receipt = await pay(name, cents)
    return f"{receipt}, {await ship(name)}"


@flow
async def order_below(name: str) -> str:
    cents = await price(name)
    receipt = await settle(name, cents)
    return f"{receipt}, {await ship(name)}"


@pytest.mark.parametrize("ordered", [order, order_below], ids=["step", "child"])
async def test_a_given_result_that_the_flow_does_not_ask_for_stands_in_the_way(world: World, ordered: Any) -> None:
    """The fork begins before the payment, is given what it gave, and is led to another one."""
    async with world.engine() as engine:
        run = await engine.start(ordered, "o", id="r")
        await run.result()
        priced, paid = await paid_under(run)
        fork = await run.fork(at=priced, results={priced: 10, paid: "paid before"})
        error = await mismatch_of(fork)
        assert error.key == paid and "given to this fork" in error.message
        again = await fork.fork(at=None)
        assert (await mismatch_of(again)).key == paid
        assert applied == ["o"]
        await fork.override(error.asks or "", "paid before")
        await fork.resume()
        assert await fork.result() == "paid before, shipped o" and applied == ["o"]


@pytest.mark.parametrize("ordered", [order, order_below], ids=["step", "child"])
async def test_a_given_result_is_used_where_the_flow_asks_for_it(world: World, ordered: Any) -> None:
    async with world.engine() as engine:
        run = await engine.start(ordered, "o", id="r")
        await run.result()
        _, paid = await paid_under(run)
        fork = await run.fork(at=paid, results={paid: "paid before"})
        assert await fork.result() == "paid before, shipped o" and applied == ["o"]


@pytest.mark.parametrize("ordered", [order, order_below], ids=["step", "child"])
async def test_what_raised_is_made_again_without_asking(world: World, ordered: Any) -> None:
    """Nothing was applied: a fork at the payment repeats nothing, and one that is led elsewhere is not stopped."""
    how.declined = True
    async with world.engine() as engine:
        run = await engine.start(ordered, "o", id="r")
        with pytest.raises(Exception, match="declined"):
            await run.result()
        priced, paid = await paid_under(run)
        how.declined = False
        again = await run.fork(at=paid)
        assert await again.repeats() == []
        assert await again.result() == "paid o, shipped o"
        dearer = await run.fork(results={priced: 10})
        assert await dearer.result() == "paid o, shipped o"


@flow
async def payroll(names: list[str]) -> list[str]:
    return [await pay(name, 5) for name in names]


@flow
async def payroll_below(names: list[str]) -> list[str]:
    return [await settle(name, 5) for name in names]


@pytest.mark.parametrize("below", [False, True], ids=["step", "child"])
async def test_what_stands_for_an_effect_stands_in_the_way_as_it_did(world: World, below: bool) -> None:
    """Said to be the same effect, under code that is changed once more; and in a fork that is led elsewhere."""
    await closed(world, below=below)
    how.tidy = True
    deploy("2")
    async with world.engine() as engine:
        run = await engine.get("desk")
        await run.signal("order", "done")
        error = await mismatch_of(run)
        await run.override(error.asks or "", "paid by hand")
        await run.resume()
        assert await run.result() == ["paid by hand"]
        again = await run.fork()
        assert await again.result() == ["paid by hand"]
        how.tidy = False
        back = await run.fork(input={"below": below})
        assert await back.result() == ["paid A1"] and applied == ["A1"]
        told = [e.seq for e in await events_of(run) if e.type == "signal.received"]
        assert error.asks in [key.partition("/pay[")[0] for key in await (await run.fork(at=told[0])).repeats()]


@pytest.mark.parametrize("ordered", [order, order_below], ids=["step", "child"])
async def test_a_fork_of_a_fork_names_the_effect_that_the_first_one_was_given(world: World, ordered: Any) -> None:
    async with world.engine() as engine:
        run = await engine.start(ordered, "o", id="r")
        await run.result()
        priced, paid = await paid_under(run)
        fork = await run.fork(at=priced, results={paid: "paid before"})
        assert await fork.result() == "paid before, shipped o" and await fork.repeats() == []
        again = await fork.fork(at=paid)
        assert await again.repeats() == [paid]
        given = await fork.fork(at=priced)
        assert await given.repeats() == [] and await given.result() == "paid before, shipped o"


@pytest.mark.parametrize("rolled", [payroll, payroll_below], ids=["step", "child"])
async def test_one_of_several_payments_is_made_anew_and_the_others_are_given(world: World, rolled: Any) -> None:
    async with world.engine() as engine:
        run = await engine.start(rolled, ["ann", "bob", "cy"], id="r")
        await run.result()
        first, *others = [e.key or "" for e in await events_of(run) if e.type in OUTCOMES]
        fork = await run.fork(at=first, results=dict.fromkeys(others, "paid before"))
        assert await fork.result() == ["paid ann", "paid before", "paid before"]
        assert applied == ["ann", "bob", "cy", "ann"]
