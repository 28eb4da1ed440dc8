"""One attempt to answer a question: decide, get a place, call, judge, and put all of it on record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.candidates import lacks_tag
from ..core.faults import Fault, FaultKind, rebuild
from ..core.records import AttemptEnd, AttemptWhy, Decision, Stage
from ..core.recovery import Again, Amend, Attempt, Use
from ..errors import SegueError
from ..models import Capability, Model
from ..routing import Function
from ..routing import Policy as RoutingPolicy
from ..routing.instead import instead
from ..runtime.scope import StepScope
from .called import Called, Caller
from .failures import PASSES, failed_in, so_far, spent_in, turned_down_in, unsent
from .form import Check, Form
from .gateway import Gateway
from .guards.stage import Guarding
from .hedging import Race, lose, race
from .held import affordable
from .media import hold_seen
from .money import Bill
from .nobody import RESTS, nobody
from .recorded import Recorded
from .request import Given, Question, Tried
from .rounds import turn
from .sessions import Session
from .streaming import Floor, Streaming
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
    guards: Guarding = field(default_factory=Guarding)
    streaming: Streaming | None = None
    whole: bool = False
    """Whether an answer, too, is given as the model's turn: to an agent's own loop."""

    async def __call__(self, question: Question, scope: StepScope) -> Given:
        """The answer. Raises the error of the attempt, which names its model."""
        hold_seen(question.media, self.gateway.catalogue, question.model)
        bill = Bill.of(question, scope, self.gateway.budgets)
        decision, freed = await affordable(bill, lambda left_nano: self.decide(question, scope, left_nano))
        await scope.commit(decision)
        if decision.chosen is None:
            since = so_far(scope.history)
            failed = "".join(f"; {name} failed before: {kind}" for name, kind in failed_in(scope.history).items())
            raise bill.nobody(decision, freed, since=failed + since) or nobody(decision, since=since)
        record = Recorded(scope, decision, self.gateway.catalogue.get(decision.chosen.target.name), question)
        question, record = await self.guards.before(question, record)
        thread = self.session.conversation
        caller = Caller(
            self.gateway, self.form, self.check, self.timeout_s, detour=_others_free(decision), thread=thread,
            line=_line(scope, thread), home=self.gateway.sessions.home(self.session, record.model.name),
        )  # fmt: skip
        bill = bill.named(decision.id)
        self.gateway.shadows.begin(caller, question, record, bill, self.guards.kept)
        try:
            return await self._made(caller, question, record, bill)
        except SegueError as error:
            bill.summed(error)
            raise
        finally:
            bill.ready.set()

    async def _made(self, caller: Caller, question: Question, record: Recorded, bill: Bill) -> Given:
        """Call, once or, with a hedge, twice. Raises the error of the attempt."""
        decision, streaming = record.decision, self._streaming
        if streaming is not None:
            caller = replace(caller, streaming=streaming, scope=record.scope)
        hedge = self._hedge(decision)
        if hedge is None or decision.hedge_after_s is None:
            caller = replace(caller, among=self._among(question, record.scope, bill))
            called = await caller.in_line(question, record.model, bill)
            return await self.ended(self._streamed(called, record), record)
        floor = Floor()
        ran = await race(
            lambda sent: caller.on(floor, 0).in_line(question, record.model, bill, sent),
            lambda sent: caller.on(floor, 1).at_once(question, hedge, bill.named(f"{decision.id}+1"), sent),
            decision.hedge_after_s,
            floor,
        )
        return await self._raced(ran, record, record.another(hedge, AttemptWhy.HEDGE, 1))

    @property
    def _streaming(self) -> Streaming | None:
        """How the calls stream; not at all where guards must see an answer first."""
        return None if self.guards.withhold else self.streaming

    def _streamed(self, called: Called, record: Recorded, beside: int = 0) -> Called:
        """With the end of its stream on record."""
        if self._streaming is None or record.scope.streamed is None:
            return called  # it was not sent
        end, fault = self._streaming.ended(
            record.scope, record.question, called.fault, called.reply, beside,
            streamed=called.model.can(Capability.STREAMING),
        )  # fmt: skip
        record.scope.record(end)
        return replace(called, fault=fault)

    def decide(self, question: Question, scope: StepScope, left_nano: int | None = None) -> Decision:
        """Who answers this attempt: whom the Recovery names, else by the route among those that have not failed.

        Raises UnknownModel, UnknownRoute, PolicyFailed.
        """
        self.gateway.expect(question.model)
        tried, named = failed_in(scope.history), named_in(question, scope)
        decision = self._decided(question, tried, named, left_nano)
        if named is not None and _is_no_choice(decision, named):
            decision = self._decided(question, tried, named, left_nano, self._instead(question, named))
        gone = named is not None and question.model is None  # it has broken down since
        if decision.chosen is None and (gone or _asked_again(scope.history)):
            lost, rests = spent_in(scope.history), _resting(decision, named)
            lost |= {} if named is None else {named: rests or "it can take it no more"}
            for out in (turned_down_in(scope.history) | lost, lost):
                other = self._decided(question, out, None, left_nano)
                if other.chosen is not None or rests:  # then what is said is how the others are
                    decision = other
                if other.chosen is not None:
                    break
        if question.turns or question.begun:  # it goes on from what one model has said: no other one races for it
            decision = replace(decision, hedge=None, hedge_after_s=None)
        # What stands beside the first attempt is compared with what came of the whole; a second time would say nothing.
        return replace(decision, shadows=()) if scope.history and decision.shadows else decision

    def _decided(
        self, question: Question, tried: Mapping[str, str], pin: str | None, left_nano: int | None,
        policy: RoutingPolicy | None = None,
    ) -> Decision:  # fmt: skip
        policy = policy or self.policy
        return self.gateway.decide(question, policy, tried, pin, session=self.session, left_nano=left_nano)

    def _among(
        self, question: Question, scope: StepScope, bill: Bill
    ) -> Callable[[Mapping[str, str]], Decision] | None:
        """Whom the route would choose, given who is out beside those who were called in vain, if all took calls, for
        what is left by then. None where it is asked of one model only, or is a user's function: that is asked once for
        each attempt.
        """
        policy = self.policy or self.gateway.router.route(question.route or "default")
        if question.model is not None or question.turns or question.begun or isinstance(policy, Function):
            return None
        lost = failed_in([one for one in scope.history if not unsent(one)]) | spent_in(scope.history)

        def among(out: Mapping[str, str]) -> Decision:
            dear = (one.name for one in self.gateway.catalogue if not bill.covers(one, question))
            out = {**lost, **dict.fromkeys(dear, "what is left does not pay all of it"), **out}
            return self.gateway.decide(
                question, policy, out, None, session=self.session, left_nano=bill.left, awaits=True
            )

        return among

    def _instead(self, question: Question, named: str) -> RoutingPolicy:
        """What an operator says who names a model that the route would not choose: the tags that it requires hold."""
        policy = self.policy or self.gateway.router.route(question.route or "default")
        return instead(policy, named, frozenset(self.gateway.catalogue.get(named).tags.items()))

    def _hedge(self, decision: Decision) -> Model | None:
        at = decision.hedge
        return None if at is None else self.gateway.catalogue.get(decision.candidates[at].target.name)

    async def _raced(self, ran: Race, record: Recorded, hedge: Recorded) -> Given:
        """End with the one that won, the other one on record too."""
        called = self._streamed(ran.taken, record, int(ran.begun))
        if not ran.begun:
            return await self.ended(called, record)
        won, lost = (record, hedge) if ran.taken is ran.first else (hedge, record)
        if ran.speaker is not None:
            won, lost = replace(won, heard=True), replace(lost, heard=False)
        return await self.ended(called, won, lose(ran, won, lost))

    async def ended(self, called: Called, record: Recorded, *beside: Tried) -> Given:
        """Put the attempt on record. Raises its fault as an error."""
        reply, fault = called.reply, called.fault
        if fault is None and reply is not None:
            tried = [*before(record.scope), *beside, answered(called.model, reply)]
            if called.tools or self.whole:
                given = turn(reply, tried)
            else:
                given = Given(value=self.form.plain(called.value), tried=tried)
            given, record = await self.guards.after(given, record, called, self.form)
            if self.streaming is not None and self.guards.withhold:
                record.scope.record(self.streaming.whole(record.scope, record.question, given, reply))
                record = replace(record, heard=True)
            record.ended(AttemptEnd.ANSWERED, called)
            if given.said is None:
                record.scope.turn_of = record.question.thread
            self.gateway.answered(record, self.session, reply, called.place and called.place.deployment.name)
            return given
        assert fault is not None
        if called.bug is None:
            fault, kept = self._with_others(fault, called, record.scope), self.guards.kept(reply)
            fault = with_tries(of_model(fault, called.model, kept, called.place, called.usage), record.scope)
        record.ended(AttemptEnd.REJECTED if reply is not None else AttemptEnd.FAILED, called, fault=fault)
        raise called.bug or rebuild(fault)

    def _with_others(self, fault: Fault, called: Called, scope: StepScope) -> Fault:
        """One that passes, or a budget's, tells of those, too, that have failed before, and for how long: it may be
        the last.
        """
        known, said = self.gateway.catalogue.models, fault.message
        if fault.kind not in {*PASSES, FaultKind.BUDGET_EXCEEDED} or not fault.args or fault.args[0] != said:
            return fault
        for name, kind in failed_in(scope.history).items():
            view = self.gateway.health.view(known[name]) if name in known and name != called.model.name else None
            if view is not None:
                said += f"; {name}: {view.standing}: {view.reason}" if view.reason else f"; {name}: {kind}"
        sent = 0 if (fault.state or {}).get("unsent") or fault.kind is FaultKind.BUDGET_EXCEEDED else 1
        said += so_far(scope.history, calls=sent, seconds=called.queued_s + called.seconds)
        return fault._replace(message=said, args=[said, *fault.args[1:]])


def _line(scope: StepScope, thread: str | None) -> str:
    """A conversation, or the rounds of a question with tools."""
    rounds = scope.key.rpartition("/")[0]
    if thread is not None:
        return f"{scope.tenant}\x1f{thread}"
    return f"{scope.run}/{rounds}" if rounds else ""


def _asked_again(history: Sequence[Attempt]) -> bool:
    """Whether a person has said to try again: also who was turned down is asked then, where there is nobody else."""
    last = next((a for a in reversed(history) if a.fault is None or a.fault.kind is not FaultKind.INTERRUPTED), None)
    return last is not None and isinstance(last.answer, Again)


def _resting(decision: Decision, name: str | None) -> str:
    """Why a model was left out that only takes no calls now; empty where there is another reason."""
    out = (c for c in decision.candidates if c.target.name == name and c.excluded_at in {Stage.HEALTH, Stage.LIMIT})
    return next((f"{RESTS}{c.reason}" for c in out), "")


def _others_free(decision: Decision) -> bool:
    """Whether one of those that were not chosen would take the call at once."""
    others = (c for at, c in enumerate(decision.candidates) if at != decision.choice)
    return any(c.eligible and not c.facts.get("wait_s") for c in others)


def _is_no_choice(decision: Decision, named: str) -> bool:
    """Whether all that keeps a model from being asked is that its route does not choose it."""
    out = (c for c in decision.candidates if c.target.name == named)
    return decision.chosen is None and any(c.excluded_at is Stage.POLICY and not lacks_tag(c.reason or "") for c in out)


def named_in(question: Question, scope: StepScope) -> str | None:
    """Whom the last answer of the Recovery named; else whoever has called the tools so far."""
    for attempt in reversed(scope.history):
        if isinstance(attempt.answer, Use):
            return attempt.answer.candidate
        if isinstance(attempt.answer, Amend):
            return question.first
    return question.first if question.turns else None
