"""Tools: what a model was told of each call that it asked for."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from ..events import EventType
from .base import Record, record


class ToolOutcome(StrEnum):
    """What became of a call."""

    GIVEN = "given"
    """It gave a result."""
    REFUSED = "refused"
    """Its arguments will not do: they do not fit, or the tool says so."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It was begun, and nobody knows whether it had its effect."""
    DENIED = "denied"
    """A person, or time, has not approved it: it was not made."""
    MISSING = "missing"
    """There is no such tool, or nothing by that handle."""
    OTHER = "other"


@record
class ToolAnswered(Record):
    """What a model was told of one call. The envelope's `key` is the call's, also where none was made."""

    type: ClassVar[EventType] = EventType.TOOL_ANSWERED
    tool: str
    """By the name that the model used."""
    outcome: ToolOutcome
    call: str = ""
    """The model's own id of it."""
    effect: str | None = None
    """`read`, `write` or `once`; null where there is no such tool."""
    approval: str | None = None
    """The id of the question that a person was asked (`approval.asked`)."""
    why: str = ""
    """What the model was told in place of a result."""
    chars: int | None = None
    """Of the whole result, where the model was shown less."""
    shown: int | None = None
    recall: str | None = None
    """The handle by which the model can have the rest."""
