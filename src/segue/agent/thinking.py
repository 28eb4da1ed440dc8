"""How a question lets a model think: a Claude that goes on with another one's loop of tools does so without, and is
chosen, fitted and paid for as one that does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..models import Model, Provider
from ..models.thoughts import thoughts
from .request import Question

__all__ = ["output_limit", "settings_for", "thoughts_of"]


def settings_for(question: Question, model: Model) -> Mapping[str, Any]:
    """The settings that a model is called with. Those of the model itself stand behind them."""
    begun = _begun(question.turns) if model.provider in (Provider.ANTHROPIC, Provider.BEDROCK) else None
    if begun is None or not _asked(model, question.settings):
        return question.settings
    from pydantic_ai.messages import ModelMessagesTypeAdapter  # noqa: PLC0415  heavy, and only who asks needs it

    from ..models.conversation import fit  # noqa: PLC0415  likewise
    from ..models.loops import settings_in  # noqa: PLC0415  likewise

    return settings_in(fit(ModelMessagesTypeAdapter.validate_python([begun]), model), model, question.settings)


def output_limit(question: Question, model: Model) -> int:
    """The output limit that a call is sent with, in tokens: of the answer, and of what is thought before it."""
    return model.output_limit(question.max_tokens, settings_for(question, model))


def thoughts_of(question: Question, models: Iterable[Model]) -> dict[str, int]:
    """Tokens for thinking, of the models that a question lets think otherwise than they do by themselves."""
    if not question.turns and not question.settings:
        return {}
    asked = ((model, _asked(model, settings_for(question, model))) for model in models)
    return {model.name: tokens for model, tokens in asked if tokens != model.thoughts}


def _asked(model: Model, settings: Mapping[str, Any]) -> int:
    return thoughts(model.provider, {**model.settings, **settings})


def _begun(turns: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """What a model has said first in the loop of tools that these end in; None where they end in none."""
    first: dict[str, Any] | None = None
    goes_on = False
    for turn in reversed(turns):
        if turn["kind"] != "response":
            goes_on = goes_on or any(part["part_kind"] in _RESULTS for part in turn["parts"])
        elif goes_on:
            first, goes_on = turn, False
        else:
            break
    return first


_RESULTS = frozenset({"tool-return", "retry-prompt"})
