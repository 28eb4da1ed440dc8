"""What was found, as parts of a context: as many passages as fit, in order, under the day they were said. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..tokens import Tokens
from ..types import Kind, Part, Role
from .passages import Passage
from .postings import Vector

Rows = NDArray[np.intp]

__all__ = ["heading_of", "line_of", "packed", "parts_of"]


def packed(passages: Sequence[Passage], scores: Vector, room: int, tokens: Tokens) -> list[int]:
    """Places of the best passages that fit into `room` tokens together, best first; a longer one may give way. None of
    those that score -inf.
    """
    left, chosen, open_ = room, list[int](), set[str]()
    order: Rows = np.argsort(-scores, kind="stable")
    for place in map(int, order):
        if scores[place] == -np.inf:
            break
        passage = passages[place]
        cost = tokens(line_of(passage)) + 1
        if passage.session not in open_:
            cost += tokens(f"[recalled] {heading_of(passage)}") + 2
        if cost <= left:
            left -= cost
            chosen.append(place)
            open_.add(passage.session)
        if left < _LEAST:
            break
    return chosen


_LEAST = 8
"""Tokens that no passage is worth looking for."""


def line_of(passage: Passage) -> str:
    """One passage as it is shown."""
    said = f"{passage.who}: {passage.whole}" if passage.who else passage.whole
    return f"({passage.place}) {said}" if passage.place else said


def heading_of(passage: Passage) -> str:
    """What stands above the passages of a session: the day, and of pieces what they are of."""
    day = f"{passage.at:%Y-%m-%d}" if passage.at is not None else "…"
    return f"{day}, {passage.source}" if passage.place and passage.source else day


def parts_of(passages: Sequence[Passage], places: Sequence[int], scores: Vector, *, source: str = "") -> list[Part]:
    """A part for each session, in order. Each names the passages that it shows, and how well the best of them fits."""
    sessions: dict[str, list[int]] = {}
    for place in sorted(places):
        sessions.setdefault(passages[place].session, []).append(place)
    fits = _fits(scores)
    return [_part(passages, one, fits, source) for one in sessions.values()]


def _fits(scores: Vector) -> Vector:
    """How well each fits, 0 for the worst and 1 for the best."""
    some = scores[np.isfinite(scores)]
    top, bottom = float(some.max(initial=0.0)), float(some.min(initial=0.0))
    return (scores - bottom) / (top - bottom) if top > bottom else np.ones(len(scores))


def _part(passages: Sequence[Passage], places: Sequence[int], fits: Vector, source: str) -> Part:
    lines = [heading_of(passages[places[0]]), *(line_of(passages[place]) for place in places)]
    named = " ".join(passages[place].id for place in places)
    return Part(
        role=Role.USER, kind=Kind.MEMORY, text="\n".join(lines), source=f"{source} {named}".strip(),
        relevance=round(max(float(fits[place]) for place in places), 3),
    )  # fmt: skip
