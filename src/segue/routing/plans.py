"""How each policy chooses among those who are eligible: one function for each kind, all with the same result, a `Lot`.

Pure but for the user's own functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np

from ..core.records import Sampling, Stage
from ..core.records import Split as SplitRecord
from .arrays import Flags, Vector, listed, numbered
from .choose import draw
from .eligible import Exclusion, Rule, apply, tag_rules
from .errors import PolicyFailed
from .functions import Considered, said
from .lots import Ground, Lot, certain, following, nobody, placed, same_arms
from .policies import Cascade, Examples, Function, Hedge, Pinned, Policy, Ranked, Shadow, Split
from .predict import predict
from .ranked import cascade, ranked
from .types import CALLER, Predictions

__all__ = ["plan"]

_Z95 = 1.645


def plan(policy: Policy, ground: Ground, allowed: Flags) -> Lot:
    """What the policy comes to among those who are allowed. Raises PolicyFailed for a function of the user."""
    if policy.among or policy.require:
        ground = ground.under(policy)
    allowed, barred = _narrowed(policy, ground, allowed)
    lot = _PLANS[_kind(policy)](policy, ground, allowed)
    return replace(lot, barred={**lot.barred, **barred}) if barred else lot


def _kind(policy: Policy) -> type[Policy]:
    return next(kind for kind in type(policy).__mro__ if kind in _PLANS)


def _narrowed(policy: Policy, ground: Ground, allowed: Flags) -> tuple[Flags, dict[int, Exclusion]]:
    """Without those whom the policy's own names and tags leave out."""
    if not policy.among and not policy.require:
        return allowed, {}
    table, rows = ground.at.table, ground.base.rows
    fits, by_row = np.zeros(len(table), np.bool_), dict[int, Exclusion]()
    fits[rows[allowed]] = True
    if policy.among:
        says = f"it is not among those of {policy.title}"
        apply(Rule(Stage.POLICY, ~table.among(policy.among), lambda _: says), fits, by_row)
    for rule in tag_rules(policy.require, table):
        apply(rule, fits, by_row)
    places = {row: place for place, row in enumerate(rows.tolist())} if by_row else {}
    return allowed & fits[rows], {places[row]: why for row, why in by_row.items()}


def _split(policy: Split, ground: Ground, allowed: Flags) -> Lot:
    """Each arm is worked out: a propensity is that over all arms, before the key was looked at."""
    lots, failed = list[Lot](), dict[str, PolicyFailed]()
    for arm in policy.arms:
        try:
            lots.append(plan(arm.policy, ground, allowed))
        except PolicyFailed as error:  # the others' requests have nothing to do with it
            lots.append(nobody(ground))
            failed[arm.name] = error
    total = sum(arm.share for arm in policy.arms)
    shares = np.array([arm.share / total for arm in policy.arms])
    alive = np.array([lot.choice is not None for lot in lots]) & (shares > 0.0)
    if not alive.any():
        for error in failed.values():
            raise error
        return replace(nobody(ground), barred=_barred_by_all(lots))
    at = _arm(policy, ground, shares, alive)
    weights = np.where(alive, shares, 0.0) / shares[alive].sum()
    p = np.array(weights @ np.array([lot.p for lot in lots]))
    of, key = lots[at], ground.at.request.key
    record = SplitRecord(name=policy.title, arm=policy.arms[at].name, share=float(shares[at]), by=_hashed(policy, key))
    certain = int((p > 0.0).sum()) == 1
    estimated = any(lot.sampling is Sampling.ESTIMATED for lot in lots)
    why = {f"arm {name}": f"nobody: {error.message}" for name, error in failed.items()}
    return replace(
        of,
        p=p,
        barred=_barred_by_all(lots),
        sampling=Sampling.ESTIMATED if estimated else Sampling.DETERMINISTIC if certain else Sampling.EXACT,
        exploration=round(sum(w * lot.exploration for w, lot in zip(weights.tolist(), lots, strict=True)), 9),
        splits=(record, *of.splits),
        notes={"arm": policy.arms[at].name, **why, **of.notes},
    )


