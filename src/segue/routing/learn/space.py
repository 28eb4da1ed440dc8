"""The space that texts are compared in: weighted n-grams, their main directions, and the surface.

`Space.of(texts)` finds it once for a set of texts; `place(text)` is where another one lies in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtra
from .surface import SURFACE, surface
from .text import grams

__all__ = ["Place", "Space"]

F32 = NDArray[np.float32]
AXED = 40_000
"""N-grams that the main directions are made of: the most frequent ones."""
TOPICS = 128
"""Main directions of the n-grams (latent semantic analysis, Deerwester et al. 1990)."""

FAR = 3.0
"""Standard deviations from the usual surface that a value counts as at most."""


class Place(NamedTuple):
    """Where a text lies."""

    terms: NDArray[np.intp]
    """Rows of the space's n-grams that it has."""
    weights: F32
    """Of each; their squares and those of the n-grams that the space does not know have the sum 1."""
    topics: F32
    """`TOPICS` or fewer values, of unit length, or all 0."""
    surface: F32


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """A vocabulary with weights, its main directions, and the usual surface."""

    hashes: NDArray[np.uint32]
    """Of the n-grams that two texts or more had; sorted."""
    idf: F32
    rare: float
    """The weight of an n-gram that the space does not know."""
    axed: NDArray[np.int32]
    """Of each n-gram, its row in `axes`; the last row, all 0, for those that are too rare."""
    axes: F32
    """`(AXED + 1 or fewer, topics)`."""
    centre: F32
    spread: F32

    @classmethod
    def of(cls, texts: Sequence[str], seed: int = 0) -> tuple[Space, Any, F32, F32]:
        """The space of some texts, and where they lie: sparse weights `(texts, n-grams)`, topics, surfaces."""
        seen = [grams(text) for text in texts]
        hashes, counts = np.unique(np.concatenate(seen), return_counts=True)
        kept = counts >= min(2, len(texts))
        idf = (np.log((1 + len(texts)) / (1 + counts[kept])) + 1).astype(np.float32)
        raw = np.array([surface(text) for text in texts], np.float32).reshape(len(texts), SURFACE)
        centre, spread = raw.mean(0), raw.std(0) + 1e-3
        often = np.argsort(idf, kind="stable")[:AXED]
        axed = np.full(len(idf), len(often), np.int32)
        axed[often] = np.arange(len(often), dtype=np.int32)
        rare = float(np.log((1 + len(texts)) / 2) + 1)
        bare = cls(hashes[kept], idf, rare, axed, np.zeros((len(often) + 1, 0), np.float32), centre, spread)
        terms, weights = zip(*(bare._weigh(ids) for ids in seen), strict=True)
        matrix = _sparse(terms, weights, len(idf))
        main = matrix[:, often]
        axes = _main_axes(main, min(TOPICS, len(texts) - 1, max(1, len(often) - 1)), seed)
        axes = np.concatenate([axes, np.zeros((1, axes.shape[1]), np.float32)])
        space = cls(bare.hashes, idf, rare, axed, axes, centre, spread)
        return space, matrix, _unit(main @ axes[:-1]), space._usual(raw)

    def place(self, text: str) -> Place:
        """Where a text lies."""
        terms, weights = self._weigh(grams(text))
        topics = weights @ self.axes.take(self.axed[terms], axis=0)
        return Place(terms, weights, _unit(topics[None])[0], self._usual(surface(text)))

    def _usual(self, raw: F32) -> F32:
        """In standard deviations from what is usual; what is far out is far out, no matter how far."""
        return np.clip((raw - self.centre) / self.spread, -FAR, FAR).astype(np.float32)

    def _weigh(self, ids: NDArray[np.uint32]) -> tuple[NDArray[np.intp], F32]:
        at = np.searchsorted(self.hashes, ids)
        at[at == len(self.hashes)] = 0
        known = self.hashes[at] == ids if len(self.hashes) else np.zeros(len(ids), bool)
        terms = at[known]
        weights = self.idf[terms]
        length = np.sqrt(float(weights @ weights) + (len(ids) - len(terms)) * self.rare**2)
        return terms, weights / np.float32(max(length, 1e-9))


def _unit(rows: F32) -> F32:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths > 1e-6, lengths, 1.0)).astype(np.float32)


def _sparse(terms: Sequence[NDArray[np.intp]], weights: Sequence[F32], columns: int) -> Any:
    ends = np.concatenate([[0], np.cumsum([len(t) for t in terms])])
    return scipy_part("sparse").csr_matrix(
        (np.concatenate(weights), np.concatenate(terms), ends), shape=(len(terms), columns)
    )


def scipy_part(name: str) -> Any:
    """A part of scipy, which training alone needs. Raises MissingExtra."""
    try:
        return import_module(f"scipy.{name}")
    except ImportError as error:
        raise MissingExtra(f"to train a router takes scipy: {error}", remedy="pip install 'segue[learn]'") from error


def _main_axes(matrix: Any, many: int, seed: int) -> F32:
    """Right singular vectors, by random projection and two power iterations (Halko et al. 2011)."""
    random = np.random.default_rng(seed)
    guess = matrix @ random.standard_normal((matrix.shape[1], many + 10)).astype(np.float32)
    for _ in range(2):
        guess, _ = np.linalg.qr(guess)
        guess = matrix @ (matrix.T @ guess)
    basis, _ = np.linalg.qr(guess)
    _, _, right = np.linalg.svd((matrix.T @ basis).T, full_matrices=False)
    return np.ascontiguousarray(right[:many].T, dtype=np.float32)
