"""Two counters over the recent past, in slots of time. Pure.

A slot counts until it lies wholly outside of the span: what is counted is never less than what happened within
`reach_s` seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

Slot = tuple[int, int, int]
"""`(number, first, second)`: the number of the slot in time, and its two counts."""


class Span(NamedTuple):
    """How far a window looks back: `slots` slots of `slot_s` seconds, the current one among them."""

    slot_s: float
    slots: int

    @property
    def reach_s(self) -> float:
        """The seconds that are always covered: the current slot may just have begun."""
        return self.slot_s * (self.slots - 1)

    def slot(self, now: float) -> int:
        """The number of the slot that `now` lies in."""
        return math.floor(now / self.slot_s)

    def leaves_s(self, slot: int, now: float) -> float:
        """Seconds until a slot no longer counts."""
        return (slot + self.slots) * self.slot_s - now


class Window(NamedTuple):
    """Slots in ascending order, without empty ones, and the sums of their counts."""

    slots: tuple[Slot, ...] = ()
    first: int = 0
    second: int = 0

    def at(self, now: float, span: Span) -> Window:
        """Without what has left the span."""
        oldest = span.slot(now) - span.slots + 1
        if not self.slots or self.slots[0][0] >= oldest:
            return self
        return of(slot for slot in self.slots if slot[0] >= oldest)

    def add(self, first: int, second: int, now: float, span: Span) -> Window:
        """With something more at `now`. A `now` before the last slot, by another process's reading, counts as it."""
        kept = self.at(now, span)
        number = span.slot(now)
        if kept.slots and kept.slots[-1][0] >= number:
            last = kept.slots[-1]
            slots = (*kept.slots[:-1], (last[0], last[1] + first, last[2] + second))
        else:
            slots = (*kept.slots, (number, first, second))
        return Window(slots, kept.first + first, kept.second + second)


def of(slots: Iterable[Slot]) -> Window:
    """The window of some slots."""
    kept = tuple(slots)
    return Window(kept, sum(s[1] for s in kept), sum(s[2] for s in kept))


def merged(windows: Iterable[Window]) -> Window:
    """Several windows as one."""
    several = [w for w in windows if w.slots]
    if len(several) <= 1:
        return several[0] if several else Window()
    counts: dict[int, tuple[int, int]] = {}
    for number, first, second in (slot for window in several for slot in window.slots):
        so_far = counts.get(number, (0, 0))
        counts[number] = (so_far[0] + first, so_far[1] + second)
    return of((number, *counts[number]) for number in sorted(counts))
