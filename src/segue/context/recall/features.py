"""What speaks for a passage, given a request: a matrix of `(passages, FEATURES)`, each about 0 to 1.

Beside how well it matches by itself count its neighbours (an answer seldom repeats the words of its question), its
session, who speaks, the dates that are named, and the words that stand in the passages found first (Lavrenko and
Croft's relevance model). All is computed from the passages and the request; nothing of what the answer is comes in.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from .passages import PREFIX, Passages
from .postings import Vector
from .terms import mentioned, terms, words

__all__ = ["FEATURES", "Request", "features", "understood"]

FEATURES = (
    "stems", "beginnings", "around 1", "around 3", "session", "near", "expanded", "pairs", "rarest", "of best",
    "before 1", "after 1", "before 2", "after 2", "before 3", "after 3", "near before", "near after",
    "answers", "answers near", "speaker", "speaker beginnings", "other", "other beginnings", "answers speaker",
    "asks", "asks beginnings", "length", "short", "question", "time", "when time", "when time beginnings", "number",
    "count number", "shares", "month", "day", "after date", "session best", "rank", "near rank", "rank before",
)  # fmt: skip
_FOUND_FIRST, _EXPANSIONS = 6, 12
_WHEN = frozenset({"date", "month", "year", "day"})


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it is understood."""

    terms: list[str]
    """Stems, without the names of those who speak."""
    named: frozenset[str]
    when: bool
    count: bool
    text: str


def understood(text: str, passages: Passages) -> Request:
    """The request's terms, whom it names, and whether it asks when or how many."""
    said, low = set(words(text)), text.lower()
    stems = terms(text)
    when = "when" in said or "how long" in low or ("what" in said and bool(said & _WHEN))
    count = "how many" in low or "how often" in low or "number" in said
    wanted = [term for term in stems if term not in passages.names]
    return Request(wanted or stems, frozenset(passages.names.intersection(stems)), when, count, text)


def features(request: Request, passages: Passages) -> Vector:
    """What speaks for each passage."""
    found = _Found(request, passages)
    columns = [
        *found.matches(),
        *found.neighbours(),
        *found.speakers(),
        *found.surfaces(),
        *found.dates(),
        *found.ranks(),
    ]
    return np.stack(columns, 1)


