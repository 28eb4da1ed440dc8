"""What a model is asked, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .catalogue import Style


@dataclass(frozen=True, slots=True)
class Example:
    """One worked example: what went in, and the output that was wanted."""

    input: str
    output: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One call of a model. JSON all through, so that it can be an argument of a durable step.

    The instruction and the examples come first and the input last, so that calls that differ only in their input share
    a prefix, which the model has to read only once.
    """

    model: str
    prompt: str
    input: str = ""
    examples: list[Example] = field(default_factory=list[Example])
    choices: list[str] = field(default_factory=list[str])
    """If given, the output is exactly one of these."""
    schema: dict[str, Any] | None = None
    """If given, the output is JSON of this schema."""
    max_tokens: int = 256
    temperature: float = 0.0
    seed: int = 1
    style: Style | None = None
    """How the model is spoken to; None is as the catalogue says."""
    words: tuple[str, str] = ("Input", "Output")
    """What introduces input and output where the request becomes one text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """What a model wrote, and what it took.

    `tokens_cached` of the `tokens_in` were known from an earlier call. `finish` is `stop`, or `length` when the output
    was cut at `max_tokens`. `seconds` is the time of the call, waiting for the model included.
    """

    text: str
    model: str
    tokens_in: int
    tokens_out: int
    tokens_cached: int = 0
    finish: str = "stop"
    seconds: float = 0.0
