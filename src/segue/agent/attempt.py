"""One attempt to answer a question: decide, call (a hedge and shadows too), and put all of it on record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..core.faults import FaultKind, rebuild
from ..core.records import AttemptEnd, AttemptWhy, Decision, Stage
from ..core.recovery import Amend, Use
from ..errors import InputError
from ..models import Model
from ..models.signals import made
from ..routing import Policy as RoutingPolicy
from ..runtime.scope import StepScope
from .called import Called, Caller
from .form import Check, Form
from .gateway import Gateway
from .hedging import Race, lose, race
from .money import Bill
from .recorded import Recorded
from .recovery import failed_in
from .request import Given, Question, Tried
from .sessions import Session
from .streaming import Streaming
from .tries import answered, before, of_model, with_tries

__all__ = ["Attempting"]


@dataclass(frozen=True, slots=True)
class Attempting:
    """Makes attempts for one call of `ask`: the parts of it that are no JSON."""

    gateway: Gateway
    form: Form
    check: Check[Any] | None
    policy: RoutingPolicy | None
    timeout_s: float
    session: Session
    streaming: Streaming | None = None

    async def __call__(self, question: Question, scope: StepScope) -> Given:
        """The answer. Raises the error of the attempt, which names its model."""
        bill = Bill.of(question, scope, self.gateway.budgets)
        decision = self.decide(question, scope, bill.left)
        await scope.commit(decision)
        if decision.chosen is None:
            raise bill.nobody(decision) or _nobody(decision)
        record = Recorded(scope, decision, self.gateway.catalogue.get(decision.chosen.target.name), question)
        caller = Caller(self.gateway, self.form, self.check, self.timeout_s)
        self.gateway.shadows.begin(caller, question, record, bill)
        if self.streaming is not None:  # two calls in one attempt would mix their texts: a stream has no hedge
            called = await replace(caller, streaming=self.streaming, scope=scope).in_line(
                question, record.model, bill.named(decision.id)
            )
            return self._ended(self._streamed(called, record, self.streaming), record)
        hedge = self._hedge(decision)
        if hedge is None or decision.hedge_after_s is None:
            return self._ended(await caller.in_line(question, record.model, bill.named(decision.id)), record)
        ran = await race(
            lambda sent: caller.in_line(question, record.model, bill.named(decision.id), sent),
            lambda: caller.at_once(question, hedge, bill.named(f"{decision.id}+1")),
            decision.hedge_after_s,
        )
        return self._raced(ran, record, record.another(hedge, AttemptWhy.HEDGE, 1))

    def _streamed(self, called: Called, record: Recorded, streaming: Streaming) -> Called:
        """With the end of its stream on record."""
        if record.scope.streamed is None:
            return called  # it was not sent
        end, fault = streaming.ended(record.scope, record.question, called.fault, called.reply)
        record.scope.record(end)
        return replace(called, fault=fault)

    def decide(self, question: Question, scope: StepScope, left_nano: int | None = None) -> Decision:
        """Who answers this attempt: whom the Recovery names, else by the route among those that have not failed."""
        tried, named = failed_in(scope.history), _named(question, scope)
        decision = self._decided(question, tried, named, left_nano)
        if decision.chosen is None and named is not None and question.model is None:  # it has broken down since
            other = self._decided(question, {named: "broken down"}, None, left_nano)
            decision = decision if other.chosen is None else other
        # What stands beside the first attempt is compared with what came of the whole; a second time would say nothing.
        return replace(decision, shadows=()) if scope.history and decision.shadows else decision

    def _decided(
        self, question: Question, tried: Mapping[str, str], pin: str | None, left_nano: int | None
    ) -> Decision:
        return self.gateway.decide(question, self.policy, tried, pin, session=self.session, left_nano=left_nano)

    def _hedge(self, decision: Decision) -> Model | None:
        at = decision.hedge
        return None if at is None else self.gateway.catalogue.get(decision.candidates[at].target.name)

    def _raced(self, ran: Race, record: Recorded, hedge: Recorded) -> Given:
        """End with the one that won, the other one on record too."""
        if not ran.begun:
            return self._ended(ran.taken, record)
        won, lost = (record, hedge) if ran.taken is ran.first else (hedge, record)
        return self._ended(ran.taken, won, lose(ran, won, lost))

    def _ended(self, called: Called, record: Recorded, *beside: Tried) -> Given:
        """Put the attempt on record. Raises its fault as an error."""
        reply, fault = called.reply, called.fault
        if fault is None and reply is not None:
            record.ended(AttemptEnd.ANSWERED, called)
            self.gateway.answered(record, self.session, reply)
            tried = [*before(record.scope), *beside, answered(called.model, reply)]
            return Given(value=self.form.plain(called.value), tried=tried)
        assert fault is not None
        fault = with_tries(of_model(fault, called.model, reply, called.usage), record.scope)
        record.ended(AttemptEnd.REJECTED if reply is not None else AttemptEnd.FAILED, called, fault=fault)
        raise rebuild(fault)


def _named(question: Question, scope: StepScope) -> str | None:
    """Whom the last answer of the Recovery named."""
    for attempt in reversed(scope.history):
        if isinstance(attempt.answer, Use):
            return attempt.answer.candidate
        if isinstance(attempt.answer, Amend):
            return question.first
    return None


_PASSES = frozenset({Stage.HEALTH, Stage.LIMIT, Stage.TRIED})


def _nobody(decision: Decision) -> Exception:
    """Nobody could answer: each candidate with its reason. It may pass where one of them is only unwell."""
    out = [c for c in decision.candidates if not c.eligible]
    unwell = next((c for c in out if c.excluded_at in _PASSES), None)
    why = "; ".join(f"{c.target.name}: {c.reason}" for c in out[:6]) or "the catalogue is empty"
    said = f"no model can answer by route {decision.policy}: {why}"
    if unwell is not None:
        return rebuild(made(FaultKind.OVERLOADED, said, model=unwell.target.name))
    remedy = "look at it: segue route PROMPT; then ask for less, or add a model to segue.toml"
    return InputError(said, remedy=remedy)
