"""Everything at once: parts, a model and a call in; messages to send and the record of what was shown out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from ..core.records import Manifest
from ..models import Model
from .assembly import assemble, with_margin
from .manifest import Call, manifest_of
from .messages import messages_of
from .tokens import Tokens, tokens_of
from .types import Assembly, Budget, Part, Target
from .work import latest

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage

__all__ = ["Ready", "budget_for", "ready"]


@dataclass(frozen=True, slots=True)
class Ready:
    """What can be sent. `models.conversation.fit` then brings the messages into the form that the provider takes."""

    messages: list[ModelMessage]
    manifest: Manifest
    assembly: Assembly


def budget_for(model: Model, max_tokens: int, schemas: Sequence[Any] = ()) -> Budget:
    """The model's window less the answer, the schemas of its tools, and the margin of an estimate.

    Raises InvalidContext where nothing is left for the input.
    """
    tokens = tokens_of(model)
    tools = sum(tokens(to_json(schema).decode()) + _AROUND for schema in schemas)
    plain = Budget(window=model.window, reserved_out=max_tokens, tools=tools)
    return with_margin(plain, tokens)


_AROUND = 16
"""Tokens of the format around the schema of one tool."""


def ready(
    parts: Sequence[Part], model: Model, call: Call, *, budget: Budget | None = None, max_tokens: int = 1024
) -> Ready:
    """The parts as `model` is shown them, and the `context.assembled` record of it.

    Raises ContextOverflow where what must stay does not fit, InvalidContext where nothing is left for the input.
    """
    tokens: Tokens = tokens_of(model)
    limit = with_margin(budget, tokens) if budget is not None else budget_for(model, max_tokens)
    target = Target(model=model.name, provider=model.provider.value)
    made = assemble(latest(parts), limit, target, tokens)
    return Ready(messages_of(made.parts), manifest_of(made, call), made)
