"""A small HTTP server on the loopback interface that answers as it is told, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

SILENCE = object()
"""In place of a piece: nothing more comes, and the connection stays open."""
CUT = object()
"""In place of a piece: the connection breaks off."""


@dataclass(frozen=True)
class Say:
    """One answer. `pieces` are sent as chunks, one by one, in place of the body."""

    status: int = 200
    body: Any = ""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    pieces: Sequence[Any] | None = None


@dataclass
class Asked:
    """One request."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Server:
    """`url` has no path. `say` is asked for each answer; what it was asked is in `asked`."""

    url: str
    say: Callable[[Asked], Say | None]
    asked: list[Asked] = field(default_factory=list[Asked])
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """A client has left before the end of its answer."""


def sse(*events: Any, done: bool = True) -> list[bytes]:
    """Server-sent events; a pair is a named one."""
    pieces: list[bytes] = []
    for event in events:
        named, data = event if isinstance(event, tuple) else (None, event)
        head = f"event: {named}\n" if named else ""
        pieces.append(f"{head}data: {json.dumps(data)}\n\n".encode())
    return [*pieces, b"data: [DONE]\n\n"] if done else pieces


@asynccontextmanager
async def serve(say: Callable[[Asked], Say | None]) -> AsyncIterator[Server]:
    """A server until the block ends. An answer of None closes the connection without a word."""
    state = Server("", say)
    tasks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while (asked := await _read(reader)) is not None:
                state.asked.append(asked)
                if not await _answer(state.say(asked), reader, writer, state):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            state.gone.set()
        except asyncio.CancelledError:
            return  # the server is closing
        finally:
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    state.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield state
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    line = await reader.readline()
    if not line:
        return None
    headers: dict[str, str] = {}
    while header := (await reader.readline()).decode().strip():
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Asked(line.decode().split()[1], headers, json.loads(body) if body else None)


async def _answer(say: Say | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: Server) -> bool:
    """Whether the connection can be used again."""
    if say is None:
        return False
    headers = {"content-type": "application/json"} | say.headers
    if say.pieces is None:
        body = say.body if isinstance(say.body, str) else json.dumps(say.body)
        headers = {"content-length": str(len(body.encode()))} | headers
        writer.write(_head(say.status, headers) + body.encode())
        await writer.drain()
        return "connection" not in headers
    writer.write(_head(say.status, {"content-type": "text/event-stream", "transfer-encoding": "chunked"} | say.headers))
    for piece in say.pieces:
        if piece is CUT:
            return False
        if piece is SILENCE:
            await reader.read(1)
            state.gone.set()
            return False
        writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


def _head(status: int, headers: dict[str, str]) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} X", *(f"{n}: {v}" for n, v in headers.items()), "", ""]).encode()
