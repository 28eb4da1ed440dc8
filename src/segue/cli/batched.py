"""The batches that runs wait for, to a command that carries runs out: they move by themselves, outside of any run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..agent.batch.office import Office
    from ..runtime.engine import Engine

__all__ = ["Batches"]

_TAKEN_UP_S = 1.0
"""What has come may take so long until its run is seen to move."""


class Batches:
    """Those of the database that an engine has open."""

    def __init__(self, engine: Engine):
        self._engine, self._since, self._moved = engine, engine.clock.now(), float("-inf")

    def hurry(self) -> None:
        """Have each that is under way looked at now, whenever its next look would be."""
        self._since = self._engine.clock.now()
        if (office := self._office) is not None:
            office.hurry(self._since)

    @property
    def _office(self) -> Office | None:
        return self._engine.surroundings.shared("batches")

    def awaited(self, run: str) -> bool:
        """Whether a parked run waits for a batch."""
        office = self._office
        return self._lately(office is not None and office.outbox.awaited(run))

    def move(self, until: float) -> bool:
        """Whether one was not looked at yet, or is to be sent by then."""
        office = self._office
        return self._lately(office is not None and office.moves(self._since, until))

    def _lately(self, moves: bool) -> bool:
        now = time.monotonic()
        self._moved = now if moves else self._moved
        return now < self._moved + _TAKEN_UP_S
