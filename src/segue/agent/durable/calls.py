"""A call of an agent's tool, whoever made the tool: approved, made, cut, told and on record as one of a question is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, cast

from pydantic import ValidationError
from pydantic_ai.exceptions import ModelRetry, ToolFailed
from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ToolCallPart,
    ToolReturn,
    ToolReturnPart,
)
from pydantic_ai.tools import RunContext, ToolDefinition

from ...core.records import ToolOutcome
from ...errors import UnserialisableResult
from ..media import media_of
from ..tools.approving import approved, evidence_of, note, unmade
from ..tools.box import as_json
from ..tools.failure import failure
from ..tools.kept import Kept
from ..tools.result import Content, Told, told
from .gate import Gate
from .tools import Calling, Making, making_now, rules_of

__all__ = ["Running", "called", "note_unmade", "of_run", "running_now"]


@dataclass(frozen=True, slots=True)
class Running:
    """What the calls of one run of an agent share."""

    kept: Kept = field(default_factory=Kept)
    gate: Gate = field(default_factory=Gate)
    noted: set[str] = field(default_factory=set[str])
    """Calls that are on record, by the model's ids of them."""


running_now: ContextVar[Running | None] = ContextVar("segue_agent_run", default=None)
"""The run of an agent that calls."""


def _now() -> Running:
    return running_now.get() or Running()


def of_run() -> Kept:
    """What was cut in the agent's run."""
    return _now().kept


async def called(
    calling: Calling, ctx: RunContext[Any], call: ToolCallPart, args: dict[str, Any],
    handler: Callable[[dict[str, Any]], Awaitable[Any]],
) -> Any:  # fmt: skip
    """The result as the agent goes on with it. Raises ToolFailed with what the model is told in place of one, what is
    the agent's own to see to, and what is no business of the model's.
    """
    making = Making()
    try:
        values = _read(calling, args)
        asked, denied = await approved(calling.name, calling.rule, _whole(calling, values), _evidence(ctx))
    except _Misfit as misfit:
        asked, denied = None, Told(content=str(misfit), outcome=ToolOutcome.REFUSED)
    if denied is not None:
        raise _failed(calling, call, making, denied)
    token = making_now.set(making)
    try:
        async with _now().gate.held(alone=calling.known == "once"):
            result = await handler(args)
        text = _text_of(calling, result)
    except Exception as error:
        said = _said_of(calling, error)
        if said is None:
            raise
        said = replace(said, approval=asked)
        if isinstance(error, ModelRetry | ToolFailed | ValidationError):
            _note(calling, call, making, said)
            raise
        raise _failed(calling, call, making, said) from error
    finally:
        making_now.reset(token)
    shown = of_run().limited(text, calling.limit_chars)
    _note(calling, call, making, replace(shown, approval=asked))
    if isinstance(result, ToolReturn):
        beside = _beside(cast("Any", result).content, calling.limit_chars)
        given = cast("Any", result).return_value if shown.cut is None else shown.content
        return replace(cast("Any", result), return_value=given, content=beside)
    return _shown(result) if shown.cut is None else shown.content


def _beside(content: Any, limit: int | None) -> Any:
    """What a tool says beside its result: of each text as much as of a result."""
    if isinstance(content, str):
        return of_run().limited(content, limit).content
    if isinstance(content, list | tuple):
        return [_beside(one, limit) for one in cast("Sequence[object]", content)]
    return content


def note_unmade(message: ModelMessage, tools: Sequence[ToolDefinition], run_id: str | None) -> None:
    """Put on record what a model is told of calls that came to no tool: there is none of that name, its arguments do
    not fit, a person has denied it. `message` is what it is shown next, of the agent's run of this id.
    """
    if not isinstance(message, ModelRequest) or message.run_id not in (None, run_id):
        return
    by_name, noted = {one.name: one for one in tools}, _now().noted
    for part in message.parts:
        if not isinstance(part, ToolReturnPart) or part.tool_call_id in noted or part.outcome == "success":
            continue
        noted.add(part.tool_call_id)
        missing = part.retry is not None and part.retry.cause in _MISSING
        outcome = ToolOutcome.MISSING if missing else _OUTCOMES.get(part.outcome, ToolOutcome.OTHER)
        tool = by_name.get(part.tool_name)
        why = part.content if isinstance(part.content, str) else part.model_response_str()
        said = Told(content=why, outcome=outcome)
        key = unmade(part.tool_name, part.tool_call_id)
        effect = None if tool is None else rules_of(tool).known
        note(said, name=part.tool_name, call=part.tool_call_id, effect=effect, key=key)


_MISSING = ("unknown_tool", "unavailable_tool")
_OUTCOMES = {
    "retried": ToolOutcome.REFUSED, "failed": ToolOutcome.FAILED, "denied": ToolOutcome.DENIED,
    "interrupted": ToolOutcome.UNKNOWN,
}  # fmt: skip
"""Pydantic AI's words in ours."""


class _Misfit(Exception):
    """Arguments that do not fit, as the model is told."""


def _read(calling: Calling, args: Mapping[str, Any]) -> Mapping[str, Any]:
    if calling.ours is None:
        return args
    try:
        return calling.ours.read(as_json(args))
    except ValueError as error:
        raise _Misfit(str(error)) from error


def _whole(calling: Calling, values: Mapping[str, Any]) -> Mapping[str, Any]:
    return values if calling.ours is None else calling.ours.whole(values)


def _said_of(calling: Calling, error: Exception) -> Told | None:
    """What the model is told of an error; None where the agent fails with it, or sees to it itself."""
    if isinstance(error, ModelRetry):
        return Told(content=error.message, outcome=ToolOutcome.REFUSED)
    if isinstance(error, ToolFailed):
        return Told(content=error.message, outcome=ToolOutcome.FAILED)
    if type(error).__module__.partition(".")[0] == "pydantic_ai":
        return None
    return failure(calling, error)


def _failed(calling: Calling, call: ToolCallPart, making: Making, said: Told) -> ToolFailed:
    _note(calling, call, making, said)
    return ToolFailed(str(said.content))


def _note(calling: Calling, call: ToolCallPart, making: Making, said: Told) -> None:
    _now().noted.add(call.tool_call_id)
    key = making.key or unmade(call.tool_name, as_json(cast("object", call.args)))
    note(said, name=call.tool_name, call=call.tool_call_id, effect=calling.known, key=key)


def _evidence(ctx: RunContext[Any]) -> dict[str, Any]:
    last = next((one for one in reversed(ctx.messages) if isinstance(one, ModelResponse)), None)
    return {} if last is None else evidence_of(last.model_name or "", [last.text or ""])


def _text_of(calling: Calling, result: object) -> Content:
    """A result as a model reads it; empty where that is the agent's own to say. Raises UnserialisableResult."""
    try:
        return told(result.return_value if isinstance(result, ToolReturn) else result)
    except UnserialisableResult:
        if calling.ours is not None:
            raise
        return ""


def _shown(result: object) -> Any:
    """A result as Pydantic AI shows it: our media as its."""
    if isinstance(result, list | tuple):
        items = cast("Sequence[object]", result)
        return [_shown(one) for one in items] if any(_ours(one) for one in items) else cast("object", result)
    media = media_of(result) if _ours(result) else None
    return result if media is None else BinaryContent(media.data, media_type=media.type)


def _ours(one: object) -> bool:
    return not isinstance(one, BinaryContent) and media_of(one) is not None
