"""What an agent asks of a model as a `Question`, and an answer as the turn that its loop goes on from. Pure.

The agent's last word of a user is what is asked; what was said before it is the history, what came after it the turns.
Only what a model is shown is kept of a message: the times and the ids of the agent's own books are not the same on a
replay, and would be no part of what is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from typing import Any, cast

from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    ModelResponsePart,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition
from pydantic_core import to_json, to_jsonable_python

from ...errors import InputError
from ...models.conversation import made_by
from ...models.exchange import OUTPUT_TOOL
from ..media import Shown, needs_of, split
from ..request import Asked, Given, Question, Tried, is_file
from ..resent import Words, is_question

__all__ = ["Asking", "asking", "given_of", "messages_of", "put_in_time", "response_of", "turns_of"]

_BOOKS = frozenset({"timestamp", "run_id", "conversation_id", "instructions", "state", "usage"})
"""What stands on a message and is not shown."""
_OWN = frozenset({"max_tokens", "timeout", "request_timeout", "first_event_timeout", "max_retries"})
"""Settings that are options of ours."""
_TOLD = ("name", "description", "parameters_json_schema", "strict", "kind")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """One request of an agent, in the parts that its step is given."""

    question: Question
    history: list[dict[str, Any]]
    turns: list[dict[str, Any]]
    media: list[Shown]


def asking(
    messages: Sequence[ModelMessage], settings: Mapping[str, Any] | None, parameters: ModelRequestParameters,
    wanted: Question,
) -> Asking:  # fmt: skip
    """What is asked; `wanted` says of whom. Raises InputError for what no route can give."""
    if parameters.native_tools:
        names = ", ".join(sorted({type(one).__name__ for one in parameters.native_tools}))
        raise InputError(
            f"a provider's own tools ({names}) cannot be routed",
            remedy="give the agent a model that is not in the catalogue, or a tool that runs here",
        )
    messages = list(_apart(messages))
    at = _last_word(messages)
    history, word, turns = messages[:at], messages[at : at + 1], messages[at + 1 :]
    parts = [part for message in word for part in message.parts]
    plain, media = split(_content(parts))
    tools = [_told(one) for one in (*parameters.function_tools, *parameters.output_tools) if not _hidden(one)]
    given = dict(settings or {})
    schema = None if parameters.output_object is None else dict(parameters.output_object.json_schema)
    texts = [str(one) for one in plain]
    question = replace(
        wanted,
        prompt=texts[0] if len(texts) == 1 and not media else "",
        parts=texts if len(texts) != 1 or media else [],
        system="\n\n".join(filter(None, (*_system(parts), _instructions(messages)))),
        schema=schema,
        needs=sorted({*wanted.needs, *needs_of(media), *(["tools"] if tools else [])}),
        max_tokens=int(given.get("max_tokens") or wanted.max_tokens),
        settings={**wanted.settings, **_plain({k: v for k, v in given.items() if k not in _OWN and v is not None})},
        tools=tools,
        must_call=bool(tools) and not parameters.allow_text_output,
        first=None if wanted.model else _maker(turns),
    )
    return Asking(question=question, history=turns_of(history), turns=turns_of(turns), media=media)


def messages_of(history: object, question: Words, agent: str) -> list[ModelMessage]:
    """What was said before, which a client holds (`{"role": "user", "content": text}`) or an earlier run has given. As
    `ask` does, it leaves out the question where that comes last. Raises InputError for what is no message.
    """
    remedy = 'give result.all_messages(), or {"role": "user" or "assistant", "content": text} for each message'
    if not isinstance(history, Sequence) or isinstance(history, str | bytes):
        what = "a text" if isinstance(history, str) else f"a list of messages, not a {type(history).__name__}"
        raise InputError(f"{agent}: history is {what}", remedy=remedy)
    made: list[ModelMessage] = []
    for one in cast("Sequence[Any]", history):
        said = one if isinstance(one, ModelRequest | ModelResponse) else _message(one)
        if said is None:
            raise InputError(f"{agent}: history has {one!r}", remedy=remedy)
        made.append(said)
    last = cast("Sequence[Any]", history)[-1] if made else None
    sent: Mapping[str, Any] = cast("Mapping[str, Any]", last) if isinstance(last, Mapping) else {}
    return made[:-1] if sent.get("role") == "user" and is_question(sent["content"], question) else made


def _message(one: Any) -> ModelMessage | None:
    """A client's message; None: it is none."""
    said: Mapping[str, object] = cast("Mapping[str, object]", one) if isinstance(one, Mapping) else {}
    role, content = said.get("role"), said.get("content")
    if not isinstance(content, str):
        return None
    if role == "user":
        return ModelRequest(parts=[UserPromptPart(content)])
    return ModelResponse(parts=[TextPart(content)]) if role == "assistant" else None


