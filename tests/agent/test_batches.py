"""`ask(..., batch=True)`: many questions travel together at half the price, while their runs wait on disk."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, ask, detach, flow, gather, step
from segue.agent import answer
from segue.core.budgets import nano
from segue.core.records import BudgetScope, ScopeKind
from segue.errors import BudgetExceeded, InputError, NotInAFlow
from segue.models import Capability, Catalogue, Model, Price, Provider
from segue.models.batches import BatchRules
from segue.routing import Hedge, Cheapest
from segue.testing.provider import Provider as Server
from segue.testing.provider import Served, serve

CAN = frozenset({Capability.BATCH, Capability.JSON_SCHEMA, Capability.TOOLS})
PRICE = Price.dollars(1, 4)
SOON = BatchRules(wait_s=0.4, look_s=0.1, look_s_max=0.2, turn_s=0.1, settle_s=0.2)
FORMATS = {"chat": Provider.OPENAI, "gpt": Provider.OPENAI_RESPONSES, "claude": Provider.ANTHROPIC}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "test")


def model(server: Server, name: str, can: frozenset[Capability] = CAN, price: Price = PRICE) -> Model:
    provider = FORMATS[name.partition("-")[0]]
    url = server.url if provider is Provider.ANTHROPIC else server.openai_url
    return Model(
        name=name, provider=provider, capabilities=can, window=64_000, max_output=4_000, price=price, url=url
    )


def opened(path: Path, *models: Model, rules: BatchRules = SOON, **options: Any) -> Engine:
    return Engine(
        str(path / "x.db"), resources={"catalogue": Catalogue.of(*models), "batches": rules}, linger_s=0.05, **options
    )


def billed(server: Server) -> int:
    """What the provider bills for a batch, at half the price."""
    return sum(
        (PRICE.per_million_in * e.tokens_in + PRICE.per_million_out * e.tokens_out) // 2_000_000 for e in server.log
    )


@dataclass
class Count:
    many: int


@flow
async def echoes(word: str) -> str:
    return await ask(f"Say {word}", batch=True)


@flow
async def counts(word: str) -> Count:
    return await ask(f"Count {word}", returns=Count, batch=True)


@pytest.mark.parametrize("name", FORMATS)
async def test_an_answer_comes_by_the_batch_api_of_each_format(tmp_path: Path, name: str) -> None:
    async with serve([name]) as server, opened(tmp_path, model(server, name)) as engine:
        run = await engine.start(echoes, "hello", id="r")
        assert "hello" in await run.result()
        (entry,) = server.log
        assert entry.batch
        assert (await run.status()).state == "completed"


@flow
async def tallies(words: list[str]) -> list[Count]:
    return await gather(*(ask(f"Count {word}", returns=Count, batch=True) for word in words))


@flow
async def parent(many: int) -> int:
    for n in range(many):
        await detach(echoes, f"w{n}", id=f"c{n}")
    return many


async def all_of(engine: Engine, many: int) -> list[str]:
    return [await (await engine.get(f"c{n}")).result() for n in range(many)]


@pytest.mark.parametrize("name", ["chat", "claude"])
async def test_200_children_travel_in_few_batches_each_billed_once_at_half_the_price(tmp_path: Path, name: str) -> None:
    rules = replace(SOON, wait_s=1.5)
    async with serve([name]) as server, opened(tmp_path, model(server, name), rules=rules) as engine:
        await engine.run(parent, 200, id="p")
        said = await all_of(engine, 200)
        assert [f"w{n}" in text for n, text in enumerate(said)] == [True] * 200
        assert len(server.log) == 200
        assert not server.log.answered_twice()
        assert len({entry.batch for entry in server.log}) <= 4
        assert await spent(engine, [f"c{n}" for n in range(200)]) == billed(server)


async def spent(engine: Engine, runs: list[str]) -> int:
    """What the attempts say that they took."""
    found = 0
    for id in runs:
        run = await engine.get(id)
        bodies = [json.loads(e.body or b"") async for e in run.events(follow=False) if e.type == "attempt.recorded"]
        found += sum((body.get("usage") or {}).get("cost_nano", 0) for body in bodies)
    return found


async def test_a_parked_run_is_only_a_row(tmp_path: Path) -> None:
    async with serve(["chat"]) as server, opened(tmp_path, model(server, "chat")) as engine:
        server.batches.pace_s = 3.0
        run = await engine.start(echoes, "hello", id="r")
        while not server.batches.jobs:
            await asyncio.sleep(0.05)
        status = await run.status()
        assert status.state == "parked"
        assert not engine.host.executions
        (waits,) = status.waits_on
        assert waits["service"] == "a batch of openai"
        assert "hello" in await run.result()


@pytest.mark.parametrize("trouble", ["refused", "broken", "failed", "expired", "cancelled", "lines-lost", "answer-lost"])
@pytest.mark.parametrize("name", ["chat", "claude"])
async def test_a_batch_that_fails_loses_no_question(tmp_path: Path, name: str, trouble: str) -> None:
    async with serve([name]) as server, opened(tmp_path, model(server, name)) as engine:
        server.batches.next(trouble)
        words = [f"w{n}" for n in range(6)]
        assert len(await engine.run(tallies, words, id="r")) == 6
        twice = server.log.answered_twice()
        lost = 3 if trouble == "lines-lost" else 0
        assert len(twice) == lost, "only what the provider lost is asked again"
        assert all(entry.batch for entry in server.log)
