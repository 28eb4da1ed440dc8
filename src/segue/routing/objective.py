"""What a policy wants of those who can answer: a score for each, who keeps its bounds, and an order. Pure.

A bound on quality is soft unless it is strict, since a quality is only predicted: where nobody reaches it, the best
there is comes first. Bounds on cost and latency are promises: who breaks them is excluded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..core.records import Stage
from .arrays import Flags, Rows, Vector
from .eligible import Exclusion
from .policies import Goal, Ranked, Weighted
from .types import Predictions

__all__ = ["Ranking", "bounded", "rank"]


class Ranking(NamedTuple):
    """All candidates under an objective, arrays in their order."""

    score: Vector
    """More is better, among those who fit: what is recorded."""
    slope: float
    """How much of the score a point of quality is: what doubt about quality comes to."""
    fits: Flags
    """Whose predicted quality reaches the bound."""
    floor: float
    """The bound."""
    quality: Vector
    """As it counts here: the mean, less the caution."""
    order: Rows
    """From the first choice to the last."""


def bounded(policy: Ranked, expected: Predictions) -> dict[int, Exclusion]:
    """Who breaks a promise, by place, and why."""
    broken: dict[int, Exclusion] = {}
    if policy.cost_usd_max is not None:
        for at in np.flatnonzero(~(expected.cost.mean <= policy.cost_usd_max)).tolist():
            cost = expected.cost.mean[at]
            said = "no price is known" if np.isnan(cost) else f"it is expected to cost {cost:.6f} USD"
            broken[at] = Exclusion(Stage.POLICY, f"{said}, at most {policy.cost_usd_max:g} are allowed")
    if policy.latency_s_max is not None:
        for at in np.flatnonzero(~(expected.latency.mean <= policy.latency_s_max)).tolist():
            said = f"it is expected to take {expected.latency.mean[at]:.2f} s"
            broken.setdefault(at, Exclusion(Stage.POLICY, f"{said}, at most {policy.latency_s_max:g} are allowed"))
    if policy.strict:
        for at in np.flatnonzero(cautious(policy, expected) < policy.quality_min).tolist():
            said = f"its quality is expected to be {expected.quality.mean[at]:.2f}"
            broken.setdefault(at, Exclusion(Stage.POLICY, f"{said}, at least {policy.quality_min:g} is wanted"))
    return broken


def cautious(policy: Ranked, expected: Predictions) -> Vector:
    """The quality that can be counted on."""
    return expected.quality.mean - policy.caution * expected.quality.sd


def rank(policy: Ranked, expected: Predictions) -> Ranking:
    """The candidates under the policy's objective."""
    quality = cautious(policy, expected)
    cost, latency = _filled(expected.cost.mean), expected.latency.mean
    if isinstance(policy, Weighted):
        score = policy.per_quality * quality - policy.per_usd * cost - policy.per_s * latency
        slope = policy.per_quality
    else:
        score = {Goal.CHEAPEST: -cost, Goal.FASTEST: -latency, Goal.BEST: quality}[policy.goal]
        slope = 1.0 if policy.goal is Goal.BEST else 0.0
    fits = quality >= policy.quality_min
    # Among equals the better, then the cheaper, then the faster one; who does not reach the bound comes by quality.
    order = np.lexsort((latency, cost, -quality, -np.where(fits, score, 0.0), np.where(fits, -np.inf, -quality), ~fits))
    return Ranking(score, slope, fits, policy.quality_min, quality, order)


def _filled(cost: Vector) -> Vector:
    """A price that is not known counts as the highest that is."""
    unknown = np.isnan(cost)
    if not unknown.any():
        return cost
    return np.where(unknown, np.nanmax(cost) if not unknown.all() else 0.0, cost)
