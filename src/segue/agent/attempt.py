"""One attempt to answer a question: decide, get a place, call, judge, and put all of it on record."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.faults import Fault, FaultKind, classify, rebuild
from ..core.records import AttemptEnd, Decision
from ..core.recovery import Amend, Use
from ..models.exchange import Reply
from ..models.health import Place
from ..models.signals import made
from ..models.verdict import judge
from ..routing import Policy as RoutingPolicy
from ..runtime.scope import StepScope
from .calling import call_for, send
from .form import Check, Form
from .gateway import Gateway
from .guards.stage import Guarding
from .media import hold_seen
from .money import Bill
from .nobody import nobody
from .recorded import Recorded
from .recovery import failed_in
from .request import Given, Question, bound
from .rounds import called
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
    guards: Guarding = field(default_factory=Guarding)

    async def __call__(self, question: Question, scope: StepScope) -> Given:
        """The answer. Raises the error of the attempt, which names its model."""
        hold_seen(question.media, self.gateway.catalogue, question.model)
        bill = Bill.of(question, scope, self.gateway.budgets)
        decision = self.decide(question, scope, bill.left)
        await scope.commit(decision)
        if decision.chosen is None:
            raise bill.nobody(decision) or nobody(decision)
        model = self.gateway.catalogue.get(decision.chosen.target.name)
        question, record = await self.guards.before(question, Recorded(scope, decision, model, question))
        try:
            bill.fit(model, question)
            place, queued_s = await self.gateway.place(model, question, self.timeout_s)
            question = await self._paid(bill, record, place)
        except Exception as error:
            fault = with_tries(of_model(classify(error), model), scope)
            record.ended(AttemptEnd.FAILED, fault=fault)
            raise rebuild(fault) from error
        record = replace(record, queued_s=queued_s, reservation=bill.reservation)
        return await self._called(question, place, record, bill)

    async def _paid(self, bill: Bill, record: Recorded, place: Place) -> Question:
        """The question as its budgets allow it. The place goes back where they do not."""
        try:
            return await bill.reserve(record.model, record.question, record.decision)
        except BaseException:
            self._release(place, made(FaultKind.INTERRUPTED, "it was not sent"), time.monotonic(), record.question)
            raise

    def decide(self, question: Question, scope: StepScope, left_nano: int | None = None) -> Decision:
        """Who answers this attempt: whom the Recovery names, else by the route among those that have not failed."""
        tried, named = failed_in(scope.history), _named(question, scope)
        decision = self.gateway.decide(question, self.policy, tried, named, left_nano)
        if decision.chosen is None and named is not None and question.model is None:  # it has broken down since
            other = self.gateway.decide(question, self.policy, {named: "broken down"}, None, left_nano)
            return decision if other.chosen is None else other
        return decision

    async def _called(self, question: Question, place: Place, record: Recorded, bill: Bill) -> Given:
        began, model = time.monotonic(), record.model
        fault: Fault | None = None
        reply: Reply | None = None
        value: Any = None
        try:
            reply = await send(call_for(question, model, place, self.timeout_s))
            fault = judge(reply, question.schema)
        except Exception as error:  # noqa: BLE001  whatever a call raises is a fault of this attempt
            fault = classify(error)
        except BaseException:
            self._release(place, made(FaultKind.INTERRUPTED, "the call was given up"), began, question)
            bill.given_up()
            raise
        tokens = None if reply is None else reply.usage.tokens_in + reply.usage.tokens_out
        self._release(place, fault, began, question, tokens)
        calls = reply is not None and bool(question.tools and reply.tool_calls)
        if fault is None and reply is not None and not calls:
            value, fault = self._read(reply)
        fault = bill.settle(reply, fault)
        usage = reply.usage if reply is not None else None
        if fault is None and reply is not None:
            tried = [*before(record.scope), answered(model, reply)]
            given = called(reply, tried) if calls else Given(value=self.form.plain(value), tried=tried)
            given, record = await self.guards.after(given, record, reply, self.form)
            record.ended(AttemptEnd.ANSWERED, reply=reply, usage=usage)
            return given
        assert fault is not None
        fault = with_tries(of_model(fault, model, self.guards.kept(reply)), record.scope)
        end = AttemptEnd.REJECTED if reply is not None else AttemptEnd.FAILED
        record.ended(end, fault=fault, reply=reply, usage=usage)
        raise rebuild(fault)

    def _read(self, reply: Reply) -> tuple[Any, Fault | None]:
        """The value, or what is wrong with it. A check that raises anything but ValueError is a bug: it is not caught
        here, and fails the step.
        """
        value, wrong = self.form.read(reply.text, self.check)
        return value, made(FaultKind.BAD_OUTPUT, wrong) if wrong else None

    def _release(
        self, place: Place, fault: Fault | None, began: float, question: Question, tokens: int | None = None
    ) -> None:
        used = bound(question) + question.max_tokens if tokens is None else tokens
        self.gateway.release(place, fault, time.monotonic() - began, used)


def _named(question: Question, scope: StepScope) -> str | None:
    """Whom the last answer of the Recovery named; else whoever has called the tools so far."""
    for attempt in reversed(scope.history):
        if isinstance(attempt.answer, Use):
            return attempt.answer.candidate
        if isinstance(attempt.answer, Amend):
            return question.first
    return question.first if question.turns else None
