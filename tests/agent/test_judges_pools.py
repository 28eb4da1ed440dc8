"""Judges by a model of several deployments, on virtual time: who is asked next, with how much of the guard's time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from segue import RunFailed, flow, testing
from segue.agent import ask, called
from segue.agent.gateway import Gateway
from segue.agent.guards import Guard
from segue.agent.guards.moderation import Moderation
from segue.core.records import AttemptRecorded, AttemptWhy, Usage, record_of
from segue.models import Capability, Catalogue, Deployment, Limits, Model, Price, Provider
from segue.models.errors import ModelFailed, NotAuthorised, Overloaded, TooSlow
from segue.models.exchange import Call, Reply
from segue.models.health import Health
from segue.routing import Cheapest, Pinned
from segue.routing.policies import NEVER
from segue.testing import Engine

FINE = json.dumps({"flagged": False, "category": "none", "why": ""})
HANGS = 1e6
Does = Callable[[int], float | str | Exception]
"""What a place does with its n-th call, from 1: it answers after so many seconds, says something else, or fails."""


def failed(kind: type[ModelFailed], status: int) -> ModelFailed:
    error = kind(f"{status}")
    error.status = status
    return error


class Places:
    """Whatever is called, by the name of its deployment; who is not named answers in a second."""

    def __init__(self, **does: Does) -> None:
        self.does, self.calls, self.imports_s = does, list[str](), 0.0

    async def ready(self, asked: Call) -> None:
        """Whatever is to be imported for it is, at the first call."""
        imports_s, self.imports_s = self.imports_s, 0.0
        await asyncio.sleep(imports_s)

    async def send(self, asked: Call) -> Reply:
        place = asked.deployment.name
        self.calls.append(place)
        then = self.does.get(place, lambda _: 1.0)(self.calls.count(place))
        if isinstance(then, Exception):
            raise then
        text = then if isinstance(then, str) else FINE if place in JUDGES else "well"
        took_s = 1.0 if isinstance(then, str) else then
        await asyncio.sleep(min(took_s, asked.timeout_s))
        if took_s > asked.timeout_s:
            raise TooSlow("no answer")
        usage = Usage(tokens_in=20, tokens_out=2, cost_nano=100)
        return Reply(message=cast("Any", _Message()), text=text, usage=usage)


class _Message:
    parts = ()


JUDGES = ("d", "e", "g", "b")


def model(name: str, *places: str, at_once: int = 50) -> Model:
    """The first of its places is preferred."""
    weights = (1e6, 1e-3, 1e-12)
    return Model(
        name=name, provider=Provider.OPENAI_COMPATIBLE, window=32_000, max_output=4000, price=Price.dollars(0.1, 0.4),
        capabilities=frozenset({Capability.JSON_SCHEMA}), limits=Limits(concurrency=at_once),
        deployments=tuple(
            Deployment(name=place, url="http://127.0.0.1:1", weight=weight)
            for place, weight in zip(places, weights, strict=False)
        ),
    )  # fmt: skip


@flow(name="judged_by_a_pool")
async def judged(text: str) -> str:
    return await ask(text, model="small")


@flow
async def plain(text: str) -> str:
    return await ask(text, model="pool")


@asynccontextmanager
async def opened(
    monkeypatch: pytest.MonkeyPatch, places: Places, *pool: str, guarded: bool = True, at_once: int = 50
) -> AsyncGenerator[Engine]:
    monkeypatch.setattr(called, "ready", places.ready)
    monkeypatch.setattr(called, "send", places.send)
    routes = {"judges": Pinned(model="pool", otherwise=Pinned(model="other"))}
    routes |= {"default": Cheapest(explore=NEVER)}
    look = Moderation(route="judges" if "b" in pool else None, model=None if "b" in pool else "pool", timeout_s=10)
    guard = Guard(name="judge", look=look, stage="before", together=True, timeout_s=10)
    judge = model("pool", *(place for place in pool if place != "b"), at_once=at_once)
    models = [judge, model("other", "b"), model("small", "s")]
    gateway = Gateway.of(Catalogue.of(*models), routes=routes, health=Health())
    async with Engine(resources={"gateway": gateway, "guards": [guard] if guarded else []}) as engine:
        yield engine


def no_key(_: int) -> Exception:
    return failed(NotAuthorised, 401)


def down(_: int) -> Exception:
    return failed(Overloaded, 503)


def once(then: float | Exception) -> Does:
    """Overloaded at first."""
    return lambda n: failed(Overloaded, 503) if n == 1 else then


@testing.simulated
async def test_places_that_hang_leave_a_part_of_the_time_to_whoever_is_next(monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places(d=lambda _: HANGS, e=lambda _: HANGS)
    async with opened(monkeypatch, places, "d", "e", "b") as engine:
        assert await engine.run(judged, "Who?", id="r") == "well"
        assert places.calls == ["d", "e", "b", "s"]


@testing.simulated
async def test_a_place_that_takes_no_calls_leaves_no_time_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places(d=no_key, e=lambda _: 7.0)
    async with opened(monkeypatch, places, "d", "e") as engine:
        for n in range(3):
            assert await engine.run(judged, f"Who, {n}?", id=f"r{n}") == "well"
        assert places.calls == ["d", "e", "s", "e", "s", "e", "s"]


@pytest.mark.parametrize("pool", [("d",), ("d", "e")], ids=["one place", "two places"])
@testing.simulated
async def test_bad_luck_that_is_over_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, pool: tuple[str, ...]
) -> None:
    places = Places(d=once(failed(NotAuthorised, 401)), e=no_key)
    async with opened(monkeypatch, places, *pool) as engine:
        began = asyncio.get_running_loop().time()
        with pytest.raises(RunFailed, match="the guard itself failed: pool: 401"):
            await engine.run(judged, "Who?", id="r")
        assert asyncio.get_running_loop().time() - began < 3
        assert places.calls == [*pool, "d"]


@testing.simulated
async def test_in_each_round_another_place_has_its_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places(d=once(HANGS), e=once(1.0))
    async with opened(monkeypatch, places, "d", "e") as engine:
        assert await engine.run(judged, "Who?", id="r") == "well"
        assert places.calls == ["d", "e", "d", "e", "s"]


@pytest.mark.parametrize("asks", [judged, plain])
@testing.simulated
async def test_once_all_places_have_failed_they_take_turns(monkeypatch: pytest.MonkeyPatch, asks: Any) -> None:
    places = Places(d=down, e=down, g=once(1.0))
    async with opened(monkeypatch, places, "d", "e", "g", guarded=asks is judged) as engine:
        await engine.run(asks, "Who?", id="r")
        assert places.calls[:6] == ["d", "e", "g", "d", "e", "g"]


@pytest.mark.parametrize("says", ["I cannot say.", '{"flagged": 7}', ""], ids=["words", "another shape", "nothing"])
@testing.simulated
async def test_a_place_whose_verdict_cannot_be_read_is_passed_over(monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    places = Places(d=lambda _: says)
    async with opened(monkeypatch, places, "d", "e") as engine:
        assert await engine.run(judged, "Who?", id="r") == "well"
        assert places.calls == ["d", "e", "s"]


@testing.simulated
async def test_who_judges_when_the_first_one_is_busy_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places(d=lambda _: 5.0, b=lambda _: 1.0)
    async with opened(monkeypatch, places, "d", "b", at_once=1) as engine:
        runs = [await engine.start(judged, f"Who, {n}?", id=f"r{n}") for n in range(5)]
        assert [await run.result() for run in runs] == ["well"] * 5
        assert sorted(places.calls) == ["b"] * 4 + ["d"] + ["s"] * 5


@testing.simulated
async def test_a_judge_that_is_alone_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places(d=lambda _: 4.0)
    async with opened(monkeypatch, places, "d", at_once=1) as engine:
        runs = [await engine.start(judged, f"Who, {n}?", id=f"r{n}") for n in range(2)]
        assert [await run.result() for run in runs] == ["well"] * 2


@testing.simulated
async def test_a_judge_that_stays_busy_is_on_record_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places(d=lambda n: 1.0 if n == 1 else 40.0)
    async with opened(monkeypatch, places, "d", at_once=1) as engine:
        long = await engine.start(plain, "Who is it?")
        while places.calls != ["d", "d"]:
            await asyncio.sleep(0.1)
        run = await engine.start(judged, "Who?")
        with pytest.raises(RunFailed, match="the guard itself failed: pool takes no calls now"):
            await run.result()
        ends = [record_of(event) async for event in run.events(follow=False) if event.type == "attempt.recorded"]
        assert next(end.why for end in ends if isinstance(end, AttemptRecorded)) == AttemptWhy.PROBE
        await long.result()


@testing.simulated
async def test_what_a_first_call_imports_takes_no_time_of_the_guards(monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places()
    places.imports_s = 30.0
    async with opened(monkeypatch, places, "d") as engine:
        assert await engine.run(judged, "Who?", id="r") == "well"
        assert places.calls == ["d", "s"]
