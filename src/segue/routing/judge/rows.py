"""Past traffic as plain rows: who could have answered, with which chance, who did, and what came of it.

A row is one decision. Rows of one cluster are correlated (the asks of a run, or all that a sticky split sent one way);
clusters are independent of each other. What a policy does to *later* asks of the same run is not seen from rows: the
question that they answer is what each ask, as it came, would have got.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from segue.core.records import Candidate, Decision, Sampling
from segue.errors import InputError

NANO = 1e-9
_SLACK = 1e-6
_OWN = "policy"
"""Who pins a decision where the route itself does."""


class Measure(StrEnum):
    """What is asked of a policy. `reward` and `answered` lie in 0 to 1; cost is in dollars, latency in seconds."""

    REWARD = "reward"
    COST = "cost_usd"
    LATENCY = "latency_s"
    ANSWERED = "answered"

    @property
    def bounded(self) -> bool:
        """Whether its values lie between 0 and 1."""
        return self in {Measure.REWARD, Measure.ANSWERED}


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of asking one candidate; None is unknown."""

    answered: bool | None = True
    """Whether a valid answer came."""
    reward: float | None = None
    """How good it was, 0 to 1: feedback, or a check."""
    cost_nano: int | None = None
    """Whole nano-dollars, retries included."""
    latency_s: float | None = None

    def of(self, measure: Measure) -> float:
        """Its value in the measure's unit; NaN where it is unknown."""
        cost = None if self.cost_nano is None else self.cost_nano * NANO
        given = {Measure.REWARD: self.reward, Measure.COST: cost, Measure.LATENCY: self.latency_s}
        value = given.get(measure, self.answered)
        return math.nan if value is None else float(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What the models expected of a candidate before it was asked; None is unknown."""

    reward: float | None = None
    cost_usd: float | None = None
    latency_s: float | None = None
    answered: float | None = None
    """The chance of a valid answer."""

    def of(self, measure: Measure) -> float:
        """The expected value; NaN where there is none."""
        value: float | None = getattr(self, measure.value)
        return math.nan if value is None else value


class Move(NamedTuple):
    """Who was asked next in an ask, after those that had failed it or were turned down."""

    tried: tuple[str, ...]
    next: str


class Call(NamedTuple):
    """A call of an ask, and who was asked beside it."""

    tried: tuple[str, ...]
    """Who had been asked before."""
    asked: str
    decision: Decision
    silent_s: float | None = None
    """How long nothing came of it; None: nobody knows."""
    beside: str | None = None
    """Who was asked too, since it took long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Logged:
    """One decision of past traffic and what came of it. `choice` and the keys of `shadows` are places in `candidates`.

    Raises InputError for places that do not exist, and for propensities that are no distribution or give the choice 0.
    """

    cluster: str
    """The run, or the key that a sticky split sticks to, after `split:`."""
    candidates: tuple[str, ...]
    propensities: tuple[float, ...]
    """The chance of each under the policy that chose. They weigh only where `sampling` says that chance was at work."""
    choice: int
    sampling: Sampling
    outcome: Outcome
    samples: int | None = None
    """How many draws estimated propensities rest on."""
    predictions: tuple[Prediction, ...] = ()
    """One per candidate, made before the outcome was known; empty: none."""
    shadows: Mapping[int, Outcome] = field(default_factory=dict[int, Outcome])
    """What came of those who answered on the side."""
    features: tuple[float, ...] = ()
    """Numbers that describe the request, for models fitted here; as many in every row."""
    exploration: float = 0.0
    """The share of its traffic that the policy explored with."""
    at: float | None = None
    """When; seconds since the epoch."""
    text: str = ""
    """What was asked, for policies that read it; empty: it is not on record."""
    decision: Decision | None = None
    moves: tuple[Move, ...] = ()
    """How the ask went on from its choice to others."""
    calls: tuple[Call, ...] = ()
    """All that were made, one after the other; empty: they are not on record."""
    went_on: bool | None = None
    """Whether anybody was asked again after a first call that did not do; None where it did, or nobody knows."""

    def __post_init__(self) -> None:
        """Places exist, and propensities are a distribution that could draw the choice."""
        places = range(len(self.candidates))
        _expect(self.choice in places, self, "choice is no place in candidates")
        _expect(all(s in places for s in self.shadows), self, "a shadow is no place in candidates")
        _expect(len(self.propensities) == len(places), self, "propensities are not as many as candidates")
        _expect(len(self.predictions) in {0, len(places)}, self, "predictions are not as many as candidates")
        if self.weighable:
            total = sum(self.propensities)
            fine = all(p >= 0.0 for p in self.propensities) and abs(total - 1.0) <= _SLACK * max(1, len(places))
            _expect(fine, self, "propensities are no distribution")
            _expect(self.propensities[self.choice] > 0.0, self, "what was chosen could not have been drawn")

    @property
    def weighable(self) -> bool:
        """Whether its propensities are chances: an importance weight may be formed."""
        return self.sampling in {Sampling.EXACT, Sampling.ESTIMATED}


Target = Callable[[Logged], Sequence[float]]
"""A policy to be judged: the chance that it gives to each of the row's candidates. What is missing from a sum of 1 is
the chance of somebody who was no candidate. It must look at what was known before the choice only."""

Onward = Callable[[Logged], float]
"""The chance that the policy to be judged would have gone on from a row's choice as the row did, or hedged so."""


def left_out(decision: Decision) -> str | None:
    """Why a decision says nothing about policies: nobody was eligible, or something else left no choice.

    A route that is pinned is a policy like another one: its shadows say what others would have done.
    """
    if decision.choice is None:
        return "nobody was eligible"
    return f"pinned by {decision.pinned_by}" if decision.pinned_by not in (None, _OWN) else None


def logged(
    run: str,
    decision: Decision,
    outcome: Outcome,
    *,
    shadows: Mapping[int, Outcome] | None = None,
    features: Sequence[float] = (),
    at: float | None = None,
    text: str = "",
    moves: Sequence[Move] = (),
    calls: Sequence[Call] = (),
    went_on: bool | None = None,
) -> Logged:
    """A decision and its outcome as a row. Raises InputError for a decision that is to be left out (`left_out`)."""
    reason = left_out(decision)
    if reason is not None or decision.choice is None:
        raise InputError(f"decision {decision.id}: {reason}", run=run, remedy="leave it out: see left_out()")
    sticky = next((split.by for split in decision.splits if split.by), None)
    return Logged(
        cluster=run if sticky is None else f"split:{sticky}",
        candidates=tuple(c.target.name for c in decision.candidates),
        propensities=tuple(c.propensity for c in decision.candidates),
        choice=decision.choice,
        sampling=decision.sampling,
        outcome=outcome,
        samples=decision.samples,
        predictions=tuple(_prediction(c) for c in decision.candidates),
        shadows=dict(shadows or {}),
        features=tuple(features),
        exploration=decision.exploration,
        at=at,
        text=text,
        decision=decision,
        moves=tuple(moves),
        calls=tuple(calls),
        went_on=went_on,
    )


def chances(target: Target, row: Logged) -> tuple[float, ...]:
    """What the target policy gives each candidate. Raises InputError: wrong in number, negative, or more than 1."""
    given = tuple(float(p) for p in target(row))
    _expect(len(given) == len(row.candidates), row, f"the policy gave {len(given)} chances", "one per candidate")
    fine = all(p >= 0.0 for p in given) and sum(given) <= 1.0 + _SLACK * max(1, len(given))
    _expect(fine, row, f"the policy's chances {given} are no distribution", "not negative, with a sum of at most 1")
    return given


def _prediction(candidate: Candidate) -> Prediction:
    means = (e.mean if e else None for e in (candidate.quality, candidate.cost_usd, candidate.latency_s))
    quality, cost, latency = means
    return Prediction(reward=quality, cost_usd=cost, latency_s=latency)


def _expect(fine: bool, row: Logged, wrong: str, remedy: str = "the log is damaged: leave the row out") -> None:
    if not fine:
        raise InputError(f"{wrong}: {list(row.candidates)}", run=row.cluster, remedy=remedy)
