"""Models on virtual time: what waits for a minute waits for a virtual one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from segue import ask, flow, testing
from segue.agent import relayed
from segue.models import Catalogue, Limits, Model, ModelError, Provider
from segue.models.health import BreakerRule, Rules
from segue.routing import Cheapest
from segue.testing.provider import FaultPlan, Served, serve
from segue.testing.provider import Provider as Server


@flow
async def asks(times: int) -> str:
    return [await ask("Say it.", str(n)) for n in range(times)][-1]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "any")


@asynccontextmanager
async def opened(
    *models: str, served: Served | None = None, retry_after_s: float = 2.0, given: Mapping[str, Any] = {}, **model: Any
) -> AsyncIterator[tuple[testing.Engine, Server]]:
    """Warm: what is imported and connected first takes no virtual time of what is measured."""
    clock, plan = asyncio.get_running_loop().time, FaultPlan(retry_after_s=retry_after_s)
    async with serve({name: served or Served() for name in models}, faults=plan, clock=clock) as server:
        about: dict[str, Any] = {"window": 64_000, "max_output": 4_000, "capabilities": {"streaming"}, **model}
        provider = Provider.OPENAI_COMPATIBLE
        known = Catalogue.of(*(Model(name=n, provider=provider, url=server.openai_url, **about) for n in models))
        async with testing.Engine(resources={"catalogue": known, **given}) as engine:
            yield engine, server


def now() -> float:
    return asyncio.get_running_loop().time()


@testing.simulated
async def test_a_minute_of_a_models_limits_is_a_virtual_one() -> None:
    async with opened("small", limits=Limits(rpm=2)) as (engine, server):
        began, real = now(), time.monotonic()
        assert await engine.run(asks, 3) == "You said: 2"
        assert 60 <= now() - began < 75 and time.monotonic() - real < 30
        assert len(server.log) == 3


@testing.simulated
async def test_a_pause_that_a_provider_asks_for_is_a_virtual_one() -> None:
    async with opened("small", retry_after_s=60.0) as (engine, server):
        server.next("small", "rate-limited", "rate-limited-date")
        began, real = now(), time.monotonic()
        assert await engine.run(asks, 1) == "You said: 0"
        assert 120 <= now() - began < 140 and time.monotonic() - real < 30
        assert len(server.log) == 3


@testing.simulated
async def test_the_limits_of_the_provider_itself_go_by_the_clock_it_is_given() -> None:
    async with opened("small", served=Served(rpm=2)) as (engine, server):
        began = now()
        assert await engine.run(asks, 3) == "You said: 2"
        assert 55 <= now() - began < 140
        assert server.counts("small").peak_admitted == 2


@testing.simulated
async def test_a_breaker_rests_in_virtual_time() -> None:
    rules = Rules(breaker=BreakerRule(streak=2))
    async with opened("small", given={"rules": rules}) as (engine, server):
        server.next("small", "server-error", "server-error", "server-error")
        began = now()
        assert await engine.run(asks, 1) == "You said: 0"
        assert 1 <= now() - began < 200


@testing.simulated
async def test_what_is_held_back_of_a_stream_is_held_in_virtual_time() -> None:
    slow = Served(answer=lambda _: "one two three four five six", token_s=10.0)
    async with opened("small", served=slow):
        route, began, first = Cheapest(name="held", hold_ms=25_000), now(), 0.0
        async for _ in relayed("Tell it.", route=route, timeout_s=600.0):
            first = first or now() - began
        assert 25 <= first < 45, "neither at once, nor only at the end"


@testing.simulated
async def test_a_stream_takes_no_more_virtual_time_than_its_limit() -> None:
    slow = Served(answer=lambda _: "word " * 60, token_s=10.0)
    async with opened("small", served=slow) as (_, server):
        began = now()
        with pytest.raises(ModelError, match="within 45 s"):
            _ = [text async for text in relayed("Tell it.", route=Cheapest(name="fails"), timeout_s=45.0)]
        assert 45 <= now() - began < 60
        assert len(server.log) == 1
