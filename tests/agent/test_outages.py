"""Outages on virtual time: one of a minute is outlasted, however many questions come in it and whatever it looks like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from segue import RunFailed, flow, testing
from segue.agent import ask
from segue.core.events import EventType
from segue.models import Catalogue, Model, Provider
from segue.testing.provider import FaultPlan, Served, serve
from segue.testing.provider import Provider as Server

DOWN_S = 60.0
KINDS = ["overloaded", "refused", "reset", "html-error", "rate-limited", "rate-limited for 0 s"]
MANY = [1, 2, 3, 4, 8, 20]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "any")


@flow
async def asks(text: str) -> str:
    return await ask("Say it.", text)


@flow
async def asks_thrice(text: str) -> str:
    return await ask("Say it.", text, attempts=3)


@asynccontextmanager
async def opened(models: int, retry_after_s: float = 2.0) -> AsyncIterator[tuple[testing.Engine, Server]]:
    names, clock = "abc"[:models], asyncio.get_running_loop().time
    async with serve(
        {name: Served() for name in names}, faults=FaultPlan(retry_after_s=retry_after_s), clock=clock
    ) as server:
        provider, about = Provider.OPENAI_COMPATIBLE, {"window": 64_000, "max_output": 4_000}
        known = Catalogue.of(*(Model(name=n, provider=provider, url=server.openai_url, **about) for n in names))
        async with testing.Engine(resources={"catalogue": known}, seed=1) as engine:
            yield engine, server


async def go_down(server: Server, kind: str) -> None:
    if kind == "refused":
        await server.stop()
        return
    for name in server.models:
        server.fail(name, kind.removesuffix(" for 0 s"))


async def come_back(server: Server, kind: str) -> None:
    if kind == "refused":
        await server.start()
    for name in server.models:
        server.heal(name)


async def outlasted(models: int, questions: int, kind: str) -> None:
    async with opened(models, 0.0 if kind.endswith(" for 0 s") else 2.0) as (engine, server):
        await go_down(server, kind)
        runs = [asyncio.create_task(engine.run(asks, f"{n}", id=f"r{n}")) for n in range(questions)]
        await asyncio.sleep(DOWN_S)
        await come_back(server, kind)
        said = await asyncio.gather(*runs, return_exceptions=True)
        assert said == [f"You said: {n}" for n in range(questions)], (questions, kind)
        assert not server.log.answered_twice()
        for n in range(questions):
            assert calls_of(engine, f"r{n}") <= 22 + models


def calls_of(engine: testing.Engine, run: str) -> int:
    return sum(event.type == EventType.ATTEMPT_RECORDED for event in engine.history(run))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("models", [1, 2, 3])
def test_an_outage_of_a_minute_is_outlasted_however_many_ask(models: int, kind: str) -> None:
    async def case() -> None:
        for questions in MANY if kind in ("overloaded", "refused") else (1, 4):
            await outlasted(models, questions, kind)

    testing.run(case())
