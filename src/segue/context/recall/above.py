"""What a piece of a long text stands under, where it is shown by itself: the headings, the names of the columns of the
table that goes on in it, the lines of code or of a list that enclose it. Pure: it is read from the text alone.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate

from .code import FENCE, begins_document, closes_section, encloses, fenced, is_bare, is_code, is_section, manifest
from .columns import columns, cut, goes_on, rows
from .headings import headings
from .open import Heading, opened, path
from .records import blocks, enclosing

__all__ = ["ABOVE", "above"]

ABOVE = 200
"""Characters of it at most; what is nearest wins."""
_LINE, _LEAST = 80, 40
"""Characters of an enclosing line, and of a heading, however little is left."""

_SECTION = -1
"""How far in a section of INI stands, which holds lines that stand no further in."""
_MANIFEST = -0.5
"""How far before its fields a manifest stands."""
_ITEM = re.compile(r"(?:[-*+]|\d+[.)])\s")
_COMMENTS = 20
"""Lines of a comment that are looked over for what it is above."""


def above(text: str, parts: Sequence[str]) -> list[str]:
    """Of each piece of a text what it stands under; empty where that is nothing, as of a text in one piece."""
    if len(parts) < 2:
        return [""] * len(parts)
    lines = [*map(" ".join, rows(text.replace("\r\n", "\n").split("\n")))]
    ends = [*accumulate(map(_letters, lines))]
    before = [*accumulate(map(_letters, parts[:-1]), initial=0)]
    place, made, at = _Place(lines), list[str](), 0
    for start, within in zip((bisect_right(ends, said) for said in before), _records(text, before), strict=True):
        while at < start:
            place.look(at)
            place.pass_(at)
            at += 1
        place.look(place.said(at))
        made.append(place.above(at, within))
    return made


def _records(text: str, before: Sequence[int]) -> Iterator[list[tuple[float, str]] | None]:
    """What of JSON encloses the places that have so many letters before them; None where there is none."""
    found = [*blocks(text)]
    words = [*re.finditer(r"\S+", text)] if found else []
    said = [*accumulate((len(word[0]) for word in words), initial=0)]
    starts = [block.start for block in found]
    for count in before:
        no = bisect_right(said, count) - 1
        at = words[no].start() + count - said[no] if no < len(words) else -1
        block = bisect_right(starts, at) - 1
        yield enclosing(found[block], at) if block >= 0 and at < found[block].end else None


def _letters(text: str) -> int:
    """What is left where cutting may take blanks."""
    return len("".join(text.split()))


class _Place:
    """Where a reader is, who goes down line by line."""

    def __init__(self, lines: Sequence[str]):
        self._lines, in_fences = lines, fenced(lines)
        code = [not in_ and is_code(line) for line, in_ in zip(lines, in_fences, strict=True)]
        self._headings = headings(lines, code, in_fences)
        self._open: list[Heading] = []
        self._around: list[tuple[float, str]] = []
        """The lines that enclose it, by how far in they stand."""
        self._often = Counter(map(str.strip, lines))
        self._columns, self._named = "", 0
        """The names of the columns of the table, and the line in which they stand."""

    def look(self, at: int) -> None:
        """Leave what does not go on in a line. The same line may be looked at twice."""
        line, found = self._lines[at], self._headings.get(at)
        if self._columns and at > self._named and not goes_on(self._columns, line):
            self._columns = ""
        if self._open and 0 <= self._open[-1].upto <= at:
            self._open.pop()
        if found is not None:
            self._open, self._around = opened(self._open, found), []
        elif begins_document(self._lines, at):
            self._around = []
        elif FENCE.match(line):
            self._around = [one for one in self._around if one[0] < _inside(line) and _ITEM.match(one[1])]
        elif line.strip() and not self._comment(at):
            inside = _inside(line) + (line.lstrip()[0] in ")]}")
            ends = is_section(self._lines, at) or closes_section(line)
            self._around = [one for one in self._around if one[0] < inside and not (ends and one[0] == _SECTION)]
            if self._around and self._around[0][0] == _MANIFEST and inside == 0 and not is_code(line):
                self._around = []

    def pass_(self, at: int) -> None:
        """Go into what a line begins."""
        found = self._headings.get(at)
        if found is not None:
            self._open += [found] if found.words else []
        elif not self._columns:
            self._columns, self._named = columns(self._lines, at), at
            inside, named = manifest(self._lines, at)
            if named and (inside + _MANIFEST, named) not in self._around:
                self._around.append((inside + _MANIFEST, named))
            elif not self._columns and is_section(self._lines, at):
                self._around.append((_SECTION, self._lines[at].strip()))
            elif not self._columns and (said := encloses(self._lines, at)):
                self._around.append((_inside(self._lines[at]), said))

    def above(self, at: int, within: Sequence[tuple[float, str]] | None) -> str:
        """What a piece that begins with a line stands under; `within`: what encloses it, where it is JSON."""
        words = path(self._open, self._headings.get(at))
        least = min(len(words[0]), _LEAST) + 1 if words else 0
        inner = self._columns if at > self._named + 1 else self._columns.partition("\n")[0]  # it begins with the rule
        if len(inner) > ABOVE - least:
            inner = inner.partition("\n")[0]
        items = [one for one in self._around if _ITEM.match(one[1])] if inner and within is None else []
        if within is not None or not inner:
            inner = self._enclosing(self._around if within is None else within, ABOVE - least)
        elif items and ABOVE - least - len(inner) > _LEAST:
            inner = f"{self._enclosing(items, ABOVE - least - len(inner) - 1)}\n{inner}"
        room, made = ABOVE - len(inner) - bool(inner), ""
        for one in words:
            longer = f"{one} > {made}" if made else cut(one, room)
            if len(longer) > room:
                break
            made = longer
        return "\n".join(filter(None, (made, inner)))

    def _enclosing(self, lines: Sequence[tuple[float, str]], room: int) -> str:
        """The lines that enclose it: as they stand, or in one line, where that is too long; then without those that say
        least: keys by themselves that stand in many places, and the outer ones.
        """
        around = [(max(0, int(inside)), said) for inside, said in lines]
        made = "\n".join(" " * inside + cut(said, _LINE) + " …" for inside, said in around)
        while len(made) > room:
            made = " > ".join(cut(said, _LINE) for _, said in around) + " …"
            if len(made) <= room or len(around) == 1:
                break
            often = [self._often[said] or 1 if is_bare(said) else 0 for _, said in around[:-1]]
            around.pop(often.index(max(often)))
        return cut(made, room)

    def said(self, at: int) -> int:
        """The line that comments stand above, for those that begin in a line."""
        after = range(at, min(at + _COMMENTS, len(self._lines)))
        return next((no for no in after if self._lines[no].strip() and not self._comment(no)), at)

    def _comment(self, at: int) -> bool:
        """Whether a line is a comment, which stands where it likes."""
        return self._lines[at].startswith("#") and at not in self._headings


def _inside(line: str) -> float:
    """How far in a line stands; one of a list further than the key that it is of, however it is set."""
    said = line.lstrip()
    return len(line) - len(said) + 0.5 * said.startswith(("- ", "* ", "+ "))