def _arm(policy: Split, ground: Ground, shares: Vector, alive: Flags) -> int:
    """The arm of this request. Where an arm has nobody, only its own requests are dealt anew."""
    salt, key = policy.salt or policy.title, ground.at.request.key
    at = draw(shares, ground.chance(f"arm {salt}", key))
    return at if alive[at] else draw(np.where(alive, shares, 0.0), ground.chance(f"other arm {salt}", key))


def _barred_by_all(lots: Sequence[Lot]) -> dict[int, Exclusion]:
    shared = set(lots[0].barred).intersection(*(lot.barred for lot in lots))
    return {place: lots[0].barred[place] for place in sorted(shared)}


def _hashed(policy: Split, key: str | None) -> str | None:
    """The key, so that its requests are known as one's, and no one knows whose."""
    if key is None:
        return None
    return blake2b(f"{policy.salt or policy.title}\0{key}".encode("utf-8", "replace"), digest_size=8).hexdigest()


def _shadow(policy: Shadow, ground: Ground, allowed: Flags) -> Lot:
    lot = plan(policy.of, ground, allowed)
    if lot.choice is None or ground.chance(f"shadow {policy.title}") >= policy.share:
        return lot
    return replace(lot, shadows=tuple(_beside(policy, ground, int(ground.base.rows[lot.choice]))))


def _beside(policy: Shadow, ground: Ground, choice: int) -> Iterator[int]:
    """Who answers on the side, as rows of the table: also whom the money of the question cannot pay, since it is not
    what pays for them; but nobody without the tags that are required here or above.
    """
    table, excluded = ground.at.table, ground.base.excluded
    may = np.zeros(len(table), np.bool_)
    may[ground.base.rows] = True
    may[[row for row, why in excluded.items() if why.stage is Stage.BUDGET]] = True
    for above in ground.within:  # where data may go
        for rule in tag_rules(above.require, table):
            may &= ~rule.bad
    for name in policy.shadows:
        row = table.place.get(name, -1)
        if row not in (choice, -1) and may[row]:
            yield row


def _hedge(policy: Hedge, ground: Ground, allowed: Flags) -> Lot:
    """Where the Recovery has named who answers, nobody else is eligible: the second one is found apart."""
    lot, request = plan(policy.of, ground, allowed), ground.at.request
    named = request.model is not None and request.pinned_by == "recovery"
    second = None if lot.choice is None else _next(policy.of, ground, allowed, lot)
    if lot.choice is None or (second is None and not named):
        return lot
    after = policy.after_s if policy.after_s is not None else _slow_s(ground, lot.choice)
    row = None if second is None else int(ground.base.rows[second])
    return replace(lot, hedge=row, hedge_after_s=round(after, 4))


def _next(policy: Policy, ground: Ground, allowed: Flags, lot: Lot) -> int | None:
    """Who is next: a function that gave one name has not said it, and is asked without that one."""
    if lot.order or ground.at.request.model is not None:
        return lot.order[0] if lot.order else None
    others = allowed.copy()
    others[lot.choice] = False
    try:
        second = plan(policy, ground, others)
    except PolicyFailed:
        return None  # one is there to answer
    return second.choice if same_arms(lot, second) else None


def _slow_s(ground: Ground, place: int) -> float:
    """What 95% of its calls stay under: as health has seen it, else as predicted."""
    seen = float(ground.at.conditions.p95_s[ground.base.rows[place]])
    latency = ground.expected.latency
    return float(latency.mean[place] + _Z95 * latency.sd[place]) if np.isnan(seen) else seen


def _pinned(policy: Pinned, ground: Ground, allowed: Flags) -> Lot:
    wanted = [place for place in ground.places((policy.model,)) if allowed[place]]
    if not wanted and policy.otherwise is not None:
        return plan(policy.otherwise, ground, allowed)
    why = Exclusion(Stage.POLICY, f"the route is pinned to {policy.model}")
    barred = {place: why for place in np.flatnonzero(allowed).tolist() if place not in wanted}
    if not wanted:
        return nobody(ground, barred)
    notes = {} if policy.otherwise is None else {"instead": _called(policy.otherwise)}
    return replace(certain(ground, wanted, pinned_by="policy"), barred=barred, notes=notes)


