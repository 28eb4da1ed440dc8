"""Rows and a target policy as arrays: what estimators compute on. Places of candidates are padded to the widest row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segue.core.records import Sampling

from .intervals import Array, kish
from .rows import Logged, Measure, Onward, Target, chances

Places = NDArray[np.int64]
_GROWS = 0.1
"""Below so much a number of keys is taken not to grow."""


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """n rows with K places each. Padding has the arm -1 and the chance 0."""

    cluster: Places
    """(n,) numbers from 0 without gaps."""
    arms: Places
    """(n, K) which candidate, numbered over all rows."""
    target: Array
    """(n, K) chances under the policy to be judged."""
    logged: Array
    """(n, K) chances under the policies that chose; 1 for the choice where they are no chances."""
    choice: Places
    """(n,) the place that was chosen."""
    outcomes: Mapping[Measure, Array]
    """(n,) each; NaN is unknown."""
    predictions: Mapping[Measure, Array]
    """(n, K) each; NaN is unknown."""
    features: Array
    """(n, d); d may be 0."""
    samples: Array
    """(n,) draws behind estimated propensities; infinite where they are exact."""
    apart: Array
    """(n,) the target's chance to go on from the choice otherwise than was logged."""
    raced: Array
    """(n,) the target's chance to hedge, or not, otherwise than was logged."""
    moved: NDArray[np.bool_]
    """(n,) whether the ask went on to somebody else."""
    exploration: float = 0.0
    """The mean share that the logging policies explored with."""
    keyed: bool = False
    """Whether the clusters are keys of a sticky split, and no runs."""

    def __len__(self) -> int:
        return len(self.choice)

    @property
    def clusters(self) -> int:
        """How many there are."""
        return int(self.cluster.max()) + 1 if len(self) else 0

    @property
    def growth(self) -> float:
        """How much further asks add to the clusters, effectively, beside what as many of these have added: 1 of runs, 0
        where asks come from the same few keys, or one has most of them. By the later half of the rows.
        """
        half = len(self) // 2
        if not self.keyed or not half:
            return 1.0
        early, late = (kish(np.bincount(self.cluster[:n]).astype(np.float64)) for n in (half, len(self)))
        grown = (late - early) / (late * (1.0 - half / len(self)))
        return 0.0 if grown < _GROWS else min(1.0, grown)

    @property
    def dealt(self) -> bool:
        """Whether what was drawn was drawn by splits alone: nothing is explored with."""
        return not self.exploration and bool(((self.logged > 0.0) & (self.logged < 1.0)).any())

    def at_choice(self, columns: Array) -> Array:
        """(n, K) to (n,): the column of what was chosen."""
        return columns[np.arange(len(self)), self.choice]

    @property
    def weight(self) -> Array:
        """(n,) importance weights: the target's chance of what was chosen over the chance it had."""
        return self.at_choice(self.target) / self.at_choice(self.logged)

    @property
    def otherwise(self) -> Array:
        """(n,) the target's chance that an ask would have gone otherwise than was logged after its choice."""
        return 1.0 - (1.0 - self.apart) * (1.0 - self.raced)

    @property
    def unreached(self) -> Array:
        """(n,) the target's chance of what could not have been chosen: nothing is known of it."""
        return np.clip(1.0 - np.where(self.logged > 0.0, self.target, 0.0).sum(axis=1), 0.0, 1.0)

    def only(self, mask: NDArray[np.bool_]) -> Weighed:
        """Some of the rows, clusters numbered anew."""
        _, cluster = np.unique(self.cluster[mask], return_inverse=True)
        return Weighed(
            cluster=cluster.astype(np.int64),
            arms=self.arms[mask],
            target=self.target[mask],
            logged=self.logged[mask],
            choice=self.choice[mask],
            outcomes={m: y[mask] for m, y in self.outcomes.items()},
            predictions={m: q[mask] for m, q in self.predictions.items()},
            features=self.features[mask],
            samples=self.samples[mask],
            apart=self.apart[mask],
            raced=self.raced[mask],
            moved=self.moved[mask],
            exploration=self.exploration,
            keyed=self.keyed,
        )

    def sums(self, *columns: Array) -> Array:
        """(n,) columns to (clusters, k) sums per cluster."""
        per = (np.bincount(self.cluster, column, minlength=self.clusters) for column in columns)
        return np.column_stack([np.asarray(sums, dtype=np.float64) for sums in per])


def weigh(
    rows: Sequence[Logged], target: Target, onward: Onward | None = None, hedged: Onward | None = None
) -> Weighed:
    """Rows beside a target policy. Raises InputError where its chances are no distribution.

    Which rows may be weighed is the caller's to see to (`Logged.weighable`): of others, the choice has the chance 1.
    """
    n, width = len(rows), max((len(row.candidates) for row in rows), default=0)
    dims = min((len(row.features) for row in rows), default=0)
    clusters = _numbered([row.cluster for row in rows])
    names = _numbered([name for row in rows for name in row.candidates])
    arms = np.full((n, width), -1, dtype=np.int64)
    given, had = np.zeros((n, width)), np.zeros((n, width))
    predicted = {m: np.full((n, width), np.nan) for m in Measure}
    for i, row in enumerate(rows):
        k = len(row.candidates)
        arms[i, :k] = [names[name] for name in row.candidates]
        given[i, :k] = chances(target, row)
        if row.weighable:
            had[i, :k] = row.propensities
        else:
            had[i, row.choice] = 1.0
        for m in Measure if row.predictions else ():
            predicted[m][i, :k] = [p.of(m) for p in row.predictions]
    return Weighed(
        cluster=np.array([clusters[row.cluster] for row in rows], dtype=np.int64),
        arms=arms,
        target=given,
        logged=had,
        choice=np.array([row.choice for row in rows], dtype=np.int64),
        outcomes={m: np.array([row.outcome.of(m) for row in rows], dtype=np.float64) for m in Measure},
        predictions=predicted,
        features=np.array([row.features[:dims] for row in rows], dtype=np.float64).reshape(n, dims),
        samples=np.array([_samples(row) for row in rows], dtype=np.float64),
        apart=np.array([1.0 - onward(row) if onward and row.moves else 0.0 for row in rows], dtype=np.float64),
        raced=np.array([1.0 - hedged(row) if hedged and row.calls else 0.0 for row in rows], dtype=np.float64),
        moved=np.array([bool(row.moves) for row in rows], dtype=np.bool_),
        exploration=sum(row.exploration for row in rows) / max(1, n),
        keyed=n > 0 and all(row.cluster.startswith("split:") for row in rows),
    )


def shadows_of(rows: Sequence[Logged], w: Weighed, measure: Measure) -> Array:
    """(n, K) what came of those who answered on the side, NaN for all others; `w` are the same rows, in that order."""
    beside = np.full(w.target.shape, np.nan)
    for i, row in enumerate(rows):
        for place, outcome in row.shadows.items():
            beside[i, place] = outcome.of(measure)
    return beside


def _samples(row: Logged) -> float:
    return float(row.samples or 1) if row.sampling is Sampling.ESTIMATED else np.inf


def _numbered(names: Sequence[str]) -> dict[str, int]:
    return {name: i for i, name in enumerate(dict.fromkeys(names))}
