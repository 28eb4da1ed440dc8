"""Random programs whose code is changed between crashes: no effect twice, and a call gives again what it gave."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel

from segue import Applied, NotApplied, Retry, Run, RunStatus, flow, gather, step, step_scope, testing, timeout
from segue.core.codec import loads
from segue.core.events import OUTCOMES, Event, EventType
from segue.core.keys import family, leaf_of
from segue.core.lifecycle import ENDED
from segue.errors import InputError
from tests.behaviour.world import events_of

SEEDS = 120
RESTS = (EventType.RUN_PARKED, EventType.RUN_STUCK)


class Old(BaseModel):
    n: int


class New(BaseModel):
    n: int
    gift: bool = False


@dataclass
class Call:
    """A call of the program: which step, with what, under which key of its own; or calls beside each other. `id` tells
    it from its equals.
    """

    id: str
    step: str
    n: int = 0
    key: str | None = None
    beside: list[list[Call]] = field(default_factory=list)


@dataclass
class Ledger:
    """What the outside saw."""

    applied: dict[str, str] = field(default_factory=dict)
    """The nonces of payments, by idempotency key."""
    twice: list[str] = field(default_factory=list)
    shipped: list[str] = field(default_factory=list)
    """The results that went on from a call, with its id."""


def program(chance: random.Random, at: str = "") -> list[Call]:
    """Some calls, many of them equal."""
    calls: list[Call] = []
    for i in range(chance.randint(1, 4)):
        kind = chance.choice(["pay", "pay", "work", "tries", "pay" if at else "gather"])
        if kind == "gather":
            branches = [program(chance, f"{i}.{branch}.") for branch in range(chance.randint(2, 3))]
            calls.append(Call(f"{at}{i}", kind, beside=branches))
        else:
            calls.append(Call(f"{at}{i}", kind, chance.randint(1, 2), chance.choice([None, None, f"k{len(calls)}"])))
    return calls


def changed(calls: list[Call], chance: random.Random) -> list[Call]:
    """The program with new steps put in."""
    found: list[Call] = []
    for call in calls:
        if chance.random() < 0.4:
            found.append(Call("", "rest", chance.randint(1, 9)))
        beside = [changed(branch, chance) for branch in call.beside]
        found.append(replace(call, beside=beside))
    return found


def deploy(calls: list[Call], model: Any, revision: int, ledger: Ledger, seed: int, **options: Any) -> Any:
    """The flow `main`, as the code stands."""
    chance = random.Random(f"{seed} {revision}")

    async def came_of(x: Any) -> Applied | NotApplied:
        nonce = ledger.applied.get(step_scope().idempotency_key)
        return NotApplied() if nonce is None else Applied(nonce)

    async def pay(x: Any) -> str:
        key = step_scope().idempotency_key
        await asyncio.sleep(chance.uniform(0, 4))
        if key in ledger.applied:
            ledger.twice.append(key)
        ledger.applied[key] = nonce = f"paid {len(ledger.applied)}"
        await asyncio.sleep(chance.uniform(0, 4))
        return nonce

    async def work(x: Any) -> str:
        await asyncio.sleep(chance.uniform(0, 4))
        return f"worked {chance.random()}"

    async def ship(parcel: str) -> None:
        ledger.shipped.append(parcel)

    async def rest(n: int) -> None:
        await asyncio.sleep(n)

    for function in (pay, work):
        function.__annotations__ = {"x": model, "return": str}
    if options.pop("asks", False):
        options["reconcile"] = came_of
    tries = step(name="tries", retry=Retry(attempts=9))
    steps: dict[str, Any] = {"pay": step(**options)(pay), "work": step(work), "tries": tries(work)}
    resting, shipping = step(rest), step(ship)

    async def carried_out(calls: list[Call]) -> list[str]:
        said: list[str] = []
        for call in calls:
            if call.step == "rest":
                await resting(call.n)
            elif call.step == "gather":
                said += [one for branch in await gather(*map(carried_out, call.beside)) for one in branch]
            elif call.step == "tries":
                for limit_s in (call.n, 100):
                    with suppress(TimeoutError):
                        async with timeout(limit_s):
                            given = await steps["tries"](model(n=call.n))
                            break
                said.append(f"{call.id}: {given}")
                await shipping(said[-1])
            else:
                given = await steps[call.step].using(key=call.key)(model(n=call.n))
                said.append(f"{call.id}: {given}")
                await shipping(said[-1])
        return said

    async def main() -> list[str]:
        return await carried_out(calls)

    return flow(name="main", revision=str(revision))(main)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("first", range(0, SEEDS, 20))
@testing.simulated
async def test_changed_code_goes_on_with_what_its_calls_gave(first: int) -> None:
    for seed in range(first, first + 20):
        await played(seed)


async def played(seed: int) -> None:
    chance = random.Random(seed)
    calls, model, ledger = program(chance), Old, Ledger()
    first = calls
    options = {"effect": "once", "asks": chance.random() < 0.5}
    engine: Any = None
    for revision in range(1, chance.randint(3, 6)):
        if revision > 1 and chance.random() < 0.6:
            calls = changed(calls, chance)
        if chance.random() < 0.4:
            model = New
        deployed = deploy(calls, model, revision, ledger, seed, **options)
        async with testing.Engine(after=engine) as engine:
            run = await engine.start(deployed, id="r") if revision == 1 else await engine.get("r")
            for _ in range(chance.randint(1, 3)):
                await asyncio.sleep(chance.uniform(0, 6))
                await meddled(run, chance)
            engine.kill()
    if chance.random() < 0.2:
        options = {}  # it is declared as no effect any more
    deploy(calls, model, 99, ledger, seed, **options)
    async with testing.Engine(after=engine) as engine:
        put_back = partial(deploy, first, model, 100, ledger, seed, **options)
        given = await helped(await engine.get("r"), ledger, put_back)
        events = await events_of(await engine.get("r"))
    check(seed, given, events, ledger)


async def meddled(run: Run[Any], chance: random.Random) -> None:
    """Somebody acts on the run: with a rash word, too, on a payment that is not on record as in doubt."""
    act = chance.choice(["none", "none", "pause", "resume", "retry", "retry"])
    if (await run.status()).state in ENDED:
        return
    if act == "pause":
        await run.pause()
    elif act == "resume":
        await run.resume()
    elif act == "retry":
        events = await events_of(run)
        told = {key for e in events if e.type in RESTS for key in loads(e.body).get("unknown", {})}
        begun = [e.key for e in events if e.type == EventType.ATTEMPT_STARTED and e.key not in told]
        with suppress(InputError):  # it has an outcome
            await run.override(chance.choice(begun or ["pay[none]#1"]) or "", retry=True)


async def helped(run: Run[list[str]], ledger: Ledger, put_back: Callable[[], object]) -> list[str]:
    """What a run gives in the end. Whoever helps it looks first what came of a payment. New steps before a payment are
    taken out again where an equal one, in another branch, would have come first: it may be the same that was moved.
    """
    for _ in range(40):
        status = await run.status()
        if status.state in ENDED:
            return await run.result()
        assert status.state != "stuck" or status.reason == "unknown effect" or is_equal(status), status
        if status.reason == "mismatch":
            put_back()
            await run.resume()
        elif status.state == "stuck":
            nonce = ledger.applied.get(f"r/{status.key}")
            word: dict[str, Any] = {"retry": True} if nonce is None else {"result": nonce}
            await run.override(status.key or "", **word)
        else:
            await run.resume()
        await asyncio.sleep(60)
    raise AssertionError("it never came to an end")


def is_equal(status: RunStatus) -> bool:
    """Whether what a run is set aside for are equal payments of two branches."""
    held, asked = re.findall(r"[^ ]+#[0-9]+(?=[ ,])", status.message or "")[:2]
    return status.reason == "mismatch" and leaf_of(held) == leaf_of(asked) and family(held) != family(asked)


def check(seed: int, given: list[str], events: list[Event], ledger: Ledger) -> None:
    ends = [e.key for e in events if e.type in OUTCOMES]
    assert len(ends) == len(set(ends)), f"seed {seed}: two outcomes of one call"
    begun = [(e.key, e.attempt) for e in events if e.type == EventType.ATTEMPT_STARTED]
    assert len(begun) == len(set(begun)), f"seed {seed}: an attempt has its number twice"
    assert not ledger.twice, f"seed {seed}: paid twice"
    paid = [one.partition(": ")[2] for one in given if ": paid" in one]
    assert sorted(paid) == sorted(ledger.applied.values()), f"seed {seed}: not each payment has its call"
    assert set(ledger.shipped) == set(given), f"seed {seed}: a call gave something else before a crash"
