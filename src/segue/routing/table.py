"""The candidates as columns, so that a thousand of them are looked at in one stroke. Made once per catalogue."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from math import inf, nan
from typing import Any, NamedTuple

import numpy as np

from ..core.records import Target, TargetKind
from .arrays import Flags, Vector
from .types import Condition, Features, Kind, Option, Predictors, Request, Tariff

__all__ = ["PRIOR", "PRIOR_SD", "Conditions", "Situation", "Table"]

PRIOR = 0.5
"""The quality of a model of which nobody said anything."""
PRIOR_SD = 0.25
"""How much a prior of the catalogue is trusted."""
_RATES = 4


class Table:
    """Columns of the catalogue, in its order. Rates are nano-dollars per token, NaN where no price is known.

    An option that is no model says what it is as `target_kind`.
    """

    def __init__(self, options: Iterable[Option], version: str = "", kind: TargetKind = TargetKind.MODEL) -> None:
        self.options = tuple(options)
        self.version = version
        self.names = tuple(option.name for option in self.options)
        self.place = {name: at for at, name in enumerate(self.names)}
        self.targets = tuple(_target(option, kind) for option in self.options)
        self.window = np.array([o.window for o in self.options], np.int64)
        self.max_output = np.array([o.max_output for o in self.options], np.int64)
        self.thoughts = np.array([getattr(o, "thoughts", 0) for o in self.options], np.int64)
        """Tokens of an output limit that are for thinking, by their settings."""
        self.per_request = np.array([o.price.per_request if o.price else np.nan for o in self.options], np.float64)
        rates = [_rates(o.price) for o in self.options]
        self._rates = np.array(rates, np.float64).reshape(len(rates), _RATES).T.copy()
        self._tiers = tuple((at, tier) for at, o in enumerate(self.options) for tier in getattr(o.price, "tiers", ()))
        self._bits: dict[str, int] = {}
        self._able = np.array([self._mask(o.capabilities) for o in self.options], np.uint64)
        self._tagged: dict[tuple[str, frozenset[str]], Flags] = {}
        self._priors: dict[str, Vector] = {}

    def __len__(self) -> int:
        return len(self.names)

    def thinking(self, thoughts: Mapping[str, int]) -> Table:
        """The same, where these candidates have so many tokens for thinking."""
        known = {self.place[name]: tokens for name, tokens in thoughts.items() if name in self.place}
        if not known:
            return self
        other = copy(self)
        other.thoughts = self.thoughts.copy()
        other.thoughts[list(known)] = list(known.values())
        return other

    def rates(self, tokens_in: int) -> Vector:
        """Rows of input, output, cache read and cache write, a column per candidate, for an input of this length."""
        reached = [(at, tier) for at, tier in self._tiers if tokens_in > tier.above]
        if not reached:
            return self._rates
        rates = self._rates.copy()
        for at, tier in reached:
            rates[:, at] = _rates(tier)
        return rates

    def able(self, needs: Collection[str]) -> Flags:
        """Who has all of these capabilities."""
        if not needs:
            return np.ones(len(self), np.bool_)
        if not self._bits.keys() >= set(needs):
            return np.zeros(len(self), np.bool_)
        need = np.uint64(self._mask(needs))
        return (self._able & need) == need

    def tagged(self, key: str, allowed: str | Collection[str]) -> Flags:
        """Whose tag has one of these values."""
        values = frozenset({allowed} if isinstance(allowed, str) else allowed)
        known = self._tagged.get((key, values))
        if known is None:
            known = np.array([o.tags.get(key) in values for o in self.options], np.bool_)
            self._tagged[key, values] = known
        return known

    def priors(self, kind: str) -> Vector:
        """The quality that the catalogue expects at a kind of task."""
        known = self._priors.get(kind)
        if known is None:
            known = np.array([_prior(o.quality, kind) for o in self.options], np.float64)
            if len(self._priors) < 256:  # a caller may make up kinds without end
                self._priors[kind] = known
        return known

    def among(self, names: Collection[str]) -> Flags:
        """Who is called so."""
        flags = np.zeros(len(self), np.bool_)
        flags[[self.place[name] for name in names if name in self.place]] = True
        return flags

    def _mask(self, words: Collection[str]) -> int:
        return sum(1 << self._bits.setdefault(str(word), len(self._bits)) for word in set(words))


class Conditions:
    """How each candidate is now, as columns. NaN: not known."""

    def __init__(
        self, table: Table, view: Callable[[Any], Condition | None] | None = None, before: Conditions | None = None
    ) -> None:
        """`view` is asked for each option that the table was made of. What stands as `before` (of the same table) is
        not worked out again: that is a view that is the same object, or equal to it.
        """
        seen: list[Condition] = (
            [_WELL] * len(table) if view is None else [view(option) or _WELL for option in table.options]
        )
        known: list[Condition | None] = [None] * len(seen) if before is None else before.seen
        new = [at for at, (now, then) in enumerate(zip(seen, known, strict=True)) if now is not then and now != then]
        self.seen: list[Condition | None] = list(seen)
        columns: Vector = np.empty((5, len(seen))) if before is None else before.columns.copy()
        self.down: Flags = np.zeros(len(seen), np.bool_) if before is None else before.down.copy()
        """Who would not answer at all."""
        self.reasons: dict[int, str] = {} if before is None else dict(before.reasons)
        if new:
            columns[:, new] = _columns([seen[at] for at in new])
            self.down[new] = [seen[at].standing in _DOWN for at in new]
        for at in new:
            now = seen[at]
            if now.reason:
                self.reasons[at] = f"{now.standing}: {now.reason}"
            else:
                self.reasons.pop(at, None)
        self.columns: Vector = columns
        self.free: Vector = columns[0]
        self.wait_s: Vector = columns[1]
        self.p95_s: Vector = columns[2]
        self.ttft_s: Vector = columns[3]
        self.tokens_per_s: Vector = columns[4]


class _Well(NamedTuple):
    standing: str = "open"
    reason: str = ""
    free: int | None = None
    wait_s: float = 0.0
    p95_s: float | None = None


_WELL = _Well()
_DOWN = frozenset({"stalled", "broken", "shut"})
_WAIT_S_MAX = 86_400.0


def _columns(seen: Sequence[Condition]) -> Vector:
    """A row per number, for many candidates at once: one attribute after the other is the quickest way to read them."""
    free = [inf if (n := now.free) is None else n for now in seen]
    wait_s = [min(now.wait_s, _WAIT_S_MAX) for now in seen]
    p95_s = [nan if (s := now.p95_s) is None else s for now in seen]
    ttft_s = [nan if (s := getattr(now, "ttft_s", None)) is None else s for now in seen]
    tokens_per_s = [nan if (n := getattr(now, "tokens_per_s", None)) is None else n for now in seen]
    return np.array((free, wait_s, p95_s, ttft_s, tokens_per_s), np.float64)


class Situation(NamedTuple):
    """All that a choice is made from."""

    request: Request
    features: Features
    table: Table
    conditions: Conditions
    predictors: Predictors = Predictors()


def _target(option: Option, kind: TargetKind) -> Target:
    return Target(kind=getattr(option, "target_kind", kind), name=option.name, provider=str(option.provider) or None)


def _rates(of: Tariff | None) -> tuple[float, ...]:
    if of is None:
        return (np.nan,) * _RATES
    into, read, write = of.per_million_in, of.per_million_cache_read, of.per_million_cache_write
    rates = (into, of.per_million_out, into if read is None else read, into if write is None else write)
    return tuple(rate / 1e6 for rate in rates)


def _prior(quality: Mapping[str, float], kind: str) -> float:
    return quality.get(kind, quality.get(Kind.ANY, PRIOR))
