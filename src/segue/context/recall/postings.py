"""An inverted index in memory: which passage has which term how often. BM25 over passages, and over neighbours.

Passages are added one at a time; nothing is built anew. BM25 is that of Robertson and Zaragoza (2009), with k1 1.2 and
b 0.75.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Postings", "Vector"]

Vector = NDArray[np.float64]
K1, B = 1.2, 0.75


class Postings:
    """Terms by passage. A passage is the number in which it was added."""

    def __init__(self) -> None:
        self._at: dict[str, array[int]] = {}
        self._times: dict[str, array[int]] = {}
        self._lengths = array("d")

    def add(self, terms: Sequence[str]) -> None:
        """The next passage."""
        place = len(self._lengths)
        self._lengths.append(len(terms))
        for term, times in Counter(terms).items():
            if term not in self._at:
                self._at[term], self._times[term] = array("q"), array("q")
            self._at[term].append(place)
            self._times[term].append(times)

    def __len__(self) -> int:
        return len(self._lengths)

    def __contains__(self, term: str) -> bool:
        return term in self._at

    def __iter__(self):
        return iter(self._at)

    def places(self, term: str) -> NDArray[np.int64]:
        """The passages that have it."""
        found = self._at.get(term)
        return np.array(found, np.int64) if found else np.zeros(0, np.int64)

    def idf(self, term: str, *, among: int | None = None, having: int | None = None) -> float:
        """How rare it is; never below 0."""
        n = len(self) if among is None else among
        df = len(self._at.get(term, ())) if having is None else having
        return math.log(1 + (n - df + 0.5) / (df + 0.5))

    def bm25(self, wanted: Mapping[str, float]) -> Vector:
        """How well each passage fits weighted terms."""
        return self._scored(wanted, lambda row: row, np.array(self._lengths), len(self))

    def covered(self, wanted: Iterable[str], gather: Callable[[Vector], Vector]) -> Vector:
        """How much of the terms stands in what `gather` joins to each passage, however often and however long it is: a
        rare one counts for more.
        """
        weights = np.zeros(len(self))
        for term in dict.fromkeys(wanted):
            row = np.zeros(len(self))
            row[self.places(term)] = self.idf(term)
            weights += np.minimum(gather(row), self.idf(term))
        return weights

    def bm25_around(self, wanted: Mapping[str, float], gather: Callable[[Vector], Vector]) -> Vector:
        """The same over what `gather` joins: the passages around each, or those of a session.

        `gather` sums a row over what is joined; its result may have another length.
        """
        lengths = gather(np.array(self._lengths))
        return self._scored(wanted, gather, lengths, len(lengths))

    def _scored(
        self, wanted: Mapping[str, float], gather: Callable[[Vector], Vector], lengths: Vector, n: int
    ) -> Vector:
        scores = np.zeros(n)
        if not n:
            return scores
        norm = K1 * (1 - B + B * lengths / max(1.0, float(lengths.mean())))
        for term, weight in wanted.items():
            if term not in self._at:
                continue
            row = np.zeros(len(self))
            row[self.places(term)] = np.array(self._times[term])
            times = gather(row)
            idf = self.idf(term, among=n, having=int(np.count_nonzero(times)))
            scores += weight * idf * times * (K1 + 1) / (times + norm)
        return scores
