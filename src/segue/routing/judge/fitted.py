"""Models of the outcome, fitted on the log itself: never on the cluster that they speak about (cross-fitting).

Chernozhukov et al. 2018 (Econometrics Journal 21): with cross-fitted models and known propensities the doubly robust
estimate is unbiased however poor the models are; good ones make it narrow.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .intervals import Array
from .rows import Measure
from .weighed import Places, Weighed

FOLDS = 5
_SHRINK = 10.0
"""How many rows the common model counts for against an arm's own."""


def cross_fitted(w: Weighed, measure: Measure) -> Array:
    """(n, K) expected outcomes of each row's candidates, each from a fit to the other folds of clusters.

    A ridge on the row's features and the prediction that was made then (where there is one), for all arms together,
    then one more for what is left over in each arm. Rows without an outcome are predicted, not fitted.
    """
    out = np.zeros(w.arms.shape)
    for inside, train in _folds(w, measure):
        out[inside] = _predict(w, measure, train, inside)
    return np.where(w.arms >= 0, within_seen(w, measure, out), 0.0)


def within_seen(w: Weighed, measure: Measure, said: Array) -> Array:
    """(n, K) the same within what the measure can be. Of money and time: within what each arm has come to in the other
    folds, or all of them where it is not among these; the first of a log are asked before anybody knows what it takes.
    """
    if measure.bounded:
        return np.clip(said, 0.0, 1.0)
    y, out = w.outcomes[measure], np.maximum(said, 0.0)
    for inside, train in _folds(w, measure):
        if train.any():
            low, high = _seen(w.arms[train, w.choice[train]], y[train], int(w.arms.max()) + 1)
            out[inside] = np.clip(out[inside], low[w.arms[inside]], high[w.arms[inside]])
    return out


def _seen(arm: Places, y: Array, arms: int) -> tuple[Array, Array]:
    """(arms,) the least and the most that each has come to; of one that was never seen, that all have."""
    low, high = np.full(arms, np.inf), np.full(arms, -np.inf)
    np.minimum.at(low, arm, y)
    np.maximum.at(high, arm, y)
    return np.where(np.isfinite(low), low, y.min()), np.where(np.isfinite(high), high, y.max())


def _folds(w: Weighed, measure: Measure) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """(n,) the rows of each fold of clusters, and those of the others whose outcome is known."""
    fold = np.random.default_rng(0).permutation(w.clusters)[w.cluster] % FOLDS
    for k in range(FOLDS):
        inside = fold == k
        if inside.any():
            yield inside, ~inside & np.isfinite(w.outcomes[measure])


def _predict(w: Weighed, measure: Measure, train: NDArray[np.bool_], rows: NDArray[np.bool_]) -> Array:
    """(rows, K) from a fit to the rows of `train`."""
    width = w.arms.shape[1]
    given = _filled(w.predictions[measure], train)
    x, y = _design(w.features[train], given[train, w.choice[train]]), w.outcomes[measure][train]
    if not len(y):
        return np.zeros((int(rows.sum()), width))
    middle, scale = x.mean(axis=0), x.std(axis=0)
    middle[0], scale = 0.0, np.where(scale > 1e-12, scale, 1.0)
    scale[0] = 1.0
    x = (x - middle) / scale
    common = _ridge(x, y, free_intercept=True)
    own = _own(x, y - x @ common, w.arms[train, w.choice[train]], int(w.arms.max()) + 1)
    places = [(_design(w.features[rows], given[rows, j]) - middle) / scale for j in range(width)]
    arms = w.arms[rows]
    return np.column_stack([(z * (common + own[arms[:, j]])).sum(axis=1) for j, z in enumerate(places)])


def _own(x: Array, left: Array, arm: Places, arms: int) -> Array:
    """(arms, d): what each arm adds to the common model; 0 for one that was never seen."""
    own = np.zeros((arms, x.shape[1]))
    for a in np.unique(arm):
        own[a] = _ridge(x[arm == a], left[arm == a], free_intercept=False)
    return own


def _ridge(x: Array, y: Array, *, free_intercept: bool) -> Array:
    penalty = np.full(x.shape[1], _SHRINK)
    penalty[0] = 1e-9 if free_intercept else _SHRINK
    return np.asarray(np.linalg.solve(x.T @ x + np.diag(penalty), x.T @ y), dtype=np.float64)


def _design(features: Array, given: Array) -> Array:
    return np.column_stack([np.ones(len(features)), features, given])


def _filled(given: Array, train: NDArray[np.bool_]) -> Array:
    """Predictions with the mean of the known ones where there is none, so that the column says nothing there."""
    known = given[train]
    known = known[np.isfinite(known)]
    return np.where(np.isfinite(given), given, known.mean() if len(known) else 0.0)
