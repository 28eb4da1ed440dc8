"""Scenes in which an operator says what came of every kind of open call; loops that are left early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import suppress
from typing import Any

import segue
from segue import Applied, NotApplied, Secret, flow, gather, sleep, step, wait_for
from segue.core.faults import Fault
from segue.core.recovery import Again, Answer, AskPerson, Attempt
from segue.errors import InputError, RunEnded, RunStuck
from segue.testing import Engine
from tests.crash.flows import SCENES, scene, simple
from tests.crash.witness import draw, pay, publish, stumble, witness

__all__ = ["SCENES"]


@step
async def hangs(tag: str) -> int:
    witness.begin()
    await asyncio.sleep(1e9)
    return -1


@step(effect="once")
async def pays_later(tag: str) -> int:
    witness.begin()
    await asyncio.sleep(30)
    witness.apply(f"once:{tag}", [])
    return -1


@flow
async def hangs_for_ever(tag: str) -> int:
    return await hangs(f"inside of {tag}")


@flow
async def overridden_inside() -> list[Any]:
    """Each of them is open until somebody says what came of it; the operator says 7."""

    async def beside(i: int) -> list[Any]:
        return [await hangs(f"beside {i}"), await draw(f"after {i}")]

    async with segue.timeout(1e7):
        got: list[Any] = await gather(
            beside(0), hangs_for_ever("child"), pays_later("later"), sleep(1e8), wait_for("never", returns=int),
            stumble("often", 9), return_exceptions=True,
        )  # fmt: skip
    return [*got[0][:1], *got[1:5], await publish("end", [got[0][1]])]


@flow
async def overridden_in_a_child() -> list[Any]:
    return [await gather(overridden_inside(), draw("beside")), await publish("outer end", [])]


@scene
async def overridden(engine: Engine) -> Any:
    """The child's calls are overridden, those of its own child not: that one is cancelled."""
    main = await engine.start(overridden_in_a_child, id="main")
    while (await main.status()).state not in ("completed", "failed"):
        for row in engine.journal.runs("flow like '%overridden_inside' and state not in ('completed', 'failed')"):
            await _override_all(await engine.get(row.id))
        await asyncio.sleep(0.7)
    result = await main.result()
    said = result[0][0]
    assert said[:5] == [7, 7, 7, None, 7], said
    assert not witness.applied("once:later") or len([t for _, t, _ in witness.effects if t == "once:later"]) == 1
    return result


async def _override_all(run: segue.Run[Any]) -> None:
    with suppress(RunEnded, RunStuck):
        status = await run.status()
        for wait in [*status.waits_on, {"key": status.key}]:
            key = wait["key"] or ""
            if any(name in key for name in ("hangs", "pays_later", "sleep", "wait[")):
                with suppress(InputError):  # somebody was quicker: this operator, before the process died
                    await run.override(key, None if "sleep" in key else 7, skip="sleep" in key, by="ann")


async def _numbers(count: int) -> AsyncIterator[int]:
    async for n in segue.as_completed(*(draw("inside") for _ in range(count)), hangs("inside")):
        yield n


async def _first() -> int:
    nonce = await draw("nonce")
    async for n in segue.as_completed(hangs("returned"), draw("returned"), pay("once:returned", nonce)):
        return n
    return -1


async def _last(numbers: Awaitable[list[int]]) -> int:
    return (await numbers)[-1]


@simple
@flow
async def loops_left_early() -> list[int]:
    """By a break, a return, an error, out of an async generator, and within one another."""
    out: list[int] = [await _first()]
    async for n in _numbers(3):
        out.append(n)
        break
    with suppress(LookupError):
        async for n in segue.as_completed(draw("raised"), hangs("raised"), _last(gather(draw("a"), hangs("b")))):
            out.append(await publish("in the loop", [n]))
            raise LookupError
    async for n in segue.as_completed(hangs("outer"), draw("outer")):
        async for m in segue.as_completed(hangs_for_ever("left"), draw("inner")):
            out += [n, m]
            break
        break
    return [*out, await publish("end", out)]


