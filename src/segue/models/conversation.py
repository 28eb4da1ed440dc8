"""A conversation made fit for the model that is asked next, whoever made its turns. Pure.

Messages are pydantic-ai's. What is bound to its maker (signatures of thinking, encrypted reasoning, ids of items,
native tools, files that were uploaded) goes back to that maker only; for every other model it is dropped or becomes
text. Signed thinking of a Claude goes to all deployments of that model. Then each tool call gets exactly one result
right behind it, turns alternate, the user begins and ends, and ids and names of tools become what the model's API
takes. Fitting twice changes nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pydantic_ai.messages import (
    CompactionPart,
    FilePart,
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    NativeToolCallPart,
    NativeToolReturnPart,
    RetryFeedbackPart,
    SpeechPart,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from .pairing import paired, with_valid_ids
from .sight import seen_by, shown_tool_result
from .spec import Capability, Model, Provider

MAKER = "segue"
"""Under this key of a response's metadata stand the model and the deployment that made it."""
BEGIN = "(The beginning of this conversation is not shown.)"
GO_ON = "Go on from exactly where you stopped, without repeating anything."
EMPTY = "(empty)"

_SYSTEM_ANYWHERE = frozenset({Provider.OPENAI, Provider.OPENAI_RESPONSES})
_SIGNED = frozenset({Provider.ANTHROPIC, Provider.BEDROCK})
"""They take back no thinking without its signature."""
_REDACTED = frozenset({"redacted_thinking", "redacted_content"})
"""What pydantic-ai calls thinking that is encrypted as a whole."""
_NAMES = {Provider.OPENAI_RESPONSES: "openai"}
"""What pydantic-ai calls a provider, where it is not our word."""


def fit(
    messages: Sequence[ModelMessage], model: Model, *, tools: bool = True, deployment: str | None = None
) -> list[ModelMessage]:
    """The conversation as `model` takes it: begins and ends with a request, at least one of them.

    Without `tools` (or for a model that has none), tool calls and their results become text. A `deployment` keeps what
    is bound to a maker only where that deployment made it: the keys of a pool may belong to different accounts. What a
    Claude has thought and signed is bound to the model alone.
    """
    with_tools = tools and Capability.TOOLS in model.capabilities and model.provider is not Provider.LOCAL
    fitted = _settled(_portable(messages, model, deployment, with_tools))
    if with_tools:
        fitted = with_valid_ids(_settled(paired(fitted)), model)
    return fitted


def made_by(response: ModelResponse) -> tuple[str | None, str | None]:
    """The model and the deployment of ours that made a response; None where it is not on record."""
    said: Any = (response.metadata or {}).get(MAKER)
    return (said.get("model"), said.get("deployment")) if isinstance(said, dict) else (None, None)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def stamped(response: ModelResponse, model: str, deployment: str) -> ModelResponse:
    """The response with its maker on record."""
    return replace(response, metadata=(response.metadata or {}) | {MAKER: {"model": model, "deployment": deployment}})


def is_own(response: ModelResponse, model: Model, deployment: str | None = None) -> bool:
    """Whether this model made it, so that it may have back what it sealed."""
    name, made_at = made_by(response)
    if name is not None:
        return name == model.name and (deployment is None or made_at == deployment)
    provider = _NAMES.get(model.provider, model.provider.value)
    return response.provider_name == provider and (response.model_name or "").startswith(model.id)


# --- one turn at a time -----------------------------------------------------------------------------------------------


def _portable(
    messages: Sequence[ModelMessage], model: Model, deployment: str | None, tools: bool
) -> Iterator[ModelMessage]:
    opening = True
    for message in messages:
        if isinstance(message, ModelResponse):
            opening = False
            own = is_own(message, model, deployment)
            signed = own or (is_own(message, model) and _travels(message, model))
            yield _response(message, model, own, tools, signed=signed)
        else:
            inline = opening or model.provider in _SYSTEM_ANYWHERE
            parts = [p for part in message.parts for p in _asked(part, model, inline, tools)]
            yield ModelRequest(parts=parts, instructions=message.instructions, timestamp=message.timestamp)


