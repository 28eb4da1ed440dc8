"""Runs that this process leaves to others for a while, since it cannot do what comes next: another one may.

Nothing of it is on disk. Where nobody else is there, this process has the run again after that.
"""

from __future__ import annotations

import asyncio

__all__ = ["Passed"]


class Passed:
    """Which, and how long."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._until: dict[int, float] = {}

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
