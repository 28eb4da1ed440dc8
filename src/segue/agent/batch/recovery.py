"""What follows an attempt of a question that goes by batches: the `Recovery` around that of `agent.recovery`. Pure.

| the attempt | what follows |
| --- | --- |
| queued the question | it waits, parked, for the answer, or until its time is over |
| read an error, or an answer that will not do | as ever: mended, another model, the same again; in the next batch |
| that was the third batch with an error that passes, or its time is over | as ever, but by the ordinary API |
| found nobody who would take its batch | another deployment or model; the same again, after longer and longer pauses |
| | (or the one it was asked for), and once no pause fits into its time the ordinary API |
| left no model that takes batches | as ever, by the ordinary API |
| was cut off by a crash | it is made again: what is queued is not queued twice |
| was in a process that does not know the model of the answer | it is made again, after longer and longer pauses |
| was in a process that has not what it takes to queue it | it is made again, by another process if there is one |

Whether a question goes by batches is one of its needs, so a change of that is an amended question: it is on record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...core.faults import Fault, FaultKind
from ...core.recovery import Again, Amend, Answer, AskPerson, Attempt, Fail, Recovery, Use, plan_of
from ...models import Capability
from ..failures import DEPLOYMENT, MODEL, asked_in
from ..recovery import plain_of, question_of
from ..request import Question
from .ticket import is_unread, ticket_of, unread, waiting

__all__ = ["LATE", "UNDELIVERED", "Batching", "in_batch", "one_by_one", "pause_s"]

LATE = "late"
"""The state of a fault that says: no answer came from the batch in time."""
UNDELIVERED = "undelivered"
"""The state of a fault that says: the batch was never taken."""
_PAUSE_S, _PAUSE_MAX_S = 60.0, 1800.0
"""Before a question is queued again where nobody has taken it; twice as long each time."""
_UNREAD_S, _UNREAD_MAX_S = 1.0, 60.0
"""Before an answer is read again, perhaps by another process that knows its model; twice as long each time."""
_UNQUEUED_MAX_S = 10.0
"""Before a question that could not be queued may be queued by another process: one that could not keeps away longer."""
_ROUNDS = 3
"""Batches that may fail a question with an error that passes."""
_PASSING = frozenset({FaultKind.RATE_LIMITED, FaultKind.OVERLOADED, FaultKind.TIMED_OUT, FaultKind.UNREACHABLE})


def in_batch(question: Question) -> bool:
    """Whether it goes by batches."""
    return Capability.BATCH in question.needs


def one_by_one(question: Question) -> Question:
    """The question, for the ordinary API."""
    return replace(question, needs=[need for need in question.needs if need != Capability.BATCH])


@dataclass(frozen=True, slots=True)
class Batching:
    """A `core.recovery.Recovery`. `batched` and `ordinary` are those of the question and of `one_by_one` of it;
    `patient` is the first one with calls enough.
    """

    question: Question
    batched: Recovery
    ordinary: Recovery
    patient: Recovery

    def __call__(self, fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
        """`history` ends with the attempt that has just failed."""
        ticket, history = ticket_of(fault), self._calls(history)
        if ticket is not None:
            return AskPerson(
                f"a batch of {ticket.provider}", question=f"what does {ticket.model} answer?", told=True, service=True,
                timeout_s=max(0.0, ticket.due_at - ticket.queued_at), default=Again(0.0),
                shown={"model": ticket.model, "request": ticket.id},
            )  # fmt: skip
        if not self._batched(history):
            return self._one_by_one(fault, history, luck)
        told = _told(fault, history)
        if told is not None:
            return told
        left_s = _left_s(history)
        if _undelivered(fault) and left_s > 0.0:
            return self._elsewhere(fault, history, luck, left_s)
        late = _undelivered(fault) or bool((fault.state or {}).get(LATE))
        if not late and _passed(history) < _ROUNDS:
            answer = self.batched(fault, history, luck)
            if not isinstance(answer, Fail):
                return answer
        return self._leave(self._one_by_one(fault, history, luck), history)

    def _elsewhere(self, fault: Fault, history: Sequence[Attempt], luck: float, left_s: float) -> Answer:
        """Whoever else takes batches; once all have been tried the same again, after pauses. A pause that would outlast
        the time that the question has for batches ends with it, and then the ordinary API is asked.
        """
        answer = self.patient(fault, history, luck)
        other = answer if isinstance(answer, Use) else Use(asked_in(fault) or "")
        failed = [one.fault.state or {} for one in history if one.fault is not None and _undelivered(one.fault)]
        again = len(failed) - len({(state.get(MODEL), state.get(DEPLOYMENT)) for state in failed})
        pause_s = min(_PAUSE_S * 2.0 ** min(again - 1, 10), _PAUSE_MAX_S) if again > 0 else 0.0
        pause_s = max(other.after_s, pause_s)
        if pause_s < left_s:
            return other._replace(after_s=pause_s)
        onward = self._leave(self._one_by_one(fault, history, luck), history)
        return onward._replace(after_s=max(onward.after_s, left_s)) if isinstance(onward, Amend) else onward

    def _one_by_one(self, fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
        """What follows by the ordinary API. A batch that was not taken is no call of it, and the pause that the batch
        API asked for says nothing of it.
        """
        history = [
            one._replace(fault=_unsent(one.fault)._replace(retry_after_s=None))
            if one.fault is not None and _undelivered(one.fault)
            else one
            for one in history
        ]
        return self.ordinary(history[-1].fault or fault, history, luck)

    def _calls(self, history: Sequence[Attempt]) -> Sequence[Attempt]:
        """The same; of those that went by batches, whoever queued the question or was cut off has called nobody, and
        nor have those before the last whose batch was not taken.
        """
        seen = list[Attempt]()
        for attempt in history:
            fault = attempt.fault
            vain = fault is not None and _undelivered(fault) and attempt is not history[-1]
            if fault is not None and (vain or fault.kind is FaultKind.INTERRUPTED) and self._batched(seen):
                fault = _unsent(fault)
            seen.append(attempt._replace(fault=fault))
        return seen

    def _batched(self, history: Sequence[Attempt]) -> bool:
        """Whether it still goes by batches."""
        return in_batch(question_of(self.question, plan_of(history).changes))

    def _leave(self, answer: Answer, history: Sequence[Attempt]) -> Answer:
        """The same, with the question amended to go on without batches."""
        changes: Mapping[str, Any] = plan_of(history).changes
        question = one_by_one(question_of(self.question, changes))
        if isinstance(answer, Amend):
            amended = question_of(self.question, {**changes, **answer.changes})
            return Amend({**answer.changes, "question": plain_of(one_by_one(amended))}, answer.after_s)
        if isinstance(answer, Use):
            return Amend({"question": {**plain_of(question), "first": answer.candidate}}, answer.after_s)
        if isinstance(answer, Again):
            return Amend({"question": {**plain_of(question), "first": None}}, answer.after_s)
        return answer


def _told(fault: Fault, history: Sequence[Attempt]) -> Answer | None:
    """What follows while an answer is waited for: after a crash, and where an operator has named somebody else; and
    while the question is left to another process.
    """
    waited = waiting(history[:-1])
    if is_unread(fault):
        left = unread(history)
        if waited is not None:
            return Again(pause_s(len(left)))
        held = sum(one.epoch == left[-1].epoch for one in left)  # something else keeps the run where it is
        return Again(min(pause_s(held), _UNQUEUED_MAX_S))
    if waited is None:
        return None
    said = waited[1].answer
    return Again(0.0) if fault.kind is FaultKind.INTERRUPTED else said if isinstance(said, Use) else None


def pause_s(vain: int) -> float:
    """Seconds before an answer is read again, after so many attempts that could not."""
    return min(_UNREAD_S * 2.0 ** min(vain - 1, 10), _UNREAD_MAX_S)


def _undelivered(fault: Fault) -> bool:
    return bool((fault.state or {}).get(UNDELIVERED))


def _unsent(fault: Fault) -> Fault:
    """The same, of an attempt that counts as no call."""
    return fault._replace(state={**(fault.state or {}), "unsent": True})


def _left_s(history: Sequence[Attempt]) -> float:
    """Seconds until the question waits for batches no more, as of its last attempt; 0: it was never queued."""
    first = next((ticket for one in history if (ticket := ticket_of(one.fault)) is not None), None)
    last = history[-1]
    return 0.0 if first is None else max(0.0, first.due_at - (last.began if last.ended is None else last.ended))


def _passed(history: Sequence[Attempt]) -> int:
    """How many batches failed the question with an error that passes."""
    return sum(
        waiting(history[:at]) is not None
        and attempt.fault is not None
        and attempt.fault.kind in _PASSING
        and not _undelivered(attempt.fault)
        and not is_unread(attempt.fault)
        for at, attempt in enumerate(history)
    )
