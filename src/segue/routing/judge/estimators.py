"""What another policy would have got: IPS, SNIPS and doubly robust over propensities, or differences to shadows.

Each is a ratio of sums over clusters; the interval follows from the clusters' totals. Beside the value stands the
difference to what was logged on the same rows, which is much better known where the two policies often agree.

- IPS (Horvitz and Thompson 1952): mean of w·y. Unbiased, wide.
- SNIPS (Hájek; Swaminathan and Joachims 2015): sum of w·y over sum of w.
- Doubly robust (Dudík, Langford and Li 2011): mean of q(target) + w·(y − q(choice)).
- Shadow pairs: what was logged, plus the share of rows where the target differs, times the mean difference between
  shadow and choice on those of them that have a shadow. It needs no chance, but that shadows were asked irrespective of
  what came of the choice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from .fitted import cross_fitted, within_seen
from .intervals import Array, Interval, Statistic, interval, kish, share_interval
from .rows import Measure
from .weighed import Weighed

_LIMITS = (0.0, 4.0, 16.0, 64.0, 256.0, 1024.0)
_MATTERS = 0.1
_PSEUDO = 2.0
"""Pseudo-successes, and as many pseudo-failures (half of 1.96 squared): Agresti and Coull 1998."""


class Estimator(StrEnum):
    """How a value was come to."""

    IPS = "ips"
    SNIPS = "snips"
    DR = "dr"
    SHADOWS = "shadow pairs"
    MODELS = "models"
    """What the models expect, and nothing else: no experiment stands behind it."""


WEIGHING = (Estimator.IPS, Estimator.SNIPS, Estimator.DR)


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One estimate of one measure: the policy's mean per ask, and its difference to what was logged."""

    estimator: Estimator
    value: Interval
    difference: Interval

    def widened(self, by: float, measure: Measure) -> Figure:
        """The same where so much of it is not known at all, within what the measure can be."""
        if by <= 0.0:
            return self
        value = _within(self.value.widened(by), measure, difference=False)
        return replace(self, value=value, difference=_within(self.difference.widened(by), measure, difference=True))


def design_effect(w: Weighed, measure: Measure) -> float:
    """By how much clusters widen the variance of the weighted mean, at least 1: asks of one run are no news each.

    Where all outcomes are alike it cannot be seen; then a run counts as one.
    """
    weight, y = w.weight, w.outcomes[measure]
    total = float(weight.sum())
    if total <= 0.0:
        return 1.0
    e = weight * (y - float((weight * y).sum()) / total)
    alone = float((e**2).sum())
    if alone <= 1e-18 * float((weight * y).sum()) ** 2 or alone == 0.0:
        return max(1.0, kish(weight) / max(1.0, kish(w.sums(weight)[:, 0])))
    return max(1.0, float((w.sums(e)[:, 0] ** 2).sum()) / alone)


