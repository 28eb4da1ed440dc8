"""How far a prediction is believed, by how much the request is like what was learned from.

Learned twice over on the training rows: as if each row were new (left out alone), and as if the whole neighbourhood of
it were (left out with its cluster). Both give pairs of what would have been said and what was true, at some likeness;
where the two do not go together, a prediction falls back to what is known of the model at large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["NEAR", "Trust", "clusters", "folds", "kin", "likeness"]

F32 = NDArray[np.float32]
NEAR = 8
"""Rows that a request's likeness is measured to."""
_BINS = 8
_CAUTION = 1.0
"""Standard errors that the slope of a bin is taken lower by."""


@dataclass(frozen=True, slots=True, eq=False)
class Trust:
    """The share of a prediction that is believed, at some values of likeness; linear in between."""

    at: F32
    share: F32

    def __call__(self, like: float) -> float:
        """0 to 1."""
        return float(np.interp(like, self.at, self.share))

    def shares(self, like: F32) -> F32:
        """Of many requests."""
        return np.interp(like, self.at, self.share).astype(np.float32)

    def within(self, like: float) -> float:
        """How far a request is within what this was measured on, 0 to 1: 1 from the least likeness of it on."""
        least = float(self.at[0])
        return 1.0 if like >= least or least <= 0.0 else max(like, 0.0) / least

    @classmethod
    def of(cls, like: F32, said: F32, true: F32) -> Trust:
        """From pairs, one row a request and one column a model, of what was said and what was true."""
        order = np.argsort(like, kind="stable")
        bins = [b for b in np.array_split(order, min(_BINS, max(1, len(order) // 40))) if len(b)]
        slopes = np.array([_slope(said[b], true[b]) for b in bins])
        weights = np.array([float(len(b)) for b in bins])
        return cls(
            np.array([like[b].mean() for b in bins], np.float32),
            np.clip(_rising(slopes, weights), 0.0, 1.0).astype(np.float32),
        )


def kin(cosines: F32, surfaces: F32) -> F32:
    """How alike two requests are, 0 to 1: in what they are about, and in their form."""
    return np.maximum(cosines, 0.0) * surfaces


def likeness(near: F32) -> F32:
    """Of rows of cosines to what was learned from: the mean of the nearest `NEAR`."""
    many = min(NEAR, near.shape[1])
    return np.partition(near, near.shape[1] - many, axis=1)[:, -many:].mean(1)


def clusters(rows: F32, many: int, seed: int = 0) -> NDArray[np.intp]:
    """A cluster for each row of unit length: spherical k-means."""
    random = np.random.default_rng(seed)
    centres = rows[random.choice(len(rows), min(many, len(rows)), replace=False)]
    label = np.zeros(len(rows), np.intp)
    for _ in range(20):
        label = np.argmax(rows @ centres.T, axis=1)
        for k in range(len(centres)):
            mine = rows[label == k]
            if len(mine):
                mean = mine.mean(0)
                centres[k] = mean / max(float(np.linalg.norm(mean)), 1e-6)
    return label


def _slope(said: F32, true: F32) -> float:
    """Of the truth over what was said, through the origin, less its standard error; rows are independent."""
    by_row, power = (said * true).sum(1), (said * said).sum(1)
    total = float(power.sum())
    if total < 1e-9:
        return 0.0
    slope = float(by_row.sum()) / total
    error = float(np.sqrt(((by_row - slope * power) ** 2).sum())) / total
    return slope - _CAUTION * error


def _rising(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest sequence that never falls (pool adjacent violators)."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        blocks.append((float(value), float(weight), 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, wa, na), (b, wb, nb) = blocks[-2:]
            blocks[-2:] = [((a * wa + b * wb) / (wa + wb), wa + wb, na + nb)]
    return np.concatenate([np.full(n, value) for value, _, n in blocks])


def folds(near: F32, groups: Sequence[NDArray[np.intp]]) -> F32:
    """Of cosines between all rows: each row's likeness to the rows outside of its group."""
    like = np.zeros(len(near), np.float32)
    for group in groups:
        others = np.setdiff1d(np.arange(len(near)), group, assume_unique=True)
        like[group] = likeness(near[np.ix_(group, others)]) if len(others) else 0.0
    return like
