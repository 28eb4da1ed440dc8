"""Parts as messages of a conversation, and a conversation as parts. Pure; messages are pydantic-ai's.

Provenance survives: what was recalled, a summary and the state stand in the user's turn under a heading (`form`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from pydantic_ai.messages import (
    AudioUrl,
    BinaryContent,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ModelResponsePart,
    NativeToolCallPart,
    NativeToolReturnPart,
    RetryFeedbackPart,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from ..models.conversation import MAKER, made_by, told_call, told_result
from .errors import InvalidContext
from .form import form
from .types import Kind, Part, Role

__all__ = ["messages_of", "parts_of"]


_SEEN = {Kind.IMAGE: ImageUrl, Kind.AUDIO: AudioUrl}
Said = TextPart | ThinkingPart | ToolCallPart
"""What we make of an assistant's part."""
Asked = SystemPromptPart | UserPromptPart | ToolReturnPart


def messages_of(parts: Sequence[Part]) -> list[ModelMessage]:
    """The parts as alternating turns, in their order. What the parts carry for their maker goes along."""
    turns: list[ModelMessage] = []
    for part in parts:
        made = _made(part)
        last = turns[-1] if turns else None
        if isinstance(made, Said):
            if isinstance(last, ModelResponse) and _maker(last) == part.model:
                turns[-1] = _with(last, made)
            else:
                turns.append(_response(made, part.model))
        elif isinstance(last, ModelRequest):
            turns[-1] = ModelRequest(parts=[*last.parts, made])
        else:
            turns.append(ModelRequest(parts=[made]))
    return turns


def parts_of(messages: Sequence[ModelMessage], *, turn: int | None = None) -> list[Part]:
    """A conversation as parts. Sealed parts are bound to the model that made them; a native tool's become text.

    Raises InvalidContext for what is not carried yet: images, sound and files.
    """
    return [made for message in messages for made in _parts(message, turn)]


def _made(part: Part) -> Said | Asked:
    if part.kind is Kind.CALL:
        return ToolCallPart(part.tool or "tool", part.text, part.call or "", **_carried(part, "id", "provider_name"))
    if part.kind is Kind.RESULT:
        return ToolReturnPart(part.tool or "tool", part.text, part.call or "")
    if part.kind is Kind.THINKING:
        return ThinkingPart(part.text, **_carried(part, "id", "signature", "provider_name"))
    if part.role is Role.ASSISTANT:
        return TextPart(part.text, **_carried(part, "id", "provider_name"))
    if part.role is Role.SYSTEM:
        return SystemPromptPart(part.text)
    return UserPromptPart([_seen(part)] if part.kind in _SEEN else form(part))


def _seen(part: Part) -> ImageUrl | AudioUrl:
    url = part.data.get("url")
    if not isinstance(url, str):
        raise _not_carried(f"{part.kind.value} without an address")
    return _SEEN[part.kind](url=url)


def _carried(part: Part, *names: str) -> dict[str, Any]:
    return {name: part.data[name] for name in names if name in part.data}


def _maker(response: ModelResponse) -> str | None:
    return made_by(response)[0]


def _response(part: ModelResponsePart, model: str | None) -> ModelResponse:
    metadata = {MAKER: {"model": model, "deployment": None}} if model else None
    return ModelResponse(parts=[part], metadata=metadata)


def _with(response: ModelResponse, part: ModelResponsePart) -> ModelResponse:
    return ModelResponse(parts=[*response.parts, part], metadata=response.metadata)


def _parts(message: ModelMessage, turn: int | None) -> list[Part]:
    who = _who(message)
    if isinstance(message, ModelResponse):
        model = _maker(message)
        return [_by(_said(part, model, turn), who) for part in message.parts]
    return [_by(_asked(part, turn), who) for part in message.parts]


def _who(message: ModelMessage) -> str | None:
    """Under which name it was said, where a thread has more than one."""
    said: Any = (message.metadata or {}).get(MAKER)
    who: Any = cast("dict[str, Any]", said).get("who") if isinstance(said, dict) else None
    return who if isinstance(who, str) else None


def _by(part: Part, who: str | None) -> Part:
    return part if who is None else replace(part, who=who)


def _said(part: Any, model: str | None, turn: int | None) -> Part:
    data = {n: v for n in ("id", "signature", "provider_name") if (v := getattr(part, n, None)) is not None}
    if isinstance(part, ToolCallPart):
        return Part(
            role=Role.ASSISTANT, kind=Kind.CALL, tool=part.tool_name, call=part.tool_call_id,
            text=part.args if isinstance(part.args, str) else part.args_as_json_str(), model=model, turn=turn,
            data=data,
        )  # fmt: skip
    if isinstance(part, ThinkingPart):
        bound = (model or part.provider_name) if part.signature else None
        return Part(
            role=Role.ASSISTANT, kind=Kind.THINKING, text=part.content, model=model, turn=turn, data=data, bound=bound
        )
    if isinstance(part, TextPart):
        return Part(role=Role.ASSISTANT, text=part.content, model=model, turn=turn, data=data)
    if isinstance(part, NativeToolCallPart):
        return Part(role=Role.ASSISTANT, text=told_call(cast("Any", part)), model=model, turn=turn)
    if isinstance(part, NativeToolReturnPart):
        return Part(role=Role.ASSISTANT, text=told_result(cast("Any", part)), model=model, turn=turn)
    raise _not_carried(part.part_kind)


def _asked(part: Any, turn: int | None) -> Part:
    if isinstance(part, SystemPromptPart):
        return Part(role=Role.SYSTEM, text=part.content, turn=turn)
    if isinstance(part, ToolReturnPart):
        return _result(cast("ToolReturnPart[Any]", part), turn)
    if isinstance(part, UserPromptPart):
        content: Any = part.content
        lines: list[Any] = [content] if isinstance(content, str) else list(content)
        for other in lines:
            if not isinstance(other, str):
                raise _not_carried(type(other).__name__)
        return Part(role=Role.USER, text="\n".join(lines), turn=turn)
    if isinstance(part, RetryFeedbackPart):
        return Part(role=Role.USER, text=part.model_response(), turn=turn)
    raise _not_carried(part.part_kind)


_FILE = 1600
"""Tokens of a file that a tool gave, as of a large image."""


def _result(part: ToolReturnPart[Any], turn: int | None) -> Part:
    """A tool's result; files in it are named, and go with it when it is cut."""
    files = [one for one in part.files if isinstance(one, BinaryContent)]
    named = [f"({one.media_type} {one.identifier}, {len(one.data)} bytes)" for one in files]
    text = "\n".join(filter(None, (part.model_response_str(), *named)))
    return Part(
        role=Role.TOOL, kind=Kind.RESULT, tool=part.tool_name, call=part.tool_call_id, text=text, turn=turn,
        tokens=_FILE * len(files) + len(text.encode()) // 2 if files else None,
    )  # fmt: skip


def _not_carried(what: str) -> InvalidContext:
    return InvalidContext(
        f"a context does not carry {what} of a conversation yet",
        remedy='give it as a Part of its kind, with tokens= and data={"url": …}',
    )
