"""Which Claudes think by a budget is known before any of them is connected."""

from __future__ import annotations

import pytest
from pydantic_ai.profiles.anthropic import anthropic_model_profile
from pydantic_ai.providers.bedrock import BedrockProvider

from segue.models import Model, Provider
from segue.models.loops import thinks_by_budget

IDS = ["claude-sonnet-4-5", "claude-opus-4-8", "claude-haiku-4-5-20251001", "claude-3-7-sonnet-20250219"]
OTHERS = ["us.amazon.nova-pro-v1:0", "mistral.mistral-large-2402-v1:0", "us.deepseek.r1-v1:0"]


def model(provider: Provider, name: str) -> Model:
    return Model(name="m", provider=provider, id=name, window=9_000, max_output=900)


@pytest.mark.parametrize("name", IDS)
def test_as_its_profile_says(name: str) -> None:
    said = anthropic_model_profile(name) or {}
    adapts = bool(said.get("anthropic_supports_adaptive_thinking"))
    assert thinks_by_budget(model(Provider.ANTHROPIC, name)) is not adapts


@pytest.mark.parametrize("name", [f"{at}anthropic.{one}-v1:0" for one in IDS for at in ("", "eu.", "global.")] + OTHERS)
def test_as_the_profile_of_bedrock_says(name: str) -> None:
    said = BedrockProvider.model_profile(name) or {}
    claude = said.get("bedrock_thinking_variant", "anthropic" if "claude" in name else None) == "anthropic"
    adapts = bool(said.get("bedrock_supports_adaptive_thinking"))
    assert thinks_by_budget(model(Provider.BEDROCK, name)) is (claude and not adapts)
