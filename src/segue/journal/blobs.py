"""Payloads by content: small ones stay in their event, larger ones are stored once, very large ones in files."""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Callable, Generator, Iterable
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from ..core.events import Event
from ..core.shell import command
from ..errors import StoreCorrupt
from . import pieces
from .turns import nothing

INLINE_MAX = 2048
"""Bytes up to which a payload stays in its event."""
FILE_MIN = 8 << 20
"""Bytes, compressed, from which a payload is a file of its own."""
PIECE = 1 << 20
"""Bytes of a payload that are hashed or compressed at once."""
_WRITTEN_AT_ONCE = 16 << 20
"""Bytes of a file that are made durable at once: a slow disk takes a while for them."""
DRAFT = ".part"
_MARK = b"\x00"
_MARKS = (_MARK, pieces.MARK)


class Packed(NamedTuple):
    """A payload as it is stored: compressed when that makes it smaller; in a file when `file` names one."""

    size: int
    data: bytes
    file: str | None


class Payloads:
    """The payloads of one database. `folder` takes those that are files; None keeps all of them in the database.

    `pack` does the slow part before the transaction: compressing, and making files durable. `put` is the rest. Both
    call `meanwhile` between payloads and between the pieces of a large one.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder
        self._packed: dict[bytes, Packed] = {}
        self._folder_is_durable = False

    def pack(
        self, connection: sqlite3.Connection, payloads: Iterable[bytes], meanwhile: Callable[[], None] = nothing
    ) -> None:
        """Make the large ones among them ready for `put`. No transaction should be open: others need not wait."""
        for data in payloads:
            digest = digest_of(data, meanwhile)
            if digest not in self._packed and not _known(connection, digest):
                self._packed[digest] = self._pack(digest, data, meanwhile)
            meanwhile()

    def forget(self) -> None:
        """Drop what `pack` made; call it after the transaction."""
        self._packed.clear()

    def put(
        self, connection: sqlite3.Connection, run: int, data: bytes, meanwhile: Callable[[], None] = nothing
    ) -> bytes:
        """Store a payload for a run, once for all of its uses. Gives the reference to keep in its place."""
        digest = digest_of(data, meanwhile)
        if not _known(connection, digest):
            packed = self._packed.get(digest)
            if packed is None or (packed.file is not None and not self._is_file(packed.file)):
                packed = self._pack(digest, data, meanwhile)
            connection.execute(
                "insert into blobs (hash, size, data, file) values (?, ?, ?, ?)",
                (digest, packed.size, b"" if packed.file else packed.data, packed.file),
            )
        connection.execute("insert or ignore into refs (run, hash) values (?, ?)", (run, digest))
        meanwhile()
        return _MARK + digest

    def get(self, connection: sqlite3.Connection, run: int, data: bytes) -> bytes:
        """The payload that `data` refers to. Raises StoreCorrupt, naming the run, when it is gone or damaged."""
        digest = data[1:]
        row = connection.execute("select size, data, file from blobs where hash = ?", (digest,)).fetchone()
        if row is None:
            raise _damaged(connection, run, digest, "is missing")
        size, stored, file = row
        try:
            if file is not None:
                stored = ((self.folder or Path()) / file).read_bytes()
            payload: bytes = stored if len(stored) == size else zlib.decompress(stored)
        except (OSError, zlib.error) as error:
            raise _damaged(connection, run, digest, f"cannot be read: {error}") from error
        if digest_of(payload) != digest:
            raise _damaged(connection, run, digest, "is damaged")
        return payload

    def replace(self, connection: sqlite3.Connection, run: int, seq: int, value: bytes) -> None:
        """Put another value into an event; the old one is deleted, unless another event of the run has it too."""
        found = connection.execute("select value from events where run = ? and seq = ?", (run, seq)).fetchone()
        if found is None:
            return
        stored = self.put(connection, run, value) if len(value) > INLINE_MAX else value
        connection.execute("update events set value = ? where run = ? and seq = ?", (stored, run, seq))
        old: bytes = found[0] or b""
        digest = old[1:]
        if old[:1] != _MARK or stored == old:
            return
        used = "select 1 from events where run = ?1 and (value = ?2 or body = ?2 or instr(args, ?3)) limit 1"
        if connection.execute(used, (run, old, digest)).fetchone() is None:
            connection.execute("delete from refs where run = ? and hash = ?", (run, digest))
            connection.execute("pragma secure_delete = on")  # its pages are overwritten
            connection.execute(
                "delete from blobs where hash = ?1 and file is null and not exists"
                " (select 1 from refs where hash = ?1)",
                (digest,),
            )
            connection.execute("pragma secure_delete = fast")

    def externalise(
        self, connection: sqlite3.Connection, event: Event, meanwhile: Callable[[], None] = nothing
    ) -> Event:
        """The event with its large payloads stored and replaced by references."""

        def put(data: bytes) -> bytes:
            return self.put(connection, event.run, data, meanwhile)

        for name, data in (("value", event.value), ("body", event.body)):
            if data is not None and len(data) > INLINE_MAX:
                event = event._replace(**{name: put(data)})
        args = event.args
        if args is not None and len(args) > INLINE_MAX:
            packed = pieces.pack(args, lambda d: put(d) if len(d) > INLINE_MAX else None, meanwhile)
            args = packed if len(packed) <= INLINE_MAX else put(args)
            event = event._replace(args=args)
        return event

    def resolve(self, connection: sqlite3.Connection, event: Event) -> Event:
        """The event with its references replaced by the payloads. Raises StoreCorrupt."""
        for name, data in (("value", event.value), ("args", event.args), ("body", event.body)):
            if data is not None and data[:1] == _MARK:
                event = event._replace(**{name: self.get(connection, event.run, data)})
        if event.args is not None and event.args[:1] == pieces.MARK:
            args = pieces.unpack(event.args, lambda ref: self.get(connection, event.run, ref))
            event = event._replace(args=args)
        return event

    def _pack(self, digest: bytes, data: bytes, meanwhile: Callable[[], None]) -> Packed:
        packed = _compressed(data, meanwhile)
        packed = packed if len(packed) < len(data) else data
        if len(packed) < FILE_MIN or self.folder is None:
            return Packed(len(data), packed, None)
        self._write_file(self.folder, digest.hex(), packed, meanwhile)
        return Packed(len(data), b"", digest.hex())

    def _is_file(self, name: str) -> bool:
        return self.folder is not None and (self.folder / name).exists()

    def _write_file(self, folder: Path, name: str, data: bytes, meanwhile: Callable[[], None]) -> None:
        """Durable before the transaction that refers to it: the file, its name, and its folder's name."""
        folder.mkdir(exist_ok=True)
        draft = folder / f"{name}.{os.getpid()}{DRAFT}"
        try:
            with draft.open("wb") as file:
                for piece in _pieces(data, _WRITTEN_AT_ONCE):
                    file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())
                    meanwhile()
            draft.rename(folder / name)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        sync_folder(folder)
        if not self._folder_is_durable:  # whoever made the folder may have died before this
            sync_folder(folder.parent)
            self._folder_is_durable = True


