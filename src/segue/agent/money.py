"""What a call of a model may cost: set aside before it is sent, settled with its outcome.

Most calls pass by: a model that costs nothing, and a question that no budget holds, touch no ledger. Where there is a
budget, the worst case (every byte of input that could be a token, and the output limit used up) is reserved in the
journal against the run and those above it, its thread, its tenant and the question itself, and the call waits for that
commit. Where it does not fit into what is not spent, the output limit is lowered, down to a quarter of what was asked
for; below that the call is refused. What calls under way hold is waited for, and lowers a limit only where nothing of
it is settled for long.

| how the call ended | what it took |
| --- | --- |
| an answer, taken or not | its usage; our own estimate where the provider sent none |
| refused by the provider with a status, or by a batch that did not come to it | nothing |
| none, a gateway's word, an error within a 200, half of one, given up | all that was reserved, as an estimate |

A call on the side (a shadow) counts against the run, the thread and the tenant, never against the question that it
stands beside. It is sent only while half of each budget is left after it, and its output limit is not lowered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.budgets import Rates, Standing, check, dollars, least_output, left, lost, lowered, nano, settled, worst_case
from ..core.faults import Fault, FaultKind, classify
from ..core.records import (
    AttemptRef,
    BudgetScope,
    Candidate,
    Decision,
    Reservation,
    ScopeKind,
    SettledBy,
    Settlement,
    Stage,
    Target,
    TargetKind,
    Usage,
)
from ..errors import BudgetExceeded
from ..models import Model
from ..models.exchange import Reply
from ..runtime.purse import Purse
from ..runtime.scope import StepScope
from .budgets import Budgets
from .failures import HELD, MODEL, TOOK, awaits_money, awaits_money_for_s
from .held import PATIENCE_S, Patience
from .nobody import payable, priced
from .request import Question, input_bound
from .thinking import output_limit, settings_for

__all__ = ["Bill"]

_RACES = 5
"""How often a reservation is made anew when somebody else was quicker, with what is left then."""
_REFUSES = 400
"""The HTTP status from which on a provider has done nothing, and bills nothing."""
_UNKNOWN = frozenset({FaultKind.TIMED_OUT, FaultKind.UNREACHABLE})
"""A gateway that gives up (502, 504, 524) does not stop what is behind it."""


@dataclass(slots=True)
class _Account:
    """What the calls of one attempt hold and took of the question's own bound, where no journal counts it."""

    held: int = 0
    spent: int = 0