@step
async def uses(token: Secret[str]) -> int:
    witness.begin()
    return len(token.reveal())


@flow
async def grouped(left: int, out: list[Any]) -> list[Any]:
    """Goes on as new out of two groups, with signals pending, a child and a step on their way."""
    token = await wait_for("token", returns=Secret[str])
    out = [*out, await uses(token)]
    async with asyncio.TaskGroup() as outer:
        child = outer.create_task(hangs_for_ever.function("child"))
        async with asyncio.TaskGroup() as inner:
            other = inner.create_task(hangs(f"part {left}"))
            try:
                await draw("same")
                if left:
                    segue.continue_as_new(left - 1, out)
                child.cancel()
                other.cancel()
            finally:
                await publish("finally", [])
    return out


@scene
async def continued_out_of_groups(engine: Engine) -> Any:
    run = await engine.start(grouped, 2, [], id="main")
    for n in range(3):
        with suppress(RunEnded):
            await run.signal("token", "secret!" + "x" * n, id=f"{n}")
    result = await run.result()
    assert result == [7, 8, 9]
    stored = engine.connection.execute("select value from events where value is not null").fetchall()
    assert not any(b"secret!" in value for (value,) in stored)
    return result


def backs_off(fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
    return Again(1e6)


def asks(fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
    return AskPerson("ann")


async def it_was_not(tag: str) -> NotApplied:
    return NotApplied()


@step(effect="once", retry=backs_off, reconcile=it_was_not)
async def tries_for_days(tag: str) -> int:
    witness.begin()
    raise ConnectionError(tag)


@step(effect="once", retry=asks, reconcile=it_was_not)
async def needs_a_person(tag: str) -> int:
    witness.begin()
    raise ConnectionError(tag)


@simple
@flow
async def effects_left_between_attempts() -> list[int]:
    """An attempt has failed, and none is on its way: giving up takes no longer than that."""
    for left in (tries_for_days, needs_a_person):
        with suppress(TimeoutError):
            async with segue.timeout(60):
                await left("left")
    out = [await draw("after")]
    forgotten = [asyncio.ensure_future(left("at the end")) for left in (tries_for_days, needs_a_person)]
    await sleep(60)
    return [*out, await publish("end", out), len(forgotten)]


async def slow_was_applied(tag: str) -> Applied | NotApplied:
    return Applied(7) if witness.applied(f"once:{tag}") else NotApplied()


@step(effect="once", reconcile=slow_was_applied)
async def pays_slowly(tag: str) -> int:
    witness.begin()
    await asyncio.sleep(2)
    witness.apply(f"once:{tag}", [])
    await asyncio.sleep(2)
    return 7


@step(effect="once")
async def pays_slowly_and_blindly(tag: str) -> int:
    return await pays_slowly.function(tag)


@flow
async def pays_in_no_hurry() -> list[int]:
    return await gather(pays_slowly("asked"), pays_slowly_and_blindly("blind"))


@scene
async def retried_under_way(engine: Engine) -> Any:
    """The operator loses patience with effects that are on their way: they are left to end, also where it dies."""
    run = await engine.start(pays_in_no_hurry, id="main")
    while (status := await run.status()).state not in ("completed", "failed"):
        with suppress(RunEnded, InputError):
            for wait in status.waits_on:
                if "step" in wait:
                    await run.override(wait["key"], retry=True, by="ann")
            if status.state == "stuck" and status.key is not None:  # nobody is at work on it: now the word counts
                if witness.applied("once:blind"):
                    await run.override(status.key, 7, by="ann")
                else:
                    await run.override(status.key, retry=True, by="ann")
        await asyncio.sleep(0.9)
    assert {t for _, t, _ in witness.effects} == {"once:asked", "once:blind"}
    return await run.result()
