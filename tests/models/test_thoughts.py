"""A call without the thinking that its settings ask for."""

from __future__ import annotations

from typing import Any

import pytest

from segue.models.thoughts import thoughts, unthinking

BUDGET = {"type": "enabled", "budget_tokens": 2048}
FIELDS = "bedrock_additional_model_requests_fields"


@pytest.mark.parametrize(
    ("provider", "settings"),
    [
        ("anthropic", {"thinking": "low"}), ("anthropic", {"anthropic_thinking": BUDGET}),
        ("anthropic", {"anthropic_thinking": BUDGET, "thinking": "high"}), ("bedrock", {"thinking": "low"}),
        ("bedrock", {FIELDS: {"thinking": BUDGET, "top_k": 5}}),
    ],
)  # fmt: skip
def test_a_budget_for_thinking_is_left_out(provider: str, settings: dict[str, Any]) -> None:
    assert thoughts(provider, settings) > 0
    without = unthinking(provider, {**settings, "seed": 1}, budgeted=True)
    assert thoughts(provider, without) == 0
    assert (without["seed"], without["thinking"]) == (1, False)
    fields: dict[str, Any] = without.get(FIELDS) or {}
    assert ("top_k" in fields) is (FIELDS in settings)
    assert "thinking" not in fields


@pytest.mark.parametrize(
    ("provider", "settings"),
    [
        ("anthropic", {"thinking": "low"}), ("anthropic", {"anthropic_thinking": {"type": "adaptive"}}),
        ("bedrock", {"thinking": True}), ("bedrock", {FIELDS: {"thinking": {"type": "adaptive"}}}), ("anthropic", {}),
    ],
)  # fmt: skip
def test_thinking_that_adapts_stays(provider: str, settings: dict[str, Any]) -> None:
    assert unthinking(provider, settings, budgeted=False) == settings
