"""The journal's envelope and the types of its events.

An event is what happened, once, in one run. `seq` orders the events of a run without gaps; `pos`, given by the store,
orders all runs. A type's body may grow new optional fields; a change of meaning raises its `version`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple, cast


class EventType(StrEnum):
    """What an event says. The second word is in the past tense: it has happened."""

    RUN_ACCEPTED = "run.accepted"
    RUN_FORKED = "run.forked"
    RUN_STARTED = "run.started"
    RUN_PARKED = "run.parked"
    RUN_PAUSED = "run.paused"
    RUN_RESUMED = "run.resumed"
    RUN_CANCELLING = "run.cancelling"
    RUN_STUCK = "run.stuck"
    RUN_CONTINUED = "run.continued"
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"
    RUN_CANCELLED = "run.cancelled"
    ATTEMPT_STARTED = "attempt.started"
    ATTEMPT_FAILED = "attempt.failed"
    ATTEMPT_RECORDED = "attempt.recorded"
    STEP_COMPLETED = "step.completed"
    STEP_FAILED = "step.failed"
    STEP_CANCELLED = "step.cancelled"
    CALL_REKEYED = "call.rekeyed"
    TIMER_SET = "timer.set"
    TIMER_FIRED = "timer.fired"
    SIGNAL_RECEIVED = "signal.received"
    SIGNAL_REJECTED = "signal.rejected"
    CHILD_STARTED = "child.started"
    CHILD_ENDED = "child.ended"
    CHILD_DETACHED = "child.detached"
    OPERATOR_ACTED = "operator.acted"
    FEEDBACK_GIVEN = "feedback.given"
    DECISION_MADE = "decision.made"
    CONTEXT_ASSEMBLED = "context.assembled"
    USAGE_RESERVED = "usage.reserved"
    USAGE_SETTLED = "usage.settled"
    APPROVAL_ASKED = "approval.asked"
    APPROVAL_DECIDED = "approval.decided"
    STREAM_ENDED = "stream.ended"
    TOOL_ANSWERED = "tool.answered"


DELIVERED = frozenset(
    {
        EventType.STEP_COMPLETED,
        EventType.STEP_FAILED,
        EventType.TIMER_FIRED,
        EventType.SIGNAL_RECEIVED,
        EventType.CHILD_ENDED,
        EventType.CHILD_DETACHED,
        EventType.RUN_CANCELLING,
    }
)
"""The types that reach the flow. All others are for people, projections and the far side."""

OUTCOMES = DELIVERED - {EventType.SIGNAL_RECEIVED, EventType.RUN_CANCELLING}
"""The types that say what came of a call. The first one counts."""

ENDS = frozenset({EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED})
"""The types that end a run. Nothing follows them but feedback, and the record of what was asked on the side."""


class Event(NamedTuple):
    """One line of a run's journal.

    `at` and `began` are seconds since the epoch, UTC; `began` is when the work of an outcome began. `seen` is the
    `seq` of the last event that the flow had seen when it asked for this. `body` is a JSON object, `args` the
    arguments as a JSON object by parameter name, `value` the payload as JSON; None where there is none.
    """

    run: int
    seq: int
    epoch: int
    at: float
    type: str
    version: int = 1
    key: str | None = None
    attempt: int | None = None
    seen: int | None = None
    began: float | None = None
    body: bytes | None = None
    args: bytes | None = None
    value: bytes | None = None


made = cast("Callable[[Any, tuple[Any, ...]], Any]", tuple.__new__)  # pyright: ignore[reportUnknownMemberType]
"""Makes a NamedTuple from all of its fields without a frame of its own: for what is made at every step."""
