"""Choosing by what is expected: the four ranked policies, which learn by exploring a little, and the cascade. Pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..core.records import Sampling, Stage
from .arrays import Flags, Rows, numbered
from .choose import draw, mixed, only, thompson
from .eligible import Exclusion, tag_rules
from .lots import Ground, Lot, certain, following, nobody, placed, taken
from .objective import bounded, rank
from .policies import Affinity, Cascade, Ranked
from .types import Predictions

__all__ = ["cascade", "ranked"]

_NAMED = 40
"""More are never named as those who come next."""
_SEEN = 5.0
"""Judged answers to such requests, before a cascade leaves a step out."""


def ranked(policy: Ranked, ground: Ground, allowed: Flags) -> Lot:
    """By the objective, with a share for the others as large as what is not known of them, within its bounds."""
    seats = np.flatnonzero(allowed)
    broken = bounded(policy, taken(ground.expected, seats, ground.many)) if len(seats) else {}
    barred = {int(seats[at]): why for at, why in broken.items()}
    if broken:
        seats = np.delete(seats, list(broken))
    if not len(seats):
        return nobody(ground, barred)
    expected = taken(ground.expected, seats, ground.many)
    ranking = rank(policy, expected)
    greedy, explore = int(ranking.order[0]), policy.explore
    in_order = numbered(seats[ranking.order[:_NAMED]])
    score = placed(ranking.score, seats, ground.many, np.nan)
    stays = _session(policy, ground, seats, ranking.fits)
    if stays is not None:
        lot = certain(ground, [stays, *in_order], pinned_by="session")
        return replace(lot, barred=barred, score=score)
    if explore.ceiling <= 0.0 or len(seats) == 1:
        lot = certain(ground, in_order)
        return replace(lot, barred=barred, score=score)
    seed = int(ground.chance("seed") * 2**32)
    chances = thompson(ranking, expected.quality.sd, seed)
    p = mixed(chances.p, greedy, explore.floor, explore.ceiling)
    at = draw(p, ground.luck)
    return Lot(
        p=placed(p, seats, ground.many, 0.0),
        choice=int(seats[at]),
        order=following(in_order, int(seats[at])),
        barred=barred,
        score=score,
        sampling=Sampling.ESTIMATED if chances.samples else Sampling.EXACT,
        samples=chances.samples or None,
        seed=chances.seed,
        exploration=round(1.0 - float(p[greedy]), 9),
        explored=at != greedy,
    )


def _session(policy: Ranked, ground: Ground, seats: Rows, fits: Flags) -> int | None:
    """Where the conversation stays, if it does: who answered last, and still may, and still is good enough."""
    last = ground.at.request.conversation.last
    if policy.affinity is not Affinity.SESSION or last is None:
        return None
    for place in ground.places((last,)):
        where = np.flatnonzero(seats == place)
        if len(where) and (fits[where[0]] or not fits.any()):
            return place
    return None


def cascade(policy: Cascade, ground: Ground, allowed: Flags) -> Lot:
    """The first step that is left, or a later one where the first was seen not to pay; the steps above are next."""
    named = ground.places(policy.steps) if policy.steps else _own_steps(policy, ground, allowed)
    steps = [place for place in named if allowed[place]]
    outside = set(np.flatnonzero(allowed).tolist()) - set(steps)
    barred = {place: Exclusion(Stage.POLICY, "it is no step of the cascade") for place in sorted(outside)}
    if not steps:
        return nobody(ground, barred)
    climbing = ground.at.request.stage > 0
    first = 0 if climbing or not policy.skip else _worthwhile(ground, steps)
    if climbing or policy.explore.ceiling <= 0.0 or len(steps) == 1:
        return replace(certain(ground, steps[first:]), barred=barred, stage=ground.at.request.stage)
    p = mixed(only(first, len(steps)), first, policy.explore.floor, policy.explore.ceiling)
    at = draw(p, ground.luck)
    chances = placed(p, np.array(steps, np.intp), ground.many, 0.0)
    return Lot(
        p=chances, choice=steps[at], order=tuple(steps[at + 1 :]), barred=barred, sampling=Sampling.EXACT,
        exploration=round(1.0 - float(p[first]), 9), explored=at != first,
    )  # fmt: skip


def _own_steps(policy: Cascade, ground: Ground, allowed: Flags) -> list[int]:
    """The places of the steps of a cascade that names none: those of the first call, whoever was asked since."""
    left, asked = np.flatnonzero(allowed), _asked(ground)
    rows = np.union1d(ground.base.rows[left], asked)
    known = ground.foresee(ground.at, rows) if len(asked) else taken(ground.expected, left, ground.many)
    steps = _climbing(rows, known)
    if len(steps) > policy.steps_max:
        steps = steps[: policy.steps_max - 1] + steps[-1:]
    return ground.places([ground.at.table.names[row] for row in steps])


def _asked(ground: Ground) -> Rows:
    """Those of the policy who were asked before, as rows of the table."""
    table = ground.at.table
    may = table.among(ground.at.request.tried)
    for above in ground.within:
        if above.among:
            may &= table.among(above.among)
        for rule in tag_rules(above.require, table):
            may &= ~rule.bad
    return np.flatnonzero(may)


def _climbing(rows: Rows, expected: Predictions) -> list[int]:
    """From the cheapest up, those that are expected to be better than all cheaper ones."""
    cost, quality = np.nan_to_num(expected.cost.mean, nan=np.inf), expected.quality.mean
    steps: list[int] = []
    best = -1.0
    for at in np.lexsort((-quality, cost)).tolist():
        if quality[at] > best:
            best = float(quality[at])
            steps.append(int(rows[at]))
    return steps


def _worthwhile(ground: Ground, steps: list[int]) -> int:
    """Where to begin: a step is left out where it was seen with such requests, the one above is expected to be better,
    and its price is more than its chance to spare the rest is worth. What is not known is no reason.
    """
    cost, quality = ground.expected.cost.mean, ground.expected.quality
    first, rest = len(steps) - 1, float(cost[steps[-1]])
    for at in range(len(steps) - 2, -1, -1):
        step, does = steps[at], quality.mean[steps[at]]
        seen = quality.n[step] >= _SEEN and quality.mean[steps[first]] > does
        if not (seen and cost[step] > does * rest):
            first, rest = at, float(cost[step] + (1.0 - does) * rest)
    return first
