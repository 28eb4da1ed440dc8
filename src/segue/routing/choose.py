"""The last step: a distribution over the candidates, and one drawn from it. Pure; chance is a number that is given.

Thompson sampling chooses each candidate as often as it is likely to be the best, under what is known of its quality.
Here that chance is computed, not played: the quality of each candidate is taken as normal and independent, and the
choice is drawn from the computed distribution after the mixing of `mixed`. So the propensity on record is the chance
that the choice had, exactly, however rough the computation was.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .arrays import Flags, Vector
from .objective import Ranking

__all__ = ["by_draws", "draw", "mixed", "normal_cdf", "only", "thompson"]

_POINTS, _CLOSE = 64, 4
_POINTS_OF_MANY, _CLOSE_OF_MANY = 28, 1
_MANY = 64
_QUANTILES = np.array([-3.0, -2.0, -1.2, -0.6, 0.0, 0.6, 1.2, 2.0, 3.0])
"""The grid of the sum: its points, and around how many it is closer, at which of their quantiles."""
_RIVALS = 128
"""So many can come first by Thompson sampling; the others have the floor of the exploration."""
_REACH = 5.0
"""Standard deviations to either side that count."""
_SD_MIN = 1e-6
_DRAWS = 256
_DIGITS = 9
"""Of a propensity. It is rounded before the choice is drawn, so what is recorded is what was drawn from."""


class Chances(NamedTuple):
    """How often each would be chosen. `samples` draws estimated it; 0: it was computed."""

    p: Vector
    samples: int = 0
    seed: str | None = None


def only(at: int, many: int) -> Vector:
    """All of it on one."""
    p = np.zeros(many)
    p[at] = 1.0
    return p


def thompson(ranking: Ranking, sd: Vector, seed: int) -> Chances:
    """How likely each candidate is to come first, if qualities have these standard deviations."""
    sd = np.maximum(sd, _SD_MIN)
    if ranking.slope == 0.0:
        return Chances(_first_that_fits(ranking, sd))
    if ranking.floor <= 0.0 or np.array_equal(ranking.score, ranking.quality):
        return Chances(_normalised(_largest(ranking.score, sd * ranking.slope)))
    return by_draws(ranking, sd, seed)


def by_draws(ranking: Ranking, sd: Vector, seed: int) -> Chances:
    """The same for any ranking, estimated by drawing qualities."""
    who = ranking.order[:_RIVALS]
    noise = np.random.default_rng(seed).standard_normal((_DRAWS, len(who))) * sd[who]
    quality = ranking.quality[who] + noise
    score = np.where(quality >= ranking.floor, ranking.score[who] + ranking.slope * noise, -np.inf)
    missed: Flags = score.max(axis=1) == -np.inf
    score[missed] = quality[missed]
    p = np.zeros(len(sd))
    p[who] = np.bincount(score.argmax(axis=1), minlength=len(who)) / _DRAWS
    return Chances(p, _DRAWS, str(seed))


def mixed(p: Vector, greedy: int, floor: float, ceiling: float) -> Vector:
    """The same distribution with the share of all but `greedy` held between `floor` and `ceiling`.

    The floor is spread evenly over them, so that each can be drawn: what is never tried is never learned.
    """
    if len(p) < 2:
        return only(greedy, len(p))
    others = p.copy()
    others[greedy] = 0.0
    share = float(others.sum())
    # What is left for Thompson sampling, so that with the floor on top the ceiling holds.
    most = (ceiling - floor) / (1.0 - floor) if floor < 1.0 else 0.0
    if share > most:
        others *= most / share
    others = np.round(others * (1.0 - floor) + floor / (len(p) - 1), _DIGITS)
    others[greedy] = 0.0
    others[greedy] = max(0.0, 1.0 - float(others.sum()))
    return others


def draw(p: Vector, luck: float) -> int:
    """The place that a number in [0, 1) falls on. A place without a chance is never drawn."""
    edges = np.cumsum(p)
    at = int((edges <= luck * edges[-1]).sum())
    if at >= len(p) or p[at] <= 0.0:
        at = int(np.flatnonzero(p)[-1])  # rounding at the upper end
    return at


def normal_cdf(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """The standard normal distribution: Abramowitz and Stegun 26.2.17, whose error is below 7.5e-8."""
    t = 1.0 / (1.0 + 0.2316419 * np.abs(z))
    poly = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    tail = poly * np.exp(-0.5 * z * z) * 0.3989422804014327
    return np.where(z >= 0.0, 1.0 - tail, tail)


def _first_that_fits(ranking: Ranking, sd: Vector) -> Vector:
    """In the order of the score, the first whose quality reaches the bound; if none does, the best."""
    quality, by_score = ranking.quality, np.lexsort((-ranking.quality, -ranking.score))
    reach = 1.0 - normal_cdf((ranking.floor - quality) / sd) if ranking.floor > 0.0 else np.ones(len(sd))
    in_order = reach[by_score]
    missed = np.cumprod(1.0 - in_order)
    p = np.empty(len(sd))
    p[by_score] = in_order * np.concatenate(([1.0], missed[:-1]))
    if missed[-1] > 1e-9:
        best = _largest(quality, sd, below=ranking.floor)
        if best.sum() > 0.0:
            p += missed[-1] * best / best.sum()
    return _normalised(p)


def _largest(mean: Vector, sd: Vector, below: float | None = None) -> Vector:
    """The chance of each to be the largest, and under `below`: summed over cells between the edges of a grid.

    In a cell stand the mass of one and the mean distribution of each other, so no mass is lost, however narrow it is.
    """
    low = float((mean - _REACH * sd).max())
    if below is not None and low >= below:
        low = float((mean - _REACH * sd).min())
    rivals = np.flatnonzero(mean + _REACH * sd > low)
    if len(rivals) > _RIVALS:
        rivals = rivals[np.argsort(-(mean[rivals] + 2.0 * sd[rivals]), kind="stable")[:_RIVALS]]
    edges = _edges(mean[rivals], sd[rivals], low, below)
    p = np.zeros(len(mean))
    if len(edges) < 2:
        p[rivals[np.argmax(mean[rivals])]] = 1.0
        return p
    cdf = normal_cdf((edges[None, :] - mean[rivals, None]) / sd[rivals, None])
    middle = np.maximum(0.5 * (cdf[:, 1:] + cdf[:, :-1]), 1e-30)
    others = np.exp(np.log(middle).sum(axis=0))
    p[rivals] = ((cdf[:, 1:] - cdf[:, :-1]) / middle) @ others
    return p


def _edges(mean: Vector, sd: Vector, low: float, below: float | None) -> Vector:
    """Even ones, and closer ones around the narrowest and the best: there it matters who is where."""
    high = float((mean + _REACH * sd).max())
    points, most = (_POINTS, _CLOSE) if len(mean) <= _MANY else (_POINTS_OF_MANY, _CLOSE_OF_MANY)
    places = np.unique(np.concatenate((np.argsort(sd)[:most], np.argsort(-mean)[:most])))
    close = (mean[places, None] + sd[places, None] * _QUANTILES[None, :]).ravel()
    edges = np.concatenate((np.linspace(low, high, points), close))
    edges = edges[edges >= low]
    if below is not None:
        edges = np.append(edges[edges < below], below) if below > low else edges[:0]
    return np.unique(edges)


def _normalised(p: Vector) -> Vector:
    total = float(p.sum())
    return p / total if total > 0.0 else np.full(len(p), 1.0 / len(p))
