"""Runs that this process leaves to others for a while, since it cannot do what comes next: another one may. Not those
that it has begun itself, and had since.

Nothing of it is on disk. Where nobody else is there, this process has the run again after that.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

__all__ = ["Passed"]

_BEGUN_MAX = 10_000
"""Of more runs that have begun here, and stay, or have no place yet, it is not known any more."""


class Passed:
    """Which, and how long; and which are none of others."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._until: dict[int, float] = {}
        self._begun: OrderedDict[int, None] = OrderedDict()

    def put(self, no: int, seconds: float) -> None:
        """Claim the run with this number not before so many seconds from now, once it has parked; unless it is told
        something.
        """
        self._until[no] = self._loop.time() + seconds

    def __len__(self) -> int:
        """How many there are."""
        now = self._loop.time()
        self._until = {no: until for no, until in self._until.items() if until > now}
        return len(self._until)

    def has(self, no: int, told: bool = False) -> bool:
        """Whether others may still take the run before this process does; not once it was `told` something."""
        until = self._until.get(no)
        if told:
            self._until.pop(no, None)
            return False
        if until is None or until > self._loop.time():
            return until is not None
        del self._until[no]
        return False

    def began(self, no: int) -> None:
        """A run was accepted here, for its user or for a run of that kind."""
        self._begun[no] = None
        if len(self._begun) > _BEGUN_MAX:
            self._begun.popitem(last=False)

    def let_go(self, no: int) -> None:
        """A run has ended, or has parked: another one may have it."""
        self._begun.pop(no, None)

    def is_own(self, no: int, epoch: int) -> bool:
        """Whether this process has begun a run and had it since: no other one has, nor is one asked for it."""
        return epoch == 1 and no in self._begun
