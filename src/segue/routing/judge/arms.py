"""What a split has dealt to an arm that goes as the policy to be judged does, also after a call that did not do. Pure.

Rows weigh by who was asked first. Where two arms of a split ask the same first, and go on otherwise after a call that
failed or was turned down, half of what came of that is not the policy's own: then the arm is part of the choice. Each
place stands in the arrays twice, once as the arm's and once as that of all others, which the policy never takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .astray import LITTLE
from .intervals import Array
from .rows import Logged
from .weighed import Places, Weighed

__all__ = ["by_arms"]

_SLACK = 0.02
"""By how much a chance that was estimated may be off."""


_LEAST = 1e-9
"""What was chosen had some chance, whatever rounding says."""


class _Arm(NamedTuple):
    """Of the asks that a split has dealt: those of one arm, and what its share was when each was."""

    dealt: Places
    own: NDArray[np.bool_]
    share: Array


def by_arms(w: Weighed, rows: Sequence[Logged]) -> tuple[Weighed, NDArray[np.bool_]]:
    """The same rows, those of a split by the arm that goes on as the policy does, where there is one and it matters;
    and which of them were drawn so.
    """
    drawn, splits = np.zeros(len(w), np.bool_), _splits(rows)
    found: list[_Arm] = []
    for arms in splits.values():
        of = np.concatenate(list(arms.values()))
        if w.apart[of].any():
            fit = [one for at in arms if (one := _arm(arms, at, rows)) and _goes_so(one, w, rows)]
            found += fit[:1]
    if not found:
        return w, drawn
    many = w.target.shape[1]
    target = np.hstack([w.target, np.zeros_like(w.target)])
    logged = np.hstack([w.logged, np.zeros_like(w.logged)])
    choice, apart = w.choice.copy(), w.apart.copy()
    for arm in found:
        of = arm.dealt
        had = _chances(rows, of, many)
        own = np.minimum(had, arm.share[:, None] * w.target[of])
        at = np.arange(len(of)), choice[of]
        mine = arm.own & (own[at] > 0.0)  # where its own first one took no calls, it chose as the policy would not
        others = had - own
        others[at] = np.where(mine, others[at], np.maximum(others[at], _LEAST))
        logged[of] = np.hstack([own, others])
        choice[of] += np.where(mine, 0, many)
        apart[of] = np.where(mine, 0.0, apart[of])
        drawn[of] = True
    twice = {m: np.hstack([q, q]) for m, q in w.predictions.items()}
    arms = np.hstack([w.arms, w.arms])
    return replace(w, arms=arms, target=target, logged=logged, choice=choice, predictions=twice, apart=apart), drawn


def _splits(rows: Sequence[Logged]) -> Mapping[str, Mapping[str, Places]]:
    """Which rows each split has dealt to each of its arms."""
    found: dict[str, dict[str, list[int]]] = {}
    for at, row in enumerate(rows):
        if row.decision is not None and row.decision.splits:
            split = row.decision.splits[0]
            found.setdefault(split.name, {}).setdefault(split.arm, []).append(at)
    return {name: {arm: np.array(of) for arm, of in arms.items()} for name, arms in found.items()}


def _arm(arms: Mapping[str, Places], name: str, rows: Sequence[Logged]) -> _Arm:
    """An arm's share is on record with its own asks; with another one's it is what it was last, or at first."""
    dealt = np.sort(np.concatenate(list(arms.values())))
    own = np.isin(dealt, arms[name])
    shares = np.array([_share(rows[at]) for at in _listed(arms[name])])
    return _Arm(dealt, own, shares[np.maximum(np.cumsum(own) - 1, 0)])


def _share(row: Logged) -> float:
    assert row.decision is not None
    return row.decision.splits[0].share


def _goes_so(arm: _Arm, w: Weighed, rows: Sequence[Logged]) -> bool:
    """Whether its asks were dealt and went on as the policy's would; of those that went on there must be some."""
    of, own = arm.dealt, arm.dealt[arm.own]
    if (_chances(rows, of, w.target.shape[1]) - arm.share[:, None] * w.target[of]).min() < -_SLACK:
        return False
    moved = own[w.moved[own]]
    explored = max((rows[at].exploration for at in _listed(moved)), default=0.0)
    return len(moved) > 0 and float(w.apart[moved].mean()) <= LITTLE + explored


def _chances(rows: Sequence[Logged], of: Places, many: int) -> Array:
    """(n, K) the chances on record, over all arms."""
    had = np.zeros((len(of), many))
    for i, at in enumerate(_listed(of)):
        had[i, : len(rows[at].propensities)] = rows[at].propensities
    return had


def _listed(places: Places) -> list[int]:
    return places.tolist()