def effective_expected(w: Weighed) -> float:
    """The effective sample that the chances alone lead one to expect, whatever was drawn."""
    ratio = np.divide(w.target, w.logged, out=np.zeros_like(w.target), where=w.logged > 0.0)
    squares = float((w.target * ratio).sum())
    return float(w.target[w.logged > 0.0].sum()) ** 2 / squares if squares > 0.0 else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Choices to be expected, effectively, that agree with the target where it differs most from the log."""

    count: float
    weight: float
    """Of one of them."""


def agreement(w: Weighed) -> Agreement:
    """How much there is where the target differs most from the log.

    A mean effective sample hides it: where nine asks of ten go as ever and the tenth to one that is hardly explored,
    hundreds of effective rows may hold three choices of that kind, or none. So, among the (row, candidate) cells whose
    weight is above each of some limits, Kish's number is computed from the chances alone (no luck of the draw), and the
    least counts; cells that together matter neither for the value nor for the change are passed over.
    """
    ratio = np.divide(w.target, w.logged, out=np.zeros_like(w.target), where=w.logged > 0.0)
    moved = float(np.abs(w.target - w.logged).sum()) / 2.0 / max(1, len(w))
    least = Agreement(count=math.inf, weight=1.0)
    matters = 0.0
    for limit in _LIMITS:
        heavy = ratio > limit
        mass, squares = float(w.target[heavy].sum()), float((w.target * ratio)[heavy].sum())
        if squares <= 0.0 or mass <= matters * len(w):
            continue
        found = Agreement(count=mass**2 / squares, weight=squares / mass)
        least = found if found.count < least.count else least
        matters = matters or _MATTERS * min(1.0 / math.sqrt(max(1.0, found.count)), moved)
    return least if math.isfinite(least.count) else Agreement(count=0.0, weight=1.0)


def known(w: Weighed, measure: Measure) -> Weighed:
    """The rows whose outcome is known."""
    return w.only(np.isfinite(w.outcomes[measure]))


def expected(w: Weighed, measure: Measure) -> Array:
    """(n, K) the models' predictions, where they are complete for what either policy could choose, else cross-fitted.

    With 100 rows or more they are fitted anew in any case, with the old prediction as a feature: an old bias goes.
    """
    given = w.predictions[measure]
    needed = (w.target > 0.0) | (w.logged > 0.0)
    if len(w) < 100 and bool(np.isfinite(given[needed]).all()):
        return np.where(needed, within_seen(w, measure, np.where(needed, given, 0.0)), 0.0)
    return cross_fitted(w, measure)


def weighted(w: Weighed, measure: Measure, estimator: Estimator, level: float = 0.95) -> Figure:
    """IPS, SNIPS or DR of rows with propensities and known outcomes."""
    y, weight, one = w.outcomes[measure], w.weight, np.ones(len(w))
    if estimator is Estimator.DR:
        q = expected(w, measure)
        top, bottom = (w.target * q).sum(axis=1) + weight * (y - w.at_choice(q)), one
    else:
        top, bottom = weight * y, (weight if estimator is Estimator.SNIPS else one)
    totals = w.sums(top, bottom, y, one)

    def value(t: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return t[..., 0] / t[..., 1]

    def difference(t: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return t[..., 0] / t[..., 1] - t[..., 2] / t[..., 3]

    pseudo = _pseudo(w, measure, estimator, totals.sum(axis=0)) if _is_share(measure, y) else None
    runs = kish(w.sums(weight)[:, 0])

    def found(statistic: Statistic) -> Interval:
        plain = interval(statistic, totals, level)
        if pseudo is None:
            return plain
        more = pseudo if statistic is value else np.vstack([pseudo, _pseudo_dropped(w, measure, estimator, pseudo)])
        share = share_interval(statistic, totals, more, runs, level)
        # Neither the number of choices that happen to agree (IPS) nor a difference is a mean of yes and no alone.
        return share if statistic is value and estimator is not Estimator.IPS else share.joined(plain)

    return Figure(
        estimator=estimator,
        value=_within(found(value), measure, difference=False),
        difference=_within(found(difference), measure, difference=True),
    )


def _within(found: Interval, measure: Measure, *, difference: bool) -> Interval:
    """Shares lie between 0 and 1; cost and latency are not negative."""
    top = 1.0 if measure.bounded else np.inf
    return found.clipped(-top if difference else 0.0, top)


def _is_share(measure: Measure, y: Array) -> bool:
    """Whether outcomes are mostly yes or no: then "no failure seen" must not pass for "none is possible"."""
    return measure.bounded and bool(((y == 0.0) | (y == 1.0)).mean() >= 0.5)


def _pseudo(w: Weighed, measure: Measure, estimator: Estimator, whole: Array) -> Array:
    """(4, 4): two pseudo-clusters with the outcome 1 and two with 0, each as heavy as an effective row is at most.

    They change a column of totals so that the estimate moves as Agresti and Coull's does, whatever the estimator.
    """
    total = float(w.weight.sum())
    heavy = design_effect(w, measure) * max(agreement(w).weight, total / max(1.0, kish(w.weight)))
    mean = whole[0] / whole[1] if whole[1] else 0.5
    base = heavy * whole[1] / total if total > 0.0 else 0.0
    rows = [(base * mean + heavy * (outcome - mean), base, 0.0, 0.0) for outcome in (0.0, 1.0)]
    if estimator is not Estimator.DR:
        rows = [(heavy * outcome, base, 0.0, 0.0) for outcome in (0.0, 1.0)]
    return np.repeat(np.array(rows), int(_PSEUDO), axis=0)


def _pseudo_dropped(w: Weighed, measure: Measure, estimator: Estimator, pseudo: Array) -> Array:
    """(4, 4): for differences, the same of rows that the target would have nothing of (their weight is 0)."""
    heavy = design_effect(w, measure)
    mean = float(pseudo[:, 0].sum() / pseudo[:, 1].sum()) if estimator is Estimator.DR else 0.0
    bottom = 0.0 if estimator is Estimator.SNIPS else 1.0
    return heavy * np.array([(mean, bottom, outcome, 1.0) for outcome in (0.0, 0.0, 1.0, 1.0)])


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Rows beside their shadows.

    `differs` (n,) is the target's chance of another than the choice, `paired` (n,) says whether all of those were asked
    on the side, `other` (n,) is the target's expected outcome among them.
    """

    w: Weighed
    differs: Array
    paired: NDArray[np.bool_]
    other: Array
    effective: float
    """How many pairs, effectively: clusters taken into account."""
    runs: float
    """How many clusters they come from, effectively."""


