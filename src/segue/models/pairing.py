"""Tool calls and their results: one result for each call, right behind it, under ids that the target takes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import TypeVar

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from .spec import Model, Provider

NO_RESULT = "(no result: the call was interrupted)"

_NINE = re.compile(r"[A-Za-z0-9]{9}")
_ANY = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""OpenAI takes 40 characters, Anthropic and Bedrock these letters, the others anything."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def paired(messages: Sequence[ModelMessage]) -> Iterator[ModelMessage]:
    """Each response with calls is followed by a request that begins with one result for each, in the calls' order.

    Results that stand elsewhere are moved, missing ones are made up, saying so; a result that answers no call becomes
    text of the user's turn, and a second one for the same call is left out.
    """
    answers = _answers(messages)
    used = {id(result) for result in answers.values()}
    calls = {part.tool_call_id for m in messages if isinstance(m, ModelResponse) for part in _calls(m)}
    for message in messages:
        if isinstance(message, ModelResponse):
            yield message
            results = [_result(call, answers.get(id(call)), message) for call in _calls(message)]
            if results:
                yield ModelRequest(parts=results)
        else:
            rest = [p for part in message.parts for p in _left(part, used, calls)]
            yield replace(message, parts=rest)


def with_valid_ids(messages: Sequence[ModelMessage], model: Model) -> list[ModelMessage]:
    """The same with ids and names that the model's API takes; each id names one call. Expects `paired` messages."""
    valid = _NINE if _wants_nine(model) else _ANY
    taken: set[str] = set()
    fitted: list[ModelMessage] = []
    ids: list[tuple[str, str]] = []
    for message in messages:
        if isinstance(message, ModelResponse):
            ids = []
            fitted.append(replace(message, parts=[_renamed(part, valid, taken, ids) for part in message.parts]))
        else:
            left = iter(ids)
            fitted.append(replace(message, parts=[_answering(part, left) for part in message.parts]))
    return fitted


def valid_name(name: str) -> str:
    """A tool's name as every provider takes it."""
    if _NAME.fullmatch(name):
        return name
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return (plain if re.match(r"[A-Za-z_]", plain) else f"_{plain}")[:64]


def _wants_nine(model: Model) -> bool:
    """Mistral's models check ids themselves, whoever serves them."""
    return model.provider is Provider.MISTRAL or bool(
        re.search(r"m[ia]xtral|mistral|magistral|devstral", model.id.lower())
    )


def _calls(message: ModelResponse) -> list[ToolCallPart]:
    return [part for part in message.parts if isinstance(part, ToolCallPart)]


def _answers(messages: Sequence[ModelMessage]) -> dict[int, ToolReturnPart]:
    """By the identity of each call its result: the next one of its id, before the id is called again."""
    found: dict[int, ToolReturnPart] = {}
    waiting: dict[str, list[ToolCallPart]] = {}
    for message in messages:
        if isinstance(message, ModelResponse):
            calls = _calls(message)
            for call in calls:
                waiting.pop(call.tool_call_id, None)
            for call in calls:
                waiting.setdefault(call.tool_call_id, []).append(call)
        else:
            for part in message.parts:
                if isinstance(part, ToolReturnPart) and waiting.get(part.tool_call_id):
                    found[id(waiting[part.tool_call_id].pop(0))] = part
    return found


def _result(call: ToolCallPart, found: ToolReturnPart | None, message: ModelResponse) -> ToolReturnPart:
    if found is not None:
        return replace(found, tool_name=call.tool_name)
    return ToolReturnPart(
        call.tool_name, NO_RESULT, call.tool_call_id, timestamp=message.timestamp, outcome="interrupted"
    )


def _left(part: ModelRequestPart, used: set[int], calls: set[str]) -> Iterator[ModelRequestPart]:
    if not isinstance(part, ToolReturnPart):
        yield part
    elif id(part) not in used and part.tool_call_id not in calls:
        text = part.model_response_str().strip()
        yield UserPromptPart(f"[{part.tool_name} returned: {text}]", timestamp=part.timestamp)


def _renamed(
    part: ModelResponsePart, valid: re.Pattern[str], taken: set[str], ids: list[tuple[str, str]]
) -> ModelResponsePart:
    if not isinstance(part, ToolCallPart):
        return part
    name, new = valid_name(part.tool_name), _valid_id(part.tool_call_id, valid, taken)
    taken.add(new)
    ids.append((name, new))
    return _as(part, name, new)


def _answering(part: ModelRequestPart, ids: Iterator[tuple[str, str]]) -> ModelRequestPart:
    if not isinstance(part, ToolReturnPart):
        return part
    name, new = next(ids)
    return _as(part, name, new)


C = TypeVar("C", ToolCallPart, ToolReturnPart)


def _as(part: C, name: str, id: str) -> C:
    same = (name, id) == (part.tool_name, part.tool_call_id)
    return part if same else replace(part, tool_name=name, tool_call_id=id)


def _valid_id(id: str, valid: re.Pattern[str], taken: set[str]) -> str:
    """The id itself, or one made from it: the same each time, so that a prompt's prefix stays the same."""
    if valid.fullmatch(id) and id not in taken:
        return id
    for n in range(len(taken) + 1):
        number = int.from_bytes(blake2b(f"{id}#{n}".encode(), digest_size=8).digest())
        made = "".join(_LETTERS[(number // 62**place) % 62] for place in range(9))
        if made not in taken:
            return made
    raise AssertionError("as many ids as there are calls cannot all be taken")
