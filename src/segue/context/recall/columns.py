"""The names of the columns of a table that goes on: with bars and a rule, as in CSV, or as SQL inserts it. Pure."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import islice, takewhile

from .code import FENCE

__all__ = ["columns", "cut", "goes_on", "rows"]

_MOST, _RULED = 150, 50
"""Characters of the names, and of the rule below them."""
_NAME = 40
_RULE = re.compile(r"\s*[|+]?[ :]*-{2,}[-+|: ]*$")
_VALUE = re.compile(r"[-+$€£]?\d|[-+\d.,:/ ]*$")
"""What begins a value, and no name of a column; a year may be one."""
_YEAR = re.compile(r"(?:19|20)\d\d$")
_ROWS, _LEAST = 20, 3
"""Rows that are looked at to tell whether a line names their columns; and how many there are at least."""
_BY = "\t;,|"
_INSERT = re.compile(r"\s*INSERT INTO [^()]+\(.+\)\s*VALUES$", re.IGNORECASE)
_TALL, _WIDE = 60, 10_000
"""Lines and characters of a row whose cells have line breaks."""


def rows(lines: Sequence[str]) -> Iterator[Sequence[str]]:
    """The lines of a text, those of a row of CSV whose quoted cells have line breaks together."""
    at, above = 0, ""
    while at < len(lines):
        many = _tall(lines, at, above) if lines[at].count('"') % 2 else 1
        row = lines[at : at + many]
        yield row
        at, above = at + many, " ".join(row)


def _tall(lines: Sequence[str], at: int, above: str) -> int:
    """How many lines a row has that ends where its quotes do, and has as many fields as the one above it, or as the two
    below: it may be the first one.
    """
    many, row = _closed(lines, at)
    if not row:
        return 1
    after, one = _closed(lines, at + many)
    _, other = _closed(lines, at + many + after)
    for by in _BY:
        fields = len(_fields(row, by)) if by in row else 1
        opens = lines[at].startswith('"') or f'{by}"' in lines[at]
        below = opens and len(_fields(one, by)) == len(_fields(other, by)) == fields
        if fields > 1 and (below or len(_fields(above, by)) == fields):
            return many
    return 1


def _closed(lines: Sequence[str], at: int) -> tuple[int, str]:
    """How many lines it takes until the quotes of a row are closed, and what these say; nothing, if they never are."""
    row, open_ = "", False
    for many, line in enumerate(lines[at : at + _TALL], 1):
        row += f" {line}" if many > 1 else line
        open_ ^= line.count('"') % 2 == 1
        if len(row) > _WIDE:
            break
        if not open_:
            return many, row
    return 1, ""


def columns(lines: Sequence[str], at: int) -> str:
    """The names of columns that stand in a line, with the rule below them; else nothing."""
    line, below = lines[at], lines[at + 1 : at + 2]
    if "|" in line and below and _RULE.match(below[0]):
        rule = re.sub("-{3,}", "---", below[0].strip())
        return f"{cut(re.sub(' {2,}', ' ', line.strip()), _MOST)}\n{cut(rule, _RULED)}"
    if "(" in line and _INSERT.match(line.rstrip()):
        return cut(line.strip(), _MOST)
    for by in _BY:
        if by in line and _names(lines, at, by):
            return cut(line.strip(), _MOST)
    return ""


def goes_on(named: str, line: str) -> bool:
    """Whether a table whose columns are named so goes on in a line."""
    if not line.strip() or FENCE.match(line):
        return False
    if named[:12].upper() == "INSERT INTO ":
        return line.lstrip()[0] == "("
    spaced = line.count(", ")
    if spaced and not any(by in named for by in "\t;|") and spaced == line.count(",") and ", " not in named:
        return False  # prose
    return _RULE.match(line) is not None or any(by in line for by in _BY if by in named)


def _names(lines: Sequence[str], at: int, by: str) -> bool:
    """Whether a line names the columns of the rows below it. It is the first line with as many fields."""
    names = _fields(lines[at], by)
    many, few = len(names), lines[at + 1 : at + 1 + _LEAST]
    if many < 2 or len(few) < _LEAST or any(row.count(by) < many - 1 for row in few):
        return False
    if at and len(_fields(lines[at - 1], by)) == many:
        return False
    if any(len(_fields(row, by)) != many for row in few):
        return False
    below = islice(lines, at + 1, at + 1 + _ROWS)
    rows = [_fields(row, by) for row in takewhile(lambda row: row.strip() and not FENCE.match(row), below)]
    same = [row for row in rows if len(row) == many]
    if (
        len(rows) < _LEAST
        or len(same) < 0.8 * len(rows)
        or len({*names}) < many
        or not all(names[1:])
        or any(len(name) > _NAME for name in names)
    ):
        return False
    if any(_is_value(name, [row[no] for row in same]) for no, name in enumerate(names) if name):
        return False
    spaced = by == "," and all(", " in row for row in (lines[at], *few))  # prose has commas, too
    return not spaced or any(_VALUE.match(value) for row in same for value in row if value)


def _is_value(name: str, below: Sequence[str]) -> bool:
    """Whether the first field of a column is a value like those below it, and no name."""
    if name in below:
        return True
    if _YEAR.match(name):
        return 2 * sum(_YEAR.match(value) is not None for value in below) > len(below)
    return _VALUE.match(name) is not None


def _fields(line: str, by: str) -> list[str]:
    if '"' not in line or len(line) > 10_000:
        return [field.strip() for field in line.split(by)]
    try:
        return [field.strip() for row in csv.reader([line], delimiter=by, skipinitialspace=True) for field in row]
    except csv.Error:
        return [line]


def cut(line: str, most: int) -> str:
    """A line of so many characters at most."""
    return line if len(line) <= most else f"{line[: most - 1]}…"
