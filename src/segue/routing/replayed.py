"""Other routes on past decisions: what chance they would have given each candidate, from what was known then.

The estimates are those on record, so nothing that came later is looked at. Whom the policy of then left out may be
chosen again; whom the request, a budget or health left out may not. A model that was no candidate then is taken to have
been eligible where it fits: its chance goes to nobody who was seen, and the judge says so.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from json import dumps, loads
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..core.records import Candidate, Decision, Estimate, Json, Stage
from .arrays import Rows, Vector, numbered
from .eligible import PASSING, Eligibility, eligible
from .embedding import Hashed
from .hedged import alike
from .judge.rows import Logged
from .lots import Ground
from .plans import plan
from .policies import Cascade, Examples, Hedge, Policy
from .predict import predict
from .record import said_by
from .table import Conditions, Situation, Table
from .types import Features, Modality, Option, Predictions, Request, Spread

__all__ = ["Replayed"]

_LUCK = 0.5
"""No chance of this one's own is at work: only the distribution counts."""


class Replayed:
    """Routes as a target of the judge. With `policy`, that one of them is taken for every ask."""

    def __init__(self, options: Iterable[Option], routes: Mapping[str, Policy], policy: Policy | None = None) -> None:
        self.table, self.routes, self.policy = Table(options), dict(routes), policy
        self._well = Conditions(self.table)
        self._words = Hashed()
        self._vectors = lru_cache(maxsize=None)(self._vectors_of)
        self._body = lru_cache(maxsize=None)(_body)

    def policy_for(self, decision: Decision) -> Policy | None:
        """The policy that takes the place of the one that chose; None: there is none of that name."""
        return self.policy or self.routes.get(decision.route or "default")

    def __call__(self, row: Logged) -> tuple[float, ...]:
        """The chance of each candidate of a row. Raises PolicyFailed for a function of the user."""
        decision = row.decision
        policy = None if decision is None else self.policy_for(decision)
        if decision is None or policy is None:
            return tuple(row.propensities)
        ground = self._ground(decision, policy, row.text)
        lot = plan(policy, ground, np.ones(ground.many, np.bool_))
        by_name = {ground.name(place): float(p) for place, p in enumerate(lot.p.tolist())}
        return tuple(by_name.get(name, 0.0) for name in row.candidates)

    def goes_on(self, row: Logged) -> float:
        """The chance that it would have gone on as a row did, after who was asked first. Raises PolicyFailed."""
        decision, chance = row.decision, 1.0
        policy = None if decision is None else self.policy_for(decision)
        if decision is None or policy is None or self._is_own(decision, policy):
            return chance
        for move in row.moves:
            ground = self._ground(decision, policy, row.text, move.tried)
            lot = plan(policy, ground, np.ones(ground.many, np.bool_))
            chance *= sum(float(p) for place, p in enumerate(lot.p.tolist()) if ground.name(place) == move.next)
        return chance

    def hedged(self, row: Logged) -> float:
        """The chance that a row's calls would have been hedged as they were. Raises PolicyFailed."""
        decision = row.decision
        policy = None if decision is None else self.policy_for(decision)
        if decision is None or policy is None or self._is_own(decision, policy):
            return 1.0
        grounds = (partial(self._ground, decision, policy, row.text, call.tried) for call in row.calls)
        return math.prod(alike(policy, ground, call) for ground, call in zip(grounds, row.calls, strict=True))

    def _is_own(self, decision: Decision, policy: Policy) -> bool:
        """Whether this policy has made it, over the same models: then it went on as this one does."""
        if {c.target.name for c in decision.candidates} != set(self.table.names):
            return False
        arms = (_nameless(said) for said in said_by(decision)[1:])
        return decision.policy_version == policy.version() or self._body(policy) in arms

    def hedges(self, rows: Iterable[Logged]) -> bool:
        """Whether a policy that takes one of these asks a second one where the first takes long."""
        return any(isinstance(one, Hedge) for one in self._parts(rows))

    def climbs(self, rows: Iterable[Logged]) -> bool:
        """Whether a policy that takes one of these goes on by rules of its own once an answer was turned down."""
        return any(isinstance(one, Cascade) for one in self._parts(rows))

    def _parts(self, rows: Iterable[Logged]) -> Iterator[Policy]:
        taken = {self.policy_for(row.decision) for row in rows if row.decision is not None}
        return (one for policy in taken if policy is not None for one in policy.within())

    def _vectors_of(self, policy: Examples) -> NDArray[np.float32]:
        return np.array([self._words.embed(example.text) for example in policy.examples], np.float32)

    def _ground(self, decision: Decision, policy: Policy, text: str, tried: Sequence[str] = ()) -> Ground:
        """What there was to choose on, once those were `tried`. Examples are compared by their words, whatever embedder
        there was.
        """
        features = _features(decision)
        if policy.compares():
            features = replace(features, embedding=self._words.embed(text))
        request = Request(
            text=text, kind=features.kind, tokens_in=features.tokens, route=decision.route, depth=decision.depth,
            tried=dict.fromkeys(tried, "it was asked before"), stage=len(tried),
        )  # fmt: skip
        at = Situation(request, features, self.table, self._well)
        logged = {c.target.name: c for c in decision.candidates}
        fit = next(eligible(at))
        who = [(row, logged.get(name)) for row, name in enumerate(self.table.names)]
        who = [(row, then) for row, then in who if self.table.names[row] not in tried]
        rows = np.array([row for row, then in who if _may(then, row in fit.rows)], np.intp)
        later = [row for row, then in who if then is not None and then.excluded_at in PASSING and row in fit.able]
        base = Eligibility(rows, {}, np.union1d(rows, np.array(later, np.intp)))
        return Ground(at, base, _LUCK, self._vectors, foresee=partial(_expected, logged=logged))


