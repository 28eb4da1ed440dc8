"""Payloads by content: small ones stay in their event, larger ones are stored once, very large ones in files."""

from __future__ import annotations

import os
import sqlite3
import zlib
from hashlib import blake2b
from pathlib import Path

from ..core.events import Event
from ..errors import StoreCorrupt

INLINE_MAX = 2048
"""Bytes up to which a payload stays in its event."""
FILE_MIN = 8 << 20
"""Bytes, compressed, from which a payload is a file of its own."""
_MARK = b"\x00"


def externalise(connection: sqlite3.Connection, folder: Path | None, event: Event) -> Event:
    """The event with its large payloads replaced by references, the payloads stored."""
    for name, data in (("args", event.args), ("value", event.value), ("body", event.body)):
        if data is not None and len(data) > INLINE_MAX:
            event = event._replace(**{name: _store(connection, folder, event.run, data)})
    return event


def resolve(connection: sqlite3.Connection, folder: Path | None, data: bytes | None) -> bytes | None:
    """The payload that `data` is or refers to. Raises StoreCorrupt when it is gone or damaged."""
    if data is None or data[:1] != _MARK:
        return data
    row = connection.execute("select size, data, file from blobs where hash = ?", (data[1:],)).fetchone()
    if row is None:
        raise StoreCorrupt(f"payload {data[1:].hex()} is missing", remedy="restore the database from a copy")
    stored = row[1] if row[2] is None else _read_file(folder, row[2])
    payload = stored if len(stored) == row[0] else zlib.decompress(stored)
    if blake2b(payload, digest_size=20).digest() != data[1:]:
        raise StoreCorrupt(f"payload {data[1:].hex()} is damaged", remedy="restore the database from a copy")
    return payload


def _store(connection: sqlite3.Connection, folder: Path | None, run: int, data: bytes) -> bytes:
    digest = blake2b(data, digest_size=20).digest()
    if connection.execute("select 1 from blobs where hash = ?", (digest,)).fetchone() is None:
        packed = zlib.compress(data, 1)
        packed = packed if len(packed) < len(data) else data
        file = None
        if len(packed) >= FILE_MIN and folder is not None:
            file, packed = _write_file(folder, digest.hex(), packed), b""
        connection.execute(
            "insert into blobs (hash, size, data, file) values (?, ?, ?, ?)", (digest, len(data), packed, file)
        )
    connection.execute("insert or ignore into refs (run, hash) values (?, ?)", (run, digest))
    return _MARK + digest


def _write_file(folder: Path, name: str, data: bytes) -> str:
    """Durable before the transaction that refers to it: the file, its name, and its folder."""
    new_folder = not folder.exists()
    folder.mkdir(exist_ok=True)
    target, draft = folder / name, folder / f"{name}.{os.getpid()}.part"
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(target)
    _sync_folder(folder)
    if new_folder:
        _sync_folder(folder.parent)
    return name


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_file(folder: Path | None, name: str) -> bytes:
    try:
        return ((folder or Path()) / name).read_bytes()
    except OSError as error:
        raise StoreCorrupt(f"payload file {name} cannot be read: {error}", remedy="restore the file") from error