def large(*payloads: bytes | None) -> list[bytes]:
    """Those that do not stay in their event."""
    return [p for p in payloads if p is not None and len(p) > INLINE_MAX]


def refers(event: Event) -> bool:
    """Whether a payload of a stored event stands elsewhere: JSON begins with neither mark."""
    value, args, body = event[-1], event[-2], event[-3]
    return (
        (value is not None and value[0:1] == _MARK)
        or (args is not None and args[0:1] in _MARKS)
        or (body is not None and body[0:1] == _MARK)
    )


def is_reference(payload: bytes | None) -> bool:
    """Whether a stored payload stands elsewhere."""
    return payload is not None and payload[0:1] in _MARKS


def is_large(event: Event) -> bool:
    """Whether an event has a payload that does not stay in it."""
    value, args, body = event[-1], event[-2], event[-3]
    return (
        (value is not None and len(value) > INLINE_MAX)
        or (args is not None and len(args) > INLINE_MAX)
        or (body is not None and len(body) > INLINE_MAX)
    )


def large_arguments(args: bytes | None, meanwhile: Callable[[], None] = nothing) -> list[bytes]:
    """The arguments that are payloads of their own."""
    return [] if args is None or len(args) <= INLINE_MAX else large(*(d for _, d in pieces.split(args, meanwhile)))


def digest_of(data: bytes, meanwhile: Callable[[], None] = nothing) -> bytes:
    """A payload's identity: BLAKE2b of 20 bytes over what it is before compression."""
    if len(data) <= PIECE:
        return blake2b(data, digest_size=20).digest()
    digest = blake2b(digest_size=20)
    for piece in _pieces(data, PIECE):
        digest.update(piece)
        meanwhile()
    return digest.digest()


def _compressed(data: bytes, meanwhile: Callable[[], None]) -> bytes:
    if len(data) <= PIECE:
        return zlib.compress(data, 1)
    packer, made = zlib.compressobj(1), list[bytes]()
    for piece in _pieces(data, PIECE):
        made.append(packer.compress(piece))
        meanwhile()
    return b"".join((*made, packer.flush()))


def _pieces(data: bytes, size: int) -> Generator[memoryview]:
    view = memoryview(data)
    for at in range(0, len(data), size):
        yield view[at : at + size]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _known(connection: sqlite3.Connection, digest: bytes) -> bool:
    return connection.execute("select 1 from blobs where hash = ?", (digest,)).fetchone() is not None


def _damaged(connection: sqlite3.Connection, run: int, digest: bytes, what: str) -> StoreCorrupt:
    row = connection.execute("select id from runs where no = ?", (run,)).fetchone()
    name = str(run) if row is None else str(row[0])
    path = connection.execute("pragma database_list").fetchone()[2]
    error = StoreCorrupt(
        f"{path or ':memory:'}: payload {digest.hex()} of run {name} {what}",
        run=name,
        remedy=f"restore the database and its -blobs folder from a copy, then: {command('resume', name)}",
    )
    error.path = path
    return error
