"""Opens the database file, and turns SQLite's errors into ours."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ..errors import StoreCorrupt, StoreError, StoreFull, StoreLocked, StoreReadOnly, StoreTooNew
from . import schema

MEMORY = ":memory:"


def connect(path: str, *, readonly: bool = False, lock_timeout_s: float = 5.0) -> sqlite3.Connection:
    """A connection in autocommit mode, WAL, synchronous=FULL, with today's tables.

    Raises StoreCorrupt, StoreReadOnly, StoreLocked, StoreTooNew, StoreFull or StoreError, which name the file.
    """
    try:
        connection = _open(path, readonly, lock_timeout_s)
        _check(connection, path)
        if not readonly:
            schema.migrate(connection)
    except sqlite3.Error as error:
        raise translate(error, path) from error
    return connection


def translate(error: sqlite3.Error, path: str) -> StoreError:
    """The typed error of one of SQLite's."""
    name = getattr(error, "sqlite_errorname", "") or ""
    kind, remedy = _KINDS.get(name.split("_")[1] if "_" in name else "", (StoreError, "see the error above"))
    if name == "SQLITE_CANTOPEN":
        kind, remedy = _cannot_open(path)
    made = kind(f"{path}: {error}" + (f" ({name})" if name else ""), remedy=remedy)
    made.path = path
    return made


_KINDS: dict[str, tuple[type[StoreError], str]] = {
    "FULL": (StoreFull, "free some space on the disk of this file: what waits to be written is written then"),
    "BUSY": (StoreLocked, "find the program that holds the file (lsof FILE) and end its transaction"),
    "LOCKED": (StoreLocked, "find the program that holds the file (lsof FILE) and end its transaction"),
    "PROTOCOL": (StoreLocked, "find the program that holds the file (lsof FILE) and end its transaction"),
    "CORRUPT": (StoreCorrupt, "keep a copy, then recover what is readable: sqlite3 FILE .recover | sqlite3 NEW"),
    "NOTADB": (StoreCorrupt, "this is no Segue database, or its first page is damaged: name another file"),
    "READONLY": (StoreReadOnly, "make the file and its folder writable for this user, or name another file"),
    "PERM": (StoreReadOnly, "make the file and its folder writable for this user, or name another file"),
    "IOERR": (StoreError, "the disk refuses reads or writes: look at the system's log, and keep a copy of the file"),
}


def _cannot_open(path: str) -> tuple[type[StoreError], str]:
    folder = Path(path).resolve().parent
    if not folder.is_dir():
        return StoreError, f"make the folder first: mkdir -p {folder}"
    if Path(path).is_dir():
        return StoreError, "this is a folder: name a file in it"
    return StoreReadOnly, f"make the folder writable for this user: {folder}"


def _open(path: str, readonly: bool, lock_timeout_s: float) -> sqlite3.Connection:
    target, uri = (f"{Path(path).resolve().as_uri()}?mode=ro", True) if readonly else (path, False)
    connection = sqlite3.connect(
        target, uri=uri, timeout=lock_timeout_s, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        if not readonly and path != MEMORY:
            if schema.version_of(connection) == 0:
                connection.execute(f"pragma page_size = {schema.PAGE_SIZE}")
            connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.execute("pragma foreign_keys = off")
        connection.execute("pragma temp_store = memory")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: str) -> None:
    version = schema.version_of(connection)
    if version > schema.VERSION:
        connection.close()
        error = StoreTooNew(
            f"{path} has schema version {version}; this Segue knows up to {schema.VERSION}",
            remedy="upgrade Segue (pip install -U segue); older versions never write to newer databases",
        )
        error.path = path
        raise error
    tables = connection.execute("select count(*) from sqlite_master").fetchone()[0]
    owner = connection.execute("pragma application_id").fetchone()[0]
    if tables and owner != schema.APPLICATION_ID:
        connection.close()
        corrupt = StoreCorrupt(
            f"{path} is a database of another program", remedy="name another file; nothing was written to this one"
        )
        corrupt.path = path
        raise corrupt
