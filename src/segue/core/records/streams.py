"""Streams: how the text of one attempt came to its end, and what became of what a consumer had seen of it."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from ..events import EventType
from .attempts import AttemptRef
from .base import Record, expect, record


class StreamFate(StrEnum):
    """How a stream ended. Only `complete` had its terminal marker."""

    COMPLETE = "complete"
    CUT = "cut"
    STALLED = "stalled"
    MALFORMED = "malformed"
    ERROR = "error"
    CANCELLED = "cancelled"
    OTHER = "other"


@record
class StreamEnd(Record):
    """The end of one attempt's stream. The envelope's `key` is the call's. Offsets count bytes of UTF-8."""

    type: ClassVar[EventType] = EventType.STREAM_ENDED
    version: ClassVar[int] = 2
    epoch: int
    n: int
    """`(epoch, n)` is the attempt."""
    bytes_total: int
    """How much of its text came."""
    end: StreamFate
    finish_reason: str | None = None
    chunks: int = 0
    ttft_s: float | None = None
    """From sending to the first chunk."""
    longest_gap_s: float | None = None
    """Between two chunks."""
    bytes_released: int = 0
    """How much of it a consumer has seen."""
    held_ms: int | None = None
    """How long the first bytes were held back."""
    retracted: bool = False
    """Whether consumers were told to forget what they had seen."""
    rescue: str | None = None
    """What the route does for consumers that cannot be told: `fail` or `continue`."""
    rescued_by: AttemptRef | None = None
    """The attempt that goes on from here."""
    continues: AttemptRef | None = None
    """The attempt that this one goes on from."""
    continues_at: int | None = None
    """The offset at which its own text begins in the whole answer."""
    hash: str | None = None
    """Of its text."""
    part: str = ""
    """Which stream of the attempt, where a step that was called inside of it has one of its own. Since version 2."""
    text_at: str | None = None
    """Where its text stands in the result of the step, as a JSON Pointer; null: it is not kept. Since version 2."""

    def __post_init__(self) -> None:
        """Nobody has seen more than came."""
        expect(0 <= self.bytes_released <= self.bytes_total, "bytes_released", "not more than bytes_total")
        linked = (self.continues is None) == (self.continues_at is None)
        expect(linked, "continues_at", "given with continues")
