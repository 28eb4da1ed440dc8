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
from typing import NamedTuple

from ..core.lifecycle import ENDED
from ..core.records import AttemptEnd, AttemptRecorded, AttemptWhy, Decision, Settlement
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A decision and what came of it. Money is nano-dollars, times are seconds; None: not known."""

    run: str
    flow: str
    key: str
    at: float
    decision: Decision
    answered: bool
    """Whether an answer came that was used."""
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
    """One, as a rule; several where a step has asked more than once: each begins with an attempt that follows none."""
    made = {decision.id: decision for decision in ask.decisions if decision.choice is not None}
    begins = [at for at, a in enumerate(ask.attempts) if a.follows is None and a.why is AttemptWhy.PRIMARY]
    if len(begins) < 2 or any(a.decision not in made for a in ask.attempts):
        first = next(iter(made.values()), next(iter(ask.decisions), None))
        if first is not None:
            yield _Chain(first, ask.attempts, len(ask.attempts), ask.attempts)
        return
    for at, until in pairwise([*begins, len(ask.attempts)]):
        attempts = ask.attempts[at:until]
        yield _Chain(made[attempts[0].decision or ""], attempts, len(attempts), attempts)


def _row(ask: Ask, chain: _Chain) -> Row | None:
    own = [a for a in chain.attempts if a.why not in (AttemptWhy.SHADOW, AttemptWhy.PROBE)]
    good = [a for a in own if a.end is AttemptEnd.ANSWERED and a in chain.last]
    if not own or (_goes_on(ask, good[-1]) if good else ask.over_at is None):
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
    )


def _goes_on(ask: Ask, answer: AttemptRecorded) -> bool:
    """Whether another round is to come: a model has called tools."""
    return ask.run.state not in ENDED and answer.finish_reason == "tool_call" and "/" in ask.key


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
