"""What a run says, for consumers in other processes: a socket of its owner in `<database>-live`.

A consumer connects and names a run in one line of JSON; it gets a line for each piece and for each attempt whose text
is void. Ends are not told here: the journal has them, with the final text. A consumer that reads slowly is sent larger
pieces; the owner holds at most one batch for it. Where no socket can be made (no Unix sockets, a path that is too
long), consumers in other processes get each text when it is on disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ...core.streams import Kind, Piece, StreamEvent
from ...journal.connect import MEMORY
from ...journal.owners import TAP
from ..follower import Follower
from ..live import Live

__all__ = ["Tap", "Taps"]

_REQUEST_MAX = 4096


class Taps:
    """The owner's side: listens as long as its engine is open."""

    def __init__(self, path: str, owner: str, live: Live):
        self._live, self._path = live, path
        self._loop = asyncio.get_running_loop()
        self._name, self._clients = f"{owner}{TAP}", set[_Client]()
        self._socket = None if path == MEMORY else self._listen()

    def _listen(self) -> socket.socket | None:
        try:
            made = _unix()
        except OSError:
            return None
        if made is None:
            return None
        try:
            with _address(self._path, self._name) as address:
                made.bind(address)
            made.listen()
        except OSError:
            made.close()
            return None
        self._loop.add_reader(made, self._accept)
        return made

    def _accept(self) -> None:
        assert self._socket is not None
        with suppress(OSError):
            taken, _ = self._socket.accept()
            taken.setblocking(False)
            self._clients.add(_Client(taken, self._live, self._loop, self._clients.discard))

    def close(self) -> None:
        """Stop listening; consumers see the end of their connections."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            with suppress(OSError):
                Path(f"{self._path}-live", self._name).unlink()
        for client in list(self._clients):
            client.leave()


class _Client:
    """One consumer at the owner's socket."""

    def __init__(
        self, taken: socket.socket, live: Live, loop: asyncio.AbstractEventLoop, left: Callable[[_Client], None]
    ):
        self._socket, self._live, self._loop, self._left = taken, live, loop, left
        self._run, self._follower = "", Follower()
        self._asked, self._pending = b"", b""
        self._watch: Any = None
        self._due = False
        loop.add_reader(taken, self._read)

    def _read(self) -> None:
        """Its request; later only that it leaves."""
        try:
            data = self._socket.recv(_REQUEST_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._asked += data
        if not data or len(self._asked) > _REQUEST_MAX:
            self.leave()
        elif self._watch is None and self._asked.endswith(b"\n"):
            try:
                self._run = str(json.loads(self._asked)["run"])
            except (ValueError, KeyError, TypeError):
                return self.leave()
            self._watch = self._live.watched(self._run, self._changed)
            self._watch.__enter__()
            self._send()
        return None

    def _changed(self) -> None:
        """From any thread."""
        if not self._due:
            self._due = True
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._send)

    def _send(self) -> None:
        """Send what has been said since; what does not fit waits until the consumer has read."""
        self._due = False
        if self._socket.fileno() < 0:
            return
        if not self._pending:
            self._pending = b"".join(_line(event) for event in self._follower.live(self._live, self._run))
            self._follower.prune(self._live, self._run)
        try:
            while self._pending:
                self._pending = self._pending[self._socket.send(self._pending) :]
        except BlockingIOError:
            self._loop.add_writer(self._socket, self._go_on)
        except OSError:
            self.leave()

    def _go_on(self) -> None:
        self._loop.remove_writer(self._socket)
        self._send()
        if not self._pending:
            self._send()

    def leave(self) -> None:
        """It has left, or is let go."""
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        if self._watch is not None:
            self._watch.__exit__(None, None, None)
        self._left(self)


def _line(event: StreamEvent) -> bytes:
    body: dict[str, Any] = {"key": event.key, "attempt": event.attempt}
    if isinstance(event, Piece):
        body |= {"text": event.text, "kind": event.kind, "lost": event.lost}
    else:
        body |= {"void": getattr(event, "why", "")}
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


class Tap:
    """The consumer's side: a copy in `live` of what the owner of a run publishes. `pump` takes in what has come."""

    def __init__(self, path: str, run: str, rung: Callable[[], None] | None = None):
        self.live = Live()
        self._path, self._run, self._rung = path, run, rung
        self._owner: str | None = None
        self._socket: socket.socket | None = None
        self._buffer = b""

    @property
    def connected(self) -> bool:
        """Whether an owner is being listened to. What the last one has said stays until another one is there."""
        return self._owner is not None

    def turn_to(self, owner: str | None) -> None:
        """Listen to this process; None: to nobody. Does nothing where it is so already, and tries again where not."""
        if owner is None or self._path == MEMORY or (owner == self._owner and self._socket is not None):
            return
        if owner != self._owner:
            self.close()
        made = _unix()
        if made is None:
            return
        try:
            with _address(self._path, f"{owner}{TAP}") as address:
                made.connect(address)
            made.setblocking(False)
            made.sendall(json.dumps({"run": self._run}).encode() + b"\n")
        except OSError:
            made.close()
            return
        self._socket, self._owner, self._buffer = made, owner, b""
        if self._rung is not None:
            asyncio.get_running_loop().add_reader(made, self._readable)

    def _readable(self) -> None:
        self.pump()
        if self._rung is not None:
            self._rung()

    def pump(self) -> None:
        """Take in what has come."""
        while self._socket is not None:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                return self._cut()
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            for line in lines:
                self._take(json.loads(line))
        return None

    def _take(self, said: dict[str, Any]) -> None:
        attempt = tuple(int(n) for n in said["attempt"])
        if "void" in said:
            self.live.retract(self._run, said["key"], attempt, said["void"])
        else:
            kind: Kind = said["kind"]
            self.live.say(self._run, said["key"], attempt, said["text"], kind, lost=said["lost"])

    def _cut(self) -> None:
        if self._socket is not None:
            if self._rung is not None:
                asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        """Leave."""
        self._cut()
        self._owner = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def _unix() -> socket.socket | None:
    family = getattr(socket, "AF_UNIX", None)
    return None if family is None else socket.socket(family, socket.SOCK_STREAM)


@contextmanager
def _address(path: str, name: str) -> Generator[str]:
    """Where a socket is. The kernel takes about 100 bytes: a longer path goes by a descriptor of its folder."""
    folder = f"{path}-live"
    whole = os.path.join(folder, name)
    if len(os.fsencode(whole)) < 100 or not os.path.isdir("/proc/self/fd"):
        yield whole
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)
