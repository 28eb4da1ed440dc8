"""One attempt at a question that goes by batches: it queues the request, or reads what came of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, takewhile
from typing import Any, NamedTuple, cast

from ...core.faults import Fault, FaultKind, classify
from ...core.records import Check, Decision, Reservation, Usage
from ...core.recovery import Attempt
from ...errors import BudgetExceeded, InputError, MissingExtra, SegueError
from ...models import Deployment, Model, Provider
from ...models.batches import Item
from ...models.errors import NotAuthorised, UnknownModel
from ...models.exchange import Call, Reply
from ...models.health import Place, Standing
from ...models.signals import made
from ...models.spec import BATCHES
from ...models.verdict import judge
from ...routing.eligible import PASSING
from ...routing.errors import UnknownRoute
from ...runtime.scope import StepScope, surroundings
from ..attempt import Attempting
from ..called import Called, Caller
from ..calling import call_for, ready, send
from ..held import Waiting, affordable
from ..media import hold_seen
from ..money import Bill
from ..nobody import nobody
from ..pool import part_of
from ..recorded import Recorded
from ..request import Given, Question
from ..window import fitted
from .office import Office, office
from .recovery import LATE, UNDELIVERED, pause_s
from .ticket import (
    Queued,
    Ticket,
    Unqueued,
    Unread,
    answer_in,
    left_by,
    request_id,
    since_left,
    ticket_of,
    unread,
    waiting,
)

__all__ = ["Batched"]

_OTHERS_S = 5.0
"""How long others have a run before this process reads an answer again whose model it does not know."""
_BACK_S, _BACK_MAX_S = 5.0, 60.0
"""How long others have a run before this process looks again at a question that it cannot queue; twice as long each
time.
"""
_REMEDY = (
    f'give a model of {", ".join(one for one in Provider if one in BATCHES)} the capability "batch", or ask without'
    " batch=True"
)


class _At(NamedTuple):
    """As much of a place as a call needs: no place is taken for a batch."""

    deployment: Deployment


@dataclass(frozen=True, slots=True)
class Batched:
    """Makes such attempts. `make` is what makes ordinary ones of the same question."""

    make: Attempting
    within_s: float

    async def __call__(self, question: Question, scope: StepScope) -> Given:
        """The answer. Raises Queued where it is waited for, or the error of the attempt, which names its model."""
        around = surroundings()
        if around is None or around.outside is None:
            raise InputError(_OUTSIDE, remedy=_IN_A_FLOW)
        at, waited = office(around), waiting(scope.history)
        if waited is None:
            raise await self._queued(question, scope, at)
        return await self._read(question, scope, at, *waited)

    # --- into the outbox ---

    async def _queued(self, question: Question, scope: StepScope, at: Office) -> Queued:
        """The question in the outbox; where a crash came after that, it is there already."""
        request = request_id(scope.idempotency_key, scope.history)
        known = at.outbox.find(request)
        if known is not None:
            at.outbox.renumber(request, scope.attempt)
            return Ticket.read(known.ticket).error()
        make = self.make
        if scope.purse is not None:
            scope.purse.forgo([_set_aside(request, one.epoch, one.n) for one in _cut_off(scope.history)])
        hold_seen(question.media, make.gateway.catalogue, question.model)
        bill = Bill.of(question, scope, make.gateway.budgets)
        try:
            decision, freed = await affordable(bill, partial(make.decide, question, scope))
        except (UnknownModel, UnknownRoute) as error:
            self._pass(error, scope, at)
            raise
        if decision.chosen is None:
            error = bill.nobody(decision, freed) or nobody(decision, _REMEDY)
            if all(one.excluded_at not in PASSING for one in decision.candidates):  # not with the models known here
                self._pass(error, scope, at)
            await scope.commit(decision)
            raise error
        model = make.gateway.catalogue.get(decision.chosen.target.name).in_batch()
        deployment = self._deployment(model, scope.history)
        trouble = await self._trouble(self._call(question, model, deployment), scope, at)
        await scope.commit(decision)
        if decision.hedge is not None:
            raise InputError(
                f"route {decision.policy} hedges: a batch has no second request to race",
                remedy="choose another route, or ask without batch=True",
            )
        record = Recorded(scope, decision, model, question, batch=request)
        question, record = await make.guards.before(question, record)
        named = bill.named(_set_aside(request, scope.epoch, scope.attempt))
        bill = replace(named, patient=False)  # what a batch holds it holds for long
        if trouble is not None:  # whatever a call would raise is a fault of this one
            await make.ended(Called(model=model, fault=classify(trouble), place=_place(deployment)), record)
        return (await self._ticket(question, record, deployment, bill, at)).error()

    async def _trouble(self, asked: Call, scope: StepScope, at: Office) -> Exception | None:
        """What keeps this process from making the call. Raises Unqueued where it has not the key, the pool has no other
        place left, and the run may be others'.
        """
        try:
            await ready(asked)
        except Exception as error:  # noqa: BLE001  whatever a call would raise
            if isinstance(error, NotAuthorised | MissingExtra) and len(self._left(asked.model, scope.history)) == 1:
                self._pass(error, scope, at)
            return error
        return None

    def _pass(self, error: Exception, scope: StepScope, at: Office) -> None:
        """Raises Unqueued where the run may be another process's. Others then have as long as a batch waits
        for a process that can send it, since this one has let go of the run: only then the error counts. Until then it
        comes back to the run after longer and longer pauses.
        """
        left, now, engine = unread(scope.history), at.now(), at.engine
        mine = since_left(left, scope.epoch, engine)
        until = (now if mine is None else mine) + at.rules.retry_s
        until = min(until, (left[0].began if left else now) + self.within_s)
        if at.may_be_others(scope.run) and now < until and isinstance(error, SegueError):
            back_s = min(_BACK_S * 2.0 ** min(sum(left_by(one, engine) for one in left), 10), _BACK_MAX_S)
            at.passes(scope.run, min(until - now, back_s))
            raise Unqueued.of(error, engine) from None

    def _left(self, model: Model, history: Sequence[Attempt]) -> Sequence[Deployment]:
        """Those of a pool that have not failed the question yet; where all have, whoever did so longest ago."""
        return part_of(model, history, lambda _, out: len(out) < len(model.pool())).pool()

    def _deployment(self, model: Model, history: Sequence[Attempt]) -> Deployment:
        """Of a pool one that has not failed the question, and whose key was not refused before, by weight; one of
        weight 0 where all others are out. Where all have failed, whoever did so longest ago.
        """
        left = self._left(model, history)
        if len(left) == 1:
            return left[0]
        views = self.make.gateway.health.views(model)
        among = [one for one in left if views[one.name].standing is not Standing.SHUT] or left
        among = [one for one in among if one.weight > 0] or among
        luck = self.make.gateway.luck() * sum(one.weight for one in among)
        reached = accumulate(one.weight for one in among)
        return next((one for one, upto in zip(among, reached, strict=True) if luck < upto), among[-1])

    async def _ticket(
        self, question: Question, record: Recorded, deployment: Deployment, bill: Bill, at: Office
    ) -> Ticket:
        """The money set aside, the request written down as it would be sent, and both on disk."""
        model, scope = record.model, record.scope
        first, now = _first(scope.history), at.now()
        question, manifest = fitted(question, model, record.decision.id, thread=self.make.session.conversation)
        await scope.commit(manifest)
        draft = scope.run, bill.id
        at.around.drafts.add(draft)
        try:
            question = await _reserved(bill, model, question)
            body, headers = await _written(self._call(question, model, deployment))
            held = None if bill.reservation is None or bill.held is None else bill.held.to_body()
            ticket = Ticket(
                id=record.batch, model=model.name, provider=model.provider.value, deployment=deployment.name,
                decision=record.decision.id, queued_at=now,
                due_at=now + self.within_s if first is None else first.due_at,
                reservation=cast("dict[str, Any] | None", held), checks=[_said(check) for check in record.checks],
            )  # fmt: skip
            await at.queue(
                Item(
                    record.batch, scope.run, scope.key, scope.attempt, model.name, deployment.name, body, headers,
                    ticket.written(), now,
                )
            )  # fmt: skip
        except asyncio.CancelledError:
            bill.given_up(sent=False)
            raise
        except BaseException as error:
            bill.paid(Usage(cost_nano=0), classify(error))  # nothing will be sent
            raise
        finally:
            at.around.drafts.discard(draft)
        return ticket

    def _call(self, question: Question, model: Model, deployment: Deployment) -> Call:
        return call_for(question, model, _place(deployment), self.make.timeout_s)

    # --- and out of it ---

    async def _read(self, question: Question, scope: StepScope, at: Office, ticket: Ticket, queued: Attempt) -> Given:
        """Judge what came, as an ordinary attempt judges its reply."""
        model, said = self._known(ticket), answer_in(queued)
        if model is None:
            first = next((one.began for one in unread(scope.history)), at.now())
            if said is not None and "status" in said and at.now() < first + self.within_s:
                at.passes(scope.run, pause_s(len(unread(scope.history)) + 1) + _OTHERS_S)
                raise Unread.of(ticket.model)
            model = Model(name=ticket.model, provider=Provider(ticket.provider), window=1, max_output=1)
            said = None if said is None or "status" in said else said  # no one is left who could read it
        bill = Bill.of(question, scope, self.make.gateway.budgets).named(ticket.decision)
        if ticket.reservation is not None:
            bill.take_up(Reservation.from_body(ticket.reservation))
        decision = Decision(id=ticket.decision, policy="", policy_version="", candidates=(), choice=None)
        checks = tuple(Check(**one) for one in ticket.checks)
        record = Recorded(scope, decision, model, question, checks=checks, batch=ticket.id)
        waited_s = max(0.0, at.now() - ticket.queued_at)
        deployment = next((d for d in model.pool() if d.name == ticket.deployment), None)
        place = _place(deployment or Deployment(name=ticket.deployment))  # it may have left the pool since
        called = Called(model=model, queued_s=waited_s, place=place, reservation=bill.reservation)
        if said is None or "status" not in said:
            usage, fault = self._nothing(at, ticket, said)
            return await self.make.ended(replace(called, fault=bill.paid(usage, fault)), record)
        called = await self._judged(self._call(question, model, deployment or model.pool()[0]), question, called, said)
        billed = said.get("billed")  # what the batch's own service says of a request that it did not come to
        usage = None if called.reply is None else called.reply.usage
        fault = bill.paid(Usage(cost_nano=0) if billed is False else usage, called.fault, begun=billed is True)
        return await self.make.ended(replace(called, fault=fault), record)

    def _known(self, ticket: Ticket) -> Model | None:
        """The model that was asked; None where this process does not know it."""
        catalogue = self.make.gateway.catalogue
        return catalogue.get(ticket.model).in_batch() if ticket.model in catalogue else None

    async def _judged(self, asked: Call, question: Question, called: Called, said: Mapping[str, Any]) -> Called:
        """The reply that a response stands for, and what is wrong with it."""
        from ...models.batches.tape import played  # noqa: PLC0415  heavy, and only who has batches needs it

        try:
            reply: Reply = await send(asked, partial(played, said=said))
        except Exception as error:  # noqa: BLE001  whatever a call raises is a fault of this call
            return replace(called, fault=classify(error))
        fault = judge(reply, question.schema)
        if fault is not None:
            return replace(called, reply=reply, fault=fault)
        caller = Caller(self.make.gateway, self.make.form, self.make.check, self.make.timeout_s)
        value, fault, checks, bug = caller.read(reply)
        return replace(called, reply=reply, value=value, fault=fault, checks=checks, bug=bug)

    def _nothing(self, at: Office, ticket: Ticket, said: Mapping[str, Any] | None) -> tuple[Usage | None, Fault]:
        """No answer: what it took, None where nobody knows, and the fault."""
        if said is not None and UNDELIVERED in said:
            what = f"its batch was not taken: {said[UNDELIVERED]}"
            kept = {UNDELIVERED: 1, "retry_after_s": said.get("retry_after_s")}
            return Usage(cost_nano=0), made(FaultKind.UNREACHABLE, f"{ticket.model}: {what}", **kept)
        if said is not None:
            what = f"the results of batch {said.get('batch')} have no line for it"
            return None, made(FaultKind.UNREACHABLE, f"{ticket.model}: {what}")
        unsent = at.outbox.withdraw(ticket.id)
        late = int(at.now() >= ticket.due_at) or None
        what = "no batch has answered in time" if late else "it was taken back from its batch"
        fault = made(FaultKind.TIMED_OUT, f"{ticket.model}: {what}", **{LATE: late})
        return (Usage(cost_nano=0) if unsent else None), fault


async def _reserved(bill: Bill, model: Model, question: Question) -> Question:
    """Set the money aside; what calls under way hold is waited for, within the attempt: nothing is parked over it."""
    patience = Waiting()
    while True:
        try:
            await bill.room(model, question)
            return await bill.reserve(model, question)
        except BudgetExceeded as error:
            if not await patience.again(bill, error):
                raise


async def _written(asked: Call) -> tuple[str, str]:
    """Body and headers as JSON."""
    from ...models.batches.tape import Written, written  # noqa: PLC0415  heavy, and only who has batches needs it

    kept: list[Written] = []

    async def keep(c: Call) -> Reply:
        kept.append(await written(c))
        return cast("Reply", None)

    await send(asked, keep)
    return json.dumps(kept[-1].body, ensure_ascii=False), json.dumps(kept[-1].headers)


def _set_aside(request: str, epoch: int, attempt: int) -> str:
    """What the reservation of an attempt to queue a request is called: whoever comes after a crash knows it again."""
    return f"{request}+{epoch}.{attempt}"


def _cut_off(history: Sequence[Attempt]) -> list[Attempt]:
    """The attempts in a row, up to now, that a crash has cut off."""
    cut = takewhile(lambda one: one.fault is not None and one.fault.kind is FaultKind.INTERRUPTED, reversed(history))
    return [one for one in cut if ticket_of(one.fault) is None]


def _place(deployment: Deployment) -> Place:
    return cast("Place", _At(deployment))


def _first(history: Any) -> Ticket | None:
    """The first time that the question was queued: its time began then."""
    return next((ticket for attempt in history if (ticket := ticket_of(attempt.fault)) is not None), None)


def _said(check: Check) -> dict[str, Any]:
    return {name: getattr(check, name) for name in ("name", "passed", "why", "stage")}


_OUTSIDE = "ask(batch=True) waits durably: it needs a run to wait in"
_IN_A_FLOW = "call it in a @flow that an Engine runs, between its steps; elsewhere ask without batch=True"
