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
    TextContent,
    ToolCallPart,
    ToolReturn,
    ToolReturnPart,
)
from pydantic_ai.tools import RunContext, ToolDefinition
from pydantic_core import PydanticSerializationError, to_json

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

__all__ = ["Running", "Unmade", "called", "note_unmade", "of_run", "running_now"]


@dataclass(frozen=True, slots=True)
class Running:
    """What the calls of one run of an agent share."""

    kept: Kept = field(default_factory=Kept)
    gate: Gate = field(default_factory=Gate)
    noted: set[tuple[int, str]] = field(default_factory=set[tuple[int, str]])
    """Calls that are on record: of which request, and by the model's ids of them, which may come again."""


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
    making = Making(ctx.run_step, calling.ours)
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
        if isinstance(error, ModelRetry | ToolFailed | ValidationError) or _untold(error) is not None:
            _note(calling, call, making, said)
            raise
        raise _failed(calling, call, making, said) from error
    finally:
        making_now.reset(token)
    shown = of_run().limited(text, calling.limit_chars)
    _note(calling, call, making, replace(shown, approval=asked))
    if isinstance(result, ToolReturn):
        beside = _beside(cast("Any", result).content, calling.limit_chars)
        given = cast("Any", result).return_value
        return replace(
            cast("Any", result), return_value=given if shown.cut is None else _cut(given, shown), content=beside
        )
    return _shown(result) if shown.cut is None else _cut(result, shown)


def _cut(result: object, shown: Told) -> Any:
    """What is shown of a result that is cut; its files stay whole."""
    if isinstance(shown.content, str):
        return shown.content
    files = [one for one in cast("Sequence[object]", result) if media_of(one) is not None]
    return [shown.content[0], *map(_shown, files)]


def _beside(content: Any, limit: int | None) -> Any:
    """What a tool says beside its result: as much of it as of a result."""
    if isinstance(content, str):
        return of_run().limited(content, limit).content
    if not isinstance(content, list | tuple):
        return content
    items = cast("Sequence[object]", content)
    texts = [
        one.content if isinstance(one, TextContent) else one for one in items if isinstance(one, str | TextContent)
    ]
    shown = of_run().limited("\n".join(texts), limit)
    if shown.cut is None:
        return items
    return [shown.content, *(one for one in items if not isinstance(one, str | TextContent))]


def note_unmade(message: ModelMessage, tools: Sequence[ToolDefinition], ctx: RunContext[Any]) -> None:
    """Put on record what a model is told of calls that came to no tool: there is none of that name, its arguments do
    not fit, a person has denied it. `message` is what it is shown next in the agent's run.
    """
    if not isinstance(message, ModelRequest) or message.run_id not in (None, ctx.run_id):
        return
    of = ctx.run_step - 1
    by_name, noted = {one.name: one for one in tools}, _now().noted
    for part in message.parts:
        if not isinstance(part, ToolReturnPart) or (of, part.tool_call_id) in noted or part.outcome == "success":
            continue
        noted.add((of, part.tool_call_id))
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


class Unmade(ToolFailed):
    """A call that came to nothing, and what the model is told of it."""

    def __init__(self, told: Told):
        super().__init__(str(told.content))
        self.told = told


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


def _untold(error: Exception) -> Unmade | None:
    cause = error.__cause__
    return cause if isinstance(cause, Unmade) else None


def _said_of(calling: Calling, error: Exception) -> Told | None:
    """What the model is told of an error; None where the agent fails with it, or sees to it itself."""
    untold = _untold(error)
    if untold is not None:
        return untold.told
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
    _now().noted.add((making.of, call.tool_call_id))
    key = making.key or unmade(call.tool_name, as_json(cast("object", call.args)))
    note(said, name=call.tool_name, call=call.tool_call_id, effect=calling.known, key=key)


def _evidence(ctx: RunContext[Any]) -> dict[str, Any]:
    last = next((one for one in reversed(ctx.messages) if isinstance(one, ModelResponse)), None)
    return {} if last is None else evidence_of(last.model_name or "", [last.text or ""])


def _text_of(calling: Calling, result: object) -> Content:
    """A result as a model reads it; empty where that is the agent's own to say. Raises UnserialisableResult."""
    given: object = result.return_value if isinstance(result, ToolReturn) else result
    try:
        return told(given)
    except UnserialisableResult as error:
        if calling.ours is None and _is_shown(given):
            return ""
        if calling.on_error == "tell":
            raise
        raise UnserialisableResult(f"{calling.name}: {error.message}", remedy=error.remedy) from error


def _is_shown(result: object) -> bool:
    """Whether Pydantic AI makes a message of it: bytes, say."""
    try:
        _ = to_json(result, bytes_mode="base64")
    except PydanticSerializationError:
        return False
    return True


def _shown(result: object) -> Any:
    """A result as Pydantic AI shows it: our media as its."""
    if isinstance(result, list | tuple):
        items = cast("Sequence[object]", result)
        return [_shown(one) for one in items] if any(_ours(one) for one in items) else cast("object", result)
    media = media_of(result) if _ours(result) else None
    return result if media is None else BinaryContent(media.data, media_type=media.type)


def _ours(one: object) -> bool:
    return not isinstance(one, BinaryContent) and media_of(one) is not None
