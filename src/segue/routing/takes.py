"""What calls take, learned as they end: how long an answer is, and how many seconds it needs.

A mean of logarithms for each model and kind of request, of the last few dozen calls; where there are few of those, what
is known of the request with any model (its length) or of the model with any request (its seconds) speaks too.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from ..core.records import AttemptEnd, AttemptWhy, TargetKind
from ..errors import SegueError
from ..journal import Journal, Reader
from .arrays import Rows, Vector
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
_COLUMNS_MAX = 1000
_ASKS = 500
"""Asks of the journal that a new process begins with."""
_ANY = ""


class Takes:
    """Of one process. Thread-safe."""

    def __init__(self) -> None:
        self.tokens_out: Predictor = _Said(self, "output seen", "tokens")
        self.latency: Predictor = _Said(self, "calls seen", "seconds")
        self._places: dict[str, int] = {"": 0}
        """Of each model in the columns; at the first place nothing is known."""
        self._columns: dict[tuple[str, str], _Column] = {}
        """By `tokens` or `seconds`, and task; of seconds with any task too."""
        self._lock = threading.Lock()

    def note(self, model: str, task: str, tokens_out: int, seconds: float) -> None:
        """A call has ended with an answer."""
        tokens, lasted = math.log(max(tokens_out, 1)), math.log(max(seconds, 0.001))
        with self._lock:
            if len(self._columns) > _COLUMNS_MAX:
                self._columns.clear()  # instructions without end: begin anew
            at = self._places.setdefault(model, len(self._places))
            tasked = self._column("tokens", task)
            tasked.add(at, tokens)
            tasked.add(0, tokens, of=tasked.wide)
            self._column("seconds", task).add(at, lasted)
            self._column("seconds", _ANY).add(at, lasted)

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

    def remember(self, database: str) -> None:
        """Begin with a database, if there is one. Where it cannot be read just now, priors speak until calls do."""
        with suppress(SegueError, OSError), Journal.open_readonly(database) as reader:
            self.read(reader)

    def known(self, what: str, task: str, models: Sequence[str]) -> tuple[Vector, Vector, Vector]:
        """Number of calls (0: too few), mean and variance of logarithms of each model, the wider means mixed in."""
        with self._lock:
            rows = np.fromiter((self._places.get(name, 0) for name in models), np.intp, len(models))
            own, wide = self._columns.get((what, task)), self._columns.get((what, _ANY))
            n, mean, square = _NOTHING[:, rows * 0] if own is None else own.values[:, own.within(rows)]
            if what == "tokens":
                broad = _NOTHING if own is None else own.wide
                broad = np.broadcast_to(broad, (3, len(rows)))
            else:
                broad = _NOTHING[:, rows * 0] if wide is None else wide.values[:, wide.within(rows)]
        weight = np.where(broad[0] > 0.0, np.minimum(broad[0], _SHRUNK), 0.0)
        total = np.maximum(n + weight, 1e-9)
        middle = (n * mean + weight * broad[1]) / total
        off = (n * (square + (mean - middle) ** 2) + weight * (broad[2] + (broad[1] - middle) ** 2)) / total
        return np.where(np.maximum(n, broad[0]) < _LEAST, 0.0, n + weight), middle, off

    def _column(self, what: str, task: str) -> _Column:
        return self._columns.setdefault((what, task), _Column())


class _Column:
    """Fading means and variances, one for each model, and one over all."""

    def __init__(self) -> None:
        self.values = np.zeros((3, 8))
        """Rows of numbers of calls, means, and variances; a column for each place."""
        self.wide = np.zeros((3, 1))

    def add(self, at: int, value: float, of: Vector | None = None) -> None:
        """One more call."""
        if of is None:
            if at >= self.values.shape[1]:
                self.values = np.pad(self.values, ((0, 0), (0, max(at + 1, 2 * self.values.shape[1]))))
            of = self.values
        before, mean, square = of[:, at].tolist()
        n = min(before, _REMEMBERED - 1.0) + 1.0
        off = value - mean
        mean += off / n
        of[:, at] = n, mean, square + (off * (value - mean) - square) / n

    def within(self, rows: Rows) -> Rows:
        """The places, those that it has not yet at the one where nothing is known."""
        return np.where(rows < self.values.shape[1], rows, 0)


_NOTHING = np.zeros((3, 1))


class _Said(NamedTuple):
    """One of the two, as the pipeline asks for it."""

    takes: Takes
    version: str
    what: str

    def predict(self, features: Features, models: Sequence[str]) -> tuple[Any, Any, Any]:
        """Mean, standard deviation and number of calls of each model, as of a log-normal; NaN: too few were seen."""
        n, mean, square = self.takes.known(self.what, features.task or features.kind, models)
        spread = np.clip(square, _SPREAD_MIN**2, _SPREAD_MAX)
        expected = np.where(n > 0.0, np.exp(mean + spread / 2), np.nan)
        return expected, expected * np.sqrt(np.expm1(spread)), n


def _tells(end: AttemptEnd, why: AttemptWhy, kind: TargetKind) -> bool:
    """Whether a call says how long one takes: it came to its end, and was asked as others are."""
    came = end in {AttemptEnd.ANSWERED, AttemptEnd.REJECTED, AttemptEnd.SUPERSEDED}
    return came and why is not AttemptWhy.PROBE and kind is TargetKind.MODEL


def task_of(kind: str | None, prompt: str, parts: int) -> str:
    """What does not change from request to request: the kind that was said, and the instruction where it has parts."""
    return "/".join(filter(None, (kind, prompt if parts else "")))