def pairs(w: Weighed, beside: Array, measure: Measure) -> Pairs:
    """What shadows say; `beside` (n, K) is what came of those who answered on the side, NaN for all others."""
    elsewhere = w.target.copy()
    elsewhere[np.arange(len(w)), w.choice] = 0.0
    differs = np.clip(1.0 - w.at_choice(w.target), 0.0, 1.0)
    differs = np.where(differs < 1e-9, 0.0, differs)
    asked = np.where(np.isfinite(beside), elsewhere, 0.0).sum(axis=1)
    paired = (differs > 0.0) & (asked >= differs - 1e-6) & np.isfinite(w.outcomes[measure])
    with np.errstate(divide="ignore", invalid="ignore"):
        other = np.where(paired, np.nansum(elsewhere * beside, axis=1) / differs, 0.0)
    weight = np.where(paired, differs, 0.0)
    gap = np.where(paired, other - w.outcomes[measure], 0.0)
    e = weight * (gap - float((weight * gap).sum()) / max(float(weight.sum()), 1e-300))
    alone = float((e**2).sum())
    effect = max(1.0, float((w.sums(e)[:, 0] ** 2).sum()) / alone) if alone > 0.0 else 1.0
    runs = kish(w.sums(weight)[:, 0])
    effective = kish(weight) / effect if alone > 0.0 else runs
    return Pairs(w=w, differs=differs, paired=paired, other=other, effective=effective, runs=runs)


def shadowed(p: Pairs, measure: Measure, level: float = 0.95) -> Figure:
    """The estimate from shadow pairs. Where the target never differs from what was logged, it is what was logged."""
    y = np.nan_to_num(p.w.outcomes[measure])
    seen = np.isfinite(p.w.outcomes[measure]).astype(np.float64)
    weight = np.where(p.paired, p.differs, 0.0)
    totals = p.w.sums(y, seen, p.differs, np.ones(len(y)), weight * (p.other - y), weight)

    def difference(t: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(t[..., 2] > 0.0, t[..., 2] / t[..., 3] * (t[..., 4] / t[..., 5]), 0.0)

    def value(t: Array) -> Array:
        return t[..., 0] / t[..., 1] + difference(t)

    pseudo = _pseudo_pairs(weight, p.effective) if _is_share(measure, y[seen > 0.0]) else None

    def found(statistic: Statistic) -> Interval:
        if pseudo is None:
            return interval(statistic, totals, level)
        return share_interval(statistic, totals, pseudo, p.runs, level)

    return Figure(
        estimator=Estimator.SHADOWS,
        value=_within(found(value), measure, difference=False),
        difference=_within(found(difference), measure, difference=True),
    )


def _pseudo_pairs(weight: Array, effective: float) -> Array | None:
    """(4, 6): pseudo-pairs in which only one of the two is right, each way, as in Agresti and Min (2005)."""
    heavy = float(weight.sum()) / max(1.0, effective)
    if heavy <= 0.0:
        return None
    gaps = (1.0, 1.0, -1.0, -1.0)
    return np.array([(0.0, 0.0, 0.0, 0.0, heavy * gap / 2.0, heavy) for gap in gaps])


def by_models(w: Weighed, measure: Measure) -> tuple[float, float]:
    """What the models expect of the target, and by how much they were wrong about what was logged (mean of y − q).

    No interval: none is known. NaN where they say nothing of what the target would choose.
    """
    q, y = w.predictions[measure], w.outcomes[measure]
    needed = w.target > 0.0
    whole = np.isfinite(np.where(needed, q, 0.0)).all(axis=1) & (w.target.sum(axis=1) > 1.0 - 1e-6)
    value = float(np.where(needed, w.target * q, 0.0)[whole].sum(axis=1).mean()) if whole.mean() > 0.95 else np.nan
    off = (y - w.at_choice(q))[np.isfinite(y - w.at_choice(q))]
    return value, float(off.mean()) if len(off) else np.nan


def logged_mean(w: Weighed, measure: Measure) -> float:
    """The mean of what was logged; NaN where nothing is known."""
    y = w.outcomes[measure]
    return float(np.nanmean(y)) if bool(np.isfinite(y).any()) else np.nan
