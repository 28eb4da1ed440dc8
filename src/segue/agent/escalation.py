"""`ask(..., escalate="team-lead")`: when no model's answer will do, the question goes to a person, durably.

The runtime carries it out (`core.recovery.AskPerson`): the run may park, and any process takes the answer
(`segue decide`). What the person answers is judged as a model's answer is, by its type and `check`; after one that does
not fit they are asked again. They may also let it be tried again, name a model, or let it fail. A crash is no answer to
what they have said: it is done again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..core.faults import Fault, FaultKind, rebuild
from ..core.records import AttemptEnd, AttemptRecorded, AttemptRef, AttemptWhy, Target, TargetKind
from ..core.recovery import Again, Answer, AskPerson, Attempt, Fail, Recovery, Told
from ..models.signals import made
from ..runtime.scope import StepScope
from .batch.ticket import BATCH
from .failures import asked_in
from .form import Check, Form
from .request import Given, Question, Tried
from .tries import before, tries_of, with_tries

__all__ = ["by_person", "escalating", "told_in"]

_NOBODY = "segue.errors:InputError"
"""The error of a question that no model can answer."""
_CRASHES = 5
"""So often in a row a crash may cut off what a person has asked for, until they hear of it. That the question has no
calls left does not count meanwhile: theirs is one more.
"""


def escalating(recovery: Recovery, question: Question, to: str | None, within_s: float | None) -> Recovery:
    """A Recovery that asks `to` where the other gives up; just the other without one."""
    return recovery if to is None else _Escalating(recovery, question, to, within_s)


@dataclass(frozen=True, slots=True)
class _Escalating:
    recovery: Recovery
    question: Question
    to: str
    within_s: float | None

    def __call__(self, fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
        """`history` ends with the attempt that has just failed."""
        crashes = _crashes_since_a_word(history)
        if told_in(history[:-1]) is not None:  # a person's answer that does not fit; or a crash while it was judged
            return Again(0.0) if 0 < crashes < _CRASHES else self._asks(fault, history)
        answer = self.recovery(fault, history, luck)
        if isinstance(answer, Fail) and 0 < crashes < _CRASHES:
            return Again(0.0)
        if not isinstance(answer, Fail) or (asked_in(fault) is None and not _may_help(fault)):
            return answer
        return self._asks(fault, history)

    def _asks(self, fault: Fault, history: Sequence[Attempt]) -> AskPerson:
        question = self.question
        shown: dict[str, Any] = {
            "prompt": question.prompt,
            "parts": question.parts,
            "system": question.system,
            "tried": [asdict(one) for one in tries_of([*(a.fault for a in history[:-1]), fault])],
        }
        text = f"No model's answer will do ({fault.kind.value}: {fault.message}). What is the answer?"
        return AskPerson(
            self.to, question=text, timeout_s=self.within_s, told=True, form=question.schema or {"type": "string"},
            shown={k: v for k, v in shown.items() if v},
        )  # fmt: skip


def _may_help(fault: Fault) -> bool:
    """Whether a person may know what no model was asked: an error in a user's check is a bug, and stays one."""
    return fault.kind is FaultKind.INTERRUPTED or fault.error == _NOBODY


def _crashes_since_a_word(history: Sequence[Attempt]) -> int:
    """How many attempts in a row, up to now, a crash has cut off, where they did what a person has said; else 0."""
    for crashes, attempt in enumerate(reversed(history)):
        if attempt.decided:
            return crashes
        if attempt.fault is None or attempt.fault.kind is not FaultKind.INTERRUPTED:
            return 0
    return 0


def told_in(history: Sequence[Attempt]) -> Told | None:
    """What a person has said to the last attempt; a crash while that was judged changes nothing."""
    for attempt in reversed(history):
        if isinstance(attempt.answer, Told):
            return None if attempt.answer.by == BATCH else attempt.answer
        if attempt.decided or attempt.fault is None or attempt.fault.kind is not FaultKind.INTERRUPTED:
            return None
    return None


def by_person(said: Told, form: Form, check: Check[Any] | None, scope: StepScope) -> Given:
    """A person's answer as that of an attempt. Raises BadOutput where it does not fit: then they are asked again."""
    text = said.value if form.adapter is None and isinstance(said.value, str) else json.dumps(said.value)
    value, wrong = form.read(text, check)
    name = f"person:{said.by or 'somebody'}"
    fault = with_tries(made(FaultKind.BAD_OUTPUT, wrong, model=name), scope) if wrong else None
    last = scope.history[-1]
    scope.record(
        AttemptRecorded(
            epoch=scope.epoch, n=scope.attempt, target=Target(kind=TargetKind.PERSON, name=said.by or "somebody"),
            why=AttemptWhy.FALLBACK, end=AttemptEnd.REJECTED if fault else AttemptEnd.ANSWERED, fault=fault,
            follows=AttemptRef(epoch=last.epoch, n=last.n),
        )
    )  # fmt: skip
    if fault is not None:
        raise rebuild(fault)
    return Given(value=form.plain(value), tried=[*before(scope), Tried(model=name, text=text[:2000])])
