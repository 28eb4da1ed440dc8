"""Attempts that fail: retries, time limits, effects that must not happen twice, and what an operator can do."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

import segue
from segue import Applied, NotApplied, Retry, flow, step
from segue.errors import DefinitionError, RunFailed, StepFailed, UnknownEffect
from tests.behaviour.world import World, events_of, in_state, kinds_of, until

calls: list[Any] = []
applied: dict[str, int] = {}
behave: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def _clean() -> None:
    calls.clear()
    applied.clear()
    behave.clear()


class Overload(Exception):
    """One that cannot be rebuilt from its arguments."""

    def __init__(self, a: int, *, b: int):
        super().__init__(f"{a} and {b}")


@step(retry=Retry(attempts=4, backoff_s=0.01, backoff_max_s=0.02))
async def flaky(good_at: int) -> int:
    calls.append("flaky")
    if calls.count("flaky") < good_at:
        raise ConnectionError("not yet")
    return calls.count("flaky")


@step(retry=Retry(attempts=4, backoff_s=0.0))
async def hopeless() -> None:
    calls.append("hopeless")
    raise Overload(1, b=2)


@step(retry=Retry(attempts=3, backoff_s=0.0), timeout_s=0.02)
async def slow() -> None:
    calls.append("slow")
    await asyncio.sleep(1e5)


@flow
async def retried(good_at: int) -> int:
    return await flaky(good_at)


@flow
async def gave_up() -> str:
    try:
        await hopeless()
    except StepFailed as error:
        return f"{error.error_type}|{error}"
    return "no error"


@flow
async def too_slow() -> str:
    try:
        await slow()
    except TimeoutError as error:
        return str(error)
    return "no error"


async def test_retry_until_it_succeeds(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(retried, 3)
        assert await run.result() == 3
        attempts = [(e.type, e.attempt) for e in await events_of(run) if e.attempt]
    assert attempts == [
        ("attempt.started", 1), ("attempt.failed", 1), ("attempt.started", 2), ("attempt.failed", 2),
        ("attempt.started", 3), ("step.completed", 3),
    ]  # fmt: skip


async def test_attempts_are_a_bound(world: World) -> None:
    async with world.engine() as engine:
        with pytest.raises(RunFailed, match="not yet"):
            await engine.run(retried, 5)
        assert calls.count("flaky") == 4
        said = await engine.run(gave_up)
        assert said.partition("|")[0].endswith(":Overload")
        assert "Overload: 1 and 2" in said
        assert calls.count("hopeless") == 4


async def test_a_time_limit_is_one_of_each_attempt(world: World) -> None:
    async with world.engine() as engine:
        assert await engine.run(too_slow) == "the attempt took longer than timeout_s=0.02"
    assert calls.count("slow") == 3


@step(retry=Retry(attempts=4, backoff_s=1.0, backoff_max_s=1.0))
async def waits_to_be_told() -> str:
    calls.append("tried")
    if len(calls) < 3:
        error = ConnectionError("busy")
        error.retry_after_s = behave["after_s"]  # type: ignore[attr-defined]
        raise error
    return "got it"


@flow
async def patient() -> str:
    return await waits_to_be_told()


async def test_a_backoff_is_kept_over_parks_and_restarts(world: World) -> None:
    behave["after_s"] = 20 * world.while_s
    async with world.parking() as engine:
        run = await engine.start(patient, id="r")
        await in_state(run, "parked")
        assert "retry" in (await run.status()).waits_on[0]
    assert calls == ["tried"]
    async with world.parking() as engine:
        assert await (await engine.get("r")).result() == "got it"
        tries = [e for e in await events_of(await engine.get("r")) if e.type == "attempt.started"]
    assert len(calls) == 3
    assert [e.attempt for e in tries] == [1, 2, 3]
    assert all(b.at - a.at >= 20 * world.while_s for a, b in pairwise(tries))


@pytest.mark.parametrize("odd", ["3", float("nan"), float("inf"), -5, None, object()])
async def test_an_odd_retry_after_does_no_harm(world: World, odd: Any) -> None:
    behave["after_s"] = odd
    behave["quick"] = True

    @step(retry=Retry(attempts=2, backoff_s=0.0), name="odd")
    async def raises() -> None:
        error = ConnectionError("\ud800 busy")
        error.retry_after_s = odd  # type: ignore[attr-defined]
        raise error

    @flow(name="odd_flow")
    async def uses() -> str:
        try:
            await raises()
        except ConnectionError as error:
            return ascii(str(error))
        return "no error"

    async with world.engine() as engine:
        assert await asyncio.wait_for(engine.run(uses), 30) == ascii("\ud800 busy")


async def test_a_recovery_that_raises_fails_the_step(world: World) -> None:
    def wrong(*_: Any) -> Any:
        raise RuntimeError("wrong recovery")

    @step(retry=wrong, name="wrongly")
    async def raises() -> None:
        raise ConnectionError("busy")

    @flow(name="wrong_flow")
    async def uses() -> None:
        await raises()

    async with world.engine() as engine:
        with pytest.raises(RunFailed, match=r"wrong recovery|busy"):
            await asyncio.wait_for(engine.run(uses), 30)


# effects


async def applied_or_not(key: str) -> Applied | NotApplied:
    calls.append("reconcile")
    return Applied(f"paid {key}") if key in applied else NotApplied()


@step(effect="once", reconcile=applied_or_not)
async def pay(key: str) -> str:
    calls.append("pay")
    if behave.get("die") == "before":
        await asyncio.sleep(1e5)
    applied[key] = applied.get(key, 0) + 1
    if behave.get("die") == "after":
        await asyncio.sleep(1e5)
    return f"paid {key}"


@step(effect="once")
async def pay_blindly(key: str) -> str:
    applied[key] = applied.get(key, 0) + 1
    await asyncio.sleep(behave.get("late_s", 0.0))
    return f"paid {key}"


@flow
async def pays(key: str) -> str:
    return await pay(key)


@flow
async def pays_blindly(key: str) -> str:
    return await pay_blindly(key)


async def interrupted(world: World, flow_: Any, key: str) -> None:
    """Start a flow and let its process die in the effect."""
    if not world.virtual:
        pytest.skip("processes die in memory here; tests/crash kills real ones")
    engine = world.engine()
    async with engine:
        await engine.start(flow_, key, id=key)
        await until(lambda: calls or applied)
        await asyncio.sleep(0.01)
        engine.kill()  # type: ignore[attr-defined]
    behave.clear()


@pytest.mark.parametrize("die", ["before", "after"])
async def test_an_interrupted_effect_is_reconciled(world: World, die: str) -> None:
    behave["die"] = die
    await interrupted(world, pays, "k")
    async with world.engine() as engine:
        assert await (await engine.get("k")).result() == "paid k"
    assert applied == {"k": 1}
    assert calls == (["pay", "reconcile", "pay"] if die == "before" else ["pay", "reconcile"])


async def test_an_effect_that_nobody_can_reconcile_waits_for_a_person(world: World) -> None:
    behave["late_s"] = 1e5
    await interrupted(world, pays_blindly, "k")
    async with world.engine() as engine:
        run = await engine.get("k")
        with pytest.raises(UnknownEffect, match="segue override") as caught:
            await run.result()
        assert caught.value.key is not None
        assert (await run.status()).state == "stuck"
        assert applied == {"k": 1}
        await run.override(caught.value.key, "paid by hand", by="me", why="looked it up")
        assert await run.result() == "paid by hand"
    assert applied == {"k": 1}


async def test_an_operator_can_say_that_an_effect_was_not_applied(world: World) -> None:
    behave["late_s"] = 1e5
    await interrupted(world, pays_blindly, "k")
    async with world.engine() as engine:
        run = await engine.get("k")
        with pytest.raises(UnknownEffect) as caught:
            await run.result()
        await run.override(caught.value.key or "", retry=True)
        assert await run.result() == "paid k"
    assert applied == {"k": 2}


@flow
async def gives_the_effect_up(key: str) -> str:
    try:
        async with segue.timeout(0.2):
            return await pay_blindly(key)
    except TimeoutError:
        return "gave up"


async def test_an_effect_is_not_cancelled_and_its_outcome_is_on_record(world: World) -> None:
    behave["late_s"] = 0.6
    async with world.engine() as engine:
        run = await engine.start(gives_the_effect_up, "k")
        assert await run.result() == "gave up"
        assert "step.completed" in await kinds_of(run)
        assert await (await run.fork()).result() == "gave up"
    assert applied == {"k": 1}


@step(effect="once", reconcile=applied_or_not, timeout_s=0.05, retry=Retry(attempts=3, backoff_s=0.0))
async def pay_slowly(key: str) -> str:
    calls.append("pay")
    if behave.get("reset"):
        raise ConnectionResetError("reset after sending")
    if len(calls) <= behave.get("late", 0):
        if behave.get("applies"):
            applied[key] = 1
        await asyncio.sleep(behave.get("late_s", 1e5))
    return f"paid {key}"


@flow
async def pays_slowly(key: str) -> str:
    return await pay_slowly(key)


@step(effect="once", timeout_s=0.05)
async def pay_slowly_and_blindly(key: str) -> str:
    applied[key] = applied.get(key, 0) + 1
    await asyncio.sleep(1e5)
    return f"paid {key}"


@flow
async def pays_slowly_and_blindly(key: str) -> str:
    return await pay_slowly_and_blindly(key)


@step(effect="once")
async def pay_and_say_too_much(key: str) -> int:
    applied[key] = applied.get(key, 0) + 1
    return "receipt-7"  # type: ignore[return-value]


@flow
async def pays_and_says_too_much(key: str) -> int:
    return await pay_and_say_too_much(key)


@step(effect="once")
async def pay_declined(key: str) -> str:
    raise LookupError("the card was declined")


@flow
async def pays_declined(key: str) -> str:
    return await pay_declined(key)


async def test_an_effect_that_its_time_limit_cut_off_is_reconciled_and_not_repeated(world: World) -> None:
    behave.update(late=1, applies=True)
    async with world.engine() as engine:
        assert await engine.run(pays_slowly, "k") == "paid k"
    assert calls == ["pay", "reconcile"]


async def test_an_effect_that_was_not_applied_is_retried_as_its_retry_says(world: World) -> None:
    behave["late"] = 1
    async with world.engine() as engine:
        assert await engine.run(pays_slowly, "k") == "paid k"
    assert calls == ["pay", "reconcile", "pay"]


async def test_an_effect_whose_connection_was_lost_is_asked_for_before_each_attempt(world: World) -> None:
    behave["reset"] = True
    async with world.engine() as engine:
        with pytest.raises(RunFailed, match="reset after sending"):
            await engine.run(pays_slowly, "k")
    assert calls == ["pay", "reconcile"] * 3


async def test_an_effect_in_doubt_without_a_reconcile_function_waits_for_a_person(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(pays_slowly_and_blindly, "k")
        with pytest.raises(UnknownEffect, match="timed out") as caught:
            await run.result()
        await run.override(caught.value.key or "", "paid by hand")
        assert await run.result() == "paid by hand"
    assert applied == {"k": 1}


async def test_an_effect_whose_result_cannot_be_stored_was_made_all_the_same(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(pays_and_says_too_much, "k")
        with pytest.raises(UnknownEffect, match="receipt-7"):
            await run.result()
        assert (await run.status()).state == "stuck"
    assert applied == {"k": 1}


async def test_an_effect_that_says_itself_that_it_failed_has_failed(world: World) -> None:
    async with world.engine() as engine:
        with pytest.raises(RunFailed, match="declined"):
            await engine.run(pays_declined, "k")


def test_an_effect_cannot_be_retried_blindly() -> None:
    async def pay_again() -> None: ...

    with pytest.raises(DefinitionError, match=r"pay_again.*reconcile="):
        step(effect="once", retry=Retry(attempts=3))(pay_again)
