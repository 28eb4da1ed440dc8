"""The pipeline: a request and a policy in, a decision out. No model is called to make it.

    router = Router(catalogue, routes, predictors=..., view=health.view, embedder=...)
    decision = router.decide(Request(text="..."), route="cheap", id="d1", luck=0.42)

`decide` is pure; `Router` keeps what is made once: the catalogue as columns, the routes, the embedded examples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..core.records import Decision, Stage
from ..models.reading import meant
from .eligible import Exclusion, eligible
from .errors import PolicyFailed, UnknownRoute
from .features import features_of
from .instead import instead
from .lots import Ground, Lot, same_arms
from .plans import plan
from .policies import Examples, Policy
from .record import decision
from .table import Conditions, Situation, Table
from .types import APART, CALLER, Condition, Embedder, Option, Predictors, Request

__all__ = ["Router", "decide"]

Offered = TypeVar("Offered", bound=Option)


def decide(
    policy: Policy,
    at: Situation,
    *,
    id: str,
    luck: float,
    vectors: Callable[[Examples], NDArray[np.float32]] | None = None,
) -> Decision:
    """Who is asked, and how that was chosen. `choice` is None where nobody is eligible.

    `luck` is a number in [0, 1): with the same one, and all else equal, the decision is the same. `vectors` gives the
    embeddings of a policy's examples. Raises PolicyFailed where a function of the user chooses nobody there is.
    """
    ground, lot = _chosen(policy, at, luck, vectors)
    if lot.hedge_after_s is not None and lot.hedge is None:
        second = _second(policy, ground, lot)
        lot = replace(lot, hedge=second, hedge_after_s=None if second is None else lot.hedge_after_s)
    wanted, by = at.request.model, at.request.pinned_by
    if lot.choice is None and wanted is not None and by == CALLER and at.request.route is not None:
        lot = replace(lot, barred={place: _apart(lot.barred.get(place)) for place in range(ground.many)})
    return decision(policy, ground, lot, id=id)


def _chosen(
    policy: Policy, at: Situation, luck: float, vectors: Callable[[Examples], NDArray[np.float32]] | None
) -> tuple[Ground, Lot]:
    """What the policy comes to among the first of those who can answer that leave it anybody."""
    found: tuple[Ground, Lot] | None = None
    for fit in eligible(at):
        ground = Ground(at, fit, luck, vectors)
        found = ground, plan(policy, ground, np.ones(ground.many, np.bool_))
        if found[1].choice is not None:
            break
    assert found is not None
    return found


def _apart(why: Exclusion | None) -> Exclusion:
    """Why a model that the caller names is not asked by the route that the caller names, too."""
    return Exclusion(Stage.POLICY, APART + (why.reason if why else "it is not whom it chooses"))


def _second(policy: Policy, ground: Ground, lot: Lot) -> int | None:
    """Who is asked beside the one that was named, as a row of the table: whom the policy chooses without it, in the
    same arms.
    """
    request = ground.at.request
    tried = {**request.tried, str(request.model): "it is asked first"}
    at = ground.at._replace(request=replace(request, model=None, tried=tried, stage=len(tried)))
    try:
        others, second = _chosen(policy, at, ground.luck, ground.vectors)
    except PolicyFailed:
        return None  # one is there to answer
    found = second.choice if same_arms(lot, second) else None
    return None if found is None else int(others.base.rows[found])


class Router:
    """The routes over one catalogue. It holds nothing of any request."""

    def __init__(
        self,
        options: Iterable[Offered],
        routes: Mapping[str, Policy],
        *,
        predictors: Predictors | None = None,
        view: Callable[[Offered], Condition | None] | None = None,
        embedder: Embedder | None = None,
        clock: Callable[[], float] = time.thread_time,
    ) -> None:
        """`options` is a catalogue, or anything like one. `view` says how a model is now; `clock` gives CPU seconds."""
        self.table = Table(options, getattr(options, "version", ""))
        self.routes, self.embedder = dict(routes), embedder
        self.predictors = predictors or Predictors()
        self._view, self._clock = view, clock
        self._well = Conditions(self.table)
        self._now: Conditions | None = None
        """As it was at the last look."""
        self._vectors: dict[int, tuple[Examples, NDArray[np.float32]]] = {}

    def over(self, options: Iterable[Option]) -> Router:
        """The same over other options: models as they are in a batch."""
        view: Any = self._view  # it sees the same models, at other prices
        return Router(options, self.routes, predictors=self.predictors, view=view, embedder=self.embedder,
                      clock=self._clock)  # fmt: skip

    def route(self, name: str) -> Policy:
        """The policy of a route. Raises UnknownRoute, naming those whose names are like it."""
        try:
            return self.routes[name]
        except KeyError:
            is_model = name in self.table.names
            guess = "" if is_model else meant(name, self.routes)
            hint = f"; did you mean {guess}?" if guess else ": it is a model" if is_model else ""
            remedy = f"say model={name!r}" if is_model else _one_of(self.routes)
            raise UnknownRoute(f"no route is called {name!r}{hint}", remedy=remedy) from None

    def situation(self, request: Request) -> Situation:
        """What a choice for this request is made from, as of now."""
        conditions = self._well
        if self._view is not None:
            conditions = self._now = Conditions(self.table, self._view, self._now)
        table = self.table.thinking(request.thoughts)
        return Situation(request, features_of(request, self.embedder), table, conditions, self.predictors)

    def decide(self, request: Request, *, id: str, luck: float, route: str | Policy | None = None) -> Decision:
        """The decision for a request, by its own route or by another one. Where neither is said, a model that the
        caller names stands in the place of those that the default route would choose from.

        Raises UnknownRoute, PolicyFailed.
        """
        began = self._clock()
        named = request.route if route is None else route
        policy = named if isinstance(named, Policy) else self.route(named or "default")
        if named is None and request.model is not None and request.pinned_by == CALLER:
            policy = instead(policy, request.model, self._tags(request.model))
        made = decide(policy, self.situation(request), id=id, luck=luck, vectors=self.vectors)
        made.__dict__["took_s"] = round(self._clock() - began, 6)  # nobody has seen the record yet
        return made

    def _tags(self, model: str) -> frozenset[tuple[str, str]]:
        row = self.table.place.get(model)
        return frozenset() if row is None else frozenset(self.table.options[row].tags.items())

    def vectors(self, policy: Examples) -> NDArray[np.float32]:
        """The embeddings of a policy's examples, made when they are first asked for."""
        known = self._vectors.get(id(policy))
        if known is None:
            if self.embedder is None:
                raise PolicyFailed(f"{policy.title} goes by examples, and there is no embedder")
            rows = np.array([self.embedder.embed(example.text) for example in policy.examples], np.float32)
            lengths = np.linalg.norm(rows, axis=1, keepdims=True)
            known = policy, (rows / np.where(lengths > 0.0, lengths, 1.0)).astype(np.float32)
            self._vectors[id(policy)] = known
        return known[1]


def _one_of(routes: Mapping[str, Policy]) -> str:
    return f"one of {', '.join(routes)}" if routes else "write [routes.NAME] in segue.toml"
