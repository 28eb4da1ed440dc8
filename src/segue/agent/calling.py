"""One question put to one model: the call, as its deployment is sent it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from ..models import Deployment, Model, Provider
from ..models.errors import RequestRefused
from ..models.exchange import Call, Reply
from ..models.health import Place
from .request import Question, messages, output_mode
from .thinking import settings_for

if TYPE_CHECKING:
    from pydantic_ai.tools import ToolDefinition

__all__ = ["call_for", "ready", "send"]


def call_for(question: Question, model: Model, place: Place, timeout_s: float) -> Call:
    """What the model is sent."""
    return Call(
        model=model,
        deployment=cast("Deployment", place.deployment),
        messages=messages(question),
        tools=_tools(question),
        must_call=question.must_call,
        output_schema=question.schema,
        output_mode=output_mode(model, question.schema, tools=bool(question.tools)),
        max_tokens=min(question.max_tokens, model.max_output),
        settings={**settings_for(question, model), **_luck(question, model)},
        timeout_s=timeout_s,
    )


async def ready(asked: Call) -> None:
    """What the call takes is imported and connected: its time begins after that."""
    from ..models.calls import ready as made_ready  # noqa: PLC0415  heavy, and only who asks needs it

    await made_ready(asked)


def _tools(question: Question) -> list[ToolDefinition]:
    if not question.tools:
        return []
    from pydantic_ai.tools import ToolDefinition  # noqa: PLC0415  heavy, and only who asks needs it

    return [ToolDefinition(**one) for one in question.tools]


async def send(asked: Call, how: Callable[[Call], Awaitable[Reply]] | None = None) -> Reply:
    """The call, made by `how` if given; where its adapter declines a native schema, before anything is sent, as the
    arguments of a tool.
    """
    if how is None:
        from ..models.calls import call as how  # noqa: PLC0415  heavy, and only who asks needs it

    try:
        return await how(asked)
    except RequestRefused as refused:
        if asked.output_mode != "native" or _NO_NATIVE not in refused.message:
            raise
        return await how(replace(asked, output_mode="tool"))


_NO_NATIVE = "Native structured output is not supported"


def _luck(question: Question, model: Model) -> dict[str, Any]:
    """A model in this process says the same again unless it is given some luck."""
    if model.provider is not Provider.LOCAL or not question.mistakes:
        return {}
    seed: Any = question.settings.get("seed", model.settings.get("seed", 1))
    return {"temperature": _MENDING, "seed": int(seed) + len(question.mistakes)}


_MENDING = 0.4
"""The temperature of an answer that was asked for again."""
