"""What a heading is, and which headings stay open where another one begins. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["AGAIN", "ALONE", "COLON", "NUMBER", "ONCE", "TITLE", "Heading", "opened", "path"]

TITLE, ONCE, AGAIN, NUMBER, ALONE, COLON = 7, 8, 9, 10, 20, 21
"""Levels of headings without marks: of the text, of what occurs once (or has questions below it whose numbers begin
anew) and again, of numbered ones, of those that are not known to be in another one, and of a line with a colon, which
heads what comes next only.
"""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading; without words it is what ends those without marks."""

    level: int
    words: str
    number: tuple[int, ...] = ()
    upto: int = -1
    """The line before which what it heads ends, where that is known."""


def opened(open_: Sequence[Heading], new: Heading) -> list[Heading]:
    """Which headings stay open where another one begins."""
    if new.level == COLON:
        return [one for one in open_ if one.level < COLON]
    if new.level == NUMBER:
        outer = [new.number[:size] for size in range(1, len(new.number))]
        return [one for one in open_ if one.level < NUMBER or one.number in outer]
    return [one for one in open_ if one.level < new.level]


def path(open_: Sequence[Heading], within: Heading | None) -> list[str]:
    """The words of the headings that something surely stands under, the nearest first; `within`: what begins there."""
    least, found = within.level == ALONE if within else False, list[str]()
    for one in reversed(open_):
        if not least or one.level <= TITLE:
            found.append(one.words)
        least = least or one.level == ALONE
    return found