class _Found:
    """The signals that the features are made of."""

    def __init__(self, request: Request, passages: Passages):
        self.request, self.passages = request, passages
        self.sessions, self.traits = passages.sessions, passages.traits
        self.n = len(passages)
        self.wanted = dict.fromkeys(request.terms, 1.0)
        total = sum(passages.stems.idf(term) for term in self.wanted) * 1.375 + 1e-6
        self.total = total
        stems = passages.stems
        self.own = stems.bm25(self.wanted) / total
        self.begin = passages.beginnings.bm25({term[:PREFIX]: 1.0 for term in self.wanted}) / total
        self.around_1 = stems.bm25_around(self.wanted, partial(self.joined, reach=1)) / total
        self.around_3 = stems.bm25_around(self.wanted, partial(self.joined, reach=3)) / total
        self.near = np.maximum(passages.near(request.terms), 0)
        self.base = self.begin + 0.3 * self.moved(self.begin, 1) + 0.2 * self.moved(self.begin, -1)

    def moved(self, row: Vector, by: int) -> Vector:
        """Each passage has the value of the one `by` places before it, in its session."""
        out = np.zeros_like(row)
        if abs(by) >= self.n:
            return out
        if by > 0:
            out[by:] = row[:-by] * (self.sessions[by:] == self.sessions[:-by])
        else:
            out[:by] = row[-by:] * (self.sessions[:by] == self.sessions[-by:])
        return out

    def joined(self, row: Vector, reach: int) -> Vector:
        """The sum over the passages at most `reach` places away, in the session."""
        return row + sum(self.moved(row, by) + self.moved(row, -by) for by in range(1, reach + 1))

    def matches(self) -> list[Vector]:
        """By itself, with its surroundings, in its session, by the embedding."""
        stems = self.passages.stems
        sittings = int(self.sessions[-1]) + 1
        whole = stems.bm25_around(self.wanted, lambda row: np.bincount(self.sessions, row, sittings).astype(np.float64))
        session = (whole / max(float(whole.max()), 1e-6))[self.sessions]
        pairs = {f"{a} {b}" for a, b in pairwise(self.request.terms)}
        paired = np.zeros(self.n)
        for pair in pairs:
            paired[self.passages.pairs.places(pair)] += 1 / len(pairs)
        rarest = np.zeros(self.n)
        known = [term for term in self.wanted if term in stems]
        if known:
            rarest[stems.places(max(known, key=stems.idf))] = 1
        best = self.begin / max(float(self.begin.max()), 1e-6)
        return [
            self.own,
            self.begin,
            self.around_1,
            self.around_3,
            session,
            self.near,
            self.expanded(),
            paired,
            rarest,
            best,
        ]

    def expanded(self) -> Vector:
        """By the words of the passages that were found first."""
        stems, counts = self.passages.stems, Counter[str]()
        for place in np.argsort(-self.base, kind="stable")[:_FOUND_FIRST]:
            for term in set(self.passages.terms_of(int(place))) - self.passages.names:
                counts[term] += float(self.base[place])  # pyright: ignore[reportArgumentType]  weights, not counts
        weights = {term: weight * stems.idf(term) for term, weight in counts.items() if term not in self.wanted}
        most = sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:_EXPANSIONS]
        top = max((weight for _, weight in most), default=0.0) or 1.0
        row = stems.bm25({term: weight / top for term, weight in most})
        return row / max(float(row.max()), 1e-6)

    def neighbours(self) -> list[Vector]:
        """What matches in the passages before and after it."""
        moves = [self.moved(self.begin, by) for by in (1, -1, 2, -2, 3, -3)]
        asks = self.traits[:, 0]
        return [
            *moves, self.moved(self.near, 1), self.moved(self.near, -1),
            self.moved(self.begin * asks, 1), self.moved(self.near * asks, 1),
        ]  # fmt: skip

    def speakers(self) -> list[Vector]:
        """Whether the one who is named says it, or another one."""
        named = self.request.named
        speaks = np.zeros(self.n)
        who = {name: float(bool(named & set(terms(name)))) for name in self.passages.whos}
        if sum(who.values()) == 1:
            speaks = self.passages.by_who(who.__getitem__)
        other = (1 - speaks) * float(speaks.any())
        asks = self.moved(self.begin * self.traits[:, 0], 1)
        return [speaks, speaks * self.begin, other, other * self.begin, speaks * asks]

    def surfaces(self) -> list[Vector]:
        """What kind of passage it is, and what is asked for."""
        ends, has, time, number, shares, length, short = self.traits.T
        when, count = float(self.request.when), float(self.request.count)
        return [
            ends, ends * self.begin, length, short, has, time, when * time, when * time * self.begin, number,
            count * number, shares,
        ]  # fmt: skip

    def dates(self) -> list[Vector]:
        """Whether it was said in the month that is named, on the day, or soon after."""
        dates = mentioned(self.request.text)
        if not dates:
            return [np.zeros(self.n)] * 3
        fits = {at: {date.fits(at) for date in dates} if at is not None else set[str]() for at in self.passages.times}
        return [self.passages.by_time(lambda at, how=how: how in fits[at]) for how in ("month", "day", "after")]

    def ranks(self) -> list[Vector]:
        """The best of its session, its ranks, and how much the one before it is wanted."""
        both = self.begin + self.near
        return [self._of_session(both), _rank(self.base), _rank(self.near), self.moved(_rank(self.base), 1)]

    def _of_session(self, row: Vector) -> Vector:
        """The mean of the best three of each session."""
        order = np.lexsort((-row, self.sessions))
        sorted_sessions = self.sessions[order]
        starts = np.searchsorted(sorted_sessions, np.arange(int(self.sessions[-1]) + 1))
        place = np.arange(self.n) - starts[sorted_sessions]
        top = np.where(place < 3, row[order], 0.0)
        sums = np.bincount(sorted_sessions, top)
        sizes = np.minimum(np.bincount(sorted_sessions), 3)
        return (sums / sizes)[self.sessions]


def _rank(row: Vector) -> Vector:
    """1 for the best, and less by a factor of e each ten ranks."""
    ranks = np.empty(len(row))
    ranks[np.argsort(-row, kind="stable")] = np.arange(len(row))
    return np.exp(-ranks / 10)
