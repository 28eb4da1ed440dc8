"""Tool calls and their results: which belong together, which were cut off. Pure.

A *unit* is the smallest thing that is kept or left out as one: what the assistant said in one go, with all its calls
(parallel ones too) and their results, wherever those stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .types import Kind, Part, Role

__all__ = ["NO_RESULT", "Units", "units_of"]

NO_RESULT = "(no result: the call was interrupted, so it may or may not have had its effect)"
_SAID = frozenset({Kind.TEXT, Kind.THINKING, Kind.CALL})


@dataclass(frozen=True, slots=True)
class Units:
    """The parts that can be shown, each in its unit, and those that cannot."""

    parts: list[Part] = field(default_factory=list[Part])
    """In order; right behind what the assistant said in one go stand results for the calls in it that got none."""
    unit: list[int] = field(default_factory=list[int])
    """The unit of each part; units are numbered by where they begin."""
    origin: list[int | None] = field(default_factory=list[int | None])
    """The place of each part among those given; None for a result that was made up."""
    lost: dict[int, str] = field(default_factory=dict[int, str])
    """Places of results that answer no call, and why they are left out."""


def units_of(parts: Sequence[Part]) -> Units:
    """Group the parts. A call without a result gets one that says so; a result without a call is left out."""
    unit = _goes(parts)
    answer, lost = _answers(parts, unit)
    answered = set(answer.values())
    made = Units(lost=lost)
    open_: list[Part] = []
    for at, part in enumerate(parts):
        if open_ and unit[at] != unit[at - 1]:
            _close(made, open_, unit[at - 1])
            open_ = []
        if at in lost:
            continue
        made.parts.append(part)
        made.origin.append(at)
        made.unit.append(unit[answer[at]] if at in answer else unit[at])
        if part.kind is Kind.CALL and at not in answered:
            open_.append(part)
    _close(made, open_, unit[-1] if unit else 0)
    return made


def _goes(parts: Sequence[Part]) -> list[int]:
    """Neighbouring parts of the assistant, of one turn, are one go; every other part is alone."""
    unit = list(range(len(parts)))
    for at in range(1, len(parts)):
        one, other = parts[at - 1], parts[at]
        if _speaks(one) and _speaks(other) and one.turn == other.turn:
            unit[at] = unit[at - 1]
    return unit


def _speaks(part: Part) -> bool:
    return part.role is Role.ASSISTANT and part.kind in _SAID


def _answers(parts: Sequence[Part], unit: Sequence[int]) -> tuple[dict[int, int], dict[int, str]]:
    """Of each result the place of its call: the oldest open one of its id, until a later go calls the id again."""
    open_: dict[str, list[int]] = {}
    answer: dict[int, int] = {}
    lost: dict[int, str] = {}
    for at, part in enumerate(parts):
        name = part.call or ""
        if part.kind is Kind.CALL:
            waiting = open_.setdefault(name, [])
            if waiting and unit[waiting[0]] != unit[at]:
                waiting.clear()
            waiting.append(at)
        elif part.kind is Kind.RESULT:
            if open_.get(name):
                answer[at] = open_[name].pop(0)
            else:
                lost[at] = "a second result" if name in open_ else "no call"
    return answer, lost


def _close(made: Units, dangling: Sequence[Part], unit: int) -> None:
    """The honest result of calls that were cut off."""
    for call in dangling:
        said = replace(call, role=Role.TOOL, kind=Kind.RESULT, text=NO_RESULT, bound=None, data={}, tokens=None)
        made.parts.append(said)
        made.unit.append(unit)
        made.origin.append(None)