def _asked(part: ModelRequestPart, model: Model, inline: bool, tools: bool) -> Iterator[ModelRequestPart]:
    """A part of a request; the bookkeeping of an agent's run is left out."""
    if isinstance(part, UserPromptPart):
        content = seen_by(part.content, model)
        if content:
            yield replace(part, content=content)
    elif isinstance(part, SystemPromptPart):
        if part.content.strip():
            yield part if inline else UserPromptPart(f"<system>\n{part.content}\n</system>", timestamp=part.timestamp)
    elif isinstance(part, ToolReturnPart):
        result = shown_tool_result(part, model)
        yield result if tools else UserPromptPart(told_result(result), timestamp=part.timestamp)
    elif isinstance(part, RetryFeedbackPart):
        yield UserPromptPart(part.model_response(), timestamp=part.timestamp)
    elif isinstance(part, CompactionPart):
        if part.content:
            yield UserPromptPart(f"A summary of the conversation so far:\n{part.content}")
    elif isinstance(part, SpeechPart):
        yield UserPromptPart(_speech(part))
    elif part.part_kind == "retry-prompt":
        yield from _old_retry(part, tools)


def _old_retry(part: Any, tools: bool) -> Iterator[ModelRequestPart]:
    """pydantic-ai's deprecated part: the answer to a call, or feedback."""
    text = str(part.model_response())
    if part.tool_name and tools:
        yield ToolReturnPart(part.tool_name, text, part.tool_call_id, outcome="retried", timestamp=part.timestamp)
    else:
        yield UserPromptPart(text, timestamp=part.timestamp)


def _travels(message: ModelResponse, model: Model) -> bool:
    """Whether what it has thought goes to other deployments of the model too: Anthropic says so of signatures, on all
    platforms that have the model. Of redacted thinking it does not, and what a turn has thought goes back whole.
    """
    claude = model.provider is Provider.ANTHROPIC or (model.provider is Provider.BEDROCK and "claude" in model.id)
    return claude and not any(isinstance(p, ThinkingPart) and p.id in _REDACTED for p in message.parts)


def _response(message: ModelResponse, model: Model, own: bool, tools: bool, *, signed: bool) -> ModelResponse:
    """`signed`: what was thought and signed goes back also where nothing else of it is the deployment's own."""
    parts: list[ModelResponsePart] = []
    answered = {part.tool_call_id for part in message.parts if isinstance(part, NativeToolReturnPart)}
    for part in message.parts:
        kept = own or (signed and isinstance(part, ThinkingPart))
        kept = kept and getattr(part, "provider_name", None) in (None, message.provider_name)
        if isinstance(part, NativeToolCallPart) and part.tool_call_id not in answered:
            kept = False
        parts += _as_it_was(part, model, tools) if kept else _freed(part, tools)
    if own:
        return replace(message, parts=parts)
    return ModelResponse(parts=parts, timestamp=message.timestamp, metadata=message.metadata)


def _as_it_was(part: ModelResponsePart, model: Model, tools: bool) -> Iterator[ModelResponsePart]:
    """A part that goes back to its maker."""
    if isinstance(part, TextPart):
        if part.content.strip():
            yield part
    elif isinstance(part, ThinkingPart):
        if part.signature or model.provider not in _SIGNED:
            yield part
    elif isinstance(part, ToolCallPart):
        yield _called(part) if tools else TextPart(told_call(part))
    else:
        yield part


