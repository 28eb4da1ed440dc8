"""A loop of tools that a Claude goes on with: one turn of the model, from what the user said last to the results at the
end. One that thinks by a budget must have begun it with thinking; where it has not, it goes on without.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse, ThinkingPart, ToolReturnPart
from pydantic_ai.profiles.anthropic import anthropic_model_profile

from .spec import Model, Provider
from .thoughts import unthinking

__all__ = ["begins_with_thinking", "settings_in", "thinks_by_budget"]

_CLAUDE = re.compile(r"(?<=anthropic\.)claude.*")


def settings_in(fitted: Sequence[ModelMessage], model: Model, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a call that goes on with a fitted conversation is sent: its own settings over those of the model, without
    thinking where the model may not think.
    """
    given = {**model.settings, **settings}
    if model.provider not in (Provider.ANTHROPIC, Provider.BEDROCK) or begins_with_thinking(fitted):
        return given
    return unthinking(model.provider, given, budgeted=thinks_by_budget(model))


def begins_with_thinking(fitted: Sequence[ModelMessage]) -> bool:
    """Whether the loop of tools that a fitted conversation is in the middle of begins with thinking; true where it is
    in none.
    """
    first: ModelResponse | None = None
    for turn in reversed(fitted):
        if isinstance(turn, ModelResponse):
            first = turn
        elif not any(isinstance(part, ToolReturnPart) for part in turn.parts):
            break
    return first is None or isinstance(first.parts[0], ThinkingPart)


def thinks_by_budget(model: Model) -> bool:
    """Whether the setting `thinking` is a budget for it: with others it adapts. False for who is no Claude."""
    return _by_budget(model.provider, model.id)


@lru_cache(maxsize=256)
def _by_budget(provider: Provider, id: str) -> bool:
    found = _CLAUDE.search(id) if provider is Provider.BEDROCK else None
    if provider is not Provider.ANTHROPIC and found is None:
        return False
    profile: Mapping[str, Any] = anthropic_model_profile(found.group() if found else id) or {}
    return not profile.get("anthropic_supports_adaptive_thinking", False)
