"""The passages of one scope with all that is known of them before a request comes."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .kin import F32, Kin
from .postings import Postings, Vector
from .terms import names_a_number, names_a_time, terms, words

__all__ = ["PREFIX", "Passage", "Passages"]

PREFIX = 5
"""Letters of the beginnings that are indexed beside the stems: `restoring` finds `restoration`."""
CHAT = 500
"""Characters up to which a passage is like a turn of a chat."""
_GROWTH = 1.2
"""By which factor the passages grow before the embedding is learned anew."""
_ENOUGH = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A turn, a note, a piece of a document."""

    id: str
    text: str
    who: str = ""
    at: datetime | None = None
    session: str = ""
    """What was said in one sitting: a run, a day. Neighbours of one session explain each other."""
    place: str = ""
    """Which piece of a longer text it is: `3 of 12`."""
    source: str = ""
    """What it is a piece of."""
    above: str = ""
    """What the piece stands under: headings, the names of columns. It is ranked and shown with it."""

    @property
    def whole(self) -> str:
        """The text with what stands above it."""
        return f"{self.above}\n{self.text}" if self.above else self.text


class Passages:
    """Passages in their order. Adding one is quick; now and then the embedding is learned anew."""

    def __init__(self, passages: tuple[Passage, ...] | list[Passage] = ()):
        self.items: list[Passage] = []
        self.stems, self.beginnings, self.pairs = Postings(), Postings(), Postings()
        self.names: set[str] = set()
        self.whos: dict[str, int] = {}
        """Those who speak, numbered."""
        self.times: dict[datetime | None, int] = {}
        """When something was said, numbered."""
        self._who, self._at = array("q"), array("q")
        self._terms: list[list[str]] = []
        self._sessions: list[int] = []
        self._traits = array("d")
        self._long = array("b")
        self._question = array("q")
        self._kin: Kin | None = None
        self._rows: list[F32] = []
        self._learned = 0
        for passage in passages:
            self.add(passage)

    def __len__(self) -> int:
        return len(self.items)

    def add(self, passage: Passage) -> None:
        """The next passage."""
        said = terms(passage.whole)
        last = self.items[-1] if self.items else None
        new = last is None or last.session != passage.session
        self._sessions.append((self._sessions[-1] if self._sessions else -1) + new)
        self.items.append(passage)
        self._who.append(self.whos.setdefault(passage.who, len(self.whos)))
        self._at.append(self.times.setdefault(passage.at, len(self.times)))
        self._terms.append(said)
        who = terms(passage.who)
        self.names.update(who)
        self.stems.add([*who, *said])
        self.beginnings.add([term[:PREFIX] for term in said])
        self.pairs.add([f"{one} {other}" for one, other in pairwise(said)])
        self._question.append(self._answered(passage, last))
        self._long.append(_is_long(passage))
        self._traits.extend(_traits(passage.text, len(words(passage.text))))

    @property
    def sessions(self) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        """Of each passage the number of its session."""
        return np.array(self._sessions, np.intp)

    def by_who(self, of: Callable[[str], float]) -> Vector:
        """A value for each passage, by who says it."""
        return np.array([of(who) for who in self.whos], np.float64)[np.array(self._who, np.intp)]

    def by_time(self, of: Callable[[datetime | None], float]) -> Vector:
        """A value for each passage, by when it was said."""
        return np.array([of(at) for at in self.times], np.float64)[np.array(self._at, np.intp)]

    @property
    def traits(self) -> Vector:
        """`(passages, TRAITS)`: what `_traits` says of each."""
        return np.array(self._traits).reshape(len(self.items), TRAITS)

    @property
    def long(self) -> NDArray[np.bool_]:
        """Of each passage whether it is written text, and longer than what people say in a chat."""
        return np.array(self._long, np.bool_)

    def with_question(self, row: Vector) -> Vector:
        """The sum of a row over each passage and the short one that it answers, if it is a long one."""
        question = np.array(self._question, np.intp)
        return row + np.where(question < 0, 0.0, row[question])

    def terms_of(self, place: int) -> list[str]:
        """The stems of a passage."""
        return self._terms[place]

    def near(self, wanted: list[str]) -> Vector:
        """How near each is to some terms by the local embedding: -1 to 1."""
        for _ in self.learning():
            pass
        assert self._kin is not None
        asked = self._kin.embed([wanted])[0]
        return (self._rows[0] @ asked).astype(np.float64)

    def learning(self) -> Iterator[None]:
        """Learn the embedding, where there is much that it does not know, in small steps. `near` does the rest."""
        n = len(self.items)
        if self._kin is None or n > self._learned * _GROWTH + _ENOUGH:
            self._kin, rows = yield from Kin.learning(self._terms[:n], self.stems.idf)
            self._rows, self._learned = [rows], n
        held = sum(map(len, self._rows))
        if held < len(self.items):
            self._rows = [np.concatenate([*self._rows, self._kin.embed(self._terms[held:])])]

    def _answered(self, passage: Passage, last: Passage | None) -> int:
        """The place of the short passage that a new one answers, all its pieces do; -1 for none: what somebody else
        said right before it.
        """
        if last is None or not _is_long(passage):
            return -1
        if last.place and last.session == passage.session:
            return self._question[-1]
        same = f"{passage.session} ".startswith(f"{last.session} ")  # pieces have one of their own within their text's
        asked = passage.who and last.who and passage.who != last.who and same and not self._long[-1]
        return len(self.items) - 2 if asked else -1


def _is_long(passage: Passage) -> bool:
    return bool(passage.place) or len(passage.text) > CHAT


TRAITS = 7


def _traits(text: str, length: int) -> tuple[float, ...]:
    """Ends with a question, has one, says a time, a number, shares something, how long it is, whether it is short."""
    return (
        float("?" in text[-60:]), float("?" in text), float(names_a_time(text)), float(names_a_number(text)),
        float("[" in text), float(np.log1p(length)), float(length < 14),
    )  # fmt: skip
