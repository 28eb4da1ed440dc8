"""Training: from requests and how well models did on them to a `QualityModel`. Needs scipy; takes seconds.

A row need not say something of each model: past traffic knows only of the one that answered. Of more than `ROWS_MAX`
rows the last ones are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from .model import SHARES, SURFACE_WIDTH, TOPIC_WIDTH, QualityModel
from .space import Space, scipy_part
from .trust import Trust, clusters, folds, kin

__all__ = ["ROWS_MAX", "fit"]

F32 = NDArray[np.float32]
ROWS_MAX = 8000
RIDGE = 2.0
"""The variance of one outcome, as a share of that of what is learned: one answer says little."""
MEAN_PRIOR = 4.0
"""Observations that the prior of a model's mean stands for."""
_PROBED = 2500
"""Rows that trust is measured on."""
_CLUSTERS = 12
_TASKS_MIN = 4
"""Tasks that must be told apart for them to stand for what is new; else neighbourhoods do."""


def fit(
    texts: Sequence[str],
    scores: NDArray[np.floating[Any]],
    models: Sequence[str],
    *,
    priors: NDArray[np.floating[Any]] | None = None,
    tasks: Sequence[str] | None = None,
    seed: int = 0,
    report: Callable[[str], None] = lambda _: None,
) -> QualityModel:
    """Learn from `scores` `(texts, models)`, 0 to 1, NaN where nothing is known. `priors` are the models' means before.

    `tasks` tells what kind of request each is, a flow's step say: how far to believe what is said of a new kind is
    then measured on kinds left out.

    Raises InputError when there is nothing to learn from.
    """
    if len(texts) < 2 or not np.isfinite(np.asarray(scores, np.float32)).any():
        raise InputError("there is nothing to learn from", remedy="give two scored requests or more")
    tasks = None if tasks is None else tasks[-ROWS_MAX:]
    texts, scores = list(texts)[-ROWS_MAX:], np.asarray(scores, np.float32)[-ROWS_MAX:]
    seen = np.isfinite(scores)
    report("reading the requests")
    space, matrix, topics, surface = Space.of(texts, seed)
    report("comparing them")
    kernel = _kernel(matrix, topics, surface)
    mean = _means(scores, seen, priors)
    centred = np.where(seen, scores - mean, 0.0).astype(np.float32)
    report("learning")
    dual = _solve(kernel, centred, seen)
    report("how far to believe it")
    common, apart, spread, noise = _judge(kernel, _Rows(centred, seen, topics, surface, tasks), seed)
    words = np.ascontiguousarray(matrix.T @ dual, dtype=np.float32)
    version = blake2b("\n".join(texts).encode() + scores.tobytes(), digest_size=5).hexdigest()
    return QualityModel(
        version=f"kernel-{version}",
        models=tuple(models),
        space=space,
        words=words,
        topics=topics,
        surface=surface,
        dual=dual,
        seen=seen.astype(np.float32),
        mean=mean,
        spread=spread,
        noise=noise,
        common=common,
        apart=apart,
    )


def _kernel(matrix: Any, topics: F32, surface: F32) -> F32:
    kernel = np.asarray((matrix @ matrix.T).todense(), np.float32) * np.float32(SHARES["words"])
    kernel += np.float32(SHARES["topics"]) * _gauss(topics, TOPIC_WIDTH)
    kernel += np.float32(SHARES["surface"]) * _gauss(surface, SURFACE_WIDTH)
    return kernel


def _gauss(rows: F32, width: float) -> F32:
    squares = (rows * rows).sum(1)
    distance = squares[:, None] + squares - 2.0 * (rows @ rows.T)
    return np.exp(-width * np.maximum(distance, 0.0), dtype=np.float32)


def _means(scores: F32, seen: NDArray[np.bool_], priors: NDArray[np.floating[Any]] | None) -> F32:
    """Of each model: between its prior and what was seen of it."""
    count = seen.sum(0)
    total = np.where(seen, scores, 0.0).sum(0)
    overall = total.sum() / max(float(count.sum()), 1.0)
    before = np.full(scores.shape[1], overall) if priors is None else np.where(np.isfinite(priors), priors, overall)
    return ((total + MEAN_PRIOR * before) / (count + MEAN_PRIOR)).astype(np.float32)


def _solve(kernel: F32, centred: F32, seen: NDArray[np.bool_]) -> F32:
    """The dual weights: models that the same rows speak of are solved together."""
    linalg = scipy_part("linalg")

    dual = np.zeros_like(centred)
    for pattern in np.unique(seen, axis=1).T:
        columns = np.flatnonzero((seen == pattern[:, None]).all(0))
        rows = np.flatnonzero(pattern)
        if len(rows):
            part = kernel[np.ix_(rows, rows)]
            part[np.diag_indices(len(rows))] += RIDGE
            factor = linalg.cho_factor(part, lower=True, overwrite_a=True, check_finite=False)
            dual[np.ix_(rows, columns)] = linalg.cho_solve(factor, centred[np.ix_(rows, columns)], check_finite=False)
    return dual


