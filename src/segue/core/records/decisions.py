"""Decisions: who could have answered, who could not and why, what was expected of each, and how one was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import ClassVar

from ..events import EventType
from .attempts import AttemptRef, Target
from .base import Json, Part, Record, expect, record

_SLACK = 1e-6


class Stage(StrEnum):
    """The stage of the pipeline that excluded a candidate."""

    CAPABILITY = "capability"
    WINDOW = "window"
    BUDGET = "budget"
    RESIDENCY = "residency"
    HEALTH = "health"
    LIMIT = "limit"
    POLICY = "policy"
    TRIED = "tried"
    DEPTH = "depth"
    PERSON = "person"
    OTHER = "other"


@record
class Estimate(Part):
    """A prediction with its uncertainty."""

    mean: float
    sd: float | None = None
    """Its standard deviation; null where nothing is known of it."""
    n: float | None = None
    """On how many observations it rests, effectively: 0 is a prior alone."""
    source: str | None = None
    """`prior`, or the predictor and its version."""


@record
class Candidate(Part):
    """One that was considered."""

    target: Target
    eligible: bool = True
    excluded_at: Stage | None = None
    reason: str | None = None
    """Why it is not eligible, for a reader: the capability that it lacks, the tokens that do not fit."""
    quality: Estimate | None = None
    """0 to 1."""
    cost_usd: Estimate | None = None
    latency_s: Estimate | None = None
    score: float | None = None
    """Under the policy's objective; more is better."""
    propensity: float = 0.0
    """The chance of being chosen, under the final sampling distribution after all mixing."""
    facts: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """What was known of it then: cached prefix tokens, health, load, price."""

    def __post_init__(self) -> None:
        """An excluded candidate says where and why, and cannot be drawn."""
        expect(0.0 <= self.propensity <= 1.0 + _SLACK, "propensity", "between 0 and 1")
        if not self.eligible:
            expect(self.excluded_at is not None and bool(self.reason), "reason", "an excluded candidate has one")
            expect(self.propensity == 0.0, "propensity", "0 for an excluded candidate")


@record
class Split(Part):
    """The arm of a split or A/B test that the call fell into."""

    name: str
    arm: str
    share: float
    """Of the traffic that this arm gets, 0 to 1."""
    by: str | None = None
    """The hash of what it sticks to: a user, a thread."""


class Sampling(StrEnum):
    """How the propensities are known."""

    EXACT = "exact"
    ESTIMATED = "estimated"
    DETERMINISTIC = "deterministic"
    OTHER = "other"


@record
class Decision(Record):
    """Who is asked, and how that was chosen. The envelope's `key` is the call's.

    `choice`, `order`, `shadows` and `hedge` are places in `candidates`, from 0.
    """

    type: ClassVar[EventType] = EventType.DECISION_MADE
    id: str
    """Unique in its run: a call that falls back or climbs decides again."""
    policy: str
    policy_version: str
    candidates: tuple[Candidate, ...]
    choice: int | None
    """Null where nobody was eligible."""
    route: str | None = None
    """What the caller asked for."""
    objective: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """What the policy weighs: `{"maximise": "quality", "cost_usd_max": 0.01}`."""
    features: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """Of the request: kind of task, difficulty, length, language, modality."""
    embedding: str | None = None
    """Of the request: little-endian float16, base64."""
    embedding_model: str | None = None
    sampling: Sampling = Sampling.DETERMINISTIC
    """How the propensities are known: `estimated` ones rest on `samples` draws, `deterministic` ones weigh nothing."""
    samples: int | None = None
    exploration: float = 0.0
    """The share of the traffic that this policy explores with."""
    explored: bool = False
    """Whether this choice was drawn to explore."""
    luck: float | None = None
    """The number in [0, 1) that drew the choice."""
    seed: str | None = None
    """Of the samples that estimated the propensities."""
    order: tuple[int, ...] = ()
    """Who is next when the choice fails, or the steps of a cascade."""
    stage: int = 0
    """The step of the cascade that this decision is."""
    shadows: tuple[int, ...] = ()
    """Who answers on the side, never shown."""
    hedge: int | None = None
    hedge_after_s: float | None = None
    splits: tuple[Split, ...] = ()
    pinned_by: str | None = None
    """The caller, a person or an affinity that left no choice."""
    after: str | None = None
    """The decision that this one follows, when that choice failed."""
    because: str | None = None
    """The kind of fault that made it necessary."""
    attempt: AttemptRef | None = None
    """The attempt that failed."""
    depth: int = 0
    """How many delegations lie above this one."""
    catalogue: str | None = None
    """The version of the catalogue and its prices."""
    took_s: float | None = None
    """CPU time of the routing itself."""

    def __post_init__(self) -> None:
        """The choice could be drawn, and the propensities are a distribution."""
        places = range(len(self.candidates))
        for name, given in (("hedge", (self.hedge,)), ("shadows", self.shadows), ("order", self.order)):
            expect(all(p is None or p in places for p in given), name, "a place in candidates")
        expect(self.luck is None or 0.0 <= self.luck < 1.0, "luck", "in [0, 1)")
        expect(0.0 <= self.exploration <= 1.0, "exploration", "between 0 and 1")
        if self.choice is None:
            return
        expect(self.choice in places, "choice", "a place in candidates")
        chosen = self.candidates[self.choice]
        expect(chosen.eligible and chosen.propensity > 0.0, "choice", "an eligible candidate that could be drawn")
        total = sum(c.propensity for c in self.candidates)
        expect(abs(total - 1.0) <= _SLACK * max(1, len(self.candidates)), "candidates", "propensities have the sum 1")

    @property
    def chosen(self) -> Candidate | None:
        """The candidate that was chosen."""
        return None if self.choice is None else self.candidates[self.choice]
