"""How much of a call's output limit is for thinking, and a call without any. Pure.

Anthropic, Bedrock and Google count what a model thinks into the limit of its answer, and Anthropic refuses a request
whose limit is not larger than the budget for thinking. So that budget comes on top of what an answer may have.

A Claude that thinks by a budget must have begun its turn with thinking, tool calls and all; one whose thinking adapts
need not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

__all__ = ["fixed_thoughts", "thoughts", "unthinking"]

_CLAUDE: Mapping[object, int] = {
    True: 10_000, "minimal": 1_024, "low": 2_048, "medium": 10_000, "high": 16_384, "xhigh": 32_768, "max": 32_768,
}  # fmt: skip
_GEMINI: Mapping[object, int] = {
    True: 8_192, "minimal": 128, "low": 2_048, "medium": 8_192, "high": 24_576, "xhigh": 24_576, "max": 24_576,
}  # fmt: skip
"""What pydantic-ai makes of `thinking = "high"` for models without levels of their own; for the others it is room."""
_LEVELS = {"anthropic": _CLAUDE, "bedrock": _CLAUDE, "google": _GEMINI}
_FIXED: Mapping[str, tuple[str, ...]] = {
    "anthropic": ("anthropic_thinking", "budget_tokens"),
    "bedrock": ("bedrock_additional_model_requests_fields", "thinking", "budget_tokens"),
    "google": ("google_thinking_config", "thinking_budget"),
}
"""Where the settings of a call name a number of tokens."""


def thoughts(provider: str, settings: Mapping[str, Any]) -> int:
    """Tokens of the output limit that are for thinking, by the settings of a call; 0 where nothing is said of it."""
    path = _FIXED.get(provider)
    if path is None:
        return 0
    if path[0] in settings:  # it comes before the general word
        return fixed_thoughts(provider, settings)
    level = settings.get("thinking")
    return _LEVELS[provider].get(level, 0) if isinstance(level, str | bool) else 0


def fixed_thoughts(provider: str, settings: Mapping[str, Any]) -> int:
    """The budget for thinking that the settings name as a number; 0 where they name none."""
    found: Any = settings
    for key in _FIXED.get(provider, ("",)):
        found = cast("Mapping[str, Any]", found).get(key) if isinstance(found, Mapping) else None
    return max(0, found) if isinstance(found, int) and not isinstance(found, bool) else 0


def unthinking(provider: str, settings: Mapping[str, Any], *, budgeted: bool) -> dict[str, Any]:
    """The settings with thinking by a budget off, for a turn of a Claude that did not begin with thinking.

    `budgeted` says what its adapter makes of the general word: a budget, or thinking that adapts, which may stay.
    """
    name, *inside, _ = _FIXED[provider]
    fields: Any = settings.get(name)
    said: Any = fields
    for key in inside:
        said = cast("Mapping[str, Any]", said).get(key) if isinstance(said, Mapping) else None
    by_budget = cast("Mapping[str, Any]", said).get("type") == "enabled" if isinstance(said, Mapping) else budgeted
    if not by_budget:
        return dict(settings)
    others = cast("Mapping[str, Any]", fields or {})
    kept = {key: value for key, value in others.items() if key not in inside} if inside else None
    return {**settings, "thinking": False, name: kept}
