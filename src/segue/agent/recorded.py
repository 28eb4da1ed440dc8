"""What an attempt puts on record: one `attempt.recorded`, whole, whatever came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.faults import Fault, FaultKind
from ..core.records import AttemptEnd, AttemptRecorded, AttemptRef, AttemptWhy, Decision, Target, TargetKind, Usage
from ..core.recovery import Amend, Use
from ..models import Model
from ..models.exchange import Reply
from ..runtime.scope import StepScope
from .recovery import asked_in
from .request import Question

__all__ = ["Recorded"]

_HOW = {
    FaultKind.BAD_OUTPUT: AttemptWhy.REPAIR,
    FaultKind.CONTEXT_TOO_LONG: AttemptWhy.SHRINK,
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is put on record of an attempt."""

    scope: StepScope
    decision: Decision
    model: Model
    question: Question
    queued_s: float = 0.0
    reservation: str | None = None

    def ended(
        self, end: AttemptEnd, *, fault: Fault | None = None, reply: Reply | None = None, usage: Usage | None = None
    ) -> None:
        """Journal the attempt, whole."""
        last = self.scope.history[-1] if self.scope.history else None
        state: Mapping[str, Any] = (fault.state or {}) if fault is not None else {}
        status = state.get("status")
        self.scope.record(
            AttemptRecorded(
                epoch=self.scope.epoch,
                n=self.scope.attempt,
                target=Target(kind=TargetKind.MODEL, name=self.model.name, provider=self.model.provider.value),
                why=AttemptWhy.RESCUE if self.question.begun else _why(self.scope, self.model.name),
                end=end,
                follows=None if last is None else AttemptRef(epoch=last.epoch, n=last.n),
                fault=fault,
                status=status if isinstance(status, int) else None,
                usage=usage,
                queued_s=round(self.queued_s, 4),
                latency_s=None if reply is None else round(reply.latency_s, 4),
                finish_reason=None if reply is None else reply.finish,
                answered_by=None if reply is None else reply.answered_by,
                request_id=None if reply is None else reply.request_id,
                streamed=self.scope.streamed is not None,
                ttft_s=None if reply is None or reply.ttft_s is None else round(reply.ttft_s, 4),
                decision=self.decision.id,
                reservation=self.reservation,
                amended="error shown" if self.question.mistakes else None,
            )
        )


def _why(scope: StepScope, model: str) -> AttemptWhy:
    """What an attempt is made for, from what came before it."""
    if not scope.history:
        return AttemptWhy.PRIMARY
    last = scope.history[-1]
    if isinstance(last.answer, Amend) and last.fault is not None:
        return _HOW.get(last.fault.kind, AttemptWhy.RETRY)
    if isinstance(last.answer, Use) and last.fault is not None and asked_in(last.fault) != model:
        climbs = last.fault.kind is FaultKind.BAD_OUTPUT
        return AttemptWhy.CLIMB if climbs else AttemptWhy.FALLBACK
    return AttemptWhy.RETRY
