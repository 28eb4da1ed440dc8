"""`run.stream()`: one consumer of a run's streams, from this process or from the one that carries the run out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TYPE_CHECKING

from ..core.lifecycle import ENDED, RunState
from ..core.streams import Ended, StreamEvent
from .embedded.taps import Tap
from .follower import Follower

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["Bell", "follow"]

POLL_S = 0.05
"""How often the journal is read; what is said live comes at once."""
SOON_S = 0.005
"""While an attempt has said all, and its outcome is about to be on disk."""


async def follow(engine: Engine, no: int, id: str, key: str | None) -> AsyncGenerator[StreamEvent, None]:
    """The events of a run's streams, up to its end."""
    row = engine.journal.get(no)
    follower, wake, clock = Follower(key, row.replaced), Bell(), asyncio.get_running_loop().time
    here, after, due_at, over = engine.surroundings.live, 0, 0.0, False
    with here.watched(id, wake.ring), Tap(engine.journal.path, id, wake.ring) as tap:
        while not over:
            live = here if not tap.connected or no in engine.host.executions else tap.live
            soon = follower.awaits or follower.closing(live, id)
            if soon or clock() >= due_at:
                due_at = clock() + POLL_S
                row = engine.journal.get(no)
                over = row.state in ENDED or row.state == RunState.STUCK
                tap.turn_to(row.owner if row.owner != engine.journal.owner else None)
                for event in engine.journal.events(row, after):
                    after = event.seq
                    for one in follower.journal(event, live, id):
                        yield one
                        if isinstance(one, Ended):
                            tap.live.drop(id, one.key)
            for one in follower.live(live, id):
                yield one
            if not over:
                await wake.wait(SOON_S if soon else POLL_S)


class Bell:
    """Wakes its consumer on its own loop, whoever rings, on whichever thread."""

    def __init__(self) -> None:
        self._loop, self._rung = asyncio.get_running_loop(), asyncio.Event()

    def ring(self) -> None:
        """From any thread."""
        with suppress(RuntimeError):  # the consumer's loop is closed
            self._loop.call_soon_threadsafe(self._rung.set)

    async def wait(self, seconds: float) -> None:
        """Until it rings, or so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return
        self._rung.clear()
