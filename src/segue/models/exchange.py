"""One call to one deployment, and what came of it. Values only: nothing of a provider is imported here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..core.records import Json, Usage
from .spec import Deployment, Model

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
    from pydantic_ai.tools import ToolDefinition

OutputMode = Literal["native", "tool", "prompt", "text"]
"""How a schema is kept: by the provider, as the arguments of a tool, by being asked for, or there is none."""

OUTPUT_TOOL = "answer"
"""The tool that carries an answer of output mode `tool`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """What one deployment is asked. `messages` are fitted to its model by the call itself."""

    model: Model
    deployment: Deployment
    messages: Sequence[ModelMessage]
    tools: Sequence[ToolDefinition] = ()
    must_call: bool = False
    """Whether the answer is a call of one of the tools, and no text. Those of the kind `output` end an agent's loop."""
    output_schema: Mapping[str, Any] | None = None
    """JSON Schema of the answer."""
    output_mode: OutputMode = "text"
    max_tokens: int = 1024
    """Of the answer: what the settings set aside for thinking comes on top, up to what the model can write."""
    settings: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """`temperature`, `top_p`, `seed`, `thinking`, and the like; they come before those of the model."""
    timeout_s: float = 60.0
    """For all of it, the last token included."""
    first_token_s: float | None = None
    """Until the first token of a stream."""
    stall_s: float | None = None
    """Between two pieces of a stream."""


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a stream, in order."""

    text: str
    kind: Literal["text", "thinking", "tool"] = "text"
    """Of the answer, of the thinking before it, or of a tool call's arguments."""
    index: int = 0
    """Which part of the answer it belongs to."""
    event: Any = field(default=None, compare=False, repr=False)
    """What pydantic-ai said of it; None of the model in this process."""
    answers: bool = False
    """Whether it is of the arguments of the tool by which the answer is given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What came back, whole. `signals`' sibling `verdict.judge` says whether it is an answer."""

    message: ModelResponse
    """As the provider's turn of the conversation, with its maker on record."""
    text: str
    """The answer: text, or JSON where a schema was given, in whichever mode."""
    tool_calls: tuple[ToolCallPart, ...] = ()
    usage: Usage
    finish: str = "stop"
    """`stop`, `length`, `content_filter`, `tool_call` or `error`."""
    finish_raw: str = ""
    """In the provider's own word."""
    refusal: str = ""
    """What the model said in place of an answer, where it was marked as that."""
    answered_by: str | None = None
    """The model, as the provider names it."""
    request_id: str | None = None
    """The provider's own id of the call, for its support."""
    ttft_s: float | None = None
    """From sending to the first token; of streams only."""
    latency_s: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of the answer: its rate limits and what remains of them."""
