"""Titles with a line of signs below them, as in Markdown and reStructuredText, and of what level they are. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

__all__ = ["EXACT", "levels", "unclear", "underline"]

_UNDER = re.compile(r"([-=*^#\"'+~`])\1{2,}\s*$|([.:_])\2{3,}\s*$")
EXACT = ".:_"
"""Signs that are as long as the title: forms have longer ones where something is to be filled in."""
_OVER = "-=*^#\"'+"
"""Signs that stand above a title as well; with others that is a fence, or a place to fill in."""
_MARKDOWN = "=-"
_ORDER = "#*=-"
"""Signs that are used for the outer levels, as far as there is a custom; some have the same."""
_NOTICE = re.compile(r"@|://|\w{3}[.!?;]\s|[.,;:!]$")
"""What a line between two rules has that is no title: a sentence, or an address."""
_LINE, _TABLE = 80, 200


def underline(lines: Sequence[str], at: int) -> str:
    """The sign of the line below a line that stands alone above it, twice if there is one above it as well; empty for
    none. One that Markdown does not use must be about as long: there it may be a rule, or a fence.
    """
    line, below = lines[at].rstrip(), lines[at + 1].rstrip() if at + 1 < len(lines) else ""
    under = _UNDER.match(below)
    if under is None or not line or len(line) > _LINE or "|" in line:
        return ""
    sign, longer = below[0], len(below) - len(line)
    if at and lines[at - 1].strip():
        over = lines[at - 1].rstrip() == below and not (at > 1 and lines[at - 2].strip())
        over = over and sign in _OVER and longer >= 0 and len(below) > 3 and line.lstrip()[:1] != sign
        return 2 * sign if over and not _NOTICE.search(line) and not _goes_on(lines, at + 1) else ""
    if line[0].isspace() or (sign not in _MARKDOWN and (line[-1] in ".,;:" or longer < -1)):
        return ""
    if sign == "`" and (longer < 0 or "".join(lines[at + 2 : at + 3]).strip()):
        return ""
    return "" if sign in EXACT and longer not in (0, sum(char >= "\u1100" for char in line)) else sign


def unclear(lines: Sequence[str], some: Sequence[int], signs: Mapping[int, str]) -> set[int]:
    """Where a line or two stand between two of signs, and one such pair with these signs holds no title: each of them
    begins something, but what its words are is not sure. Of each the upper line; `signs` are those of the titles. Where
    no pair of a kind holds a title, one must have the form of one: others may be listings and tables.
    """
    boxes = {at - 1: sign[0] for at, sign in signs.items() if len(sign) > 1}
    held, boxed = {at + 1 for at in signs} | boxes.keys(), {*boxes.values()}
    pairs = {at: to for at in some if at not in held and (to := _pair(lines, at))}
    odd = {lines[at][0] for at, to in pairs.items() if lines[at][0] in boxed or _heads(lines, at, to)}
    odd -= {*signs.values()} - boxed
    return {at for at in (*boxes, *pairs) if lines[at][0] in odd}


def _heads(lines: Sequence[str], at: int, to: int) -> bool:
    """Whether a line stands between two of signs, and nothing beside these, as a title would."""
    first, beside = lines[at + 1][:1], [*lines[max(0, at - 1) : at], *lines[to + 1 : to + 2]]
    return lines[at][0] in _OVER and first.isalnum() and not first.islower() and not "".join(beside).strip()


def _goes_on(lines: Sequence[str], at: int) -> bool:
    """Whether lines stand right below one of signs, down to another such one: a table with its names, it seems."""
    for line in lines[at + 1 : at + _TABLE]:
        if not line.strip() or line.rstrip() == lines[at].rstrip():
            return bool(line.strip())
    return False


def _pair(lines: Sequence[str], at: int) -> int:
    """Where a line of signs has another one of the same below, with a line or two between; 0: nowhere."""
    if not _UNDER.match(lines[at]):
        return 0
    for to in (at + 2, at + 3):
        between = lines[at + 1 : to]
        if to < len(lines) and lines[to][:1] == lines[at][0] and _UNDER.match(lines[to]):
            return to if all(line.strip() and not _UNDER.match(line) for line in between) else 0
    return 0


def levels(signs: Sequence[str]) -> list[int]:
    """The levels of the titles of a text, by their signs. Where these are not Markdown's alone, the first is the outer
    one, a new one is within the one before it; if that cannot be, neither it nor what comes next is known to stand
    under another one, until there is a title of the outermost level.
    """
    if {*signs} <= {*_MARKDOWN}:
        return [1 + (sign == "-") for sign in signs]
    known, made, loose = list[str](), list[int](), set[str]()
    sure = True
    for sign in signs:
        new = sign not in known and sign not in loose
        if new and known and not (sure and made[-1] == len(known) and _rank(sign) >= _rank(known[-1])):
            loose.add(sign)
        elif new:
            known.append(sign)
        sure = sign not in loose and (sure or sign == known[0])
        made.append(1 + known.index(sign) if sure else 1)
    return [min(level, 6) for level in made]


def _rank(sign: str) -> int:
    if len(sign) > 1:
        return 0
    return max(1, _ORDER.find(sign)) if sign in _ORDER else len(_ORDER)
