"""How well each candidate fits a request: from what it is for, from labelled requests, and from what came of others.

A text that is near the request is evidence; how near counts by its fourth power, so that one close text outweighs many
far ones. With the evidence for a candidate, `for_`, and against it, `against_`, its quality is expected to be
`(k * q0 + for_) / (k + for_ + against_)`: q0 where nothing speaks, towards the mean of what was said where much does.
Pure, over columns: a thousand candidates are one product of matrices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .arrays import Rows, Vector
from .types import Embedder, Features

__all__ = ["Described", "Fitness", "Outcome", "Past", "texts_in"]

Row = NDArray[np.float32]

EVIDENCE = 0.03
"""The evidence that weighs as much as nothing known: a text with a cosine of 0.42 to the request."""
OPINION = 2.0
"""What an outcome weighs, where an example weighs 1."""
_TEXT_MAX, _TEXTS_MAX = 400, 12
"""Characters of a text that is compared, and texts of one description."""


class Described(NamedTuple):
    """A candidate as it is compared."""

    name: str
    about: str = ""
    """What it is for."""
    examples: Sequence[str] = ()
    """Requests that are its."""
    quality: float = 0.0
    """Where nothing speaks for it: 0 of a specialist, more of who can do most things."""


class Outcome(NamedTuple):
    """What came of a request that somebody handled."""

    row: Row
    """The request, embedded, of unit length."""
    name: str
    score: float
    """0 to 1."""


class Past:
    """The last outcomes, as columns; `version` says that something changed."""

    def __init__(self, kept: int = 4000) -> None:
        self._kept, self.version = kept, 0
        self._outcomes: list[Outcome] = []
        self._near: Near | None = None

    def __len__(self) -> int:
        return len(self._outcomes)

    def put(self, outcomes: Iterable[Outcome]) -> None:
        """In place of those before."""
        self._outcomes = list(outcomes)[-self._kept :]
        self._near, self.version = None, self.version + 1

    def within(self, place: Mapping[str, int], dimensions: int) -> tuple[Rows, Vector, Rows]:
        """Of the outcomes of some candidates, in rows of so many dimensions: whose, how good, and which they are."""
        known = [
            (at, one.score, n)
            for n, one in enumerate(self._outcomes)
            if (at := place.get(one.name)) is not None and len(one.row) == dimensions
        ]
        whose, scores, which = zip(*known, strict=True) if known else ((), (), ())
        return np.array(whose, np.intp), np.array(scores, np.float64), np.array(which, np.intp)

    def near(self, row: Row) -> Vector:
        """How near each is to a request, as evidence; 0 of another embedding."""
        if self._near is None or self._near.dimensions != len(row):
            blank = np.zeros(len(row), np.float32)
            self._near = Near([one.row if len(one.row) == len(row) else blank for one in self._outcomes], len(row))
        return self._near(row)


class Near:
    """Rows that a request is compared with. Of a request that is mostly zeros only what is not is looked at."""

    def __init__(self, rows: Sequence[Row], dimensions: int) -> None:
        self.dimensions = dimensions
        whole = np.array(rows, np.float32).reshape(len(rows), dimensions)
        self._columns = np.ascontiguousarray(whole.T)

    def __call__(self, row: Row) -> Vector:
        """The evidence of each."""
        some = np.flatnonzero(row)
        if len(some) * _SPARSE > len(row):
            return _evidence(row @ self._columns)
        return _evidence(row[some] @ self._columns[some])


_SPARSE = 3


class Fitness:
    """A `Predictor` of quality over some candidates."""

    def __init__(self, candidates: Sequence[Described], embedder: Embedder, past: Past | None = None) -> None:
        self.candidates, self.past = tuple(candidates), Past() if past is None else past
        self.place = {one.name: at for at, one in enumerate(candidates)}
        self._base = np.array([one.quality for one in candidates], np.float64)
        said = [(at, text) for at, one in enumerate(candidates) for text in texts_in(one.about, one.name)]
        shown = [(at, text[:_TEXT_MAX]) for at, one in enumerate(candidates) for text in one.examples]
        self._starts = np.searchsorted(np.array([at for at, _ in said], np.intp), np.arange(len(candidates)))
        self._shown_of = np.array([at for at, _ in shown], np.intp)
        rows = [_unit(embedder.embed(text)) for _, text in (*said, *shown)]
        self._near = Near(rows, len(rows[0]) if rows else 1)
        self._many = len(said)
        self._within: tuple[int, tuple[Rows, Vector, Rows]] | None = None

    @property
    def version(self) -> str:
        """Named in the record."""
        return f"fitness-1+{len(self.past)}" if len(self.past) else "fitness-1"

    def evidence(self, row: Row) -> tuple[Vector, Vector]:
        """For and against each candidate. Of a description the nearest text counts; examples and outcomes add up."""
        near, many = self._near(row), len(self.candidates)
        speaks: Vector = np.maximum.reduceat(near[: self._many], self._starts)
        speaks = speaks + np.bincount(self._shown_of, near[self._many :], many)
        if self._within is None or self._within[0] != self.past.version:
            self._within = self.past.version, self.past.within(self.place, len(row))
        whose, scores, which = self._within[1]
        if not len(whose):
            return speaks, np.zeros(many)
        weight = OPINION * self.past.near(row)[which]
        against: Vector = np.bincount(whose, weight * (1.0 - scores), many).astype(np.float64)
        return speaks + np.bincount(whose, weight * scores, many), against

    def predict(self, features: Features, models: Sequence[str]) -> tuple[Any, Any, Any]:
        """As the protocol says; of whom it does not know, NaN. `n` counts evidence in units of `EVIDENCE`."""
        rows = np.array([self.place.get(name, -1) for name in models], np.intp)
        row = features.embedding
        if row is None or len(row) != self._near.dimensions:
            speaks = against = np.zeros(len(self.candidates))
        else:
            speaks, against = self.evidence(_unit(row))
        n = (speaks + against) / EVIDENCE
        mean = (EVIDENCE * self._base + speaks) / (EVIDENCE + speaks + against)
        sd = np.sqrt(np.maximum(mean * (1.0 - mean), 1e-4) / (2.0 + n))
        known = rows >= 0
        return np.where(known, mean[rows], np.nan), np.where(known, sd[rows], np.nan), np.where(known, n[rows], 0.0)


def texts_in(about: str, name: str = "") -> list[str]:
    """What a description is compared by: its name with its first line, and each of its sentences."""
    words = name.replace("_", " ").replace("-", " ")
    sentences = [part.strip() for line in about.splitlines() for part in line.split(". ") if part.strip()]
    whole = f"{words}: {sentences[0]}" if sentences else words
    return [text[:_TEXT_MAX] for text in dict.fromkeys((whole, *sentences))][:_TEXTS_MAX]


def _evidence(cosines: NDArray[Any]) -> Vector:
    squares = np.square(np.maximum(cosines, 0.0).astype(np.float64))
    return np.square(squares)  # the fourth power


def _unit(row: Row) -> Row:
    length = float(np.linalg.norm(row))
    return row / np.float32(length) if length > 0.0 else row
