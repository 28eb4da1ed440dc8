"""The typed bodies of events: one frozen dataclass per EventType, so that projections read records and not raw JSON.

`record_of(event)` gives an event's record, `RECORDS` the record of each type; `record.to_body()` is what is journaled.
docs/reference/events.md describes them all, and is generated from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ...errors import RecordError
from ..codec import loads
from ..events import Event, EventType
from .attempts import (
    AttemptEnd,
    AttemptFailed,
    AttemptRecorded,
    AttemptRef,
    AttemptStarted,
    AttemptWhy,
    Check,
    NextMove,
    Target,
    TargetKind,
    Usage,
)
from .base import Json, Part, Record
from .decisions import Candidate, Decision, Estimate, Sampling, Split, Stage
from .manifests import Fate, Manifest, ManifestPart
from .money import BudgetScope, Reservation, ScopeKind, SettledBy, Settlement
from .people import (
    AnswerRef,
    ApprovalAsked,
    ApprovalDecided,
    AskKind,
    Evidence,
    Feedback,
    FeedbackSource,
    OperatorAct,
    Verdict,
    binding,
    evidence_of,
)
from .runs import (
    CallRekeyed,
    ChildDetached,
    ChildEnded,
    ChildStarted,
    RunAccepted,
    RunCancelled,
    RunCancelling,
    RunCompleted,
    RunContinued,
    RunFailed,
    RunForked,
    RunParked,
    RunPaused,
    RunResumed,
    RunStarted,
    RunStuck,
    SignalReceived,
    SignalRejected,
    StepCancelled,
    StepCompleted,
    StepFailed,
    TimerFired,
    TimerSet,
)
from .streams import StreamEnd, StreamFate
from .tools import ToolAnswered, ToolOutcome

RECORDS: Mapping[str, type[Record]] = MappingProxyType(
    {
        kind.type.value: kind
        for kind in (
            RunAccepted, RunForked, RunStarted, RunParked, RunPaused, RunResumed, RunCancelling, RunStuck, RunContinued,
            RunCompleted, RunFailed, RunCancelled, AttemptStarted, AttemptFailed, AttemptRecorded, StepCompleted,
            StepFailed, StepCancelled, CallRekeyed, TimerSet, TimerFired, SignalReceived, SignalRejected, ChildStarted,
            ChildEnded, ChildDetached, OperatorAct, Feedback, Decision, Manifest, Reservation, Settlement,
            ApprovalAsked, ApprovalDecided, StreamEnd, ToolAnswered,
        )
    }
)  # fmt: skip
"""The record of each type of event."""


def record_of(event: Event) -> Record:
    """The typed body of an event. Raises RecordError: an unknown type, or a field that is missing or does not fit."""
    kind = RECORDS.get(event.type)
    if kind is None:
        error = RecordError(
            f"event {event.seq}: no record is known for {event.type}",
            remedy="a later Segue wrote it: upgrade (pip install -U segue)",
        )
        error.type = event.type
        raise error
    try:
        body = loads(event.body)
    except ValueError as error:
        raise RecordError(f"event {event.seq}: the body of {event.type} is no JSON ({error})") from error
    return kind.from_body(body, event.version)


__all__ = [
    "RECORDS", "AnswerRef", "ApprovalAsked", "ApprovalDecided", "AskKind", "AttemptEnd", "AttemptFailed",
    "AttemptRecorded", "AttemptRef", "AttemptStarted", "AttemptWhy", "BudgetScope", "CallRekeyed", "Candidate", "Check",
    "ChildDetached", "ChildEnded", "ChildStarted", "Decision", "Estimate", "Event", "EventType", "Evidence", "Fate",
    "Feedback",
    "FeedbackSource", "Json", "Manifest", "ManifestPart", "NextMove", "OperatorAct", "Part", "Record", "Reservation",
    "RunAccepted", "RunCancelled", "RunCancelling", "RunCompleted", "RunContinued", "RunFailed", "RunForked",
    "RunParked", "RunPaused", "RunResumed", "RunStarted", "RunStuck", "Sampling", "ScopeKind", "SettledBy",
    "Settlement", "SignalReceived",
    "SignalRejected", "Split", "Stage", "StepCancelled", "StepCompleted", "StepFailed", "StreamEnd", "StreamFate",
    "Target", "TargetKind", "TimerFired", "TimerSet", "ToolAnswered",
    "ToolOutcome", "Usage", "Verdict", "binding", "evidence_of", "record_of",
]  # fmt: skip
