"""`delegate`: whoever fits best handles a request; the decision and what came of it are on record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from segue import Engine, RunFailed, delegate, flow, step
from segue.agent import Delegate, Person, delegated
from segue.agent.delegation import DelegationLoop, Undelegated
from segue.core.records import AttemptRecorded, Decision, Stage, record_of
from segue.errors import DefinitionError, InputError
from segue.routing import Function, Weighted
from segue.testing import Engine as InMemory
from segue.testing import crash_everywhere, run
from segue.testing.provider import Served, serve
from tests.agent.served import KEYS, opened

DID: list[str] = []


class Forecast(BaseModel):
    city: str
    degrees: int


@dataclass
class Refund:
    order: str
    cents: int


@step
async def weather(city: str) -> Forecast:
    """The weather forecast of a city: rain, sun, temperature."""
    DID.append(f"weather {city}")
    return Forecast(city=city, degrees=20)


def add(numbers: list[int]) -> int:
    """Adds numbers up: sums, totals."""
    DID.append(f"add {numbers}")
    return sum(numbers)


async def poet(request: str) -> str:
    """Writes poems, songs and verses about anything."""
    DID.append(f"poet {request}")
    return f"O {request}"


@step
async def pay(order: str, cents: int) -> str:
    """Pays."""
    DID.append(f"pay {order}")
    return f"paid {cents} for {order}"


@flow
async def refund(order: str, cents: int) -> str:
    """Refunds an order: money back to the customer."""
    return await pay(order, cents)


@flow
async def broken(request: str) -> str:
    """Writes poems and verses and songs about anything, in rhymes."""
    raise ValueError("the muse is silent")


EVERYBODY: list[Any] = [weather, add, poet, refund]


@flow
async def desk(request: str) -> dict[str, Any]:
    made = await delegated(request, to=EVERYBODY)
    return {"by": made.by, "kind": made.kind, "value": made.value}


@flow
async def typed(request: str) -> int:
    made = await delegate(request, to=[weather], returns=Forecast)
    return made.degrees


@flow
async def refunds(claim: Refund) -> str:
    return await delegate(claim, to=[weather, add, refund])


@flow
async def second(request: str) -> dict[str, Any]:
    made = await delegated(request, to=[broken, poet, weather])
    return {"by": made.by, "tried": [(one.name, one.fault) for one in made.tried], "value": made.value}


@flow
async def escalated(request: str) -> str:
    return await delegate(request, to=[broken], escalate="editor")


@flow
async def nobody(request: str) -> str:
    return await delegate(request, to=[weather, refund])


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    DID.clear()
    for name in KEYS:
        monkeypatch.setenv(name, "test")


def told(engine: InMemory, of: str) -> tuple[list[Decision], list[AttemptRecorded]]:
    """The decisions and attempts of delegations, in order."""
    events = [e for e in engine.history(of) if "choose[" in (e.key or "").rpartition("/")[2]]
    records = [record_of(e) for e in events if e.type in ("decision.made", "attempt.recorded")]
    return [r for r in records if isinstance(r, Decision)], [r for r in records if isinstance(r, AttemptRecorded)]


def play(made: Callable[[InMemory], Awaitable[Any]], **options: Any) -> tuple[Any, InMemory]:
    """Do something with an engine on a virtual clock."""

    async def played() -> tuple[Any, InMemory]:
        async with InMemory(**options) as engine:
            return await made(engine), engine

    return run(played())


@pytest.mark.parametrize(
    ("request_", "by", "kind"),
    [("Will it rain in Rome tomorrow? The forecast please.", "weather", "tool"),
     ("Write a poem about autumn.", "poet", "agent")],
)  # fmt: skip
def test_who_fits_best_gets_it(request_: str, by: str, kind: str) -> None:
    made, engine = play(lambda e: e.run(desk, request_, id="r"))
    assert (made["by"], made["kind"]) == (by, kind)
    (decision,), (attempt,) = told(engine, "r")
    chosen = decision.chosen
    assert chosen is not None and chosen.target.name == by and chosen.propensity == 1.0
    assert {c.target.name: c.excluded_at for c in decision.candidates if not c.eligible}["refund"] is Stage.CAPABILITY
    assert decision.route == "delegate" and decision.embedding
    assert (attempt.target.name, attempt.end, attempt.decision) == (by, "answered", decision.id)


def test_a_tool_is_chosen_by_the_type_that_it_takes() -> None:
    made, _ = play(lambda e: e.run(refunds, Refund("o-7", 500), id="r"))
    assert made == "paid 500 for o-7"
    assert DID == ["pay o-7"]


def test_results_are_of_the_type_that_is_wanted() -> None:
    assert play(lambda e: e.run(typed, "The weather forecast of Rome"))[0] == 20


def test_when_one_fails_the_next_gets_it_and_the_story_is_kept() -> None:
    made, engine = play(lambda e: e.run(second, "Write poems and verses about autumn, in rhymes.", id="r"))
    assert made["by"] == "poet" and made["tried"] == [["broken", "tool failed"], ["poet", ""]]
    (first, then), (failed, done) = told(engine, "r")
    assert first.chosen and first.chosen.target.name == "broken"
    assert then.after == first.id and then.because == "tool failed"
    out = {c.target.name: c.excluded_at for c in then.candidates if not c.eligible}
    assert out["broken"] is Stage.TRIED
    assert failed.fault is not None and "the muse is silent" in failed.fault.message
    assert (failed.end, done.end, done.why) == ("failed", "answered", "fallback")


def test_nobody_fits_is_an_error_that_says_why_and_what_to_do() -> None:
    async def made(engine: InMemory) -> Any:
        with pytest.raises(RunFailed) as failed:
            await engine.run(nobody, "xyzzy plugh", id="r")
        return failed.value.__cause__

    error, _ = play(made)
    assert isinstance(error, Undelegated)
    assert "refund: it takes order and cents" in error.excluded and "weather: its quality" in error.excluded
    assert error.remedy is not None and "Delegate(x, about=..., examples=[...])" in error.remedy


def test_all_failed_goes_to_a_person_with_the_story() -> None:
    async def made(engine: InMemory) -> Any:
        started = await engine.start(escalated, "A poem.", id="r")
        while not (items := await engine.inbox("editor")):
            await asyncio.sleep(0.1)
        story = str(items[0].story)
        await items[0].answer("Roses are red.", by="ed")
        return await started.result(), story

    (answer, story), _ = play(made)
    assert answer == "Roses are red." and "the muse is silent" in story
