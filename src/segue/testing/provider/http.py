"""HTTP/1.1 on loopback: just enough of it, and every way in which an answer can go wrong on the wire.

One connection serves one request at a time and keeps what is sent ahead. When the client goes away, the task that
answers it is cancelled.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

MAX_HEAD = 64 * 1024
MAX_BODY = 32 * 1024 * 1024
"""Bytes. 32 MB is what Anthropic takes; the others take less."""
_REASONS = {status.value: status.phrase for status in HTTPStatus} | {529: "Overloaded"}


class Request(NamedTuple):
    """One request. Names of headers are in lower case; of equal ones the last is kept."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    target: str = ""


class Connection(asyncio.Protocol):
    """One client. `answer(request, connection)` writes the response through `whole`, or `begin`, `send` and `end`."""

    def __init__(
        self, answer: Callable[[Request, Connection], Coroutine[Any, Any, None]], open: set[Connection]
    ) -> None:
        self._answer, self._open = answer, open
        self._buffer = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._chunked = self._asked_for_body = False

    # --- the client's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, or we have cut it off."""
        self._open.discard(self)
        self._room.set()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._room.clear()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._room.set()

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        self._buffer += data
        if self._task is None:
            self._next()

    def _next(self) -> None:
        try:
            request = take(self._buffer)
        except NotHttp as error:
            self.whole(error.status, {"content-type": "text/plain", "connection": "close"}, str(error).encode())
            return self.close()
        if request is None:
            self._ask_for_body()
            return None
        self._asked_for_body = False
        self._task = asyncio.get_running_loop().create_task(self._answer(request, self))
        self._task.add_done_callback(self._done)
        return None

    def _ask_for_body(self) -> None:
        """A client that said `Expect: 100-continue` waits for this, once."""
        if not self._asked_for_body and b"\r\nexpect: 100-continue\r\n" in self._buffer[:MAX_HEAD].lower():
            self._asked_for_body = True
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            self.cut()
        elif error := task.exception():
            asyncio.get_running_loop().call_exception_handler({"message": "a bug in the server", "exception": error})
            self.cut()
        elif self.alive and self._buffer:
            self._next()

    # --- our side ---

    @property
    def alive(self) -> bool:
        """Whether anything that is sent may still arrive."""
        return self._transport is not None and not self._transport.is_closing()

    def whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """A whole response."""
        self._write(_head(status, {**headers, "content-length": str(len(body))}) + body)

    def begin(self, status: int, headers: Mapping[str, str], length: int | None = None) -> None:
        """The head of a response; its body of `length` bytes, or of chunks where that is None, comes by `send`."""
        self._chunked = length is None
        how = {"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}
        self._write(_head(status, {**headers, **how}))

    def send(self, pieces: Sequence[bytes]) -> None:
        """Pieces of the body, each a chunk of its own, at once."""
        if self._chunked:
            self._write(b"".join([b"%x\r\n%b\r\n" % (len(data), data) for data in pieces if data]))
        else:
            self._write(b"".join(pieces))

    def end(self) -> None:
        """The body is complete."""
        if self._chunked:
            self._write(b"0\r\n\r\n")

    async def drained(self) -> None:
        """Wait until the client has read enough for more to be sent."""
        if not self._room.is_set():
            await self._room.wait()

    def close(self) -> None:
        """Hang up after what was sent."""
        if self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """Reset the connection (RST). What has not been sent is lost."""
        if self._transport is None or self._transport.is_closing():
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


class NotHttp(ValueError):
    """Bytes that are no request that we take."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def take(buffer: bytearray) -> Request | None:
    """Take the first request out of the buffer; None while it is incomplete.

    Raises:
        NotHttp: It is malformed, too large, or its body has no length.
    """
    if buffer and not 65 <= buffer[0] <= 90:
        raise NotHttp(400, "a request begins with its method; https is not spoken here")
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > MAX_HEAD:
            raise NotHttp(431, "the head of the request is too large")
        return None
    lines = buffer[:end].decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    size = _length(headers)
    if len(buffer) < end + 4 + size:
        return None
    body = bytes(buffer[end + 4 : end + 4 + size])
    del buffer[: end + 4 + size]
    words = lines[0].split(" ")
    if len(words) != 3:
        raise NotHttp(400, "the first line is not a request")
    path, _, query = words[1].partition("?")
    return Request(words[0], unquote(path), dict(parse_qsl(query)) if query else {}, headers, body, words[1])


def _length(headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise NotHttp(411, "send a content-length")
    said = headers.get("content-length", "0")
    if not said.isdecimal():
        raise NotHttp(400, "the content-length is not a number")
    if (size := int(said)) > MAX_BODY:
        raise NotHttp(413, "the body is too large")
    return size


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}", *(f"{k}: {v}" for k, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
