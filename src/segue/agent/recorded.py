"""What an attempt puts on record: one `attempt.recorded`, whole, whatever came of it.

What is made beside an attempt (a hedge, a shadow) has a number of its own, far above those of attempts: `BESIDE` for
the first one of attempt 0, so that no two of a call are ever the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..core.faults import Fault, FaultKind
from ..core.records import (
    AttemptEnd,
    AttemptRecorded,
    AttemptRef,
    AttemptWhy,
    Check,
    Decision,
    Json,
    Target,
    TargetKind,
    Usage,
)
from ..core.recovery import Amend, Attempt, Use
from ..models import Model
from ..models.exchange import Reply
from ..runtime.scope import StepScope
from .batch.ticket import ticket_of, waiting
from .failures import asked_in
from .request import Question

if TYPE_CHECKING:
    from .called import Called

__all__ = ["BESIDE", "Recorded"]

BESIDE = 1_000_000
_HOW = {
    FaultKind.BAD_OUTPUT: AttemptWhy.REPAIR,
    FaultKind.CONTEXT_TOO_LONG: AttemptWhy.SHRINK,
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is put on record of an attempt, or of a call beside it."""

    scope: StepScope
    decision: Decision
    model: Model
    question: Question
    why: AttemptWhy | None = None
    """Of a call beside the attempt; None: it is the attempt itself."""
    beside: int = 0
    """Which one it is of those beside the attempt, from 1."""
    checks: tuple[Check, ...] = ()
    """What guards have said."""
    heard: bool | None = None
    """Whether the attempt's stream is that of this call, where two raced for it; None: it is the attempt's own."""
    batch: str = ""
    """The id of its request, where it went through a batch: how long that took says nothing of the model."""

    @property
    def ref(self) -> AttemptRef:
        """What names it within its call."""
        return AttemptRef(epoch=self.scope.epoch, n=self.scope.attempt + BESIDE * self.beside)

    def another(self, model: Model, why: AttemptWhy, beside: int) -> Recorded:
        """That of a call beside this one."""
        return replace(self, model=model, why=why, beside=beside)

    def of(self, called: Called, end: AttemptEnd, **more: Any) -> AttemptRecorded:
        """A call as a record; `more` are fields that it says else."""
        said: dict[str, Any] = {"fault": called.fault, "checks": called.checks, "usage": called.usage}
        said["reservation"] = called.reservation
        return self.made(end, reply=called.reply, queued_s=called.queued_s, **(said | more))

    def made(
        self,
        end: AttemptEnd,
        *,
        fault: Fault | None = None,
        reply: Reply | None = None,
        usage: Usage | None = None,
        queued_s: float = 0.0,
        latency_s: float | None = None,
        checks: tuple[Check, ...] = (),
        superseded_by: AttemptRef | None = None,
        details: Mapping[str, Json] | None = None,
        reservation: str | None = None,
    ) -> AttemptRecorded:
        """The record. `latency_s` is the reply's where there is one."""
        state: Mapping[str, Any] = (fault.state or {}) if fault is not None else {}
        status, ref = state.get("status"), self.ref
        return AttemptRecorded(
            epoch=ref.epoch,
            n=ref.n,
            target=Target(kind=TargetKind.MODEL, name=self.model.name, provider=self.model.provider.value),
            why=self.why or (AttemptWhy.RESCUE if self.question.begun else None) or _why(self.scope, self.model.name),
            end=end,
            follows=self._follows(),
            superseded_by=superseded_by,
            fault=fault,
            status=status if isinstance(status, int) else None,
            usage=usage,
            queued_s=round(queued_s, 4),
            latency_s=None if self.batch else _rounded(latency_s if reply is None else reply.latency_s),
            finish_reason=None if reply is None else reply.finish,
            answered_by=None if reply is None else reply.answered_by,
            request_id=None if reply is None else reply.request_id,
            streamed=self.scope.streamed is not None and (not self.beside if self.heard is None else self.heard),
            ttft_s=None if reply is None else _rounded(reply.ttft_s),
            decision=self.decision.id,
            reservation=reservation,
            amended="error shown" if self.question.mistakes else None,
            checks=(*self.checks, *checks),
            details={**self._details(), **(details or {})},
        )

    def _details(self) -> dict[str, Json]:
        said: dict[str, Json] = {"prompts": self.question.prompts, "batch": self.batch}
        return {name: one for name, one in said.items() if one}

    def ended(self, end: AttemptEnd, called: Called | None = None, **more: Any) -> None:
        """Journal it with the attempt, whole."""
        self.scope.record(self.made(end, **more) if called is None else self.of(called, end, **more))

    def _follows(self) -> AttemptRef | None:
        if self.beside:
            return AttemptRef(epoch=self.scope.epoch, n=self.scope.attempt)
        last = self.scope.history[-1] if self.scope.history else None
        return None if last is None else AttemptRef(epoch=last.epoch, n=last.n)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


def _before(history: Sequence[Attempt]) -> Sequence[Attempt]:
    """The attempts that came before it. To put a question into a batch is no call, nor is a crash while it waited."""
    waited = waiting(history)
    if waited is not None:
        history = history[: next(at for at, one in enumerate(history) if one is waited[1])]
    return [one for one in history if ticket_of(one.fault) is None]


def _asked(history: Sequence[Attempt]) -> str | None:
    """Whom the last attempt asked. One that a crash cut off does not say: whom the Recovery had named before it, if
    anybody.
    """
    last, named = history[-1], history[-2].answer if len(history) > 1 else None
    said = None if last.fault is None else asked_in(last.fault)
    return said or (named.candidate if isinstance(named, Use) else None)


def _why(scope: StepScope, model: str) -> AttemptWhy:
    """What an attempt is made for, from what came before it."""
    before = _before(scope.history)
    if not before:
        return AttemptWhy.PRIMARY
    last = before[-1]
    if last.fault is None:
        return AttemptWhy.RETRY
    asked, amended = _asked(before), isinstance(last.answer, Amend)
    another = asked is not None and asked != model
    if another and last.fault.kind is FaultKind.BAD_OUTPUT and isinstance(last.answer, Amend | Use):
        return AttemptWhy.CLIMB
    if amended:
        return _HOW.get(last.fault.kind, AttemptWhy.RETRY)
    return AttemptWhy.FALLBACK if another and isinstance(last.answer, Use) else AttemptWhy.RETRY
