"""How much of what a policy would come to is not on record: what follows a first call that did not do. Pure.

An ask goes on after a call that failed or was turned down. Where the policy would go on to somebody else than the ask
did, nobody knows what came of that: of quality and answers it is as much as the share of such asks; what they may add
to cost or time has no such bound, so there the dearest, or slowest, of those who were considered counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .estimators import pairs
from .intervals import Array
from .rows import Logged, Measure
from .weighed import Weighed, shadows_of

__all__ = ["LITTLE", "MUCH", "Astray", "astray_beside", "astray_of"]

LITTLE, MUCH = 0.01, 0.05
"""The part of a measure that is not known above which nothing is claimed, and above which nothing is said."""


class Astray(NamedTuple):
    """Of a policy's asks, those that would go on otherwise than is on record."""

    share: float
    adds: float = 0.0
    """What they may add to the measure, where it has no bounds, as a share of it."""

    @property
    def worst(self) -> float:
        """The part that is not known."""
        return max(self.share, self.adds)

    def says(self) -> str:
        """For a reader."""
        adds = f"may add {self.adds:.0%}" if math.isfinite(self.adds) else "add nobody knows what"
        if self.share == 0.0:
            return f"no ask is on record that went on by its rules, and a few of those {adds}"
        asks = f"after a call that failed or was turned down, {self.share:.1%} of its asks would go on otherwise"
        return f"{asks} than they did" + (f", which {adds}" if self.adds > self.share else "")


def astray_of(w: Weighed, measure: Measure, unseen: float = 0.0) -> Astray:
    """As far as the policy's choices are those that were logged. `unseen` is the share of asks that may go on by its
    own rules without one that did being on record; where there is one, those stand for it.
    """
    weight = w.weight
    total = float(weight.sum()) if len(w) else 0.0
    if total <= 0.0:
        return Astray(0.0)
    mean = float((weight * np.nan_to_num(w.outcomes[measure])).sum()) / total
    parts = weight * w.apart / total
    shown = bool((w.moved & (w.apart < 1.0) & (weight > 0.0)).any())
    found = _astray(w, measure, parts, mean)
    if measure.bounded or shown or not unseen:
        return found
    return found._replace(adds=_astray(w, measure, parts + unseen * weight / total, mean).adds)


def astray_beside(w: Weighed, rows: Sequence[Logged], measure: Measure, mean: float) -> Astray:
    """Where shadows say what comes of the policy's own choices, `mean` of an ask: after a call of theirs that failed or
    was turned down it would have gone on. `w` are the same rows.
    """
    p = pairs(w, shadows_of(rows, w, Measure.ANSWERED), Measure.ANSWERED)
    weight = np.where(p.paired, p.differs, 0.0)
    total = float(weight.sum())
    failed = weight * (1.0 - p.other) * (float(p.differs.sum()) / total if total > 0.0 else 0.0)
    return _astray(w, measure, ((1.0 - p.differs) * w.apart + failed) / len(w), mean)


def _astray(w: Weighed, measure: Measure, parts: Array, mean: float) -> Astray:
    """`parts` (n,) are the shares of all asks that rows stand for; `mean` is what is known of an ask."""
    some, share = parts > 0.0, float(parts.sum())
    if not some.any() or measure.bounded:
        return Astray(share)
    most = np.max(np.nan_to_num(w.predictions[measure][some], nan=-np.inf), axis=1)
    most = np.where(np.isfinite(most), most, np.inf)  # nobody knows
    return Astray(share, float((parts[some] * most).sum()) / mean if mean > 0.0 else math.inf)
