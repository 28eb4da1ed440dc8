"""A model with a budget for thinking answers with the settings of everybody else: its thoughts come on top."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, RunFailed, flow
from segue.agent import ask
from segue.agent.request import Question
from segue.agent.window import fitted
from segue.context import ContextOverflow
from segue.core.records import Reservation, record_of
from segue.models import Capability, Catalogue, InvalidModel, Model, Price, Provider
from segue.models.toml import read
from segue.testing.provider import Provider as Server
from segue.testing.provider import Served, serve

BUDGET = 4096
FIXED = {"anthropic_thinking": {"type": "enabled", "budget_tokens": BUDGET}}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC", "GOOGLE"):
        monkeypatch.setenv(f"{name}_API_KEY", "test")


def model(server: Server | None = None, **more: Any) -> Model:
    given: dict[str, Any] = {
        "name": "claude", "provider": Provider.ANTHROPIC, "capabilities": frozenset({Capability.THINKING}),
        "window": 64_000, "max_output": 16_000, "price": Price.dollars(3, 15), "settings": FIXED,
        "url": server.url if server else None, **more,
    }  # fmt: skip
    return Model(**given)


def opened(path: Path, *models: Model) -> Engine:
    return Engine(str(path / "x.db"), resources={"catalogue": Catalogue.of(*models)})


@flow
async def plain() -> str:
    return await ask("Say hello")


@flow(budget_usd=0.0701)
async def tight() -> str:
    return await ask("Say hello")


@flow(budget_usd=0.06)
async def too_tight() -> str:
    return await ask("Say hello")


def limits(server: Server) -> list[int]:
    return [json.loads(entry.raw)["max_tokens"] for entry in server.log]


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        (FIXED, 1024 + BUDGET),
        ({"thinking": "low"}, 1024 + 2048),
        ({"thinking": True}, 1024 + 10_000),
        ({"thinking": "max"}, 33_000),
        ({"thinking": False}, 1024),
        ({}, 1024),
    ],
)
async def test_thoughts_come_on_top_of_the_answer(tmp_path: Path, settings: dict[str, Any], limit: int) -> None:
    async with serve({"claude": Served(thinking=True, max_output=64_000)}) as server:
        async with opened(tmp_path, model(server, settings=settings, max_output=33_000)) as engine:
            assert "hello" in await engine.run(plain, id="r")
        assert limits(server) == [limit]


async def test_an_answer_of_a_type_has_the_same_room(tmp_path: Path) -> None:
    @flow
    async def typed() -> list[int]:
        return await ask("Count to three", returns=list[int])

    able = frozenset({Capability.TOOLS, Capability.THINKING})
    async with serve({"claude": Served(thinking=True)}) as server:
        async with opened(tmp_path, model(server, capabilities=able)) as engine:
            assert isinstance(await engine.run(typed, id="r"), list)
        assert limits(server)[0] == 1024 + BUDGET


async def test_a_budget_sets_the_thoughts_aside_and_never_cuts_into_them(tmp_path: Path) -> None:
    async with serve({"claude": Served(thinking=True)}) as server, opened(tmp_path, model(server)) as engine:
        assert "hello" in await engine.run(tight, id="tight")
        run = await engine.get("tight")
        said = [record_of(event) async for event in run.events(follow=False)]
        (held,) = [one for one in said if isinstance(one, Reservation)]
        (limit,) = limits(server)
        assert held.tokens_out_max == limit
        assert BUDGET < limit < BUDGET + 1024
        with pytest.raises(RunFailed, match="BudgetExceeded"):
            await engine.run(too_tight, id="too-tight")
        assert len(limits(server)) == 1


def test_the_window_is_fitted_with_room_for_the_thoughts() -> None:
    question = Question(prompt="word " * 4400)
    plain = model(window=8000, max_output=7000, settings={})
    fitted(question, plain, "d1")
    with pytest.raises(ContextOverflow):
        fitted(question, model(window=8000, max_output=7000), "d1")


def test_a_budget_that_leaves_no_room_for_an_answer_is_a_mistake_of_the_catalogue() -> None:
    with pytest.raises(InvalidModel, match="settings: a budget of 4096 tokens for thinking leaves no room"):
        model(max_output=4096)
    text = """
[models.claude]
provider = "anthropic"
window = 64_000
max_output = 4_000
settings.anthropic_thinking = {type = "enabled", budget_tokens = 4_096}
"""
    with pytest.raises(Exception, match=r"line 6: models.claude.settings: a budget of 4096"):
        read(text)


@pytest.mark.parametrize(
    ("provider", "settings", "thoughts"),
    [
        (Provider.GOOGLE, {"google_thinking_config": {"thinking_budget": 500}}, 500),
        (Provider.GOOGLE, {"google_thinking_config": {"thinking_budget": -1}}, 0),
        (Provider.GOOGLE, {"google_thinking_config": {"include_thoughts": True}, "thinking": "high"}, 0),
        (Provider.GOOGLE, {"thinking": "high"}, 24_576),
        (Provider.BEDROCK, {"bedrock_additional_model_requests_fields": {"thinking": {"budget_tokens": 700}}}, 700),
        (Provider.OPENAI, {"thinking": "high"}, 0),
        (Provider.ANTHROPIC, {"thinking": "silly"}, 0),
        (Provider.ANTHROPIC, {"anthropic_thinking": "silly"}, 0),
        (Provider.ANTHROPIC, {"anthropic_thinking": {"type": "adaptive"}}, 0),
    ],
)
def test_what_settings_say_of_thinking(provider: Provider, settings: dict[str, Any], thoughts: int) -> None:
    assert model(provider=provider, settings=settings, max_output=32_000).thoughts == thoughts
