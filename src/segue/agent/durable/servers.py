"""MCP servers that agents use, held open by the engine's process: connected when a step first needs one.

A session is kept for the steps that follow, in whichever run. After a crash the next process connects anew; a server
that has died is left, so that the next attempt starts it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from ...runtime.scope import surroundings

__all__ = ["Servers", "held"]


class _Session:
    """One server, entered and left in a task of its own, as its client wants it."""

    def __init__(self, server: Any):
        self.server, self._ready, self._stop = server, asyncio.Event(), asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        try:
            async with self.server:
                self._ready.set()
                await self._stop.wait()
        finally:
            self._ready.set()

    async def ready(self) -> None:
        """Wait until it is connected. Raises what connecting raises."""
        await self._ready.wait()
        if self._task.done():
            await self._task

    async def stop(self) -> None:
        """Leave it. What leaving a dead server raises is of no interest."""
        self._stop.set()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()


class Servers:
    """Those of one engine's process."""

    def __init__(self) -> None:
        self._sessions: dict[int, _Session] = {}

    async def connected(self, server: Any) -> _Session:
        """The session with a server. Raises what connecting raises; then the next one connects anew."""
        session = self._sessions.get(id(server))
        if session is None:
            session = self._sessions[id(server)] = _Session(server)
        try:
            await session.ready()
        except BaseException:
            self._forget(session)
            raise
        return session

    def _forget(self, session: _Session) -> None:
        if self._sessions.get(id(session.server)) is session:
            del self._sessions[id(session.server)]

    async def leave(self, session: _Session) -> None:
        """A server whose call failed: it may have died."""
        self._forget(session)
        await session.stop()

    async def close(self) -> None:
        """Leave them all."""
        for session in list(self._sessions.values()):
            await self.leave(session)


@asynccontextmanager
async def held(server: Any) -> AsyncGenerator[None]:
    """Within the block a server is connected; None: there is none. Outside of an engine the block connects itself."""
    around = surroundings()
    if server is None or around is None:
        yield
        return
    servers = around.share("mcp servers", Servers, Servers.close)
    session = await servers.connected(server)
    try:
        yield
    except Exception:
        await servers.leave(session)
        raise
