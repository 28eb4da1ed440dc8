"""Past traffic as rows: each ask's first decision, with its candidates and chances, beside what came of the whole ask.

The first decision, since what follows (a repair, a fallback, a climb, the rounds of an ask with tools) is what came of
it: a policy is judged by what an ask cost in the end, not by how its first call ended. Where another policy would go on
to somebody else is for the judge to say, from the row's moves.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple

from ..core.keys import name_of
from ..core.lifecycle import ENDED
from ..core.records import AttemptEnd, AttemptRecorded, AttemptWhy, Decision, Settlement, TargetKind
from ..errors import InputError
from .judge.rows import Call, Logged, Move, Outcome, left_out, logged
from .lessons import score_of
from .traffic import Ask, Traffic

__all__ = ["Past", "Row", "logged_rows", "rows"]

_NOT_ASKED = frozenset({AttemptEnd.CANCELLED, AttemptEnd.LOST})
"""Shadows that say nothing of their model."""
_KEPT_TO = "recovery"
"""Who pins the decisions of an ask's later rounds to the model that began."""
_CAME = frozenset({AttemptEnd.ANSWERED, AttemptEnd.SUPERSEDED})
_ASIDE = (AttemptWhy.SHADOW, AttemptWhy.PROBE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A decision and what came of it. Money is nano-dollars, times are seconds; None: not known."""

    run: str
    flow: str
    key: str
    at: float
    decision: Decision
    answered: bool
    """Whether a model's answer came that was used. A person's is none: the route has found nobody who could."""
    answered_by: str | None
    passed: float | None
    """How the checks of that answer went, 0 to 1; 0 where no answer passed; None where there were none."""
    score: float | None
    """What was thought of it, 0 to 1."""
    attempts: int
    cost_nano: int | None
    latency_s: float | None
    tokens_in: int
    tokens_out: int
    shadows: Mapping[int, Outcome] = field(default_factory=dict[int, Outcome])
    """What came of those who answered on the side, by their place among the candidates."""
    text: str = ""
    """What was asked, as the router saw it; empty: it cannot be read any more."""
    moves: tuple[Move, ...] = ()
    """How it went on from one model to another."""
    calls: tuple[Call, ...] = ()
    """All calls, one after the other, and who was asked beside them."""
    went_on: bool | None = None
    """Whether somebody was asked again after a first call that did not do; None where it did."""

    at_once: bool = False
    """Whether all its calls did at the first try: nothing was turned down, and nobody had failed."""
    rejected: int = 0
    """Answers that a schema, a check or a guard has turned down."""
    prompts: Mapping[str, str] = field(default_factory=dict[str, str])
    """The named prompts in it: the version of each."""

    @property
    def reward(self) -> float | None:
        """What was thought of it, else how its checks went."""
        return self.passed if self.score is None else self.score

    @property
    def candidates(self) -> tuple[str, ...]:
        """By name."""
        return tuple(c.target.name for c in self.decision.candidates)

    @property
    def propensities(self) -> tuple[float, ...]:
        """The chance that each had."""
        return tuple(c.propensity for c in self.decision.candidates)


class Past(NamedTuple):
    """Rows for the judge, and how many decisions were left out, by reason."""

    rows: list[Logged]
    left_out: Counter[str]


class _Chain(NamedTuple):
    """A first decision, and the attempts that it and those after it led to."""

    first: Decision
    attempts: Sequence[AttemptRecorded]
    begin: int
    """How many of these are of the first round: all, but of an ask with tools."""
    last: Sequence[AttemptRecorded]
    """Those of the last one."""


def rows(traffic: Traffic) -> list[Row]:
    """A row for each ask that is over, in order. What is still under way, or has no decision, is left out."""
    found = (one for rounds in _rounds(traffic.asks) for one in _whole(rounds))
    return [row for ask, chain in found if (row := _row(ask, chain)) is not None]


def logged_rows(found: Sequence[Row]) -> Past:
    """The same for `judge.judge`."""
    past = Past([], Counter())
    for row in found:
        reason = left_out(row.decision)
        if reason is not None:
            past.left_out[reason] += 1
            continue
        outcome = Outcome(answered=row.answered, reward=row.reward, cost_nano=row.cost_nano, latency_s=row.latency_s)
        try:
            features = _numbers(row.decision)
            made = logged(
                row.run, row.decision, outcome, shadows=row.shadows, features=features, at=row.at, text=row.text,
                moves=row.moves, calls=row.calls, went_on=row.went_on,
            )  # fmt: skip
            past.rows.append(made)
        except InputError:
            past.left_out["its record is damaged"] += 1
    return past


def _rounds(asks: Iterable[Ask]) -> list[list[Ask]]:
    """Asks with all their rounds: those of an ask with tools stand under one key, and its model is kept to."""
    found, under = list[list[Ask]](), dict[tuple[int, str], list[Ask]]()
    for ask in asks:
        above = ask.run.no, ask.key.rpartition("/")[0]
        if above in under and ask.decisions and ask.decisions[0].pinned_by == _KEPT_TO:
            under[above].append(ask)
            continue
        found.append([ask])
        if above[1]:
            under[above] = found[-1]
    return found


def _whole(rounds: Sequence[Ask]) -> Iterator[tuple[Ask, _Chain]]:
    """An ask with what came of all its rounds."""
    begun, last = rounds[0], rounds[-1]
    chains = list(_chains(begun))
    if len(rounds) == 1 or len(chains) != 1:
        yield from ((begun, chain) for chain in chains)
        return
    attempts = [a for ask in rounds for a in ask.attempts]
    settled = {name: paid for ask in rounds for name, paid in ask.settled.items()}
    whole = replace(
        last, key=begun.key, at=begun.at, request=begun.request, settled=settled, attempts=attempts,
        decisions=[decision for ask in rounds for decision in ask.decisions],
    )  # fmt: skip
    yield whole, _Chain(chains[0].first, attempts, len(begun.attempts), last.attempts)


def _chains(ask: Ask) -> Iterator[_Chain]:
    """One, as a rule; several where a step has asked more than once: each begins with an attempt that follows none,
    and the rounds of one that has tools keep to its model.
    """
    made = {decision.id: decision for decision in ask.decisions if decision.choice is not None}
    rounds = [at for at, a in enumerate(ask.attempts) if a.follows is None and a.why is AttemptWhy.PRIMARY]
    if len(rounds) < 2 or any(a.decision not in made for a in ask.attempts):
        first = next(iter(made.values()), next(iter(ask.decisions), None))
        if first is not None:
            yield _Chain(first, ask.attempts, len(ask.attempts), ask.attempts)
        return
    begins = [at for at in rounds if at == rounds[0] or made[ask.attempts[at].decision or ""].pinned_by != _KEPT_TO]
    for at, until in pairwise([*begins, len(ask.attempts)]):
        own = [one for one in rounds if at <= one < until]
        second = own[1] if len(own) > 1 else until
        first = made[ask.attempts[at].decision or ""]
        yield _Chain(first, ask.attempts[at:until], second - at, ask.attempts[own[-1] : until])


def _row(ask: Ask, chain: _Chain) -> Row | None:
    own = [a for a in chain.attempts if a.why not in _ASIDE and a.target.kind is not TargetKind.PERSON]
    last = [a for a in own if a.end is AttemptEnd.ANSWERED and a in chain.last]
    good = [] if last and _calls_tools(ask, last[-1]) else last
    if not own or not (good or _over(ask, bool(last))):
        return None  # it is under way, or was never sent
    usages = [a.usage for a in own if a.usage is not None]
    return Row(
        run=ask.run.id,
        flow=ask.run.flow,
        key=ask.key,
        at=ask.at,
        decision=chain.first,
        answered=bool(good),
        answered_by=good[-1].target.name if good else None,
        passed=_passed(own, good),
        score=ask.score if good else None,
        attempts=len(own),
        cost_nano=_sum(_cost(a, ask.settled) for a in own),
        latency_s=_latency(ask, chain.first, own, good),
        tokens_in=sum(u.tokens_in for u in usages),
        tokens_out=sum(u.tokens_out for u in usages),
        shadows=_shadows(ask, chain) if chain.begin == len(chain.attempts) else {},
        text=ask.request.text if ask.request is not None else "",
        moves=tuple(_moves([a.target.name for a in own if a.why is not AttemptWhy.HEDGE])),
        calls=tuple(_calls(ask, [a for a in own if a in chain.attempts[: chain.begin]])),
        went_on=_went_on(own),
        at_once=bool(good) and all(a.why is AttemptWhy.PRIMARY and a.end is AttemptEnd.ANSWERED for a in own),
        rejected=sum(a.end is AttemptEnd.REJECTED for a in own),
        prompts=_prompts(own),
    )


def _calls_tools(ask: Ask, answer: AttemptRecorded) -> bool:
    """Whether that is no answer yet: a model has called tools. An agent decides anew each time, and that is all."""
    return answer.finish_reason == "tool_call" and _scope_of(ask) != "agent"


def _over(ask: Ask, called: bool) -> bool:
    """Whether nothing more is to come. A flow has calls of tools, and the next round, after the step has ended."""
    if called and _scope_of(ask) == "ask":
        return ask.run.state in ENDED
    return ask.over_at is not None


def _scope_of(ask: Ask) -> str:
    """The name of what it is part of; empty: of its run."""
    above = ask.key.rpartition("/")[0]
    return name_of(above) if above else ""


def _moves(asked: Sequence[str]) -> Iterator[Move]:
    """From those who were asked, in order. That one is asked again, its policy has not chosen."""
    tried: list[str] = []
    for name, after in pairwise(asked):
        tried += [] if name in tried else [name]
        if after not in tried:
            yield Move(tuple(tried), after)


def _calls(ask: Ask, own: Sequence[AttemptRecorded]) -> Iterator[Call]:
    """Those that may be hedged: not what goes on from what a model has said."""
    made = {decision.id: decision for decision in ask.decisions}
    beside = {a.decision: a.target.name for a in own if a.why is AttemptWhy.HEDGE}
    tried: dict[str, None] = {}
    for a in own:
        decision, name = made.get(a.decision or ""), a.target.name
        if decision is None or a.why in (AttemptWhy.HEDGE, AttemptWhy.RESCUE):
            continue
        silent_s = a.ttft_s if a.streamed and a.ttft_s is not None else a.latency_s
        yield Call(tuple(one for one in tried if one != name), name, decision, silent_s, beside.get(a.decision))
        tried[name] = None


def _went_on(own: Sequence[AttemptRecorded]) -> bool | None:
    if all(a.end in _CAME or a.end in _NOT_ASKED for a in own):
        return None
    return any(a.why not in (AttemptWhy.PRIMARY, AttemptWhy.HEDGE) for a in own)


def _prompts(own: Sequence[AttemptRecorded]) -> dict[str, str]:
    found: dict[str, str] = {}
    for attempt in own:
        said: Any = attempt.details.get("prompts")
        found |= said if isinstance(said, dict) else {}
    return found


def _passed(own: Sequence[AttemptRecorded], good: Sequence[AttemptRecorded]) -> float | None:
    if good:
        return score_of(good[-1], judged=False)
    judged = [score for a in own if (score := score_of(a)) is not None]
    return 0.0 if judged else None


def _cost(attempt: AttemptRecorded, settled: Mapping[str, Settlement]) -> int | None:
    """As its usage says, else as it was settled; what was never answered costs nothing."""
    if attempt.usage is not None and attempt.usage.cost_nano is not None:
        return attempt.usage.cost_nano
    paid = settled.get(attempt.reservation or "")
    if paid is not None:
        return paid.amount_nano
    return None if attempt.usage is not None or attempt.end in _CAME else 0


def _sum(values: Iterator[int | None]) -> int | None:
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _latency(
    ask: Ask, first: Decision, own: Sequence[AttemptRecorded], good: Sequence[AttemptRecorded]
) -> float | None:
    """Of the attempts one after the other, without what a hedge overtook; else from the decision to the step's end."""
    waited = [a for a in own if a.why is not AttemptWhy.HEDGE and a.end is not AttemptEnd.CANCELLED]
    after = 0.0
    if good and good[-1].why is AttemptWhy.HEDGE:
        won = good[-1]
        hedged = next((d for d in ask.decisions if d.id == won.decision), first)
        after = hedged.hedge_after_s or 0.0
        waited = [*(a for a in waited if a.decision not in (None, won.decision)), won]
    known = [a.queued_s + a.latency_s for a in waited if a.latency_s is not None]
    if len(known) == len(waited) and known:
        return after + math.fsum(known)
    return None if ask.over_at is None else max(0.0, ask.over_at - ask.at)


def _shadows(ask: Ask, chain: _Chain) -> dict[int, Outcome]:
    beside = {a.target.name: a for a in chain.attempts if a.why is AttemptWhy.SHADOW and a.end not in _NOT_ASKED}
    found: dict[int, Outcome] = {}
    for place in chain.first.shadows:
        attempt = beside.get(chain.first.candidates[place].target.name)
        if attempt is not None:
            came = attempt.end in _CAME
            found[place] = Outcome(
                answered=came,
                reward=score_of(attempt),
                cost_nano=_cost(attempt, ask.settled),
                latency_s=attempt.latency_s,
            )
    return found


def _numbers(decision: Decision) -> tuple[float, float]:
    """What the judge's own models go by: how hard, and how long."""
    hard, long = decision.features.get("difficulty"), decision.features.get("tokens")
    return (
        float(hard) if isinstance(hard, int | float) else 0.5,
        math.log1p(max(0.0, float(long))) if isinstance(long, int | float) else 0.0,
    )
