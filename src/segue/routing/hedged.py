"""Hedges on past calls: whether another policy would have asked a second one beside a call, or nobody, as was done.

What counts is what was done, not what was planned: a call that ended before either policy's delay was over went as both
would have had it. A delay by default, what 95% of a model's calls stay under, moves with the model's health, which is
not on record: two policies that both go by it hedge alike. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..core.records import Decision, Json
from .judge.rows import Call
from .lots import Ground, Lot
from .plans import plan
from .policies import Hedge, Policy, Split
from .record import said_by

__all__ = ["alike"]

_ALIKE = 0.25
"""Delays that differ by no more than this part of the longer one say the same of a call that was hedged."""


class _Second(NamedTuple):
    """Who is asked too, and after how long."""

    name: str
    after_s: float
    usual: bool
    """Whether that is what the calls of the first one usually stay under, and no fixed time."""


def alike(policy: Policy, ground_of: Callable[[], Ground], call: Call) -> float:
    """The chance that it would have done beside a call as was done, had it asked the same one first. 1 where it would
    have asked another one. `ground_of` gives what there was to choose on. Raises PolicyFailed.
    """
    if not any(isinstance(one, Hedge) for one in policy.within()):
        return float(call.beside is None)
    if call.beside is None and call.silent_s is not None and call.silent_s <= _soonest(policy):
        return 1.0
    chance, same, ground = 0.0, 0.0, ground_of()
    for place in ground.places([call.asked]):
        for p, second in _ways(policy, ground, place):
            chance, same = chance + p, same + p * _same(second, call)
    return same / chance if chance > 0.0 else 1.0


def _soonest(policy: Policy) -> float:
    """The delay before which it asks no second one, whoever is first."""
    return min((one.after_s or 0.0 for one in policy.within() if isinstance(one, Hedge)), default=0.0)


def _ways(policy: Policy, ground: Ground, place: int) -> Iterator[tuple[float, _Second | None]]:
    """How it hedges a call to who stands at a place, each with its chance: the arms of a split each have their own."""
    if isinstance(policy, Split):
        total = sum(arm.share for arm in policy.arms)
        for arm in policy.arms:
            for p, second in _ways(arm.policy, ground, place):
                yield p * arm.share / total, second
        return
    lot = _asking(policy, ground, place)
    if lot.p[place] > 0.0:
        yield float(lot.p[place]), _second(policy, ground, lot)


def _asking(policy: Policy, ground: Ground, place: int) -> Lot:
    """What it comes to where the draw falls on a place."""
    every = np.ones(ground.many, np.bool_)
    lot = plan(policy, ground, every)
    if lot.choice == place or lot.p[place] <= 0.0:
        return lot
    luck = float(lot.p[:place].sum() + lot.p[place] / 2.0) / float(lot.p.sum())
    return plan(policy, replace(ground, luck=luck), every)


def _second(policy: Policy, ground: Ground, lot: Lot) -> _Second | None:
    if lot.hedge is None or lot.hedge_after_s is None:
        return None
    fixed = {round(one.after_s, 4) for one in policy.within() if isinstance(one, Hedge) and one.after_s is not None}
    return _Second(ground.at.table.names[lot.hedge], lot.hedge_after_s, lot.hedge_after_s not in fixed)


def _same(second: _Second | None, call: Call) -> bool:
    """Whether that would have been done."""
    then = _logged(call.decision)
    if second is not None and then is None and call.decision.order and _delays(said_by(call.decision)[-1]):
        return True  # its policy hedges, and it could not be: it went on from what one model had said
    if second is not None and then is not None and second.name == then.name:
        if (second.usual and then.usual) or second.after_s == then.after_s:
            return True
        if call.beside is not None:
            return abs(second.after_s - then.after_s) <= _ALIKE * max(second.after_s, then.after_s)
    if call.beside is not None:
        return False
    return second is None or call.silent_s is None or call.silent_s <= second.after_s


def _logged(decision: Decision) -> _Second | None:
    if decision.hedge is None or decision.hedge_after_s is None:
        return None
    fixed = {round(after, 4) for after in _delays(said_by(decision)[-1]) if after is not None}
    name = decision.candidates[decision.hedge].target.name
    return _Second(name, decision.hedge_after_s, decision.hedge_after_s not in fixed)


def _delays(body: Json) -> list[float | None]:
    """Of all hedges of a policy on record; None: the usual one."""
    if isinstance(body, list):
        return [delay for part in body for delay in _delays(part)]
    if not isinstance(body, Mapping):
        return []
    found = [delay for part in body.values() for delay in _delays(part)]
    after = body.get("after_s")
    own = [float(after) if isinstance(after, int | float) else None] if body.get("kind") == Hedge.kind else []
    return own + found