def response_of(given: Given, question: Question) -> ModelResponse:
    """The model's turn. An answer of a schema is a text, in whichever form the model was held to it."""
    response = ModelMessagesTypeAdapter.validate_python([given.said])[0]
    assert isinstance(response, ModelResponse)
    response = _told_apart(response)
    calls = [one for one in response.parts if isinstance(one, ToolCallPart) and one.tool_name != OUTPUT_TOOL]
    if question.schema is None or calls:
        return response
    kept = [one for one in response.parts if not isinstance(one, TextPart | ToolCallPart)]
    return replace(response, parts=[*kept, TextPart(given.tried[-1].text)])


def _told_apart(response: ModelResponse) -> ModelResponse:
    """Calls that a model gave one id have ids of their own."""
    names = [one.tool_call_id for one in response.tool_calls]
    if len(set(names)) == len(names):
        return response
    seen: set[str] = set()
    parts: list[ModelResponsePart] = []
    for at, part in enumerate(response.parts):
        if not isinstance(part, ToolCallPart):
            parts.append(part)
            continue
        own = name = part.tool_call_id
        if name in seen:
            taken = seen.union(names)
            own = next(other for n in count(at) if (other := f"{name}-{n}") not in taken)
        seen.add(own)
        parts.append(replace(part, tool_call_id=own))
    return replace(response, parts=parts)


def given_of(response: ModelResponse, model: str, seconds: float) -> Given:
    """What a model that the agent brought itself has said, as a step keeps it."""
    said: dict[str, Any] = ModelMessagesTypeAdapter.dump_python([response], mode="json")[0]
    usage = response.usage
    tried = Tried(
        model=model, text=response.text or "", tokens_in=usage.input_tokens, tokens_out=usage.output_tokens,
        seconds=round(seconds, 3),
    )  # fmt: skip
    asked = [Asked(id=one.tool_call_id, name=one.tool_name, args=one.args_as_json_str()) for one in response.tool_calls]
    return Given(value=None, tried=[tried], said=said, calls=asked)


def put_in_time(message: ModelMessage, at: datetime) -> None:
    """Give a request of the agent the time of the flow, in place: it is the same on a replay."""
    if isinstance(message, ModelRequest):
        message.timestamp = at
        for part in message.parts:
            if hasattr(part, "timestamp"):
                cast("Any", part).timestamp = at


def _apart(messages: Sequence[ModelMessage]) -> Iterator[ModelMessage]:
    """The messages, with a user's words that came with results of an earlier run as a message of their own."""
    before: ModelMessage | None = None
    for message in messages:
        begins = before is not None and before.run_id != message.run_id
        if begins and isinstance(message, ModelRequest) and _answers(message):
            results = [part for part in message.parts if _is_result(part)]
            words = [part for part in message.parts if not _is_result(part)]
            yield replace(message, parts=results)
            if words:
                yield replace(message, parts=words)
        else:
            yield message
        before = message


def _answers(message: ModelRequest) -> bool:
    return any(map(_is_result, message.parts))


def _is_result(part: object) -> bool:
    """Whether it answers a call of a tool. What older messages say of a call that is to be made again does, too."""
    return isinstance(part, ToolReturnPart) or (
        getattr(part, "part_kind", "") == "retry-prompt" and getattr(part, "tool_name", None) is not None
    )


