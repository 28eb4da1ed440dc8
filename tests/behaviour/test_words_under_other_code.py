"""A word on a call in whose way an effect stands counts for that call, under whichever code it is sent and taken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from segue import Engine, Run, flow, step, wait_for
from segue.core.codec import loads
from segue.core.lifecycle import RunState
from segue.errors import InputError, ReplayMismatch
from segue.journal import Post
from segue.runtime.check import GOES_ON, Verdict, check_one
from tests.behaviour.world import World, events_of, in_state, until

applied: list[str] = []
BELOW = pytest.mark.parametrize("below", [False, True], ids=["step", "child"])
WORDS = pytest.mark.parametrize("word", ["the same", "another one"])


@pytest.fixture(autouse=True)
def _clean() -> None:
    applied.clear()


@step
async def price(order: str) -> int:
    return 5


@step(effect="once")
async def pay(order: str, cents: int) -> str:
    applied.append(f"{order} {cents}")
    return f"paid {cents}"


@flow
async def settle(order: str, cents: int) -> str:
    return await pay(order, cents)


@step
async def ship(order: str, paid: str) -> str:
    return f"{paid}, shipped"


def deploy(factor: int) -> Any:
    """The shop of this revision, in which a price has so many times the cents."""

    async def shop(below: bool) -> str:
        cents = await price("A") * factor
        paid = await settle("A", cents) if below else await pay("A", cents)
        await wait_for("go")
        return await ship("A", paid)

    return flow(name="shop", revision=str(factor))(shop)


def deploy_desk(tidy: bool) -> Any:
    """Pays what comes in, as long as it comes in."""

    async def till() -> list[str]:
        said: list[str] = []
        while (order := await wait_for("order", returns=str)) != "done":
            said.append(await pay(order.lower() if tidy else order, 1))
        return said

    return flow(name="till", revision="tidy" if tidy else "plain")(till)


async def paid(world: World, *, below: bool = False, go: bool = False) -> None:
    """The shop of revision 1, after it has paid; it waits."""
    async with world.parking() as engine:
        run = await engine.start(deploy(1), below, id="r")
        while "wait[go]#1" not in [one.get("key") for one in (await in_state(run, "parked")).waits_on]:
            await asyncio.sleep(0.01)
    if go:
        await told(world, lambda run: run.signal("go"))


def teller(world: World) -> Engine:
    """An engine that carries nothing out, as that of a command."""
    engine = world.engine(recover=False)
    engine.carries = False
    return engine


async def told(world: World, act: Callable[[Run[Any]], Awaitable[object]]) -> None:
    """Somebody tells the run something, from a process that carries nothing out."""
    async with teller(world) as engine:
        await act(await engine.get("r"))


def verdict(engine: Engine, run: str = "r") -> Verdict:
    return check_one(engine.journal, engine.journal.get(run))


async def checked(world: World) -> Verdict:
    async with teller(world) as engine:
        return verdict(engine)


async def say(run: Run[Any], key: str | None, word: str) -> None:
    assert key is not None
    if word == "the same":
        await run.override(key, "by hand")
    else:
        await run.override(key, retry=True)


async def stuck(run: Run[Any]) -> ReplayMismatch:
    with pytest.raises(ReplayMismatch, match="may happen again") as stopped:
        await run.result()
    return stopped.value


@BELOW
@WORDS
async def test_what_a_check_names_is_taken_while_the_run_waits(world: World, below: bool, word: str) -> None:
    await paid(world, below=below)
    deploy(2)
    found = await checked(world)
    assert found.asks is not None and found.key != found.asks and found.state == "parked"
    await told(world, lambda run: say(run, found.asks, word))
    after = await checked(world)
    assert after.finding in GOES_ON and after.asks is None and not after.effects, "it knows of what was sent"
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.signal("go")
        assert await run.result() == ("by hand, shipped" if word == "the same" else "paid 10, shipped")
        assert applied == (["A 5"] if word == "the same" else ["A 5", "A 10"])
        (said,) = [loads(e.body) for e in await events_of(run) if e.type == "operator.acted"]
        assert said["in_place_of"] == found.key and "args" not in said


@BELOW
@WORDS
async def test_a_word_is_kept_for_its_call_under_other_code(world: World, below: bool, word: str) -> None:
    """Sent under 2 and taken under 3, which asks for yet another call: that is asked about, and 2 goes on."""
    await paid(world, below=below, go=True)
    deploy(2)
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.resume()
        asks = (await stuck(run)).asks
        status = await run.status()
        assert status.asks == asks and status.key != asks
    await told(world, lambda run: say(run, asks, word))
    deploy(3)
    async with world.engine() as engine:
        run = await engine.get("r")
        error = await stuck(run)
        assert error.asks not in (None, asks) and applied == ["A 5"]
        assert (error.key == asks) == (word == "the same"), "what a result was said for stands in the way itself"
    deploy(2)
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.resume()
        assert await run.result() == ("by hand, shipped" if word == "the same" else "paid 10, shipped")
        assert applied == (["A 5"] if word == "the same" else ["A 5", "A 10"])


@BELOW
@WORDS
@pytest.mark.parametrize("of", ["record", "code"])
async def test_the_call_on_record_and_the_one_of_today_both_count(
    world: World, below: bool, word: str, of: str
) -> None:
    """Set aside under 2; 3 is deployed: `segue show` names the call of 2, and `segue check` that of 3."""
    await paid(world, below=below, go=True)
    deploy(2)
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.resume()
        on_record = (await stuck(run)).asks
    deploy(3)
    today = (await checked(world)).asks
    assert today not in (None, on_record)
    await told(world, lambda run: say(run, on_record if of == "record" else today, word))
    deploy(2 if of == "record" else 3)
    async with world.engine() as engine:
        run = await engine.get("r")
        cents = 10 if of == "record" else 15
        assert await run.result() == ("by hand, shipped" if word == "the same" else f"paid {cents}, shipped")
        assert applied == (["A 5"] if word == "the same" else ["A 5", f"A {cents}"])


@BELOW
@WORDS
async def test_a_living_process_with_the_old_code_takes_it(world: World, below: bool, word: str) -> None:
    """It goes on with its own call; deployed later, the new code finds the word."""
    async with world.engine(linger_s=1e6) as engine:
        run = await engine.start(deploy(1), below, id="r")
        await until(lambda: applied)
        await in_state(run, "running")
        deploy(2)
        await say(run, verdict(engine).asks, word)
        await until(lambda: not engine.journal.items_of(engine.journal.get("r").no))
        assert verdict(engine).finding in GOES_ON
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.signal("go")
        assert await run.result() == ("by hand, shipped" if word == "the same" else "paid 10, shipped")
        assert applied == (["A 5"] if word == "the same" else ["A 5", "A 10"])


@WORDS
async def test_a_word_harms_no_old_code(world: World, word: str) -> None:
    """It asks for the recorded call itself, in a living process as after a restart: and goes on with others."""
    for id_ in ("alive", "dead"):
        async with world.engine(linger_s=1e6) as engine:
            run = await engine.start(deploy_desk(tidy=False), id=id_)
            await run.signal("order", "A1")
            await until(lambda: "A1 1" in applied)
            await in_state(run, "running")
            deploy_desk(tidy=True)
            await until(lambda: verdict(engine, id_).asks)  # noqa: B023  called here
            await say(run, verdict(engine, id_).asks, word)
            await until(lambda: not engine.journal.items_of(engine.journal.get(id_).no))  # noqa: B023  called here
            if id_ == "alive":
                for order in ("B2", "done"):
                    await run.signal("order", order)
                assert await run.result() == ["paid 1", "paid 1"]
        deploy_desk(tidy=False)
    async with world.engine() as engine:
        run = await engine.get("dead")
        for order in ("B2", "done"):
            await run.signal("order", order)
        assert await run.result() == ["paid 1", "paid 1"]
    assert applied == ["A1 1", "B2 1", "A1 1", "B2 1"]


@BELOW
async def test_a_second_word_tells_of_the_first(world: World, below: bool) -> None:
    await paid(world, below=below)
    deploy(2)
    asks = (await checked(world)).asks
    await told(world, lambda run: say(run, asks, "another one"))
    await told(world, lambda run: say(run, asks, "the same"))  # whoever knows better, until it has begun
    with pytest.raises(InputError, match="the first counts"):
        await told(world, lambda run: say(run, asks, "another one"))
    deploy(3)
    third = await checked(world)
    assert third.key == asks, "what was said and not taken stands in the way of yet another call"
    await told(world, lambda run: say(run, third.asks, "the same"))
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.signal("go")
        assert await run.result() == "by hand, shipped" and applied == ["A 5"]


async def test_a_word_that_fits_nothing_says_what_to_do(world: World) -> None:
    await paid(world, go=True)
    deploy(2)
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.resume()
        asks = (await stuck(run)).asks or ""
        with pytest.raises(InputError, match="no open step") as refused:
            await run.override(asks.replace("#1", "#9"), retry=True)
        assert "segue resume r" in str(refused.value)
        with pytest.raises(InputError, match="is no str"):
            await run.override(asks, 5)


async def test_a_word_that_does_not_say_what_stood_in_the_way(world: World) -> None:
    """As earlier versions wrote it into an inbox: the run was set aside for it."""
    await paid(world, go=True)
    deploy(2)
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.resume()
        asks = (await stuck(run)).asks or ""
    async with teller(world) as engine:
        await engine.journal.post(Post("r", "override", "1", asks, engine.clock.now(), None, b'{"act":"retry"}'))
    async with world.engine() as engine:
        run = await engine.get("r")
        assert await run.result() == "paid 10, shipped" and applied == ["A 5", "A 10"]
        assert (await run.status()).state == RunState.COMPLETED


async def said_and_taken(world: World, word: str, below: bool = False) -> Verdict:
    """A word on the call of revision 2, taken by a process with revision 1, to which the code was rolled back."""
    await paid(world, below=below)
    deploy(2)
    found = await checked(world)
    await told(world, lambda run: say(run, found.asks, word))
    deploy(1)
    async with world.engine() as engine:
        run = await engine.get("r")
        while "operator.acted" not in [event.type for event in await events_of(run)]:
            await asyncio.sleep(0.01)
    return found


@BELOW
async def test_a_word_lets_one_call_through_and_not_that_of_a_fork_too(world: World, below: bool) -> None:
    await said_and_taken(world, "another one", below)
    await told(world, lambda run: run.fork(id="f"))
    deploy(2)
    async with world.engine() as engine:
        run, fork = await engine.get("r"), await engine.get("f")
        await run.signal("go")
        assert await run.result() == "paid 10, shipped"
        await fork.signal("go")
        assert (await stuck(fork)).asks is not None
        assert applied == ["A 5", "A 10"]


@pytest.mark.parametrize("by", ["made", "said", "kept"])
@pytest.mark.parametrize("factor", [1, 2])
async def test_of_two_calls_that_are_one_effect_a_fork_is_given_either_or_keeps_it(
    world: World, by: str, factor: int
) -> None:
    """The call of the code today is answered; the other one's result stands in the way until somebody says so."""
    found = await said_and_taken(world, "the same")
    made, said = found.key, found.asks
    assert made is not None and said is not None
    forks: list[Run[Any]] = []

    async def fork(run: Run[Any]) -> None:
        if by == "kept":
            forks.append(await run.fork("wait[go]#1", id="f"))
        else:
            forks.append(await run.fork(made, results={made if by == "made" else said: "given"}, id="f"))
        assert await forks[0].repeats() == []

    async with world.engine() as engine:
        run = await engine.get("r")
        await run.signal("go")
        assert await run.result() == "paid 5, shipped"
    await told(world, fork)
    deploy(factor)
    async with world.engine() as engine:
        run = await engine.get("f")
        await run.signal("go")
        if (by == "said") == (factor == 2):
            assert await run.result() == ("paid 5, shipped" if by == "kept" else "given, shipped")
        else:
            assert (await stuck(run)).key == (said if by == "said" else made)
        assert applied == ["A 5"]