@dataclass(slots=True)
class Bill:
    """The money of one attempt, or of one call beside it. Without a budget every method is a look at an empty tuple."""

    scope: StepScope
    purse: Purse | None
    scopes: tuple[BudgetScope, ...] = ()
    """What it counts against in the journal."""
    own: BudgetScope | None = None
    """The question's own bound, where no journal counts it: outside of a run, and inside of another step."""
    id: str = ""
    """What its reservation is called; unique in the run."""
    aside: asyncio.Lock | None = None
    """Of calls beside the attempt: they set money aside one after the other, so that each sees what the last one took.
    It settles by itself, since the attempt may have ended before."""
    patient: bool = True
    """Whether it waits for what is held rather than being cut short by that."""
    account: _Account = field(default_factory=_Account)
    """Of all calls of the attempt: what one holds, the one beside it cannot have."""
    held: Reservation | None = field(default=None, init=False)
    ready: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    """Set when the call may be sent: its money is set aside, or none has to be."""

    @classmethod
    def of(cls, question: Question, scope: StepScope, budgets: Budgets) -> Bill:
        """Whom an attempt at this question counts against; one of a guard that looks in it, against its thread too."""
        bound = None if question.budget_usd is None else nano(question.budget_usd)
        own = None
        if bound is not None:
            own = BudgetScope(kind=ScopeKind.ASK, name=scope.idempotency_key, limit_nano=bound)
        counted = () if scope.purse is None else budgets.scopes(scope.purse, question.thread or scope.thread)
        if scope.purse is None or not scope.epoch:
            return cls(scope, scope.purse, counted, own)
        return cls(scope, scope.purse, counted if own is None else (*counted, own))

    def named(self, id: str) -> Bill:
        """That of one call, under a name of its own."""
        return replace(self, id=id)

    def beside(self, line: asyncio.Lock) -> Bill:
        """That of calls on the side: the question's own bound is not theirs, and of other budgets they leave half."""
        return Bill(self.scope, self.purse, tuple(s for s in self.scopes if s.kind is not ScopeKind.ASK), aside=line)

    @property
    def left(self) -> int | None:
        """Nano-dollars that a call may cost by now; None where no budget has a limit."""
        scopes, standings = self._standings()
        return left(scopes, standings) if any(s.limit_nano is not None for s in scopes) else None

    @property
    def freed(self) -> int | None:
        """What would be left if the calls under way took nothing of what they hold; None where they hold nothing."""
        scopes, standings = self._standings()
        return left(scopes, settled(standings)) if any(at.held for at in standings) else None

    @property
    def mark(self) -> str:
        """What is spent and held: another one when anything was settled or set aside."""
        return " ".join(f"{at.spent}+{at.held}" for at in self._standings()[1])

    async def cleared(self) -> None:
        """What its attempt has settled so far holds nothing any more: nobody waits for what is their own."""
        if self.purse is not None and self.scopes:
            await self.purse.settled(self.scope.events)

    def covers(self, model: Model, question: Question) -> bool:
        """Whether what is left pays the worst case of a call, its output limit not lowered."""
        rest, rates = self.left, self._rates(model, question)
        if rest is None or rates is None:
            return True
        return worst_case(rates, input_bound(question), output_limit(question, model)) <= rest

    async def room(self, model: Model, question: Question) -> None:
        """See that the call may fit, before it stands in line for a place. What calls under way hold is waited for, as
        soon as it is known that nobody else may be paid. Raises BudgetExceeded.
        """
        await self.cleared()
        rates, history = self._rates(model, question), self.scope.history
        patience = Patience(self) if history and awaits_money(history[-1]) else None
        while rates is not None:
            try:
                self._fitted(model, question, rates, "")
            except BudgetExceeded as error:
                if patience is None or not hasattr(error, HELD) or not await patience.wait():
                    raise
            else:
                break

    async def reserve(self, model: Model, question: Question) -> Question:
        """Set the worst case aside. Gives the question as it may be sent: its output limit may be lowered.

        Raises BudgetExceeded, naming the budget, its limit and what is left; nothing is set aside then.
        """
        rates = self._rates(model, question)
        if rates is not None:
            async with self.aside or nullcontext():
                question = await self._reserved(model, question, rates)
        self.ready.set()
        return question

    async def _reserved(self, model: Model, question: Question, rates: Rates) -> Question:
        for race in range(_RACES):
            asked = self._fitted(model, question, rates, self.id)
            self.account.held += asked.amount_nano
            try:
                if self.purse is not None and self.scopes:
                    await self.purse.reserve(asked)
                self.held = asked
            except BudgetExceeded as error:
                if race == _RACES - 1:
                    setattr(error, HELD, "" if self.aside else self.mark)  # others were faster: they hold it now
                    raise
                continue
            finally:
                if self.held is None:
                    self.account.held -= asked.amount_nano
            most = (asked.tokens_out_max or 1) - _thoughts(model, question)
            return question if asked.lowered_from is None else replace(question, max_tokens=max(1, most))
        raise AssertionError("the last race has raised")

    def take_up(self, held: Reservation) -> None:
        """What an attempt before this one has set aside, for this one to settle."""
        self.held = held
        self.account.held += held.amount_nano
        if self.purse is not None and self.scopes:
            self.purse.take_up(held)

    @property
    def reservation(self) -> str | None:
        """The id of what is set aside, as the attempt's record names it."""
        return None if self.held is None or not self.scopes else self.held.id

    def settle(self, reply: Reply | None, fault: Fault | None, *, begun: bool = False) -> Fault | None:
        """Settle with the outcome: by the reply's usage; in full where a stream had `begun` and broke off.

        Gives the fault, which says what the call took, and whose fault a cut is.
        """
        return self.paid(None if reply is None else reply.usage, fault, begun=begun)

    def paid(self, usage: Usage | None, fault: Fault | None, *, begun: bool = False) -> Fault | None:
        """Settle with the usage, as `settle`."""
        held = self.held
        if held is None:
            return fault
        took, estimated = _took(held, usage, None if begun else fault)
        said = Settlement(settles=held.id, amount_nano=took, estimated=estimated, currency=held.currency, usage=usage)
        self._counted(held, said)
        self._settled(said)
        if fault is None:
            return None
        fault = _blamed(fault, held)
        return fault._replace(state={**(fault.state or {}), TOOK: took})

    def given_up(self, *, sent: bool = True) -> None:
        """The call was cancelled on its way: nobody will hear what it took, so it counts in full. One that was not
        `sent` took nothing.
        """
        held = self.held
        if held is None:
            return
        took = replace(lost(held), why=SettledBy.USED)
        if not sent:
            took = replace(took, why=SettledBy.UNUSED, amount_nano=0, estimated=False)
        self._counted(held, took)
        if self.purse is not None and self.scopes:
            self.purse.settle(took)

    def summed(self, error: Exception) -> None:
        """Let an attempt's error say what all its calls took of the question's own bound: the next attempt reads it."""
        if self.own is not None:
            setattr(error, TOOK, self.account.spent)

    def nobody(self, decision: Decision, freed: Candidate | None = None, *, since: str = "") -> BudgetExceeded | None:
        """The refusal where a budget is what stands between the question and an answer; `freed` is who would answer if
        less of it were held. `since` says how often was asked, and for how long.
        """
        out = [c for c in decision.candidates if c.excluded_at is Stage.BUDGET]
        scopes, standings = self._standings()
        rest = left(scopes, standings)
        if not out or rest is None:
            return None
        tight, stands = min(zip(scopes, standings, strict=True), key=lambda pair: _rest(*pair))
        name = f"{tight.kind}:{tight.name}" + (f" ({tight.period})" if tight.period else "")
        limit, others = tight.limit_nano or 0, [c for c in decision.candidates if not c.eligible and c not in out]
        why = "; ".join(f"{c.target.name}: {c.reason}" for c in (out + others)[:6])
        held = f" and {dollars(stands.held)} held by calls under way" if stands.held else ""
        error = BudgetExceeded(
            f"no model can answer within the budget {name}, "
            f"which is {dollars(limit)} USD with {dollars(rest)} left{held}: {why}{since}",
            remedy=payable(out, stands.held),
        )
        error.scope, error.limit_nano, error.left_nano, error.held_nano = name, limit, rest, stands.held
        setattr(error, MODEL, (freed or out[0]).target.name)  # somebody else may be waited for
        if freed is not None:
            setattr(error, HELD, self.mark)
        return error

    def _counted(self, held: Reservation, took: Settlement) -> None:
        self.account.held -= held.amount_nano
        self.account.spent += took.amount_nano

    def _settled(self, took: Settlement) -> None:
        if self.purse is None or not self.scopes:
            return
        if self.scope.epoch and self.aside is None:
            self.scope.record(took)  # in the commit of the outcome
        else:
            self.purse.settle(took)  # the step around it may go on for long

    def _standings(self) -> tuple[tuple[BudgetScope, ...], Sequence[Standing]]:
        counted = self.purse.standings(self.scopes) if self.purse is not None and self.scopes else ()
        if self.own is None:
            return self.scopes, counted
        before = sum(int((a.fault.state or {}).get(TOOK, 0)) for a in self.scope.history if a.fault is not None)
        own = Standing(spent=before + self.account.spent, held=self.account.held)
        return (*self.scopes, self.own), (*counted, own)

    def _rates(self, model: Model, question: Question) -> Rates | None:
        """What a token costs at most; None where nothing is to be set aside."""
        if model.price is None and self.aside is not None and any(s.limit_nano is not None for s in self.scopes):
            raise BudgetExceeded(f"{model.name} has no price, and there is a budget", remedy=priced([model.name]))
        if model.price is None or not (self.scopes or self.own):
            return None
        rates = model.price.rates(input_bound(question))
        return rates if rates.per_million_in or rates.per_million_out or rates.per_request else None

    def _fitted(self, model: Model, question: Question, rates: Rates, id: str) -> Reservation:
        """The reservation, with the output limit that fits. Raises BudgetExceeded."""
        scopes, standings = self._standings()
        if self.aside is not None:
            scopes = _halved(scopes)
        rest, into = left(scopes, standings), input_bound(question)
        wanted = output_limit(question, model)
        thinks = _thoughts(model, question)
        least = thinks + least_output(wanted - thinks)
        least = min(least, wanted) if self.aside is None else wanted  # cut short it would compare with nothing
        fits = wanted if rest is None else lowered(rates, into, wanted, rest, least)
        held = self._held_back(scopes, standings, lambda room: lowered(rates, into, wanted, room, least), fits)
        fits = None if held and self._patient else fits
        out = wanted if fits is None else fits
        price = model.price
        asked = Reservation(
            id=id, amount_nano=worst_case(rates, into, out), scopes=self.scopes,
            target=Target(kind=TargetKind.MODEL, name=model.name, provider=model.provider.value),
            attempt=AttemptRef(epoch=self.scope.epoch, n=self.scope.attempt), tokens_in_max=into, tokens_out_max=out,
            lowered_from=wanted if out < wanted else None, price_source=price.source if price else None,
            price_version=price.version if price else None,
        )  # fmt: skip
        if fits is None:
            _refuse(replace(asked, scopes=scopes), standings, self.aside is not None, self.mark if held else "")
        return asked

    def _held_back(
        self, scopes: Sequence[BudgetScope], standings: Sequence[Standing], fit: Callable[[int], int | None],
        fits: int | None,
    ) -> bool:  # fmt: skip
        """Whether more of it would fit if nothing were held."""
        room = left(scopes, settled(standings))
        if self.aside is not None or room is None:
            return False
        return (fit(room) or 0) > (fits or 0)

    @property
    def _patient(self) -> bool:
        """Whether it goes on waiting rather than being cut short: not where nobody settles anything."""
        history = self.scope.history
        return self.patient and (not history or awaits_money_for_s(history) < PATIENCE_S)


