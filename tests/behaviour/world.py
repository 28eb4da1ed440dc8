"""The place that a behaviour is tested in: which engine, and how long a while is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import segue
from segue import Engine, Run, testing
from segue.core.events import Event, EventType


class World:
    """Engines on one database. `while_s` is a short time: an hour on the virtual clock, a moment on the real one."""

    def __init__(self, path: Path | None):
        self.path, self.virtual = path, path is None
        self.while_s = 3600.0 if self.virtual else 0.05
        self._last: testing.Engine | None = None

    def engine(self, **options: Any) -> Engine:
        """An engine on the database: the first one makes it, the next ones go on from it."""
        if self.path is not None:
            return Engine(str(self.path), **({"tick_s": 0.02} | options))
        self._last = testing.Engine(after=self._last, **options)
        return self._last

    @asynccontextmanager
    async def parking(self, **options: Any) -> AsyncIterator[Engine]:
        """An engine whose runs park at once."""
        async with self.engine(linger_s=0.0, **options) as engine:
            yield engine

    async def pass_(self, whiles: float = 1.0) -> None:
        """Let time pass."""
        await asyncio.sleep(self.while_s * whiles)


async def until(met: Callable[[], object], step_s: float = 0.005, tries: int = 2000) -> None:
    """Wait until a condition is met."""
    for _ in range(tries):
        if met():
            return
        await asyncio.sleep(step_s)
    raise AssertionError("the condition was never met")


async def events_of(run: Run[Any]) -> list[Event]:
    """A run's journal."""
    return [e async for e in run.events(follow=False)]


async def kinds_of(run: Run[Any]) -> list[str]:
    """The types of a run's events."""
    return [e.type for e in await events_of(run)]


async def keys_of(run: Run[Any], kind: str = EventType.STEP_COMPLETED) -> list[str]:
    """The keys of a run's events of one type."""
    return [e.key or "" for e in await events_of(run) if e.type == kind]


async def in_state(run: Run[Any], *states: str) -> segue.RunStatus:
    """Wait until a run is in one of these states."""
    for _ in range(2000):
        status = await run.status()
        if status.state in states:
            return status
        await asyncio.sleep(0.005)
    raise AssertionError(f"run {run.id} never was {states}: it is {status}")
