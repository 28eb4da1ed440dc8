"""A local embedding of texts: terms are near when they stand in the same passages (reflective random indexing).

Cohen, Schvaneveldt and Widdows (2010). Each term begins as a sparse random vector, made from its hash; a passage is the
sum of its terms, a term the sum of its passages, an embedding the sum of the terms again. No weights, no downloads:
what is near is learned from the passages themselves, so it knows the words of a team that no trained model has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

__all__ = ["Kin"]

F32 = NDArray[np.float32]
SIZE = 512
_STEP = 500
_ONES = 8
"""How many of a term's first values are not 0."""


class Kin:
    """The embedding that was learned from some passages."""

    def __init__(self, row: dict[str, int], idf: F32, terms: F32):
        self._row, self._idf, self._terms = row, idf, terms

    @classmethod
    def learning(
        cls, passages: Sequence[Sequence[str]], idf: Callable[[str], float]
    ) -> Generator[None, None, tuple[Kin, F32]]:
        """Learn from passages, in small steps: the embedding, and theirs."""
        names = sorted({term for passage in passages for term in passage})
        first = np.zeros((len(names), SIZE), np.float32)
        for at, term in enumerate(names):
            first[at] = _seeded(term)
            if at % _STEP == _STEP - 1:
                yield
        kin = cls(
            {term: at for at, term in enumerate(names)}, np.array([idf(term) for term in names], np.float32), first
        )
        vectors = np.zeros((len(names), SIZE), np.float32)
        for at, passage in enumerate(passages):
            row = kin._rows(passage)
            if len(row):
                weights = kin._idf[row]
                length = np.float32(np.linalg.norm(weights)) or np.float32(1)
                weights = weights / length
                vectors[row] += weights[:, None] * (weights @ first[row])
            if at % _STEP == _STEP - 1:
                yield
        vectors = _unit(vectors)
        kin._terms = _unit(vectors - vectors.mean(0)) if names else vectors
        made = [np.zeros((0, SIZE), np.float32)]
        for at in range(0, len(passages), _STEP):
            made.append(kin.embed(passages[at : at + _STEP]))
            yield
        return kin, np.concatenate(made)

    def embed(self, texts: Iterable[Sequence[str]]) -> F32:
        """One row of unit length for each text, given by its terms; all 0 where none of them is known."""
        made = [self._sum(self._rows(text)) for text in texts]
        return _unit(np.array(made, np.float32).reshape(len(made), SIZE))

    def _rows(self, text: Sequence[str]) -> NDArray[np.intp]:
        return np.array(sorted({self._row[term] for term in text if term in self._row}), np.intp)

    def _sum(self, rows: NDArray[np.intp]) -> F32:
        return self._idf[rows] @ self._terms[rows] if len(rows) else np.zeros(SIZE, np.float32)


def _seeded(term: str) -> F32:
    luck = np.random.default_rng(crc32(term.encode()))
    vector = np.zeros(SIZE, np.float32)
    vector[luck.choice(SIZE, _ONES, replace=False)] = luck.choice(np.array([-1, 1], np.float32), _ONES)
    return vector


def _unit(rows: F32) -> F32:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths > 1e-6, lengths, 1.0)).astype(np.float32)