def _body(policy: Policy) -> Json:
    """As it would stand on record."""
    return _nameless(loads(dumps(policy.body())))


def _nameless(said: Json) -> Json:
    """What policies say, whatever they are called."""
    if isinstance(said, list | tuple):
        return [_nameless(part) for part in said]
    if not isinstance(said, Mapping):
        return said
    return {key: _nameless(part) for key, part in said.items() if key != "name" or "kind" not in said}


def _may(logged: Candidate | None, fits: bool) -> bool:
    """What the policy of then excluded has estimates; whom the request excluded has none."""
    if logged is None:
        return fits
    return logged.eligible or (logged.excluded_at is Stage.POLICY and logged.latency_s is not None)


def _features(decision: Decision) -> Features:
    said = decision.features

    def number(name: str, usual: float = 0.0) -> float:
        value = said.get(name)
        return float(value) if isinstance(value, int | float) else usual

    modalities = said.get("modalities")
    known = {m.value for m in Modality}
    listed = cast("list[object]", modalities) if isinstance(modalities, list | tuple) else []
    return Features(
        kind=str(said.get("kind") or "any"),
        difficulty=number("difficulty", 0.5),
        tokens=int(number("tokens")),
        counted=True,
        language=str(said.get("language") or "und"),
        code=number("code"),
        maths=number("maths"),
        modalities=frozenset(Modality(m) for m in listed if m in known) or frozenset({Modality.TEXT}),
        embedding=_embedding(decision),
        embedding_model=decision.embedding_model,
    )


def _embedding(decision: Decision) -> NDArray[np.float32] | None:
    if decision.embedding is None:
        return None
    return np.frombuffer(base64.b64decode(decision.embedding), "<f2").astype(np.float32)


def _expected(at: Situation, rows: Rows, logged: Mapping[str, Candidate]) -> Predictions:
    """As recorded; where nothing is, as catalogue and prices have it."""
    usual = predict(at, rows)
    who = [logged.get(at.table.names[row]) for row in numbered(rows)]
    return Predictions(
        _over(usual.quality, [c and c.quality for c in who]),
        _over(usual.cost, [c and c.cost_usd for c in who]),
        _over(usual.latency, [c and c.latency_s for c in who]),
        usual.cached,
    )


def _over(usual: Spread, recorded: list[Estimate | None]) -> Spread:
    def column(of: Vector, name: str) -> Vector:
        said = [None if one is None else getattr(one, name) for one in recorded]
        return np.array([u if s is None else s for u, s in zip(of.tolist(), said, strict=True)], np.float64)

    return Spread(column(usual.mean, "mean"), column(usual.sd, "sd"), column(usual.n, "n"), "recorded")
