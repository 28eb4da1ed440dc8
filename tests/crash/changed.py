"""Stories in which the code of a run changes: it is set aside after effects on their way, or cancelled in doubt.

A story has phases, each with a process and its code. A phase is played again where its process dies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import segue
from segue import Applied, NotApplied, Retry, flow, gather, step, wait_for
from segue.errors import InputError, RunEnded
from segue.testing import Engine
from tests.crash.flows import waits_long
from tests.crash.overridden import pays_slowly, pays_slowly_and_blindly
from tests.crash.witness import draw, witness

ENDED = ("completed", "failed", None, "cancelled")
code = {"now": "old"}
"""Which code the flows have: `old`, `wrong` (it cannot go on from the journal), or `right` (changed, and it can)."""


class Phase(NamedTuple):
    """What is done in one process, and the code that it has. `recover` says whether it takes up what it finds,
    `carries` whether it carries anything out.
    """

    code: str
    act: Callable[[Engine], Awaitable[Any]]
    recover: bool = True
    carries: bool = True


class Story(NamedTuple):
    """Phases in order, and how the run must end."""

    phases: list[Phase]
    result: Any
    end: str = "completed"


def deploy(now: str) -> None:
    """Processes that begin from here have this code. `same` is wrong code that passes for the old one."""
    code["now"] = now
    for made in (pays_beside_a_change, pays_early_or_late, pays_after_a_first_step):
        made.revision = "old" if now == "same" else now


@step
async def draw_slowly(tag: str) -> int:
    await asyncio.sleep(1)
    return await draw.function(tag)


@step(effect="once")
async def moves(n: int) -> int:
    witness.begin()
    witness.apply(f"once:moved {n}", [])
    return 7


async def was_paid_in_a_thread(tag: str) -> Applied | NotApplied:
    return Applied(7) if witness.applied(f"once:{tag}") else NotApplied()


@step(effect="once", reconcile=was_paid_in_a_thread)
def pays_in_a_thread(tag: str) -> int:
    witness.begin()
    witness.apply(f"once:{tag}", [])
    return 7


@step(retry=Retry(attempts=30, backoff_s=1.0))
async def writes_slowly(tag: str) -> int:
    witness.begin()
    await asyncio.sleep(3)
    witness.apply(tag, [])
    return 7


@step(effect="once")
async def pays_for_long_and_blindly(tag: str) -> int:
    witness.begin()
    await asyncio.sleep(15)
    witness.apply(f"once:{tag}", [])
    await asyncio.sleep(15)
    return 7


@flow
async def pays_beside_a_change(*, long: bool) -> list[Any]:
    """The changed code pays at once. That it cannot go on turns out when the payments are on their way."""
    effects: list[Any] = [pays_slowly, pays_slowly_and_blindly, pays_in_a_thread, writes_slowly]
    effects += [pays_for_long_and_blindly] if long else []

    async def pays() -> list[int]:
        if code["now"] == "old":
            await wait_for("go")
        return await gather(*(pay(f"paid {n}") for n, pay in enumerate(effects)))

    async def ships() -> int:
        await draw("first")
        if code["now"] != "old":
            await draw_slowly("second")
        return await moves(2 if code["now"] == "wrong" else 1)

    return await gather(pays(), ships())


@flow
async def pays_early_or_late() -> list[Any]:
    """The changed code asks for the same payments, after a wait: until then it does not know them."""
    if code["now"] != "old":
        await wait_for("go")
    return await gather(pays_slowly("early"), pays_slowly_and_blindly("blind"))


@flow
async def pays_after_a_first_step() -> list[Any]:
    """The wrong code takes another first step, so it cannot be replayed at all."""
    await draw("first" if code["now"] not in ("wrong", "same") else "another first")
    await moves(1 if code["now"] not in ("wrong", "same") else 2)
    return await gather(pays_slowly("rent"), pays_slowly_and_blindly("tax"), waits_long())


# what people do


def starts(made: Any, *args: Any, for_s: float = 30.0, kill: bool = False, **more: Any) -> Callable[[Engine], Any]:
    """Start the run, and stay for a while. `kill`: then the process dies."""

    async def act(engine: Engine) -> None:
        await engine.start(made, *args, id="main", **more)
        await asyncio.sleep(for_s)
        if kill:
            engine.kill()

    return act


async def wakes(engine: Engine) -> segue.Run[Any]:
    """Let a run that has parked go on: a signal that nobody waits for."""
    run = await engine.get("main")
    with suppress(RunEnded):
        await run.signal("look", id="look")
    return run


async def until_set_aside(engine: Engine) -> None:
    """Nothing but time, until the run is set aside; in doubt as in a mismatch."""
    run = await wakes(engine)
    await _until(run, "stuck", *ENDED)


async def under_way(engine: Engine) -> segue.Run[Any]:
    """Until the run is about to be set aside: effects are on their way. Where a process died, it may be by now."""
    run = await wakes(engine)
    for _ in range(400):
        if any(e.aside is not None for e in engine.host.executions.values()):
            return run
        if (await run.status()).state in ("stuck", *ENDED):
            return run
        await asyncio.sleep(0.1)
    raise AssertionError(f"it goes on and on: {await run.status()}")


async def leaves_under_way(engine: Engine) -> None:
    """The engine closes while an effect is on its way that takes longer than a close waits."""
    await under_way(engine)


async def cancels_under_way(engine: Engine) -> None:
    run = await under_way(engine)
    await _cancel(run)
    await asyncio.sleep(60)


async def meddles_under_way(engine: Engine) -> None:
    """An operator has no patience with what is on its way: it is left to end."""
    run = await under_way(engine)
    for key in _open_effects(engine) if (await run.status()).state == "running" else ():
        with suppress(InputError, RunEnded):
            await run.override(key, retry=True, by="ann")
    with suppress(RunEnded):
        await run.pause(by="ann")
        await asyncio.sleep(1)
        await run.resume(by="ann")
    await asyncio.sleep(60)


async def cancels(engine: Engine) -> None:
    await _cancel(await engine.get("main"))
    await asyncio.sleep(60)


async def says_what_came(engine: Engine) -> None:
    """Somebody looks into the world, and says of each effect in doubt what came of it; the code is still wrong."""
    run = await engine.get("main")
    await asyncio.sleep(60)
    await _say(engine, run, results=True)
    await asyncio.sleep(60)


async def lets_retry(engine: Engine) -> None:
    """Somebody lets each effect be made again that was not applied; the code is still wrong."""
    run = await engine.get("main")
    await asyncio.sleep(60)
    await _say(engine, run, results=False)
    await asyncio.sleep(60)


async def says_early(engine: Engine) -> None:
    """Before the flow asks for them: of what was applied the result; that the others be made again counts for nothing,
    where their doubt is not on record.
    """
    run = await engine.get("main")
    await asyncio.sleep(5)
    await _say(engine, run, results=True)
    await asyncio.sleep(5)


def sends(*, same: bool) -> Callable[[Engine], Any]:
    """Say what the call is in whose way an effect stands, from a process that carries nothing out."""

    async def act(engine: Engine) -> None:
        await _speak(await engine.get("main"), same=same)

    return act


def speaks(*, same: bool) -> Callable[[Engine], Any]:
    """The same, as often as the run is set aside for one, up to its end."""

    async def act(engine: Engine) -> None:
        await ends(engine, partial(_speak, same=same))

    return act


async def _speak(run: segue.Run[Any], *, same: bool) -> None:
    asks = (await run.status()).asks
    if asks is not None:
        with suppress(InputError, RunEnded):  # somebody was quicker
            await run.override(asks, 7 if same else None, retry=not same, by="ann")


async def ends(engine: Engine, speak: Callable[[segue.Run[Any]], Awaitable[None]] | None = None) -> None:
    """The code is right: somebody resumes the run, sends what it waits for and says what came of what is in doubt. Or
    somebody speaks of the calls that it stops at.
    """
    run = await engine.get("main")
    with suppress(RunEnded):
        await run.signal("go", id="go")
    for _ in range(200):
        status = await run.status()
        if status.state in ENDED:
            return await _children_end(engine)
        with suppress(RunEnded):
            if status.state == "stuck" and status.reason == "unknown effect":
                await _say(engine, run, results=True)
            elif status.asks is not None and speak is not None:
                await speak(run)
            elif status.state == "stuck" or status.paused:
                await run.resume(by="ann")
        await asyncio.sleep(3)
    raise AssertionError(f"it goes on and on: {await run.status()}")


async def ends_by_cancel(engine: Engine) -> None:
    """The code is still wrong: a cancel ends the run, if not the first then one after its doubts are on record."""
    run = await engine.get("main")
    for _ in range(4):
        if (await run.status()).state in ENDED:
            return await _children_end(engine)
        await _cancel(run)
        await asyncio.sleep(60)
        if (await run.status()).reason == "unknown effect":
            await _say(engine, run, results=True)


async def _children_end(engine: Engine) -> None:
    for _ in range(100):
        if not engine.journal.runs("state not in ('completed', 'failed', 'cancelled')"):
            break
        await asyncio.sleep(60)


async def _until(run: segue.Run[Any], *states: str) -> None:
    for _ in range(400):
        if (await run.status()).state in states:
            return
        await asyncio.sleep(0.5)
    raise AssertionError(f"it never was {states}: {await run.status()}")


async def _cancel(run: segue.Run[Any]) -> None:
    with suppress(RunEnded):
        await run.cancel(by="ann")


def _open_effects(engine: Engine) -> list[str]:
    """Once-effects that the journal has as begun, without an outcome."""
    begun = "select key from events where type = 'attempt.started' and instr(cast(body as text), '\"once\"')"
    ended = "select key from events where type in ('step.completed', 'step.failed')"
    return sorted({key for (key,) in engine.journal.query(f"{begun} and key not in ({ended})")})


async def _say(engine: Engine, run: segue.Run[Any], *, results: bool) -> None:
    """The truth about each effect in doubt. `results`: of what was applied; else only what was not is let retry."""
    for key in _open_effects(engine):
        paid = any(idem == f"main/{key}" for idem, _, _ in witness.effects)
        with suppress(InputError, RunEnded):  # somebody was quicker: this operator, before the process died
            if paid and results:
                await run.override(key, 7, by="ann")
            elif not paid:
                await run.override(key, retry=True, by="ann")


_BEGINS = [Phase("old", starts(pays_beside_a_change, long=False))]
_BEGINS_LONG = [Phase("old", starts(pays_beside_a_change, long=True))]
_DIES = [Phase("old", starts(pays_after_a_first_step, for_s=3.0, kill=True))]
_DIES_EARLY = [Phase("old", starts(pays_early_or_late, for_s=3.0, kill=True))]
_DIES_AT_ONCE = [Phase("old", starts(pays_early_or_late, for_s=2.0, kill=True))]
_SENT = {
    same: [Phase("wrong", until_set_aside), Phase("wrong", sends(same=same), carries=False)] for same in (True, False)
}
_PAID = [[7, 7, 7, 7], 7]
_PAID_LONG = [[7, 7, 7, 7, 7], 7]

STORIES = {
    "put right": Story([*_BEGINS, Phase("wrong", until_set_aside), Phase("right", ends)], _PAID),
    "changed back": Story([*_BEGINS, Phase("wrong", until_set_aside), Phase("old", ends)], _PAID),
    "cancelled under way": Story(
        [*_BEGINS, Phase("wrong", cancels_under_way), Phase("wrong", ends_by_cancel)], None, "cancelled"
    ),
    "meddled with under way": Story([*_BEGINS, Phase("wrong", meddles_under_way), Phase("right", ends)], _PAID),
    "said while set aside": Story(
        [*_BEGINS_LONG, Phase("wrong", leaves_under_way), Phase("wrong", says_what_came), Phase("right", ends)],
        _PAID_LONG,
    ),
    "retried while set aside": Story(
        [*_BEGINS_LONG, Phase("wrong", leaves_under_way), Phase("wrong", lets_retry), Phase("old", ends)], _PAID_LONG
    ),
    "said before it is asked": Story([*_DIES_EARLY, Phase("right", says_early), Phase("right", ends)], [7, 7]),
    "retried before it is asked": Story(
        [*_DIES_AT_ONCE, Phase("old", until_set_aside), Phase("right", lets_retry), Phase("right", ends)], [7, 7]
    ),
    "cancelled in doubt": Story(
        [
            *_DIES,
            Phase("wrong", cancels, recover=False),
            Phase("wrong", until_set_aside),
            Phase("wrong", ends_by_cancel),
        ],
        None,
        "cancelled",
    ),
    "cancelled in doubt by code that passes for the old": Story(
        [*_DIES, Phase("same", cancels, recover=False), Phase("same", until_set_aside), Phase("same", ends_by_cancel)],
        None,
        "cancelled",
    ),
    "cancelled in doubt, put right": Story(
        [*_DIES, Phase("same", cancels, recover=False), Phase("same", until_set_aside), Phase("old", ends)],
        None,
        "cancelled",
    ),
    "the same effect": Story([*_BEGINS, Phase("wrong", until_set_aside), Phase("wrong", speaks(same=True))], _PAID),
    "another effect": Story([*_BEGINS, Phase("wrong", until_set_aside), Phase("wrong", speaks(same=False))], _PAID),
    "the same effect, taken by other code": Story(
        [
            *_BEGINS,
            Phase("wrong", until_set_aside),
            Phase("wrong", sends(same=True), carries=False),
            Phase("right", ends),
        ],
        _PAID,
    ),
    "another effect, taken by other code": Story(
        [
            *_BEGINS,
            Phase("wrong", until_set_aside),
            Phase("wrong", sends(same=False), carries=False),
            Phase("right", ends),
        ],
        _PAID,
    ),
    "said, then cancelled": Story(
        [*_DIES, Phase("same", says_what_came), Phase("same", ends_by_cancel)], None, "cancelled"
    ),
    "retried, then cancelled": Story(
        [*_DIES, Phase("wrong", lets_retry), Phase("wrong", ends_by_cancel)], None, "cancelled"
    ),
}