def _freed(part: ModelResponsePart, tools: bool) -> Iterator[ModelResponsePart]:
    """A part without what binds it to its maker; nothing where that was all of it."""
    if isinstance(part, TextPart):
        if part.content.strip():
            yield TextPart(part.content)
    elif isinstance(part, ToolCallPart):
        called = _called(part)
        bare = ToolCallPart(called.tool_name, called.args, called.tool_call_id)
        yield bare if tools else TextPart(told_call(bare))
    elif isinstance(part, NativeToolCallPart):
        yield TextPart(told_call(part))
    elif isinstance(part, NativeToolReturnPart):
        yield TextPart(told_result(part))
    elif isinstance(part, CompactionPart):
        if part.content:
            yield TextPart(f"A summary of the conversation so far:\n{part.content}")
    elif isinstance(part, FilePart):
        yield TextPart(f"[a file: {part.content.media_type}, {len(part.content.data)} bytes]")
    elif isinstance(part, SpeechPart):
        yield TextPart(_speech(part))


def _called(part: ToolCallPart) -> ToolCallPart:
    """Arguments that are no JSON object, since they were cut, are sent as an object that holds them."""
    arguments = part.args_as_dict()
    return replace(part, args=arguments) if isinstance(part.args, str) and "INVALID_JSON" in arguments else part


def told_call(part: ToolCallPart | NativeToolCallPart) -> str:
    """A tool call as text."""
    return f"[called {part.tool_name} with {part.args_as_json_str()}]"


def told_result(part: ToolReturnPart | NativeToolReturnPart) -> str:
    """A tool's result as text."""
    return f"[{part.tool_name} returned: {part.model_response_str().strip() or EMPTY}]"


def _speech(part: SpeechPart) -> str:
    return part.transcript or "[speech without a transcript]"


# --- the turns together -----------------------------------------------------------------------------------------------


def _settled(messages: Iterator[ModelMessage] | Sequence[ModelMessage]) -> list[ModelMessage]:
    """Turns alternate, none is empty, a request begins and ends, and somebody asks something."""
    turns: list[ModelMessage] = []
    for message in messages:
        if not message.parts and not (isinstance(message, ModelRequest) and message.instructions):
            continue
        last = turns[-1] if turns else None
        if isinstance(last, ModelRequest) and isinstance(message, ModelRequest):
            turns[-1] = _one_request(last, message)
        elif isinstance(last, ModelResponse) and isinstance(message, ModelResponse):
            joined = _one_response(last, message)
            turns[-1:] = [joined] if joined.parts else []
        else:
            turns.append(message)
    if not turns or isinstance(turns[0], ModelResponse):
        turns.insert(0, ModelRequest(parts=[UserPromptPart(BEGIN)]))
    if isinstance(turns[-1], ModelResponse):
        turns.append(ModelRequest(parts=[UserPromptPart(GO_ON)]))
    asked = [_asking(turn) if isinstance(turn, ModelRequest) else turn for turn in turns]
    return [_opened(asked[0]), *asked[1:]]


def _opened(turn: ModelMessage) -> ModelMessage:
    """System prompts that stand in the first turn begin it."""
    assert isinstance(turn, ModelRequest)
    return replace(turn, parts=sorted(turn.parts, key=lambda part: not isinstance(part, SystemPromptPart)))


def _one_request(one: ModelRequest, other: ModelRequest) -> ModelRequest:
    return ModelRequest(
        parts=_results_first([*one.parts, *other.parts]),
        instructions=other.instructions or one.instructions,
        timestamp=other.timestamp or one.timestamp,
    )


def _results_first(parts: Sequence[ModelRequestPart]) -> list[ModelRequestPart]:
    return sorted(parts, key=lambda part: not isinstance(part, ToolReturnPart))


def _one_response(one: ModelResponse, other: ModelResponse) -> ModelResponse:
    """Two turns as one, which nobody made as it stands: what was sealed is dropped."""
    freed = [p for part in (*one.parts, *other.parts) for p in _freed(part, tools=True)]
    return ModelResponse(parts=freed, timestamp=other.timestamp)


def _asking(request: ModelRequest) -> ModelRequest:
    """A request with no turn of the user in it gets one: a system prompt alone is refused by most."""
    if any(isinstance(part, UserPromptPart | ToolReturnPart) for part in request.parts):
        return request
    return replace(request, parts=[*request.parts, UserPromptPart(BEGIN)])
