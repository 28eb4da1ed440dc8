"""The decision as a record: every candidate with what was expected of it, and the chance that it had.

A thousand candidates are some four thousand parts, and a part's own constructor takes longer than all the routing. So
the parts are filled here field by field, in the way that the constructor leaves them; a test holds the two equal.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import isnan
from typing import cast

import numpy as np

from ..core.records import Candidate, Decision, Estimate, Json, Target
from .arrays import Rows, Vector, listed, numbered
from .eligible import Exclusion
from .lots import Ground, Lot
from .policies import Policy
from .types import Features, Spread

__all__ = ["decision", "said_by"]

_new, _fill = object.__new__, object.__setattr__
DETAILED = 128
"""Of so many candidates the estimates are recorded; of the others only who they are and their chance."""
_LEFT_OUT = frozenset({"examples"})
"""What a policy says that is too long for each decision."""


def decision(policy: Policy, ground: Ground, lot: Lot, *, id: str) -> Decision:
    """The record of what a policy came to."""
    request, rows = ground.at.request, ground.base.rows.tolist()
    choice = None if lot.choice is None else rows[lot.choice]
    version, objective = _described(policy)
    return Decision(
        id=id,
        policy=policy.title,
        policy_version=version,
        candidates=tuple(_candidates(ground, lot)),
        choice=choice,
        route=request.route,
        objective={**objective, **lot.notes},
        features=_features(ground.at.features),
        embedding=_embedding(ground.at.features),
        embedding_model=ground.at.features.embedding_model,
        sampling=lot.sampling,
        samples=lot.samples,
        exploration=lot.exploration,
        explored=lot.explored,
        luck=ground.luck,
        seed=lot.seed,
        order=tuple(rows[place] for place in lot.order),
        stage=lot.stage,
        shadows=lot.shadows,
        hedge=lot.hedge,
        hedge_after_s=lot.hedge_after_s,
        splits=lot.splits,
        pinned_by=request.pinned_by if request.model is not None else lot.pinned_by,
        after=request.after,
        because=request.because,
        attempt=request.attempt,
        depth=request.depth,
        catalogue=ground.at.table.version or None,
    )


def said_by(decision: Decision) -> list[Mapping[str, Json]]:
    """What is on record of the policies that made it: the route's, then of splits those of the arms it fell into."""
    found = [decision.objective]
    for split in decision.splits:
        arms = cast("list[Mapping[str, Json]]", found[-1].get("arms") or [])
        found += (cast("Mapping[str, Json]", arm["policy"]) for arm in arms if arm.get("name") == split.arm)
    return found


def _candidates(ground: Ground, lot: Lot) -> Iterable[Candidate]:
    """In the order of the table: those who were eligible, and the others with their reason."""
    targets, excluded = ground.at.table.targets, ground.base.excluded
    made: list[Candidate | None] = [None] * len(targets)
    for row, why in excluded.items():
        made[row] = _excluded(targets[row], why)
    if ground.many:
        for row, one in zip(numbered(ground.base.rows), _eligible(ground, lot), strict=True):
            made[row] = one
    return (one for one in made if one is not None)


def _eligible(ground: Ground, lot: Lot) -> list[Candidate]:
    expected, targets, many = ground.expected, ground.at.table.targets, ground.many
    detailed = _detailed(lot, many)
    estimates = (
        _estimates(expected.quality, detailed, many, 4),
        _estimates(expected.cost, detailed, many, 9),
        _estimates(expected.latency, detailed, many, 4),
    )
    columns = (numbered(ground.base.rows), listed(lot.p), _scores(lot.score, many), *estimates, _facts(ground))
    barred = lot.barred
    made: list[Candidate] = []
    for place, (row, p, score, quality, cost, latency, facts) in enumerate(zip(*columns, strict=True)):
        why = barred.get(place)
        one = _new(Candidate)
        _fill(
            one,
            "__dict__",
            {
                "target": targets[row],
                "eligible": why is None,
                "excluded_at": None if why is None else why.stage,
                "reason": None if why is None else why.reason,
                "quality": quality,
                "cost_usd": cost,
                "latency_s": latency,
                "score": score,
                "propensity": p,
                "facts": facts,
            },
        )
        made.append(one)
    return made


def _excluded(target: Target, why: Exclusion) -> Candidate:
    one = _new(Candidate)
    _fill(
        one,
        "__dict__",
        {
            "target": target,
            "eligible": False,
            "excluded_at": why.stage,
            "reason": why.reason,
            "quality": None,
            "cost_usd": None,
            "latency_s": None,
            "score": None,
            "propensity": 0.0,
            "facts": {},
        },
    )
    return one


def _detailed(lot: Lot, many: int) -> Rows | None:
    """Those of whom the estimates are recorded: all, or of many the likeliest and then the best. None: all."""
    if many <= DETAILED:
        return None
    score = np.zeros(many) if lot.score is None else np.nan_to_num(lot.score, nan=-np.inf)
    return np.union1d(np.lexsort((-score, -lot.p))[:DETAILED], np.array(lot.order, np.intp))


def _estimates(of: Spread, detailed: Rows | None, many: int, digits: int) -> list[Estimate | None]:
    """To so many decimals: more would be noise that is journaled."""
    places = range(many) if detailed is None else numbered(detailed)
    mean, sd, n = (column if detailed is None else column[detailed] for column in (of.mean, of.sd, of.n))
    source, made = of.source, cast("list[Estimate | None]", [None] * many)
    rounded = listed(np.round(mean, digits)), listed(np.round(sd, digits)), listed(n)
    for place, m, s, k in zip(places, *rounded, strict=True):
        if not isnan(m):
            one = made[place] = _new(Estimate)
            _fill(one, "__dict__", {"mean": m, "sd": s, "n": k, "source": source})
    return made


def _scores(score: Vector | None, many: int) -> list[float | None]:
    if score is None:
        return [None] * many
    return [None if isnan(s) else s for s in np.round(score, 9).tolist()]


def _facts(ground: Ground) -> list[dict[str, Json]]:
    """What was out of the ordinary: a cached prefix, a wait, something in the way."""
    rows, now = ground.base.rows, ground.at.conditions
    facts: list[dict[str, Json]] = [{} for _ in range(ground.many)]
    for name, column, digits in (("tokens_cached", ground.expected.cached, 0), ("wait_s", now.wait_s[rows], 3)):
        for place in np.flatnonzero(column).tolist():
            facts[place][name] = round(float(column[place]), digits) if digits else int(column[place])
    if now.reasons:
        for place, row in enumerate(rows.tolist()):
            if row in now.reasons:
                facts[place]["health"] = now.reasons[row]
    return facts


def _features(of: Features) -> dict[str, Json]:
    said: dict[str, Json] = {
        "kind": str(of.kind),
        "difficulty": of.difficulty,
        "tokens": of.tokens,
        "language": of.language,
        "modalities": sorted(str(modality) for modality in of.modalities),
    }
    return said | {name: value for name, value in (("code", of.code), ("maths", of.maths)) if value}


def _embedding(of: Features) -> str | None:
    if of.embedding is None:
        return None
    return base64.b64encode(np.asarray(of.embedding).astype("<f2").tobytes()).decode("ascii")


@lru_cache(maxsize=256)
def _described(policy: Policy) -> tuple[str, dict[str, Json]]:
    """Its version, and what is recorded of what it wants."""
    return policy.version(), {name: value for name, value in policy.body().items() if name not in _LEFT_OUT}
