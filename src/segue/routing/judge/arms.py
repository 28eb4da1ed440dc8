"""What a split has dealt to an arm that goes as the policy to be judged does, also after who was asked first. Pure.

Rows weigh by who was asked first. Where two arms of a split ask the same first, and go on otherwise after a call that
failed or was turned down, or hedge otherwise, half of what came of that is not the policy's own: then the arm is part
of the choice. Each place stands in the arrays twice, once as the arm's and once as that of all others, which the policy
never takes.
What the same route did before there was such an arm says nothing of how the policy goes on: it is left aside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from .astray import LITTLE
from .intervals import Array
from .rows import Logged
from .weighed import Places, Weighed

__all__ = ["Dealt", "by_arms"]

_SLACK = 0.02
"""By how much a chance that was estimated may be off."""
_LEAST = 1e-9
"""What was chosen had some chance, whatever rounding says."""


class Dealt(NamedTuple):
    """Rows by the arms that go as the policy does."""

    w: Weighed
    drawn: NDArray[np.bool_]
    """(n,) which rows were dealt by such a split."""
    aside: NDArray[np.bool_]
    """(n,) which are of its route, but of a time without that arm, and would go on otherwise."""


class _Group(NamedTuple):
    """The asks of one version of a route, by the arm that each fell into; empty: there was no split."""

    of: Places
    arms: Sequence[str]

    def own(self, arm: str) -> NDArray[np.bool_]:
        """(n,) which of them fell into it."""
        return np.array([one == arm for one in self.arms])


def by_arms(w: Weighed, rows: Sequence[Logged]) -> Dealt:
    """The same rows, those of a split by the arm that goes on as the policy does, where there is one and it matters."""
    drawn, aside = np.zeros(len(w), np.bool_), np.zeros(len(w), np.bool_)
    many = w.target.shape[1]
    logged = np.hstack([w.logged, np.zeros_like(w.logged)])
    choice, apart, raced = w.choice.copy(), w.apart.copy(), w.raced.copy()
    for groups in _routes(rows).values():
        arm = _arm(groups, w, rows)
        for group in groups if arm is not None else ():
            of, own = group.of, group.own(arm or "")
            if not own.any():
                aside[of] = w.otherwise[of].mean() > LITTLE
                continue
            had = _chances(rows, of, many)
            theirs = np.minimum(had, _share(rows[int(of[own][0])]) * w.target[of])
            at = np.arange(len(of)), choice[of]
            mine = own & (theirs[at] > 0.0)  # where its own first one took no calls, it chose as the policy would not
            others = had - theirs
            others[at] = np.where(mine, others[at], np.maximum(others[at], _LEAST))
            logged[of] = np.hstack([theirs, others])
            choice[of] += np.where(mine, 0, many)
            apart[of], raced[of] = np.where(mine, 0.0, apart[of]), np.where(mine, 0.0, raced[of])
            drawn[of] = True
    if not drawn.any():
        return Dealt(w, drawn, aside)
    twice = {m: np.hstack([q, q]) for m, q in w.predictions.items()}
    others = np.where(w.arms >= 0, w.arms + int(w.arms.max()) + 1, -1)  # what they came to is fitted apart
    arms, target = np.hstack([w.arms, others]), np.hstack([w.target, np.zeros_like(w.target)])
    found = replace(w, arms=arms, target=target, logged=logged, choice=choice, predictions=twice)
    return Dealt(replace(found, apart=apart, raced=raced), drawn, aside)


def _routes(rows: Sequence[Logged]) -> Mapping[str, Sequence[_Group]]:
    """The versions of each route."""
    found: dict[str, dict[str, list[int]]] = {}
    for at, row in enumerate(rows):
        if row.decision is not None:
            versions = found.setdefault(row.decision.route or "default", {})
            versions.setdefault(row.decision.policy_version, []).append(at)
    return {
        route: [_Group(np.array(of), [_fell_into(rows[at]) for at in of]) for of in versions.values()]
        for route, versions in found.items()
    }


def _fell_into(row: Logged) -> str:
    return row.decision.splits[0].arm if row.decision is not None and row.decision.splits else ""


def _share(row: Logged) -> float:
    return row.decision.splits[0].share if row.decision is not None and row.decision.splits else 1.0


def _arm(groups: Sequence[_Group], w: Weighed, rows: Sequence[Logged]) -> str | None:
    """The arm of a route whose asks were dealt and went on as the policy's would; of those that went on there must be
    some. None where nothing would go on otherwise.
    """
    if not any(w.otherwise[group.of].any() for group in groups):
        return None
    names = dict.fromkeys(name for group in groups for name in group.arms if name)
    off = {name: max(_off(name, groups, w, rows), _raced(name, groups, w)) for name in names}
    best = min(off, key=lambda name: off[name], default=None)
    return None if best is None or off[best] > LITTLE else best


def _raced(name: str, groups: Sequence[_Group], w: Weighed) -> float:
    """How much of it would be hedged otherwise."""
    own = np.concatenate([group.of[group.own(name)] for group in groups])
    return float(w.raced[own].mean())


def _off(name: str, groups: Sequence[_Group], w: Weighed, rows: Sequence[Logged]) -> float:
    """By how much of those that went on more would go on otherwise than a policy that explores as this one does would
    by itself. Infinite where their first was not drawn so, or where it matters how asks go on and none did.
    """
    moved = list[int]()
    for group in groups:
        own = group.of[group.own(name)]
        if not len(own):
            continue
        share = _share(rows[int(own[0])])
        if (_chances(rows, group.of, w.target.shape[1]) - share * w.target[group.of]).min() < -_SLACK:
            return math.inf
        moved += own[w.moved[own]].tolist()
    if not any(w.apart[group.of].any() for group in groups):
        return 0.0
    if not moved:
        return math.inf
    explores = 1.0 - w.target[moved].max(axis=1)
    return float((w.apart[moved] - 2.0 * explores).mean())


def _chances(rows: Sequence[Logged], of: Places, many: int) -> Array:
    """(n, K) the chances on record, over all arms."""
    had, places = np.zeros((len(of), many)), cast("list[int]", of.tolist())
    for i, at in enumerate(places):
        had[i, : len(rows[at].propensities)] = rows[at].propensities
    return had
