"""What an operator says at the moment in which it comes by itself: the first word counts, also in a replay."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

import segue
from segue import Retry, flow, sleep, step, wait_for
from segue.core.events import EventType
from segue.errors import InputError
from tests.behaviour.world import World, events_of, in_state, until

gate: list[asyncio.Event] = []
calls: list[str] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    gate[:], calls[:] = [asyncio.Event()], []


@step
async def opens() -> int:
    calls.append("opens")
    await gate[0].wait()
    return 1


@flow
async def opens_in_a_child() -> int:
    return await opens()


@flow
async def goes_on(which: str) -> int:
    if which == "signal":
        got = await wait_for("go", returns=int)
    else:
        got = await (opens() if which == "step" else opens_in_a_child())
    await wait_for("end")
    return got


async def _says(engine: segue.Engine, run: segue.Run[Any], key: str, how: dict[str, Any]) -> None:
    with suppress(InputError):  # it came too late to be taken
        await run.override(key, **how)
        engine.host.scan_soon()


@pytest.mark.parametrize("turns", range(12))
@pytest.mark.parametrize(
    ("which", "how"),
    [("step", {"result": 2}), ("step", {"retry": True}), ("child", {"result": 2})],
    ids=["step-result", "step-retry", "child-result"],  # a child is not made again
)
async def test_an_override_and_the_outcome_at_once(world: World, which: str, how: dict[str, Any], turns: int) -> None:
    async with world.engine() as engine:
        run = await engine.start(goes_on, which, id="r")
        await until(lambda: calls)
        key = (await run.status()).waits_on[0]["key"]
        saying = asyncio.ensure_future(_says(engine, run, key, how))
        for _ in range(turns):
            await asyncio.sleep(0)
        gate[0].set()
        await saying
        await in_state(run, "running", "parked")
        await world.pass_()
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.signal("end")
        assert await asyncio.wait_for(run.result(), 10) in (1, 2)
        assert len(calls) == 1
        ends = Counter(e.key for e in await events_of(run) if e.type == EventType.STEP_COMPLETED)
        assert which == "child" or max(ends.values()) == 1


async def test_an_override_and_the_signal_at_once(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(goes_on, "signal", id="r")
        await in_state(run, "parked")
        key = (await run.status()).waits_on[0]["key"]
    async with world.engine(recover=False) as engine:
        run = await engine.get("r")
        await asyncio.gather(run.signal("go", 1), run.override(key, 2))
    for _ in range(2):
        async with world.parking() as engine:
            await in_state(await engine.get("r"), "parked")
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.signal("end")
        assert await asyncio.wait_for(run.result(), 10) == 1


@flow
async def sleeps_and_waits() -> str:
    await sleep(0.2)
    return await wait_for("end", returns=str)


async def test_an_override_of_a_timer_that_has_run_out_meanwhile(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(sleeps_and_waits, id="r")
        await in_state(run, "parked")
        key = (await run.status()).waits_on[0]["key"]
    async with world.engine(recover=False) as engine:
        await (await engine.get("r")).override(key, skip=True)
        await asyncio.sleep(0.3)
    async with world.parking() as engine:
        await in_state(await engine.get("r"), "parked")
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.signal("end", "there")
        assert await asyncio.wait_for(run.result(), 10) == "there"
        assert EventType.TIMER_FIRED not in [e.type for e in await events_of(run)]


@step(retry=Retry(attempts=9, backoff_s=1e6, backoff_max_s=1e6))
async def fails_first() -> int:
    calls.append("fails_first")
    await gate[0].wait()
    if len(calls) == 1:
        raise ConnectionError
    return len(calls)


@flow
async def tries_at_once() -> int:
    return await fails_first()


@pytest.mark.parametrize("turns", range(-12, 12))
async def test_a_retry_and_the_failure_at_once(world: World, turns: int) -> None:
    """Said after the failure is on record, it counts, also where nobody has begun to wait yet."""
    async with world.engine(linger_s=100.0) as engine:
        run = await engine.start(tries_at_once, id="r")
        await until(lambda: calls)
        key = (await run.status()).waits_on[0]["key"]
        if turns < 0:
            gate[0].set()
        saying = asyncio.ensure_future(_says(engine, run, key, {"retry": True}))
        for _ in range(abs(turns)):
            await asyncio.sleep(0)
        gate[0].set()
        await saying
        await world.pass_()
        said = [e.type for e in await events_of(run)]
        failed, acted = (said.index(kind) for kind in (EventType.ATTEMPT_FAILED, EventType.OPERATOR_ACTED))
        if acted > failed:
            assert await asyncio.wait_for(run.result(), 10) == 2


@step(retry=Retry(attempts=9, backoff_s=1e6, backoff_max_s=1e6))
async def fails() -> None:
    calls.append("fails")
    raise ConnectionError


@flow
async def tries() -> None:
    await fails()


async def test_the_numbers_of_attempts_are_never_used_again(world: World) -> None:
    """What is reserved and what is streamed belongs to an attempt: two of one number would be taken for one."""
    async with world.engine(linger_s=100.0) as engine:
        run = await engine.start(tries, id="r")
        for n in range(1, 4):
            await until(lambda n=n: len(calls) == n)
            await asyncio.sleep(0.05)
            await run.override((await run.status()).waits_on[0]["key"], retry=True)
        await until(lambda: len(calls) == 4)
        begun = [e.attempt for e in await events_of(run) if e.type == EventType.ATTEMPT_STARTED]
        assert begun == [1, 2, 3, 4]


async def test_a_switch_that_is_turned_as_a_run_begins_harms_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is in memory, and its flow has not begun."""
    async with world.engine() as engine:
        await engine.pause()
        await engine.journal.turn((await engine.switches())[0], on=False)
        accepted = engine.host.accepted

        def accepted_as_it_is_turned(*given: Any) -> None:
            accepted(*given)
            engine.host.look()

        monkeypatch.setattr(engine.host, "accepted", accepted_as_it_is_turned)
        run = await asyncio.wait_for(engine.start(goes_on, "signal", id="r"), 10)
        await run.signal("go", 1)
        await run.signal("end")
        assert await asyncio.wait_for(run.result(), 10) == 1
