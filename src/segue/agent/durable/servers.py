"""MCP servers that agents use, held open by the engine's process: connected when a step first needs one.

A session is kept for the steps that follow, in whichever run. After a crash the next process connects anew. A session
is asked for a sign of life before it is used again; one that has died is left, and the server is started, or connected
to, anew. A call in whose middle it dies, that it has not answered in time, whose answer was lost on the way, or is none
that can be read, has no answer of the tool's: it is an error of the step, so that what happens once is reconciled, what
only reads is made again, and of all else nobody knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from pydantic_ai.exceptions import ModelRetry, ToolFailed, UserError

from ...runtime.once import apart
from ...runtime.scope import FlowScope, here, surroundings

__all__ = ["Servers", "held", "watch"]

_ALIVE_S = 5.0
_SHOWN = 200
"""Characters of what is wrong with an answer."""
_UNKNOWN = -32601
"""A server may not know the request that asks for a sign of life: it lives."""
_TIMED_OUT = -32001
"""The code of a request without an answer in time, in the protocol's SDK. Servers may use it for errors of theirs."""
_TIMED_OUT_SAYS = "timed out"
_NO_ANSWER = frozenset({-32000, -32603, -32700})
"""The protocol's SDK makes errors of these codes itself where a server's answer was lost on the way: a gateway's 502, a
stream that ends without it, one that cannot be read. A server that says -32603 may have begun too.
"""
_INVALID = -32600
_NO_ANSWER_SAYS = ("unexpected content type", "202 accepted")
"""So says the SDK, under the code of a request that is invalid, of answers that are none."""


async def alive(server: Any) -> bool:
    """Whether the session with a server still answers."""
    try:
        async with asyncio.timeout(_ALIVE_S):
            await server.client.ping()
    except Exception as error:  # noqa: BLE001  whatever it raises but this one, it does not answer
        return any(code == _UNKNOWN for code, _ in _said(error))
    return True


def watch(server: Any) -> None:
    """Let calls of a server's tools tell a server that died, and an answer that is none, from a tool that failed."""
    before = server.process_tool_call
    if isinstance(before, _Watching):
        return
    server.process_tool_call = _Watching(server, before)


class _Watching:
    """Stands around the calls of one server, and around what its owner has put there."""

    def __init__(self, server: Any, before: Any):
        self._server, self._before = server, before

    async def __call__(self, ctx: Any, call: Any, name: str, args: dict[str, Any]) -> Any:
        made = partial(self._made, call)
        return await (made(name, args) if self._before is None else self._before(ctx, made, name, args))

    async def _made(self, call: Any, name: str, args: dict[str, Any], **more: Any) -> Any:
        """The call itself: the owner's own sees what came of it. What it raises beside the server's own words is of its
        answer, which nobody can read.
        """
        try:
            return await call(name, args, **more)
        except Exception as error:
            if isinstance(here(), FlowScope):
                raise
            doubt = await self._doubt(error, name)
            if doubt is None:
                raise
            raise doubt from error

    async def _doubt(self, error: Exception, name: str) -> TimeoutError | ConnectionError | None:
        """What to raise instead where nobody knows what a call has done; None: the error tells it."""
        server, said = f"the MCP server {self._server.id}", list(_said(error))
        if any(code == _TIMED_OUT and _TIMED_OUT_SAYS in says.lower() for code, says in said):
            return TimeoutError(f"{server} has not answered a call of {name}")
        lost = next((says for code, says in said if _is_lost(code, says)), None)
        if lost is not None:  # the server's words or its client's: they look the same
            words = " ".join(lost.split())[:_SHOWN] or "no word"
            return ConnectionError(f"the answer of {server} to {name} was lost, or is no sure one: {words}")
        if not await alive(self._server):
            return ConnectionError(f"{server} died during a call of {name}")
        if _is_said(error):
            return None
        why = next(iter(str(error).splitlines()), type(error).__name__)[:_SHOWN]
        return ConnectionError(f"the answer of {server} to {name} cannot be read: {why}")


def _is_said(error: BaseException) -> bool:
    """Whether the server said it, or its client before it sent anything, or it is known for a doubt as it is."""
    from fastmcp.exceptions import ToolError  # noqa: PLC0415  an extra, and there where a server is called

    inner: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    if inner:
        return all(map(_is_said, inner))
    said = (ToolError, ModelRetry, ToolFailed, UserError, ImportError, ConnectionError, TimeoutError)
    return isinstance(error, said) or any(code is not None for code, _ in _said(error))


def _is_lost(code: object, says: str) -> bool:
    """Whether nobody knows what the server has done, though it lives."""
    return code in _NO_ANSWER or (code == _INVALID and any(one in says.lower() for one in _NO_ANSWER_SAYS))


def _said(error: BaseException) -> Iterator[tuple[object, str]]:
    """The protocol's codes, and what they say, in an error and in what it comes from."""
    told: Any = getattr(error, "error", None)
    yield getattr(told, "code", None), str(getattr(told, "message", ""))
    inner: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    for one in (*inner, *([error.__cause__] if error.__cause__ is not None else [])):
        yield from _said(one)


class _Session:
    """One server, entered and left in a task of its own, as its client wants it."""

    def __init__(self, server: Any):
        self.server, self._ready, self._stop = server, asyncio.Event(), asyncio.Event()
        self.users = 0
        self._task = asyncio.get_running_loop().create_task(self._keep(), context=apart())  # others use it after us

    async def _keep(self) -> None:
        try:
            async with self.server:
                self._ready.set()
                await self._stop.wait()
        finally:
            self._ready.set()

    @property
    def idle(self) -> bool:
        """Whether it is connected, and nobody uses it: then nobody would hear that it has died."""
        return self._ready.is_set() and not self.users

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
        if session is not None and session.idle and not await alive(server):
            await self.leave(session)
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
    try:
        session = await servers.connected(server)
    except Exception as error:  # nothing was asked of it: whatever it was to do has not been begun
        raise ConnectionRefusedError(f"the MCP server {server.id} cannot be reached: {error}") from error
    session.users += 1
    try:
        yield
    except Exception:
        await servers.leave(session)
        raise
    finally:
        session.users -= 1