def _called(policy: Policy) -> str:
    """A route by its name; a model that stands in the place of one by its own."""
    return policy.model if isinstance(policy, Pinned) and not policy.name else policy.title


def _examples(policy: Examples, ground: Ground, allowed: Flags) -> Lot:
    embedding = ground.at.features.embedding
    if embedding is None or ground.vectors is None:
        lot = plan(policy.otherwise, ground, allowed)
        return replace(lot, notes={"example": None, "why": "there is no embedding", **lot.notes})
    length = float(np.linalg.norm(embedding)) or 1.0
    likeness = ground.vectors(policy) @ embedding / length
    at = int(np.argmax(likeness))
    like = float(likeness[at])
    if like < policy.similarity_min:
        lot = plan(policy.otherwise, ground, allowed)
        return replace(lot, notes={"example": None, "similarity": round(like, 4), **lot.notes})
    use = policy.examples[at].use
    if isinstance(use, Pinned) and not use.name and use.otherwise is None:  # a route says itself what follows
        use = replace(use, otherwise=policy.otherwise)
    lot = plan(use, ground, allowed)
    return replace(lot, notes={"example": at, "similarity": round(like, 4), **lot.notes})


def _function(policy: Function, ground: Ground, allowed: Flags) -> Lot:
    """It is shown all who are able; who can answer now is taken from what it says. So a list or weights are the same at
    each decision of a question, and the order on record is the one that is gone by. Whom recovery or a person has named
    was chosen before.
    """
    seats, request = np.flatnonzero(allowed), ground.at.request
    if not len(seats):
        return nobody(ground)
    if request.model is not None and request.pinned_by != CALLER:
        return certain(ground, seats.tolist())
    told = said(policy, ground.at, _considered(ground), {ground.name(place) for place in seats.tolist()})
    order = [place for place in ground.places(told.order) if allowed[place]]
    why = None if told.others is None else Exclusion(Stage.POLICY, told.others)
    barred = {place: why for place in seats.tolist() if why is not None and place not in order}
    if not order:
        return nobody(ground, barred)
    weights = np.array([(told.weights or {}).get(ground.name(place), 0.0) for place in order])
    if not weights.any():
        return replace(certain(ground, order), barred=barred)
    weights /= weights.max()
    p = placed(weights / weights.sum(), np.array(order, np.intp), ground.many, 0.0)
    order.sort(key=lambda place: -p[place])
    if not request.tried.keys().isdisjoint(told.order):  # who is next was said when the first one was drawn
        return replace(certain(ground, order), barred=barred)
    choice = draw(p, ground.luck)
    return Lot(p=p, choice=choice, order=following(order, choice), barred=barred, sampling=Sampling.EXACT)


def _considered(ground: Ground) -> list[Considered]:
    """All who are able, within what the policies above leave, as a function of the user sees them."""
    table, able = ground.at.table, np.zeros(len(ground.at.table), np.bool_)
    able[ground.base.able] = True
    for policy in ground.within:
        if policy.among:
            able &= table.among(policy.among)
        for rule in tag_rules(policy.require, table):
            able &= ~rule.bad
    now = ground.base.rows
    known = dict(zip(numbered(now), _estimates(ground.expected), strict=True))
    others = np.setdiff1d(np.flatnonzero(able), now)
    if len(others):
        known |= zip(numbered(others), _estimates(predict(ground.at, others)), strict=True)
    seen = ((table.options[row], known[row]) for row in np.flatnonzero(able).tolist())
    return [Considered(option.name, *estimates, option.tags) for option, estimates in seen]


def _estimates(of: Predictions) -> Iterator[tuple[float | None, float | None, float | None]]:
    """Quality, cost and latency of each; None: not known."""
    means = (of.quality.mean, of.cost.mean, of.latency.mean)
    quality, cost, latency = ([None if math.isnan(x) else x for x in listed(mean)] for mean in means)
    return zip(quality, cost, latency, strict=True)


_PLANS: Mapping[type[Policy], Callable[[Any, Ground, Flags], Lot]] = {
    Ranked: ranked, Cascade: cascade, Split: _split, Shadow: _shadow, Hedge: _hedge, Pinned: _pinned,
    Examples: _examples, Function: _function,
}  # fmt: skip