def _thoughts(model: Model, question: Question) -> int:
    """Tokens of the output limit that are for thinking."""
    return model.output_limit(0, settings_for(question, model))


def _refuse(asked: Reservation, standings: Sequence[Standing], aside: bool, held: str) -> None:
    """Raises BudgetExceeded, naming the first budget that it does not fit into; with what is `held` and spent where it
    would fit if that were free.
    """
    try:
        check(asked, standings)
    except BudgetExceeded as error:
        if aside:
            error.message = f"half of {error.message}"
        if held:
            setattr(error, HELD, held)
        raise


def _halved(scopes: tuple[BudgetScope, ...]) -> tuple[BudgetScope, ...]:
    """What calls on the side may use of them."""
    return tuple(s if s.limit_nano is None else replace(s, limit_nano=s.limit_nano // 2) for s in scopes)


def _took(held: Reservation, usage: Usage | None, fault: Fault | None) -> tuple[int, bool]:
    """Nano-dollars, and whether that is an estimate."""
    if usage is not None and usage.cost_nano is not None:
        return usage.cost_nano, usage.estimated
    return (0, False) if fault is not None and cost_nothing(fault) else (held.amount_nano, True)


def cost_nothing(fault: Fault) -> bool:
    """Whether nothing was sent, a provider was never reached, or has refused the call with a status: it did nothing
    then. Within an answer of 200 an error says that it had begun.
    """
    state: Any = fault.state or {}
    if state.get("unconnected") or state.get("unsent"):
        return True
    status, within = state.get("status"), state.get("within")
    return fault.kind not in _UNKNOWN and isinstance(status, int) and status >= _REFUSES and not within


def _blamed(fault: Fault, held: Reservation) -> Fault:
    """An answer that was cut because its limit was lowered was cut by the budget: more room is not to be had."""
    if held.lowered_from is None or fault.kind is not FaultKind.BAD_OUTPUT or fault.limit != "max tokens":
        return fault
    error = BudgetExceeded(
        f"the answer was cut at {held.tokens_out_max} tokens: the budget left no room for {held.lowered_from}",
        remedy="raise the budget, ask for less, or allow a cheaper model",
    )
    error.asked_nano = held.amount_nano
    return classify(error)


def _rest(scope: BudgetScope, standing: Standing) -> float:
    return float("inf") if scope.limit_nano is None else scope.limit_nano - standing.used