def _judge(kernel: F32, rows: _Rows, seed: int) -> tuple[Trust, Trust, F32, float]:
    """Trust, the spread of each model's expectations, and the noise: by leaving rows and whole tasks out."""
    random = np.random.default_rng(seed)
    some = np.sort(random.choice(len(kernel), min(_PROBED, len(kernel)), replace=False))
    kernel, centred, seen = kernel[np.ix_(some, some)], rows.centred[some], rows.seen[some]
    topics, surface = rows.topics[some], rows.surface[some]
    near = kin(topics @ topics.T, _gauss(surface, SURFACE_WIDTH))
    alone = [np.array([row]) for row in range(len(some))]
    label = np.array(["" if rows.tasks is None else rows.tasks[row] for row in some])
    if len(np.unique(label)) < _TASKS_MIN:
        label = clusters(topics, _CLUSTERS, seed)
    together = [np.flatnonzero(label == k) for k in np.unique(label)]
    likes, saids = list[F32](), list[F32]()
    for groups in (alone, together):
        said = np.zeros_like(centred)
        for pattern in np.unique(seen, axis=1).T:
            columns = np.flatnonzero((seen == pattern[:, None]).all(0))
            said[:, columns] = _left_out(kernel, centred[:, columns], pattern, groups)
        likes.append(folds(near, groups))
        saids.append(said)
    like, said, mask = np.concatenate(likes), np.concatenate(saids), np.concatenate([seen, seen])
    true = np.concatenate([centred, centred])
    del kernel, near
    common_said, common_true = said.mean(1)[:, None], _row_mean(true, mask)
    common = Trust.of(like, common_said, common_true)
    apart = Trust.of(like, *_apart(said, true, mask, common_said, common.shares(like)[:, None] * common_said))
    spread = np.sqrt((saids[0] ** 2).mean(0)).astype(np.float32)
    noise = float(np.sqrt(((centred - saids[0])[seen] ** 2).mean())) if seen.any() else 0.5
    return common, apart, spread, noise


def _apart(said: F32, true: F32, mask: NDArray[np.bool_], common_said: F32, believed: F32) -> tuple[F32, F32]:
    """Of models that a row speaks of, how far each was said to be from the others, and was. A row of several tells that
    by itself; one of a single model by what all were said to be, as far as that was `believed`.
    """
    several = mask.sum(1)[:, None] > 1
    pairs = ((said, _row_mean(said, mask), common_said), (true, _row_mean(true, mask), believed))
    apart_said, apart_true = (np.where(mask, rows - np.where(several, own, all_), 0.0) for rows, own, all_ in pairs)
    return apart_said, apart_true


class _Rows(NamedTuple):
    """What was learned from, one row a request."""

    centred: F32
    seen: NDArray[np.bool_]
    topics: F32
    surface: F32
    tasks: Sequence[str] | None


def _row_mean(rows: F32, mask: NDArray[np.bool_]) -> F32:
    return (np.where(mask, rows, 0.0).sum(1) / np.maximum(mask.sum(1), 1))[:, None].astype(np.float32)


def _left_out(kernel: F32, centred: F32, pattern: NDArray[np.bool_], groups: Sequence[NDArray[np.intp]]) -> F32:
    """What each row would have been told without its group, also of models that it does not speak of: from one inverse,
    a small system a group.

    With A = K + ridge, w = inv(A) @ y and a group g: the residual left out is r = inv(inv(A)[g, g]) @ w[g], and the
    weights left out are w - inv(A)[:, g] @ r.
    """
    rows = np.flatnonzero(pattern)
    if not len(rows):
        return np.zeros_like(centred)
    inverse = np.linalg.inv(kernel[np.ix_(rows, rows)] + RIDGE * np.eye(len(rows), dtype=np.float32))
    weights = inverse @ centred[rows]
    said = (kernel[:, rows] @ weights).astype(np.float32)
    place = np.full(len(kernel), -1)
    place[rows] = np.arange(len(rows))
    for group in groups:
        speaks = place[group] >= 0
        mine, others = place[group[speaks]], group[~speaks]
        if len(mine):
            residual = np.linalg.solve(inverse[np.ix_(mine, mine)], weights[mine])
            said[rows[mine]] = centred[rows[mine]] - residual
            said[others] = kernel[np.ix_(others, rows)] @ (weights - inverse[:, mine] @ residual)
    return said