def _last_word(messages: Sequence[ModelMessage]) -> int:
    """Where the user spoke last; behind the end where nobody did. What a tool says beside its result is its own."""
    for at in range(len(messages) - 1, -1, -1):
        message = messages[at]
        if not isinstance(message, ModelRequest) or _answers(message):
            continue
        if any(isinstance(part, UserPromptPart) for part in message.parts):
            return at
    return 0 if messages and isinstance(messages[0], ModelRequest) else len(messages)


def _content(parts: Sequence[Any]) -> Iterator[Any]:
    """What the user said: texts, and media. What came beside it in the same message is said as text."""
    for part in parts:
        if isinstance(part, UserPromptPart):
            content = part.content
            yield from [content] if isinstance(content, str) else (_text_or_media(one) for one in content)
        elif not isinstance(part, SystemPromptPart):
            yield part.model_response_str() if hasattr(part, "model_response_str") else str(part.content)


def _text_or_media(one: Any) -> Any:
    if isinstance(one, str) or isinstance(getattr(one, "data", None), bytes):
        return one
    content = getattr(one, "content", None)
    if isinstance(content, str):
        return content
    raise InputError(
        f"an agent's {type(one).__name__} is not shown yet", remedy="give its bytes: BinaryContent(data, media_type)"
    )


def _system(parts: Sequence[Any]) -> list[str]:
    return [part.content for part in parts if isinstance(part, SystemPromptPart)]


def _instructions(messages: Sequence[ModelMessage]) -> str:
    last = next((one for one in reversed(messages) if isinstance(one, ModelRequest)), None)
    return (last.instructions or "") if last is not None else ""


def _maker(turns: Sequence[ModelMessage]) -> str | None:
    """Who called the tools last."""
    said = next((one for one in reversed(turns) if isinstance(one, ModelResponse)), None)
    return None if said is None else made_by(said)[0]


def _hidden(tool: ToolDefinition) -> bool:
    return bool((tool.metadata or {}).get("segue_hidden"))


def _told(tool: ToolDefinition) -> dict[str, Any]:
    said = {name: getattr(tool, name) for name in _TOLD}
    said["kind"] = "output" if tool.kind == "output" else "function"
    return {name: value for name, value in said.items() if value is not None and value != "function"}


def turns_of(messages: Sequence[ModelMessage]) -> list[dict[str, Any]]:
    """Messages as a request is made of them."""
    said: list[dict[str, Any]] = ModelMessagesTypeAdapter.dump_python(list(messages), mode="json")
    return [
        {
            **{name: value for name, value in message.items() if name not in _BOOKS},
            "parts": [_without_time(part) for part in _with_files(message["parts"])],
        }
        for message in said
    ]


def _with_files(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Files that a tool gave beside its result stand in the result, as those do that it gives as such."""
    at = max((n for n, part in enumerate(parts) if part["part_kind"] == "tool-return"), default=None)
    beside = [one for part in parts if part["part_kind"] == "user-prompt" for one in _files(part.get("content"))]
    if at is None or not beside:
        return parts
    content = parts[at].get("content")
    given = cast("list[Any]", content) if isinstance(content, list) else [] if content is None else [content]
    texts = [one if isinstance(one, str) or is_file(one) else to_json(one).decode() for one in given]
    return [*parts[:at], {**parts[at], "content": [*texts, *beside]}, *parts[at + 1 :]]


def _files(content: object) -> list[Any]:
    return [one for one in cast("list[Any]", content) if is_file(one)] if isinstance(content, list) else []


def _without_time(part: dict[str, Any]) -> dict[str, Any]:
    """A part as it is shown. Media of earlier turns are named: their bytes went with the question that showed them."""
    content = part.get("content")
    if part.get("part_kind") == "user-prompt" and isinstance(content, list):
        content = "\n".join(_named(one) for one in cast("list[Any]", content))
        part = {**part, "content": content}
    shown = {name: value for name, value in part.items() if name != "timestamp" and value is not None}
    return {**shown, "content": None} if "content" in part and content is None else shown


def _named(one: Any) -> str:
    if isinstance(one, str):
        return one
    if isinstance(one.get("content"), str):
        return str(one["content"])
    return f"({one.get('media_type') or one.get('kind')} was shown)"


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return to_jsonable_python(settings)
    except ValueError as error:
        raise InputError(f"model_settings cannot be journaled: {error}", remedy="give plain values") from error
