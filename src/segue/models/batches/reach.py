"""Batches that one process cannot do anything with for now: another one may. Nothing of it is on disk."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass

__all__ = ["OutOfReach"]


@dataclass(slots=True)
class _Known:
    since: float
    vain: int = 0
    """How often its provider was asked for nothing."""
    rests_until: float = 0.0


class OutOfReach:
    """Since when, and when their providers are asked again; `pause_s` says how long after so many vain calls."""

    def __init__(self, pause_s: Callable[[int], float]):
        self._pause_s = pause_s
        self._known: dict[str, _Known] = {}

    def __contains__(self, batch: str) -> bool:
        return batch in self._known

    def __bool__(self) -> bool:
        return bool(self._known)

    def put(self, batch: str, now: float, *, called: bool) -> float:
        """It is so now. `called`: its provider was asked, and said so. Gives since when it is known."""
        known = self._known.setdefault(batch, _Known(now))
        if called:
            known.rests_until, known.vain = now + self._pause_s(known.vain), known.vain + 1
        return known.since

    def rests(self, batch: str, now: float) -> bool:
        """Whether its provider is not asked again yet: it has just said no."""
        return batch in self._known and now < self._known[batch].rests_until

    def hurry(self) -> None:
        """All providers may be asked again."""
        for known in self._known.values():
            known.rests_until = 0.0

    def reached(self, batch: str) -> None:
        """It is in reach."""
        self._known.pop(batch, None)

    def keep(self, batches: Container[str]) -> None:
        """Of the others it is not known any more."""
        self._known = {one: known for one, known in self._known.items() if one in batches}
