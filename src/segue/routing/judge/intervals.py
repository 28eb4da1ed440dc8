"""95% intervals that cover for sums over few, unequal and skewed clusters.

A statistic is a smooth function of the totals of per-cluster columns. Its interval is made of:

- the leave-one-cluster-out jackknife, which is the CR3 sandwich for ratios: cluster-robust, and wide where one cluster
  has much leverage (Bell and McCaffrey 2002; MacKinnon, Nielsen and Webb 2023);
- Student's t with Satterthwaite's degrees of freedom, from the spread of the squared influences themselves;
- Hall's cubic transformation, which removes the first-order effect of skewness (Hall 1992, J. R. Statist. Soc. B 54):
  costs and heavy weights are skewed, and a symmetric interval misses above. The hull of both is taken: each alone was
  measured below 93% at an effective sample of 30 to 100;
- on either side the most influential cluster counted once more: the next like it may just not have been seen;
- for shares instead of these two (for their differences, and IPS: beside them), pseudo-clusters as in Agresti and Coull
  (1998), so that "none failed" is no certainty.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]
"""Totals (..., k) to values (...); NaN or infinite where they do not define it."""

_MANY = 1e5
_IN_HAND = 0.2
"""The share of the error that is not used: 95% is computed as 96%, so that the promise does not hang on luck."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """An estimate with its interval. `se` is the cluster-robust standard error, `df` its degrees of freedom."""

    value: float
    low: float
    high: float
    se: float
    df: float

    def holds(self, truth: float) -> bool:
        """Whether it covers a value (to rounding)."""
        slack = 1e-9 * max(1.0, abs(truth))
        return self.low - slack <= truth <= self.high + slack

    def joined(self, other: Interval) -> Interval:
        """The hull of two intervals of one value."""
        low, high = min(self.low, other.low), max(self.high, other.high)
        return Interval(value=self.value, low=low, high=high, se=max(self.se, other.se), df=min(self.df, other.df))

    def widened(self, by: float) -> Interval:
        """The same with so much more on either side, that nobody knows of."""
        return Interval(value=self.value, low=self.low - by, high=self.high + by, se=self.se, df=self.df)

    def clipped(self, low: float, high: float) -> Interval:
        """The same within what the measure can be."""
        value, bottom, top = (min(max(v, low), high) for v in (self.value, self.low, self.high))
        return Interval(value=value, low=bottom, high=top, se=self.se, df=self.df)


def kish(weights: Array) -> float:
    """The effective sample size of weights: how many equal ones would be as good. 0 for none."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0.0 else 0.0


def interval(statistic: Statistic, totals: Array, level: float = 0.95) -> Interval:
    """The interval of a statistic of column totals; `totals` is (clusters, k).

    Its ends are infinite where the clusters do not suffice: fewer than two, or one without which the statistic is not
    defined.
    """
    value, influence = _jackknife(statistic, totals)
    if len(totals) < 2 or not bool(np.isfinite(influence).all()):
        return Interval(value=value, low=-math.inf, high=math.inf, se=math.inf, df=0.0)
    if not influence.any():
        return Interval(value=value, low=value, high=value, se=0.0, df=float(len(totals) - 1))
    below, se_below, df_below = _stretch(-influence, level)
    above, se_above, df_above = _stretch(influence, level)
    se, df = max(se_below, se_above), min(df_below, df_above)
    return Interval(value=value, low=value - below, high=value + above, se=se, df=df)


def share_interval(
    statistic: Statistic, totals: Array, pseudo: Array, effective_clusters: float, level: float = 0.95
) -> Interval:
    """The same for means of yes and no: that of the totals and pseudo-clusters together, widened to hold the value.

    Skewness is not corrected beside: it is that of a binomial, which the pseudo-clusters are made for.
    """
    value, _ = _jackknife(statistic, totals)
    centre, influence = _jackknife(statistic, np.vstack([totals, pseudo]))
    df = effective_clusters - 1.0
    if len(totals) < 2 or df <= 0.0 or not bool(np.isfinite(influence).all()):
        return Interval(value=value, low=-math.inf, high=math.inf, se=math.inf, df=0.0)
    se = math.sqrt(float((influence**2).sum()))
    low, high = centre - _reach(level, df) * se, centre + _reach(level, df) * se
    return Interval(value=value, low=min(low, value), high=max(high, value), se=se, df=df)


def _jackknife(statistic: Statistic, totals: Array) -> tuple[float, Array]:
    """The value, and by how much each cluster moves it."""
    whole = totals.sum(axis=0)
    value = statistic(whole)
    return float(value), value - statistic(whole - totals)


def _reach(level: float, df: float) -> float:
    return t_quantile(1.0 - (1.0 - level) * (1.0 - _IN_HAND) / 2.0, df)


def _stretch(influence: Array, level: float) -> tuple[float, float, float]:
    """How far the interval reaches to the side where influences are positive; its standard error, its df."""
    largest = float(np.abs(influence).max())
    e = np.append(influence, influence.max()) / largest
    second, third, fourth = (float((e**k).sum()) for k in (2, 3, 4))
    spread, n = fourth / second**2 - 1.0 / len(e), len(influence)
    df = n - 1.0 if spread <= 0.0 else min(n - 1.0, 2.0 / spread)
    se, reach = math.sqrt(second) * largest, _reach(level, df)
    return se * max(reach, -_untwisted(-reach, third / second**1.5)), se, df


def _untwisted(y: float, skew: float) -> float:
    """Hall's inverse: the studentised value whose transform is `y`, under skewness `skew` (of the sum, not a term)."""
    if abs(skew) < 1e-6:
        return y
    inner = 1.0 + skew * (y - skew / 6.0)
    return 3.0 / skew * (math.copysign(abs(inner) ** (1.0 / 3.0), inner) - 1.0)


def t_quantile(p: float, df: float) -> float:
    """The p-quantile (p above one half) of Student's t, for any df above 0; normal beyond a hundred thousand."""
    return _t_quantile(p, round(df, 2) if df < 100.0 else float(round(min(df, _MANY))))


@lru_cache(maxsize=4096)
def _t_quantile(p: float, df: float) -> float:
    low, high = 0.0, 1e3
    for _ in range(45):
        middle = (low + high) / 2.0
        below = 1.0 - 0.5 * _beta(df / 2.0, 0.5, df / (df + middle * middle)) < p
        low, high = (middle, high) if below else (low, middle)
    return high


def _beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function (Numerical Recipes, 6.4)."""
    if x >= 1.0:
        return 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(a, b, x) / a
    return 1.0 - front * _fraction(b, a, 1.0 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    c, d = 1.0, 1.0 / _nonzero(1.0 - (a + b) * x / (a + 1.0))
    h = d
    for m in range(1, 1000):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        before = h
        for step in (even, odd):
            d, c = 1.0 / _nonzero(1.0 + step * d), _nonzero(1.0 + step / c)
            h *= d * c
        if abs(h - before) <= 1e-14 * abs(h):
            break
    return h


def _nonzero(x: float) -> float:
    return x if abs(x) > 1e-300 else 1e-300
