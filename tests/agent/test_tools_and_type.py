"""Tools and a type in one question: each provider's model is held to the type in a way that goes beside tools."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from segue import Engine, ask, flow, tool
from segue.models import Capability, Catalogue, Model, Price, Provider
from segue.testing.provider import Answer, Asked, Call, Served, serve
from tests.agent.served import KEYS


class Plan(BaseModel):
    city: str
    days: int


@tool(effect="read")
async def look(city: str) -> str:
    """Look a city up."""
    return f"saw {city}"


def plans(asked: Asked) -> Answer | str:
    if any(turn.role == "tool" for turn in asked.turns):
        return '{"city": "Rome", "days": 2}'
    return Answer(calls=(Call("look", '{"city": "Rome"}'),))


@flow
async def trip() -> int:
    return (await ask("Plan a trip.", tools=[look], returns=Plan)).days


@pytest.mark.parametrize("provider", [Provider.GOOGLE, Provider.ANTHROPIC, Provider.OPENAI, Provider.OPENAI_COMPATIBLE])
@pytest.mark.parametrize("native", [True, False])
async def test_a_question_with_tools_is_answered_by_its_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: Provider, native: bool
) -> None:
    for key in KEYS:
        monkeypatch.setenv(key, "test")
    can = [Capability.TOOLS, Capability.JSON_SCHEMA][: 1 + native]
    async with serve({"gemini-2.5-flash": Served(answer=plans)}) as server:
        url = server.openai_url if provider.value.startswith("openai") else server.url
        model = Model(
            name="m", id="gemini-2.5-flash", provider=provider, url=url, window=32_000, max_output=2000,
            capabilities=frozenset(can), price=Price.dollars(1, 2),
        )  # fmt: skip
        async with Engine(str(tmp_path / "a.db"), resources={"catalogue": Catalogue.of(model)}) as engine:
            assert await engine.run(trip) == 2
