"""The candidates as the router sees them: options with prices, windows and tags, and what is expected of each.

A panel is made once for the same candidates: with a thousand of them most of a choice would be making it.
"""

from __future__ import annotations

import math
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from ...core.records import Decision, TargetKind
from ...models import Model
from ...routing import Embedder, Features, Policy, Predictors, Request, Router, decide
from ...routing.fitness import Described, Fitness, Past
from ...routing.types import Condition, Price
from .delegates import Delegate

__all__ = ["Panel", "Panels", "generalist"]

_ANY = 10**9
"""Tokens: whoever is no model has no window."""
_TAKES_S = {TargetKind.TOOL: 1.0, TargetKind.AGENT: 20.0, TargetKind.FLOW: 20.0, TargetKind.PERSON: 3600.0}
"""Seconds, where nothing is said."""
_MODEL, _PERSON = 0.25, 0.1
"""What a model's prior counts beside those who are made for something; what a person without a description counts."""


class _Fee(NamedTuple):
    """A price for a request, whatever its length."""

    per_request: int
    per_million_in: int = 0
    per_million_out: int = 0
    per_million_cache_read: int | None = None
    per_million_cache_write: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Offer:
    """A `routing.Option`."""

    name: str
    target_kind: TargetKind
    provider: str = ""
    capabilities: Collection[str] = ()
    window: int = _ANY
    max_output: int = _ANY
    price: Price | None = field(default=_Fee(0))
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    quality: Mapping[str, float] = field(default_factory=dict[str, float])
    model: Model | None = None


class Panel(NamedTuple):
    """Candidates, made ready for requests."""

    router: Router
    fitness: Fitness

    def decide(self, request: Request, policy: Policy, *, luck: float, typed: Collection[str] = ()) -> Decision:
        """Who gets a request. `typed` are those whose own type it is: that speaks for them, whatever words say."""
        began, router = time.thread_time(), self.router
        at = router.situation(request)
        if typed:
            quality = _Typed(self.fitness, frozenset(typed), self.fitness.version)
            at = at._replace(predictors=replace(at.predictors, quality=quality))
        name = f"g{random.getrandbits(48):012x}"
        made = decide(policy, at, id=name, luck=luck, vectors=router.vectors)
        return replace(made, took_s=round(time.thread_time() - began, 6))


class Panels:
    """Those that were asked for last."""

    def __init__(self, embedder: Embedder, past: Past, view: Callable[[Model], Condition | None] | None = None):
        self._embedder, self._past, self._view = _Remembering(embedder), past, view
        self._made: OrderedDict[Hashable, Panel] = OrderedDict()

    def of(self, among: Sequence[Delegate], models: Mapping[str, Model]) -> Panel:
        """The panel of some candidates; `models` are those that stand for names of models and routes."""
        key = tuple(_identity(one, models.get(one.name)) for one in among)
        panel = self._made.pop(key, None) or self._make(among, models)
        self._made[key] = panel
        if len(self._made) > _KEPT:
            self._made.popitem(last=False)
        return panel

    def _make(self, among: Sequence[Delegate], models: Mapping[str, Model]) -> Panel:
        offers = [_offer(one, models.get(one.name)) for one in among]
        described = [Described(o.name, o.about, tuple(o.examples), generalist(o, models.get(o.name))) for o in among]
        fitness = Fitness(described, self._embedder, self._past)
        given = {one.name: _takes_s(one) for one in among}
        predictors = Predictors(quality=fitness, latency=_Takes(given))
        view = None if self._view is None else self._seen
        return Panel(Router(offers, {}, predictors=predictors, view=view, embedder=self._embedder), fitness)

    def _seen(self, offer: Offer) -> Condition | None:
        """How a model is now."""
        return None if offer.model is None or self._view is None else self._view(offer.model)


_KEPT = 32


def generalist(one: Delegate, model: Model | None) -> float:
    """What is expected of it where nothing speaks for it."""
    if one.quality is not None:
        return one.quality
    if model is not None:
        return _MODEL * model.quality.get("any", 0.5)
    return _PERSON if one.kind is TargetKind.PERSON and not one.about and not one.examples else 0.0


def _identity(one: Delegate, model: Model | None) -> Hashable:
    told = (tuple(one.examples), tuple(one.capabilities), tuple(one.tags.items()))
    return (one.name, one.kind, one.about, *told, one.cost_usd, one.latency_s, one.quality, model and model.name)


def _offer(one: Delegate, model: Model | None) -> Offer:
    price: Price | None = _Fee(round((one.cost_usd or 0.0) * 1e9))
    if model is None:
        return Offer(
            name=one.name, target_kind=one.kind, capabilities=tuple(one.capabilities), tags=one.tags, price=price
        )
    return Offer(
        name=one.name, target_kind=one.kind, provider=model.provider.value,
        capabilities=tuple({*map(str, model.capabilities), *one.capabilities}), window=model.window,
        max_output=model.max_output, tags={**model.tags, **one.tags}, quality=model.quality, model=model,
        price=model.price if one.cost_usd is None else price,
    )  # fmt: skip


def _takes_s(one: Delegate) -> float:
    return _TAKES_S.get(one.kind, math.nan) if one.latency_s is None else one.latency_s


class _Typed(NamedTuple):
    """A `Predictor` of quality that knows whose type a request is of."""

    fitness: Fitness
    typed: frozenset[str]
    version: str

    def predict(self, features: Features, models: Sequence[str]) -> tuple[Any, Any, Any]:
        """As the protocol says."""
        mean, sd, n = self.fitness.predict(features, models)
        more = np.array([_OF_ITS_TYPE if name in self.typed else 0.0 for name in models])
        return mean + (1.0 - mean) * more, sd, n


_OF_ITS_TYPE = 0.5


class _Takes(NamedTuple):
    """A `Predictor` of seconds: what was said, or what is usual; a model's is left to what is known of it."""

    given: Mapping[str, float]
    version: str = "given"

    def predict(self, features: Features, models: Sequence[str]) -> tuple[Any, Any, Any]:
        """As the protocol says."""
        mean = np.array([self.given.get(name, math.nan) for name in models], np.float64)
        return mean, 0.5 * mean, np.zeros(len(mean))


class _Remembering:
    """An embedder that knows the texts of descriptions, which come again with each other set of candidates."""

    def __init__(self, embedder: Embedder):
        self._embedder = embedder
        self._known: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """That of the embedder."""
        return self._embedder.name

    def embed(self, text: str) -> Any:
        """One row."""
        found = self._known.get(text)
        if found is None:
            if len(self._known) >= _TEXTS:
                self._known.clear()
            found = self._known[text] = self._embedder.embed(text)
        return found


_TEXTS = 10_000
