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

_SAID = 0.0005
"""A share that is read as more than nothing."""
LITTLE, MUCH = 0.01, 0.05
"""The part of a measure that is not known above which nothing is claimed, and above which nothing is said."""


class Astray(NamedTuple):
    """Of a policy's asks, those that would go on otherwise than is on record."""

    share: float
    adds: float = 0.0
    """What they may add to the measure, where it has no bounds, as a share of it."""
    raced: float = 0.0
    """Of these, the share that would be hedged, or not, otherwise than it was."""
    unknown: float = 0.0
    """By how much the measure may be off for them, in its unit; an interval must be so much wider."""

    @property
    def worst(self) -> float:
        """The part that is not known."""
        return max(self.share, self.adds)

    def says(self) -> str:
        """For a reader."""
        adds = f"may add {self.adds:.0%}" if math.isfinite(self.adds) else "add nobody knows what"
        if self.share == 0.0:
            return f"no ask is on record that went on by its rules, and a few of those {adds}"
        gone = max(0.0, self.share - self.raced)
        asks = list[str]()
        if self.raced:
            asks.append(f"{self.raced:.1%} of its asks would be hedged, or not, otherwise than they were")
        if gone >= _SAID or not asks:
            after = "after a call that failed or was turned down"
            asks.append(f"{after}, {gone:.1%} of its asks would go on otherwise than they did")
        return "; ".join(asks) + (f", which {adds}" if self.adds > self.share else "")


def astray_of(w: Weighed, measure: Measure, unseen: float = 0.0) -> Astray:
    """As far as the policy's choices are those that were logged. `unseen` is the share of asks that may go on by its
    own rules without one that did being on record; where there is one, those stand for it.
    """
    weight = w.weight
    total = float(weight.sum()) if len(w) else 0.0
    if total <= 0.0:
        return Astray(0.0)
    mean = float((weight * np.nan_to_num(w.outcomes[measure])).sum()) / total
    raced = float((weight * w.raced).sum()) / total
    return _astray(w, measure, weight * w.otherwise / total, mean, weight * unseen / total)._replace(raced=raced)


def astray_beside(w: Weighed, rows: Sequence[Logged], measure: Measure, mean: float, unseen: float = 0.0) -> Astray:
    """Where shadows say what comes of the policy's own choices, `mean` of an ask: after a call of theirs that failed or
    was turned down it would have gone on. `w` are the same rows.
    """
    p = pairs(w, shadows_of(rows, w, Measure.ANSWERED), Measure.ANSWERED)
    weight = np.where(p.paired, p.differs, 0.0)
    total = float(weight.sum())
    failed = weight * (1.0 - p.other) * (float(p.differs.sum()) / total if total > 0.0 else 0.0)
    parts = ((1.0 - p.differs) * w.otherwise + failed) / len(w)
    return _astray(w, measure, parts, mean, np.full(len(w), unseen / len(w)))


def _astray(w: Weighed, measure: Measure, parts: Array, mean: float, unseen: Array) -> Astray:
    """`parts` (n,) are the shares of all asks that rows stand for, `unseen` those that may go on without being on
    record; `mean` is what is known of an ask.
    """
    share = float(parts.sum())
    if measure.bounded:
        return Astray(share, unknown=share)
    shown = bool((w.moved & (w.apart < 1.0) & (w.weight > 0.0)).any())
    adds = _most(w, measure, parts if shown else parts + unseen)
    return Astray(share, adds / mean if mean > 0.0 else math.inf if adds else 0.0, adds)


def _most(w: Weighed, measure: Measure, parts: Array) -> float:
    """What as many asks may come to by the dearest, or slowest, of those who were considered: by what was expected of
    them, as far as that came true of those who were chosen. Infinite where nobody knows.
    """
    some = parts > 0.0
    if not some.any():
        return 0.0
    most = np.max(np.nan_to_num(w.predictions[measure][some], nan=-np.inf), axis=1)
    expected, came = w.at_choice(w.predictions[measure]), w.outcomes[measure]
    both = np.isfinite(expected) & np.isfinite(came)
    true = float(came[both].sum()) / float(expected[both].sum()) if float(expected[both].sum()) > 0.0 else 1.0
    return float((parts[some] * np.where(np.isfinite(most), most, np.inf)).sum()) * true
