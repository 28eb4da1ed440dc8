"""Summaries in a context: what each stands for, and where it stands. Pure.

A summary is appended like any other part; it is shown in the place of what it covers. A later summary may cover an
earlier one: the lineage is a tree, and nothing of it is lost.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence

from .pairs import units_of
from .types import Kind, Part, Role

__all__ = ["covered_by", "in_place", "may_be_covered"]


def in_place(parts: Sequence[Part]) -> Sequence[Part]:
    """The same parts, each summary behind the last part that it covers; the order of all others stays."""
    if not any(part.kind is Kind.SUMMARY and part.made_of for part in parts):
        return parts
    behind: dict[int, list[int]] = {}
    moved: set[int] = set()
    for at, covered in _coverage(parts).items():
        if covered:
            behind.setdefault(max(covered), []).append(at)
            moved.add(at)
    order: list[int] = []

    def place(at: int) -> None:
        order.append(at)
        for summary in behind.get(at, ()):
            place(summary)

    for at in range(len(parts)):
        if at not in moved:
            place(at)
    return [parts[at] for at in order]


def covered_by(parts: Sequence[Part]) -> dict[int, Part]:
    """Of each part that a summary stands for, by its place: that summary. What must stay is never covered."""
    if not any(part.kind is Kind.SUMMARY and part.made_of for part in parts):
        return {}
    return {place: parts[at] for at, covered in _coverage(parts).items() for place in covered}


def may_be_covered(part: Part) -> bool:
    """Whether a summary may stand for a part: what is pinned, the request, the system's word and the state stay."""
    return not (part.pinned or part.asks or part.role is Role.SYSTEM or part.kind is Kind.STATE)


def _coverage(parts: Sequence[Part]) -> dict[int, list[int]]:
    """Of each summary, by its place, the places that it covers: of equal parts the oldest that is not covered yet.

    What was said in one go, with its calls and their results, is covered as a whole or not at all.
    """
    places: dict[str, deque[int]] = {}
    for at, part in enumerate(parts):
        if may_be_covered(part):
            places.setdefault(part.hash, deque()).append(at)
    found: dict[int, list[int]] = {}
    for at, part in enumerate(parts):
        if part.kind is not Kind.SUMMARY:
            continue
        found[at] = []
        for name, times in Counter(part.made_of).items():
            for _ in range(times):
                line = places.get(name)
                if line and line[0] < at:
                    found[at].append(line.popleft())
    units = units_of(parts)
    of = {origin: unit for unit, origin in zip(units.unit, units.origin, strict=True) if origin is not None}
    members: dict[int, list[int]] = {}
    for origin, unit in of.items():
        members.setdefault(unit, []).append(origin)
    return {at: _whole(covered, of, members) for at, covered in found.items()}


def _whole(covered: Sequence[int], of: Mapping[int, int], members: Mapping[int, Sequence[int]]) -> list[int]:
    """Without the parts of units that are not covered as a whole. A result that answers nothing is in no unit."""
    inside = set(covered)
    return [at for at in covered if at not in of or inside.issuperset(members[of[at]])]
