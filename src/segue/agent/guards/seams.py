"""What stands across the seam of two texts of one message: half of a card number in each is one number to a model.

Texts that follow each other in a message are looked at joined, too: without what is between them, and as lines. What is
found across a seam is taken out of each text that holds some of it. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from ...core.redaction import Cut
from .guard import Finding

__all__ = ["Base", "Joined", "across", "as_lines", "base_of", "closely", "cuts_in", "spaced", "without"]


class Piece(NamedTuple):
    """Where a text stands in a joined one: `at` there, from `skip` on of its own, `length` characters."""

    at: int
    skip: int
    length: int


class Base(NamedTuple):
    """A text that is looked at together with others, and what is to be cut out of it anyhow."""

    text: str
    cuts: tuple[Cut, ...]


class Joined(NamedTuple):
    """Texts as one."""

    text: str
    pieces: tuple[Piece, ...]


def spaced(texts: Sequence[str]) -> Joined | None:
    """The texts of a message as one; what is blank between two of them is one space. None where there are not two."""
    return _joined([(text, " " if _blank(text, after) else "") for text, after in _pairs(texts)])


def closely(texts: Sequence[str]) -> Joined | None:
    """The same without what is blank between them."""
    return _joined([(text, "") for text in texts])


def as_lines(texts: Sequence[str]) -> Joined | None:
    """As lines, which is how a model is shown them."""
    return _joined([(text, "\n") for text in texts])


def _blank(text: str, after: str) -> bool:
    """Whether there is a gap after a text; that of one which is all blank stands before it."""
    return bool(text.strip()) and (text[-1:].isspace() or after[:1].isspace())


def _pairs(texts: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(texts, [*texts[1:], ""], strict=False))


def _joined(texts: Sequence[tuple[str, str]]) -> Joined | None:
    """Texts, each with what stands after it."""
    if sum(bool(text.strip()) for text, _ in texts) < 2:
        return None
    pieces: list[Piece] = []
    said: list[str] = []
    at = 0
    for text, between in texts:
        inside = text.strip()
        pieces.append(Piece(at, len(text) - len(text.lstrip()) if inside else 0, len(inside)))
        said += [inside, between]
        at += len(inside) + len(between)
    return Joined("".join(said), tuple(pieces))


def base_of(text: str, found: Finding | None) -> Base:
    """A text, by what was found in it alone: as it was, with the cuts, where the guard names them; else without it."""
    if found is None or found.text is None:
        return Base(text, ())
    return Base(text, found.cuts) if found.cuts else Base(found.text, ())


def cuts_in(view: Joined, found: Finding) -> Sequence[Cut] | None:
    """Where it stood in a joined text; None where the guard does not say."""
    if found.cuts:
        return found.cuts
    return None if found.text is None else _changed(view.text, found.text)


def across(view: Joined, cuts: Sequence[Cut], own: Sequence[Sequence[Cut]]) -> list[list[Cut]]:
    """What was found across a seam, as a cut in each text that holds some of it.

    `own` is what was found in each text alone: where that is within, and of the same kind, it stays with that, since
    what follows it in the next text is most likely something else.
    """
    made: list[list[Cut]] = [[] for _ in view.pieces]
    for one in cuts:
        holds = [at for at, piece in enumerate(view.pieces) if _shared(piece, one) > 0]
        if len(holds) < 2 or any(_same(one, known, view.pieces[at]) for at in holds for known in own[at]):
            continue
        for at in holds:
            piece = view.pieces[at]
            begin = max(one.begin, piece.at) - piece.at + piece.skip
            end = min(one.end, piece.at + piece.length) - piece.at + piece.skip
            made[at].append(Cut(begin, end, one.put))
    return made


def _same(one: Cut, known: Cut, piece: Piece) -> bool:
    """Whether what was found in one text alone is a part of it, and of its kind."""
    begin, end = (place - piece.skip + piece.at for place in (known.begin, known.end))
    return one.put == known.put and begin < one.end and one.begin < end


def _shared(piece: Piece, one: Cut) -> int:
    """How many characters of a text are in it."""
    return min(piece.at + piece.length, one.end) - max(piece.at, one.begin)


def without(text: str, cuts: Sequence[Cut]) -> str:
    """The text with these cuts made."""
    merged: list[Cut] = []
    for one in sorted(cuts):
        if merged and one.begin < merged[-1].end:
            merged[-1] = merged[-1]._replace(end=max(one.end, merged[-1].end))
        else:
            merged.append(one)
    bounds = [Cut(0, 0, ""), *merged, Cut(len(text), len(text), "")]
    return "".join(before.put + text[before.end : after.begin] for before, after in pairwise(bounds))


def _changed(text: str, without: str) -> list[Cut]:
    """What differs, as one piece: from the first sign that is another to the last."""
    most = min(len(text), len(without))
    front = next((n for n in range(most) if text[n] != without[n]), most)
    back = next((n for n in range(most - front) if text[-1 - n] != without[-1 - n]), most - front)
    return [Cut(front, len(text) - back, without[front : len(without) - back])]
