"""What a piece of a long text stands under, where it is shown by itself: the headings, the names of the columns of the
table that goes on in it, the lines of code or of a list that enclose it. Pure: it is read from the text alone.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, chain, islice, takewhile

__all__ = ["ABOVE", "above"]

ABOVE = 200
"""Characters of it at most; what is nearest wins."""
_LINE, _COLUMNS, _LEAST = 80, 150, 40
"""Characters of an enclosing line, of the names of columns, and of a heading, however little is left."""

_FENCE = re.compile(r"\s*(```|~~~)")
_HEADING = re.compile(r"(#{1,6})[ \t]+(.*?)[ \t#]*$")
_UNDERLINE = re.compile(r"(=|-)\1{2,}\s*$")
_PLAIN = re.compile(r"\d+(?:\.\d+)+\.? \S.{0,60}$|\S[^\n.!?]{0,60}:$|[^a-z.!?\W][^a-z.!?]{3,60}$")
"""A heading without marks, in a paragraph of its own: `4.2 Opening hours`, `Opening hours:`, `OPENING HOURS`."""
_DEEPEST = 7
_RULE = re.compile(r"\s*[|+]?[ :]*-{2,}[-+|: ]*$")
_VALUE = re.compile(r"[-+$€£]?\d(?!\d{3}$)|[-+\d.,:/ ]*$")
"""What begins a value, and no name of a column; a year may be one."""
_QUOTED = re.compile(r'"[^"]*"')
_ROWS = 20
"""Rows that are looked at to tell whether a line names their columns."""

_MODIFIERS = (
    "export|default|async|public|private|protected|internal|static|final|abstract|override|virtual|sealed|partial|"
    r"unsafe|pub(?:\([^)]*\))?"
)
_CODE = rf"(?:(?:{_MODIFIERS})\s+)*(?:def|class|function|func|fn|interface|struct|enum|impl|trait|module|namespace)\b"
_IS_CODE = re.compile(rf"\s*{_CODE}.*[({{:]\s*$|\s*{_CODE} \w+\(|#include\b|#!|(?:from \S+ )?import [\w.{{]+;?$")
_CONTROL = re.compile(r"[)\]}]|(?:if|elif|else|for|while|do|switch|match|case|default|try|except|catch|finally|with)\b")
_OPENS = re.compile(rf"{_CODE}\s*\S|.*[:{{(\[]$|(?:[-*+]|\d+[.)])\s+\S|[^:]+:\s*[|>&]\S*$")
"""A line that may enclose the ones below it that stand further in."""


def above(text: str, parts: Sequence[str]) -> list[str]:
    """Of each piece of a text what it stands under; empty where that is nothing, as of a text in one piece."""
    if len(parts) < 2:
        return [""] * len(parts)
    lines = text.split("\n")
    ends = [*accumulate(map(_letters, lines))]
    starts = [bisect_right(ends, said) for said in accumulate(map(_letters, parts[:-1]), initial=0)]
    place, made, at = _Place(lines), list[str](), 0
    for start in starts:
        while at < start:
            place.look(at)
            place.pass_(at)
            at += 1
        place.look(at)
        made.append(place.above(at))
    return made


def _letters(text: str) -> int:
    """What is left where cutting may take blanks."""
    return len("".join(text.split()))


class _Place:
    """Where a reader is, who goes down line by line."""

    def __init__(self, lines: Sequence[str]):
        self._lines = lines
        self._fenced = _fenced(lines)
        self._headed = not any(_IS_CODE.match(line) for line, in_ in zip(lines, self._fenced, strict=True) if not in_)
        self._headings: list[tuple[int, str]] = []
        self._around: list[tuple[int, str]] = []
        """The lines that enclose it, by how far in they stand."""
        self._columns, self._named = "", 0
        """The names of the columns of the table, and the line in which they stand."""

    def look(self, at: int) -> None:
        """Leave what does not go on in a line. The same line may be looked at twice."""
        line = self._lines[at]
        if self._columns and (not line.strip() or _FENCE.match(line) or self._ended(line)):
            self._columns = ""
        found = self._heading(at)
        if found is not None:
            self._headings = [one for one in self._headings if one[0] < found[0]]
            self._around = []
        elif line.strip():
            inside = _indent(line) + (line.lstrip()[0] in ")]}")
            self._around = [one for one in self._around if one[0] < inside]

    def pass_(self, at: int) -> None:
        """Go into what a line begins."""
        line = self._lines[at]
        found = self._heading(at)
        if found is not None:
            self._headings.append(found)
        elif not self._columns:
            self._columns, self._named = self._table(at), at
            said = line.strip()
            if not self._columns and _OPENS.match(said) and not _CONTROL.match(said):
                self._around.append((_indent(line), said))

    def above(self, at: int) -> str:
        """What a piece that begins with a line stands under."""
        inner = self._columns if at > self._named + 1 else self._columns.partition("\n")[0]  # it begins with the rule
        room = ABOVE - len(inner)
        if not inner:
            nearest = list[str]()
            for indent, said in reversed(self._around):
                nearest.append(" " * indent + _cut(said, _LINE) + " …")
                room -= len(nearest[-1]) + 1
                if room < _LINE + _LEAST:
                    break
            inner = "\n".join(reversed(nearest))
        path = ""
        for _, words in reversed(self._headings):
            longer = f"{words} > {path}" if path else _cut(words, max(room, _LEAST))
            if len(longer) > max(room, _LEAST):
                break
            path = longer
        return "\n".join(filter(None, (path, inner)))

    def _ended(self, line: str) -> bool:
        """Whether a line is neither row nor rule of a table with bars."""
        return "|" in self._columns and "|" not in line and _RULE.match(line) is None

    def _heading(self, at: int) -> tuple[int, str] | None:
        """The level and the words of the heading that a line is."""
        line = self._lines[at]
        if not self._headed or self._fenced[at] or not line.strip() or line[0].isspace():
            return None
        before = self._lines[at - 1] if at else ""
        after = self._lines[at + 1] if at + 1 < len(self._lines) else ""
        marked = _HEADING.match(line)
        if marked is not None:
            words = marked[2].strip("-=* ")
            comment = any(line.startswith(f"{marked[1]} ") for line in (before, after)) or words.endswith((".", ";"))
            return None if comment or not words else (len(marked[1]), words)
        if before.strip() or len(line) > _LINE:
            return None
        under = _UNDERLINE.match(after)
        if under is not None:
            return None if "|" in line else (1 + (under[1] == "-"), line.strip())
        return (_DEEPEST, line.rstrip(": ")) if not after.strip() and _PLAIN.match(line.rstrip()) else None

    def _table(self, at: int) -> str:
        """The names of columns that stand in a line, with the rule below them; else nothing."""
        line, below = self._lines[at], self._lines[at + 1 : at + 2]
        if "|" in line and below and _RULE.match(below[0]):
            rule = re.sub("-{3,}", "---", below[0].strip())
            return f"{_cut(re.sub(' {2,}', ' ', line.strip()), _COLUMNS)}\n{_cut(rule, ABOVE - _COLUMNS)}"
        first = not at or not self._lines[at - 1].strip() or bool(_FENCE.match(self._lines[at - 1]))
        if first and line.strip() and _names_columns(line, self._lines[at + 1 : at + 1 + _ROWS]):
            return _cut(line.strip(), _COLUMNS)
        return ""


def _names_columns(line: str, below: Sequence[str]) -> bool:
    """Whether a line names the columns of the rows below it, as in CSV."""
    rows = [_QUOTED.sub("", row) for row in takewhile(str.strip, islice(below, _ROWS))]
    if len(rows) < 3:
        return False
    names = [name.strip(' "') for name in line.split(by)] if (by := _separator(line, rows)) else []
    if not names or len(set(names)) < len(names) or any(len(name) > _LEAST or _VALUE.match(name) for name in names[1:]):
        return False
    values = chain.from_iterable(row.split(by) for row in rows)
    return not _VALUE.match(names[0] or "n") and any(_VALUE.match(value) for value in values if value)


def _separator(line: str, rows: Sequence[str]) -> str:
    """What stands between the columns of a line and of nearly all rows; empty for none."""
    for by in "\t;,|":
        there = line.count(by)
        if there and sum(row.count(by) == there for row in rows) >= 0.8 * len(rows):
            return by
    return ""


def _fenced(lines: Sequence[str]) -> list[bool]:
    """Of each line whether it stands within a fence, or is one."""
    made, open_ = list[bool](), ""
    for line in lines:
        fence = _FENCE.match(line)
        made.append(bool(open_) or fence is not None)
        if fence is not None and open_ in ("", fence[1]):
            open_ = "" if open_ else fence[1]
    return made


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _cut(line: str, most: int) -> str:
    return line if len(line) <= most else f"{line[: most - 1]}…"
