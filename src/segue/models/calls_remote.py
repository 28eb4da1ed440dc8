"""Calls to providers, through pydantic-ai's direct requests. Imported at the first such call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Any, cast

from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolCallPartDelta,
)
from pydantic_ai.models import ModelRequestParameters, StreamedResponse
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from ..core.faults import FaultKind, rebuild
from .conversation import fit, stamped
from .exchange import OUTPUT_TOOL, Call, Delta, Reply
from .loops import settings_in
from .prose import within
from .providers import connected
from .providers.wire import heard
from .signals import made
from .spec import Provider
from .unread import read
from .usage import usage_of
from .wrapping import is_object, unwrapped, wrapped

_STRAY_REFUSAL = "refusal"


async def call(c: Call, began: float) -> Reply:
    """One answer, whole."""
    noted: dict[str, str] = {}
    token = heard.set(noted)
    try:
        model = (await connected(c.model, c.deployment)).model
        asked = _asked(c)
        with read(c.model.name, missing=FaultKind.UNREACHABLE):
            return _reply(c, await model_request(model, **asked), noted, began, None)
    finally:
        heard.reset(token)


async def stream(c: Call, began: float) -> AsyncGenerator[Delta | Reply, None]:
    """The pieces of one answer, and then all of it."""
    noted: dict[str, str] = {}
    ttft_s: float | None = None
    heard.set(noted)
    model = (await connected(c.model, c.deployment)).model
    asked = _asked(c)
    with read(c.model.name, missing=FaultKind.UNREACHABLE):
        async with model_request_stream(model, **asked) as events:
            said = _Said(events, by_tool=c.output_mode == "tool")
            async for event in events:
                delta = said.next(_delta(event))
                if ttft_s is None and delta.text:
                    ttft_s = asyncio.get_running_loop().time() - began
                yield delta
            response = events.get()
        if not _ended(response):
            raise rebuild(made(FaultKind.UNREACHABLE, f"{c.model.name}: the stream ended without a sign of its end"))
        reply = _reply(c, response, noted, began, ttft_s)
    yield reply


def _asked(c: Call) -> dict[str, Any]:
    messages = _messages(c)
    return {
        "messages": messages, "model_settings": _settings(c, messages),
        "model_request_parameters": _parameters(c), "instrument": False,
    }  # fmt: skip


def _messages(c: Call) -> list[ModelMessage]:
    fitted = fit(c.messages, c.model, tools=_has_tools(c), deployment=c.deployment.name)
    if c.output_mode != "prompt" or c.output_schema is None:
        return fitted
    last = cast("ModelRequest", fitted[-1])
    asked = "\n\n".join(filter(None, (_instructions(fitted), as_json(c.output_schema))))
    return [*fitted[:-1], replace(last, instructions=asked)]


def _instructions(messages: list[ModelMessage]) -> str | None:
    said = (m.instructions for m in reversed(messages) if isinstance(m, ModelRequest))
    return next(filter(None, said), None)


def as_json(schema: Mapping[str, Any]) -> str:
    """What asks for an answer of a schema."""
    return (
        "Answer with one JSON value that fits this JSON Schema, and with nothing else: no explanation, no code fence.\n"
        + json.dumps(schema, ensure_ascii=False)
    )


def _has_tools(c: Call) -> bool:
    return bool(c.tools) or (c.output_mode == "tool" and c.output_schema is not None)


def _settings(c: Call, messages: list[ModelMessage]) -> ModelSettings:
    given = settings_in(messages, c.model, c.settings)
    given["max_tokens"] = c.model.output_limit(c.max_tokens, given)
    if c.model.provider is not Provider.BEDROCK:  # botocore's are those of its client
        given["timeout"] = c.timeout_s
    return cast("ModelSettings", given)


def _parameters(c: Call) -> ModelRequestParameters:
    tools = [tool for tool in c.tools if tool.kind != "output"]
    ends = [tool for tool in c.tools if tool.kind == "output"]
    if c.output_schema is None or c.output_mode in ("text", "prompt"):
        mode = "tool" if ends else "text"
        return ModelRequestParameters(
            function_tools=tools, output_mode=mode, output_tools=ends, allow_text_output=not c.must_call
        )
    schema = wrapped(c.output_schema)
    if c.output_mode == "native":
        wanted = OutputObjectDefinition(json_schema=schema, name=OUTPUT_TOOL)
        return ModelRequestParameters(function_tools=tools, output_mode="native", output_object=wanted)
    answer = ToolDefinition(
        name=OUTPUT_TOOL, description="Gives the answer.", parameters_json_schema=schema, kind="output"
    )
    return ModelRequestParameters(
        function_tools=tools, output_mode="tool", output_tools=[answer], allow_text_output=False
    )


class _Said:
    """What was said of the answer. Texts with another part between them are set apart, as in a whole one."""

    def __init__(self, events: StreamedResponse, *, by_tool: bool):
        self._events, self._pieces = events, list[str]()
        self._by_tool, self._answer = by_tool, set[int]()

    def next(self, delta: Delta) -> Delta:
        """The next piece, with the blank line before it where it begins such a text."""
        begun = delta.event.part if isinstance(delta.event, PartStartEvent) else None
        if self._by_tool and isinstance(begun, ToolCallPart) and begun.tool_name == OUTPUT_TOOL:
            self._answer.add(delta.index)
        if delta.kind == "tool":
            answers = delta.index in self._answer
            at_once = isinstance(begun, ToolCallPart) and isinstance(begun.args, dict)  # the reply has it as text
            return replace(delta, answers=answers, text="" if answers and at_once else delta.text)
        if isinstance(delta.event, PartStartEvent) and isinstance(delta.event.part, TextPart) and self._pieces:
            said, now = "".join(self._pieces), self._events.get().text or ""
            delta = replace(delta, text=now[len(said) :]) if now.startswith(said) else delta
        if delta.kind == "text" and delta.text:
            self._pieces.append(delta.text)
        return delta


def _delta(event: object) -> Delta:
    """A piece of the answer; one without text where the event says something else."""
    if isinstance(event, PartStartEvent):
        return _started(event)
    if not isinstance(event, PartDeltaEvent):
        return Delta("", event=event)
    piece = event.delta
    if isinstance(piece, TextPartDelta):
        return Delta(piece.content_delta, "text", event.index, event)
    if isinstance(piece, ThinkingPartDelta):
        return Delta(piece.content_delta or "", "thinking", event.index, event)
    if isinstance(piece, ToolCallPartDelta):
        args = piece.args_delta
        said = args if isinstance(args, str) else json.dumps(args) if args else ""
        return Delta(said, "tool", event.index, event)
    return Delta("", index=event.index, event=event)


def _started(event: PartStartEvent) -> Delta:
    part = event.part
    if isinstance(part, TextPart):
        return Delta(part.content, "text", event.index, event)
    if isinstance(part, ThinkingPart):
        return Delta(part.content, "thinking", event.index, event)
    if isinstance(part, ToolCallPart):
        return Delta(part.args_as_json_str() if part.args else "", "tool", event.index, event)
    return Delta("", index=event.index, event=event)


def _ended(response: ModelResponse) -> bool:
    """Whether the provider has said that it is done."""
    details = response.provider_details or {}
    return bool(details.get("finish_reason") or details.get(_STRAY_REFUSAL)) or response.finish_reason is not None


def _reply(c: Call, response: ModelResponse, noted: dict[str, str], began: float, ttft_s: float | None) -> Reply:
    calls = [part for part in response.parts if isinstance(part, ToolCallPart)]
    answers = [part for part in calls if part.tool_name == OUTPUT_TOOL] if c.output_mode == "tool" else []
    details: dict[str, Any] = response.provider_details or {}
    refusal: Any = details.get(_STRAY_REFUSAL)
    written = "".join(part.content for part in response.parts if isinstance(part, TextPart | ThinkingPart))
    others = tuple(part for part in calls if part not in answers)
    return Reply(
        message=stamped(response, c.model.name, c.deployment.name),
        text=_answer(_arguments(answers[0]) if answers else bare(response.text or "", c), c),
        tool_calls=others,
        usage=usage_of(response.usage, c.model, c.messages, written + "".join(p.args_as_json_str() for p in calls)),
        finish=_finish(response, bool(answers), bool(others)),
        finish_raw=str(details.get("finish_reason") or ""),
        refusal=refusal if isinstance(refusal, str) else "",
        answered_by=response.model_name,
        request_id=noted.get("x-request-id") or noted.get("request-id") or response.provider_response_id,
        ttft_s=ttft_s,
        latency_s=asyncio.get_running_loop().time() - began,
        headers=noted,
    )


def _arguments(answer: ToolCallPart) -> str:
    """As the model wrote them, where they came as text: what was streamed of them stays right."""
    return answer.args if isinstance(answer.args, str) and answer.args else answer.args_as_json_str()


def _answer(text: str, c: Call) -> str:
    """Without the object that is there for the provider's sake alone."""
    held = c.output_schema is not None and c.output_mode in ("native", "tool")
    return unwrapped(text) if held and not is_object(c.output_schema or {}) else text


def _finish(response: ModelResponse, answered: bool, called: bool) -> str:
    """A call of the answer's own tool is no call of a tool; one of another is, also where the format says `stop`."""
    finish = response.finish_reason or "stop"
    if finish not in ("stop", "tool_call"):
        return finish
    return "tool_call" if called and not answered else "stop" if answered else finish


def bare(text: str, c: Call) -> str:
    """A text that was asked to be JSON, without the fence that many models put around it; where nothing but words asks
    for it, without a sentence around it, too.
    """
    if c.output_schema is None or c.output_mode == "text":
        return text
    plain = text.strip()
    if plain.startswith("```") and plain.endswith("```") and "\n" in plain:
        return plain[plain.index("\n") + 1 : -3].strip()
    return within(plain) if c.output_mode == "prompt" else plain
