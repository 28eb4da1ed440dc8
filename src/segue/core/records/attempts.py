"""Attempts: who was asked, why this one, how it ended, what it took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import ClassVar

from ..events import EventType
from ..faults import Fault
from .base import Json, Part, Record, expect, record


class TargetKind(StrEnum):
    """What can be asked to do a piece of work."""

    MODEL = "model"
    TOOL = "tool"
    AGENT = "agent"
    FLOW = "flow"
    PERSON = "person"
    STEP = "step"
    OTHER = "other"


@record
class Target(Part):
    """One that can be asked: a model, a tool, an agent, a flow, a person."""

    kind: TargetKind
    name: str
    """As the catalogue has it."""
    deployment: str | None = None
    """Which one of a pool: a key, an account, a region."""
    provider: str | None = None
    version: str | None = None
    """Of the weights, the flow or the settings."""


class AttemptWhy(StrEnum):
    """What an attempt was made for."""

    PRIMARY = "primary"
    RETRY = "retry"
    FALLBACK = "fallback"
    HEDGE = "hedge"
    SHADOW = "shadow"
    REPAIR = "repair"
    CLIMB = "climb"
    SHRINK = "shrink"
    RESCUE = "rescue"
    PROBE = "probe"
    OTHER = "other"


class AttemptEnd(StrEnum):
    """How an attempt ended. `superseded` answered, but its answer was not used."""

    ANSWERED = "answered"
    FAILED = "failed"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    LOST = "lost"
    OTHER = "other"


class NextMove(StrEnum):
    """What the Recovery answered to a fault."""

    AGAIN = "again"
    USE = "use"
    AMEND = "amend"
    ASK_PERSON = "ask person"
    FAIL = "fail"
    OTHER = "other"


@record
class AttemptRef(Part):
    """An attempt, by what is never reused. Without `key`: of the same call; without `run`: of the same run."""

    epoch: int
    n: int
    key: str | None = None
    run: str | None = None


@record
class Usage(Part):
    """What a call took. The finer counts are parts of the two totals, as in OpenTelemetry's GenAI conventions.

    Money is whole nano-dollars (1e-9 USD): the cheapest token there is costs a few of them, and sums are exact.
    """

    tokens_in: int = 0
    """All input: cached, image and audio tokens included."""
    tokens_out: int = 0
    """All output: thinking and audio tokens included."""
    tokens_cache_read: int = 0
    """Of `tokens_in`: read from the provider's prompt cache."""
    tokens_cache_write: int = 0
    """Of `tokens_in`: written to it."""
    tokens_thinking: int = 0
    """Of `tokens_out`."""
    tokens_audio_in: int = 0
    tokens_audio_out: int = 0
    tokens_image_in: int = 0
    other: Mapping[str, int] = field(default_factory=dict[str, int])
    """What is priced by another unit, by its name: `web_searches`, `images`, `audio_ms`, `characters`."""
    requests: int = 1
    cost_nano: int | None = None
    """Whole nano-dollars; null where no price is known."""
    estimated: bool = False
    """Whether the counts are our own, since the provider sent none or wrong ones."""
    price_source: str | None = None
    """Where the price is from: `genai-prices`, `catalogue`, `provider`."""
    price_version: str | None = None

    def __post_init__(self) -> None:
        """Counts are not negative, and parts do not exceed their totals."""
        counts = (self.tokens_in, self.tokens_out, self.requests, self.cost_nano or 0, *self.other.values())
        expect(min(counts) >= 0, "usage", "no count is negative")
        expect(self.tokens_cache_read + self.tokens_cache_write <= self.tokens_in, "tokens_in", "holds what was cached")
        expect(self.tokens_thinking <= self.tokens_out, "tokens_out", "holds the thinking")


@record
class Check(Part):
    """A judgement of an answer, made at once: a schema, a guard, a user's function."""

    name: str
    passed: bool
    why: str = ""
    score: float | None = None
    """0 to 1, where the check says more than yes or no."""
    stage: str = "after"
    """`before` the call (on the request) or `after` it."""


@record
class AttemptStarted(Record):
    """An attempt is about to be made, and counts from here on. The envelope's `attempt` is its number."""

    type: ClassVar[EventType] = EventType.ATTEMPT_STARTED
    effect: str | None = None
    """`read`, `write` or `once`."""
    late: bool = False
    """Written only because it lasts, for those who look on: it had begun before."""
    target: Target | None = None
    why: AttemptWhy | None = None
    decision: str | None = None
    """The id of the decision that chose the target."""
    manifest: str | None = None
    """The id of what it is shown."""
    reservation: str | None = None
    """The id of what was set aside for it."""
    follows: AttemptRef | None = None
    """The attempt that it retries, repairs, hedges, shadows or goes on from."""
    idempotency_key: str | None = None


@record
class AttemptFailed(Record):
    """An attempt failed, and another one follows. The envelope's `began` is when it began."""

    type: ClassVar[EventType] = EventType.ATTEMPT_FAILED
    fault: Fault
    retry_at: float | None = None
    """When the next one may start; seconds since the epoch, UTC."""
    then: NextMove | None = None
    to: str | None = None
    """The next candidate, or the person."""


@record
class AttemptRecorded(Record):
    """One call to one target, whole: written when it has ended, whatever came of it."""

    type: ClassVar[EventType] = EventType.ATTEMPT_RECORDED
    epoch: int
    n: int
    """`(epoch, n)` is never reused within a call. Epoch 0: a step that was called inside of the envelope's attempt."""
    target: Target
    why: AttemptWhy
    end: AttemptEnd
    follows: AttemptRef | None = None
    """The attempt that it retries, repairs, hedges, shadows or goes on from."""
    superseded_by: AttemptRef | None = None
    """The attempt whose answer was used instead."""
    fault: Fault | None = None
    status: int | None = None
    """The HTTP status, where there was one."""
    then: NextMove | None = None
    to: str | None = None
    """The next candidate, or the person."""
    retry_at: float | None = None
    """When the next one may start; seconds since the epoch, UTC."""
    amended: str | None = None
    """How its request differs from the one before: `shrunk`, `error shown`, `larger limit`, `adapted`."""
    usage: Usage | None = None
    queued_s: float = 0.0
    """Waited for a free place under the target's limits."""
    ttft_s: float | None = None
    """From sending to the first token."""
    latency_s: float | None = None
    """From sending to the end."""
    finish_reason: str | None = None
    """`stop`, `length`, `tool calls`, `content filter`, as the provider means it."""
    answered_by: str | None = None
    """The model that the provider says has answered."""
    request_id: str | None = None
    """The provider's own id of the call."""
    request: str | None = None
    """The content hash of what was sent."""
    answer: str | None = None
    """The content hash of what came back."""
    streamed: bool = False
    decision: str | None = None
    """The id of the decision that chose the target."""
    manifest: str | None = None
    """The id of what it was shown."""
    reservation: str | None = None
    """The id of what was set aside for it."""
    checks: tuple[Check, ...] = ()
    details: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """What only this kind of target has to say: a tool's name for the call, a rate limit's headers."""

    def __post_init__(self) -> None:
        """A failed attempt says why."""
        expect(self.fault is not None or self.end is not AttemptEnd.FAILED, "fault", "a failed attempt has one")
