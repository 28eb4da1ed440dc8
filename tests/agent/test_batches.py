"""`ask(..., batch=True)`: many questions travel together at half the price, while their runs wait on disk."""

from __future__ import annotations

import asyncio
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
SOON = BatchRules(wait_s=0.3, look_s=0.1, look_s_max=0.2, turn_s=0.1, settle_s=0.2)
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


@flow
async def echoes(word: str) -> str:
    return await ask(f"Say {word}", batch=True)


@flow
async def counts(word: str) -> list[int]:
    return await ask(f"Count {word}", returns=list[int], batch=True)


@pytest.mark.parametrize("name", FORMATS)
async def test_an_answer_comes_by_the_batch_api_of_each_format(tmp_path: Path, name: str) -> None:
    async with serve([name]) as server, opened(tmp_path, model(server, name)) as engine:
        run = await engine.start(echoes, "hello", id="r")
        assert "hello" in await run.result()
        (entry,) = server.log
        assert entry.batch
        assert (await run.status()).state == "completed"
