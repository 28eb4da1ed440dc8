"""How well each candidate fits a request: from what it is for, from labelled requests, and from what came of others.

A text that is near the request is evidence; how near counts by its fourth power, so that one close text outweighs many
far ones. With the evidence for a candidate, `for_`, and against it, `against_`, its quality is expected to be
`(k * q0 + for_) / (k + for_ + against_)`: q0 where nothing speaks, towards the mean of what was said where much does.
Pure, over columns: a thousand candidates are one product of matrices.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .arrays import Vector
from .types import Embedder, Features

__all__ = ["Described", "Fitness", "Outcome", "Past", "texts_in"]

Row = NDArray[np.float32]

EVIDENCE = 0.03
"""The evidence that weighs as much as nothing known: a text with a cosine of 0.42 to the request."""
POWER = 4
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
    """The last outcomes, as columns. It grows and forgets the oldest; `version` says that something changed."""

    def __init__(self, kept: int = 4000) -> None:
        self._kept, self.version = kept, 0
        self._outcomes: list[Outcome] = []
        self._rows: Row | None = None

    def __len__(self) -> int:
        return len(self._outcomes)

    def put(self, outcomes: Iterable[Outcome]) -> None:
        """In place of those before."""
        self._outcomes = list(outcomes)[-self._kept :]
        self._rows, self.version = None, self.version + 1

    def near(self, row: Row) -> tuple[list[Outcome], Vector]:
        """The outcomes of the same embedding, and how near each is to a request, as evidence."""
        if not self._outcomes:
            return [], np.zeros(0)
        if self._rows is None or self._rows.shape[1] != len(row):
            self._outcomes = [one for one in self._outcomes if len(one.row) == len(row)]
            self._rows = np.array([one.row for one in self._outcomes], np.float32).reshape(-1, len(row))
        return self._outcomes, _evidence(self._rows @ row)


class Fitness:
    """A `Predictor` of quality over some candidates."""

    def __init__(self, candidates: Sequence[Described], embedder: Embedder, past: Past | None = None) -> None:
        self.candidates, self.past = tuple(candidates), Past() if past is None else past
        self.place = {one.name: at for at, one in enumerate(candidates)}
        self._base = np.array([one.quality for one in candidates], np.float64)
        said = [(at, text) for at, one in enumerate(candidates) for text in texts_in(one.about, one.name)]
        shown = [(at, text[:_TEXT_MAX]) for at, one in enumerate(candidates) for text in one.examples]
        self._said, self._said_of = _rows(embedder, said), np.array([at for at, _ in said], np.intp)
        self._shown, self._shown_of = _rows(embedder, shown), np.array([at for at, _ in shown], np.intp)

    @property
    def version(self) -> str:
        """Named in the record."""
        return f"fitness-1+{len(self.past)}" if len(self.past) else "fitness-1"

    def evidence(self, row: Row) -> tuple[Vector, Vector]:
        """For and against each candidate. Of a description the nearest text counts; examples and outcomes add up."""
        speaks, against = np.zeros(len(self.candidates)), np.zeros(len(self.candidates))
        if len(self._said):
            np.maximum.at(speaks, self._said_of, _evidence(self._said @ row))
        if len(self._shown):
            np.add.at(speaks, self._shown_of, _evidence(self._shown @ row))
        outcomes, near = self.past.near(row)
        for one, weight in zip(outcomes, (OPINION * near).tolist(), strict=True):
            at = self.place.get(one.name)
            if at is not None:
                speaks[at] += weight * one.score
                against[at] += weight * (1.0 - one.score)
        return speaks, against

    def predict(self, features: Features, models: Sequence[str]) -> tuple[Any, Any, Any]:
        """As the protocol says; of whom it does not know, NaN. `n` counts evidence in units of `EVIDENCE`."""
        rows = np.array([self.place.get(name, -1) for name in models], np.intp)
        if features.embedding is None or not len(self.candidates):
            speaks = against = np.zeros(len(self.candidates))
        else:
            speaks, against = self.evidence(_unit(features.embedding))
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
    return np.maximum(cosines, 0.0).astype(np.float64) ** POWER


def _rows(embedder: Embedder, texts: Sequence[tuple[int, str]]) -> Row:
    if not texts:
        return np.zeros((0, 0), np.float32)
    return np.array([_unit(embedder.embed(text)) for _, text in texts], np.float32)


def _unit(row: Row) -> Row:
    length = float(np.linalg.norm(row))
    return row / np.float32(length) if length > 0.0 else row
