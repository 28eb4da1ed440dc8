"""One attempt to answer a question: decide, get a place, call, judge, and put all of it on record."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from ..core.faults import Fault, FaultKind, classify, rebuild
from ..core.records import (
    AttemptEnd,
    AttemptRecorded,
    AttemptRef,
    AttemptWhy,
    Decision,
    Stage,
    Target,
    TargetKind,
    Usage,
)
from ..core.recovery import Amend, Use
from ..errors import InputError
from ..models import Deployment, Model
from ..models.exchange import Call, Reply
from ..models.health import Place
from ..models.signals import made
from ..models.verdict import judge
from ..routing import Policy as RoutingPolicy
from ..runtime.scope import StepScope
from .form import Check, Form
from .gateway import Gateway
from .recovery import asked_in, failed_in
from .request import Given, Question, Tried, bound, messages, output_mode

__all__ = ["Attempting"]

_HOW = {
    FaultKind.BAD_OUTPUT: AttemptWhy.REPAIR,
    FaultKind.CONTEXT_TOO_LONG: AttemptWhy.SHRINK,
}


@dataclass(frozen=True, slots=True)
class Attempting:
    """Makes attempts for one call of `ask`: the parts of it that are no JSON."""

    gateway: Gateway
    form: Form
    check: Check[Any] | None
    policy: RoutingPolicy | None
    timeout_s: float

    async def __call__(self, question: Question, scope: StepScope) -> Given:
        """The answer. Raises the error of the attempt, which names its model."""
        decision = self.decide(question, scope)
        await scope.commit(decision)
        if decision.chosen is None:
            raise _nobody(decision)
        model = self.gateway.catalogue.get(decision.chosen.target.name)
        record = _Record(scope, decision, model, question)
        try:
            place, queued_s = await self.gateway.place(model, question, self.timeout_s)
        except Exception as error:
            fault = _with_tries(_of_model(classify(error), model), scope)
            record.ended(AttemptEnd.FAILED, fault=fault)
            raise rebuild(fault) from error
        return await self._called(question, model, place, replace(record, queued_s=queued_s))

    def decide(self, question: Question, scope: StepScope) -> Decision:
        """Who answers this attempt: whom the Recovery names, else by the route among those that have not failed."""
        tried, pin = failed_in(scope.history), scope.candidate or question.model
        decision = self.gateway.decide(question, self.policy, tried, pin)
        if decision.chosen is None and scope.candidate is not None:  # it has broken down since
            decision = self.gateway.decide(question, self.policy, {scope.candidate: "broken down"}, question.model)
        return decision

    async def _called(self, question: Question, model: Model, place: Place, record: _Record) -> Given:
        from ..models.calls import call  # noqa: PLC0415  heavy, and only who asks needs it

        began = time.monotonic()
        fault: Fault | None = None
        reply: Reply | None = None
        value: Any = None
        try:
            reply = await call(self._call(question, model, place))
            fault = judge(reply, question.schema)
        except Exception as error:  # noqa: BLE001  whatever a call raises is a fault of this attempt
            fault = classify(error)
        except BaseException:
            self._release(place, made(FaultKind.INTERRUPTED, "the call was given up"), began, question)
            raise
        tokens = None if reply is None else reply.usage.tokens_in + reply.usage.tokens_out
        self._release(place, fault, began, question, tokens)
        if fault is None and reply is not None:
            value, fault = self._read(reply)
        usage = reply.usage if reply is not None else None
        if fault is None and reply is not None:
            record.ended(AttemptEnd.ANSWERED, reply=reply, usage=usage)
            tried = [*_before(record.scope), _tried(model, reply)]
            return Given(value=self.form.plain(value), tried=tried)
        assert fault is not None
        fault = _with_tries(_of_model(fault, model, reply), record.scope)
        end = AttemptEnd.REJECTED if reply is not None else AttemptEnd.FAILED
        record.ended(end, fault=fault, reply=reply, usage=usage)
        raise rebuild(fault)

    def _read(self, reply: Reply) -> tuple[Any, Fault | None]:
        """The value, or what is wrong with it. A check that raises anything but ValueError is a bug: it is not caught
        here, and fails the step.
        """
        value, wrong = self.form.read(reply.text, self.check)
        return value, made(FaultKind.BAD_OUTPUT, wrong) if wrong else None

    def _call(self, question: Question, model: Model, place: Place) -> Call:
        return Call(
            model=model,
            deployment=cast("Deployment", place.deployment),
            messages=messages(question),
            output_schema=question.schema,
            output_mode=output_mode(model, question.schema),
            max_tokens=min(question.max_tokens, model.max_output),
            settings=question.settings,
            timeout_s=self.timeout_s,
        )

    def _release(
        self, place: Place, fault: Fault | None, began: float, question: Question, tokens: int | None = None
    ) -> None:
        used = bound(question) + question.max_tokens if tokens is None else tokens
        self.gateway.release(place, fault, time.monotonic() - began, used)


@dataclass(frozen=True, slots=True)
class _Record:
    """What is put on record of an attempt."""

    scope: StepScope
    decision: Decision
    model: Model
    question: Question
    queued_s: float = 0.0

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
                why=_why(self.scope, self.model.name),
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
                decision=self.decision.id,
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


def _of_model(fault: Fault, model: Model, reply: Reply | None = None) -> Fault:
    """A fault that names its model, and what the call took: the next attempt reads it."""
    state: dict[str, Any] = {**(fault.state or {}), "model": model.name}
    if reply is not None:
        usage = reply.usage
        state |= {"tokens_in": usage.tokens_in, "tokens_out": usage.tokens_out, "text": reply.text[:2000]}
        state |= {"seconds": round(reply.latency_s, 3)}
        if usage.cost_nano is not None:
            state["cost_nano"] = usage.cost_nano
    return fault._replace(state=state)


def _with_tries(fault: Fault, scope: StepScope) -> Fault:
    """With all calls so far, for whoever catches the last error; the longest texts go first where they are many."""
    tries = [*_before(scope), _failed(fault)]
    said = json.dumps([{name: getattr(one, name) for name in Tried.__slots__} for one in tries])
    return fault._replace(state={**(fault.state or {}), "tries": said if len(said) < 16_000 else "[]"})


def _before(scope: StepScope) -> list[Tried]:
    return [_failed(a.fault) for a in scope.history if a.fault is not None]


def _failed(fault: Fault) -> Tried:
    state = fault.state or {}
    return Tried(
        model=asked_in(fault) or "",
        error=fault.message,
        fault=fault.kind.value,
        text=str(state.get("text", "")),
        tokens_in=int(state.get("tokens_in", 0)),
        tokens_out=int(state.get("tokens_out", 0)),
        cost_nano=state.get("cost_nano"),
        seconds=float(state.get("seconds", 0.0)),
    )


def _tried(model: Model, reply: Reply) -> Tried:
    usage = reply.usage
    return Tried(
        model=model.name,
        text=reply.text,
        tokens_in=usage.tokens_in,
        tokens_out=usage.tokens_out,
        cost_nano=usage.cost_nano,
        seconds=round(reply.latency_s, 3),
    )


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
