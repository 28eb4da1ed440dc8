"""What calls take, learned as they end: how long an answer is, and how many seconds it needs.

A mean of logarithms for each model and kind of request, of the last few dozen calls; where there are few of those, what
is known of the request with any model (its length) or of the model with any request (its seconds) speaks too.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..core.records import AttemptEnd, AttemptWhy, TargetKind
from ..journal import Reader
from .features import features
from .traffic import Traffic
from .types import Features, Predictor

__all__ = ["Takes", "task_of"]

_REMEMBERED = 60.0
"""Calls that a mean goes by: with more, the older ones fade."""
_SHRUNK = 3.0
"""Calls that the wider mean stands for."""
_LEAST = 3.0
"""Of fewer calls nothing is said."""
_SPREAD_MIN, _SPREAD_MAX = 0.05, 1.0
_POOLS_MAX = 20_000
_ASKS = 2000
"""Asks of the journal that a new process begins with."""
_ANY = ""


class _Pool(NamedTuple):
    """A fading mean and variance of logarithms."""

    n: float = 0.0
    mean: float = 0.0
    square: float = 0.0

    def with_(self, value: float) -> _Pool:
        n = min(self.n, _REMEMBERED - 1.0) + 1.0
        off = value - self.mean
        mean = self.mean + off / n
        return _Pool(n, mean, self.square + (off * (value - mean) - self.square) / n)

    def under(self, wide: _Pool) -> _Pool:
        """With a wider pool as its prior."""
        if wide.n <= 0.0:
            return self
        n = self.n + _SHRUNK
        a, b = self.n / n, _SHRUNK / n
        mean = a * self.mean + b * wide.mean
        square = a * (self.square + (self.mean - mean) ** 2) + b * (wide.square + (wide.mean - mean) ** 2)
        return _Pool(self.n + min(wide.n, _SHRUNK), mean, square)


_NONE = _Pool()


class Takes:
    """Of one process. Thread-safe: what is predicted is read from values that never change."""

    def __init__(self) -> None:
        self.tokens_out: Predictor = _Said(self, "output seen", by_model=False)
        self.latency: Predictor = _Said(self, "calls seen", by_model=True)
        self._pools: dict[tuple[str, str, str], _Pool] = {}
        """By `tokens` or `seconds`, model, and task; an empty name stands for any."""
        self._lock = threading.Lock()

    def note(self, model: str, task: str, tokens_out: int, seconds: float) -> None:
        """A call has ended with an answer."""
        tokens, lasted = math.log(max(tokens_out, 1)), math.log(max(seconds, 0.001))
        with self._lock:
            if len(self._pools) > _POOLS_MAX:
                self._pools.clear()  # instructions without end: begin anew
            for name in ((model, task), (_ANY, task)):
                self._add(("tokens", *name), tokens)
            for name in ((model, task), (model, _ANY)):
                self._add(("seconds", *name), lasted)

    def read(self, reader: Reader) -> int:
        """Begin with what the journal's last asks took; says how many calls those were. Raises StoreError."""
        traffic, many = Traffic(decisions=False, asks_max=_ASKS), 0
        traffic.read(reader)
        for ask in traffic.asks:
            if ask.request is None:
                continue
            task = ask.request.task.removeprefix(ask.run.flow).removeprefix("/") or features(ask.request.text).kind
            for attempt in ask.attempts:
                used, lasted = attempt.usage, attempt.latency_s
                if _tells(attempt.end, attempt.why, attempt.target.kind) and used is not None and lasted is not None:
                    self.note(attempt.target.name, task, used.tokens_out, lasted)
                    many += 1
        return many

    def pool(self, what: str, model: str, task: str, by_model: bool) -> _Pool:
        """What is known of a model's calls of this task."""
        wide = self._pools.get((what, model, _ANY) if by_model else (what, _ANY, task), _NONE)
        return self._pools.get((what, model, task), _NONE).under(wide)

    def _add(self, name: tuple[str, str, str], value: float) -> None:
        self._pools[name] = self._pools.get(name, _NONE).with_(value)

    def __bool__(self) -> bool:
        return bool(self._pools)


class _Said(NamedTuple):
    """One of the two, as the pipeline asks for it."""

    takes: Takes
    version: str
    by_model: bool

    def predict(self, features: Features, models: Sequence[str]) -> tuple[Any, Any, Any]:
        """Mean, standard deviation and number of calls of each model; NaN where too few were seen."""
        if not self.takes:
            return [math.nan] * len(models), [math.nan] * len(models), [0.0] * len(models)
        task, what = features.task or features.kind, "seconds" if self.by_model else "tokens"
        pools = (self.takes.pool(what, model, task, self.by_model) for model in models)
        mean, sd, n = zip(*map(_moments, pools), strict=True) if models else ((), (), ())
        return mean, sd, n


def _moments(pool: _Pool) -> tuple[float, float, float]:
    """Of a log-normal."""
    if pool.n < _LEAST:
        return math.nan, math.nan, 0.0
    spread = min(max(pool.square, _SPREAD_MIN**2), _SPREAD_MAX)
    mean = math.exp(pool.mean + spread / 2)
    return mean, mean * math.sqrt(math.expm1(spread)), pool.n


def _tells(end: AttemptEnd, why: AttemptWhy, kind: TargetKind) -> bool:
    """Whether a call says how long one takes: it came to its end, and was asked as others are."""
    came = end in {AttemptEnd.ANSWERED, AttemptEnd.REJECTED, AttemptEnd.SUPERSEDED}
    return came and why is not AttemptWhy.PROBE and kind is TargetKind.MODEL


def task_of(kind: str | None, prompt: str, parts: int) -> str:
    """What does not change from request to request: the kind that was said, and the instruction where it has parts."""
    return "/".join(filter(None, (kind, prompt if parts else "")))
