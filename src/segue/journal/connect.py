"""Opens the database file. Nothing is written before it is known to be ours."""

from __future__ import annotations

import os
import shlex
import sqlite3
import time
from contextlib import closing
from functools import cache
from pathlib import Path

from ..core.shell import command
from ..errors import StoreCorrupt, StoreError, StoreMissing, StoreReadOnly, StoreTooNew
from . import schema, traces
from .faults import fault, translate

MEMORY = ":memory:"
_AGAIN_S = 0.01
_WAL_KEPT = 64 << 20
"""Bytes to which the write-ahead log is cut after a checkpoint."""
_CHECKPOINT_PAGES = 2000
"""Of the log, from which it is moved into the database: 4 MB, as SQLite's own 1,000 of twice the size."""


def connect(path: str, *, readonly: bool = False, lock_timeout_s: float = 5.0) -> sqlite3.Connection:
    """A connection in autocommit mode, WAL, synchronous=FULL, with today's tables.

    Raises StoreCorrupt, StoreMissing, StoreReadOnly, StoreLocked, StoreTooNew, StoreFull or StoreError, which name the
    file and the next thing to do. A file that is refused is left as it was.
    """
    connection = look(path, readonly=readonly, lock_timeout_s=lock_timeout_s)
    if not readonly:
        prepare(connection, path)
    elif (version := schema.version_of(connection)) < len(schema.MIGRATIONS):
        connection.close()
        raise _older(path, version)
    return connection


def connect_memory() -> sqlite3.Connection:
    """A connection to a new database in memory, with today's tables: a copy of pages that were made once."""
    connection = look(MEMORY)
    with closing(sqlite3.connect(MEMORY)) as empty:
        empty.deserialize(_empty())
        empty.backup(connection)
    return connection


@cache
def _empty() -> bytes:
    """The pages of a database without a run."""
    with closing(connect(MEMORY)) as made:
        return made.serialize()


def look(path: str, *, readonly: bool = False, lock_timeout_s: float = 5.0) -> sqlite3.Connection:
    """A connection to a file that is ours, or empty. Nothing is written yet."""
    if path != MEMORY:
        _check_place(path, readonly)
    try:
        connection = _open(path, readonly, lock_timeout_s)
    except sqlite3.Error as error:
        raise translate(error, path) from error
    try:
        _check(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise translate(error, path) from error
    except StoreError:
        connection.close()
        raise
    return connection


def log_ahead(connection: sqlite3.Connection, within_s: float = 5.0) -> None:
    """Keep a write-ahead log. Raises sqlite3.Error.

    Where several open a new file at once, SQLite refuses all but one of them without waiting: here they wait.
    """
    until = time.monotonic() + within_s
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(_AGAIN_S)


def prepare(connection: sqlite3.Connection, path: str) -> None:
    """Make today's tables. Closes the connection when that fails."""
    try:
        if schema.version_of(connection) == 0:
            connection.execute(f"pragma page_size = {schema.PAGE_SIZE}")
        mode = connection.execute("pragma journal_mode = wal").fetchone()[0]
        if mode != "wal" and path != MEMORY:
            raise fault(StoreError, path, "no write-ahead log is possible here", "use a local disk, no network folder")
        connection.execute("pragma synchronous = full")
        connection.execute(f"pragma journal_size_limit = {_WAL_KEPT}")
        connection.execute(f"pragma wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        schema.migrate(connection)
    except sqlite3.Error as error:
        connection.close()
        raise translate(error, path) from error
    except StoreError:
        connection.close()
        raise


def _check_place(path: str, readonly: bool) -> None:
    file = Path(path)
    folder = file.resolve().parent
    if not folder.is_dir():
        raise fault(StoreMissing, path, f"there is no folder {folder}", f"make it: mkdir -p {shlex.quote(str(folder))}")
    if file.is_dir():
        raise fault(StoreError, path, "this is a folder", f"name a file in it: {file / 'segue.db'}")
    if readonly:
        if not file.exists():
            raise fault(
                StoreMissing, path, "there is no such file", "name a database that exists, or start a run first"
            )
        if not os.access(file, os.R_OK):
            raise fault(StoreReadOnly, path, "this user may not read it", f"allow it: chmod u+r {path}")
        return _check_size(path)
    if file.exists() and not os.access(file, os.W_OK):
        raise fault(StoreReadOnly, path, "the file cannot be written", f"make it writable for this user: {path}")
    if not os.access(folder, os.W_OK):
        raise fault(StoreReadOnly, path, f"its folder {folder} cannot be written", "make it writable for this user")
    _check_size(path)


def _check_size(path: str) -> None:
    """A file that was cut off. SQLite takes one of a byte for a new one, and throws the log of an empty one away."""
    size = traces.size(path)
    if size is not None and 0 < size < traces.HEADER:
        what = f"it has {size} {'byte' if size == 1 else 'bytes'}: it was cut off, or is no database"
        raise fault(StoreCorrupt, path, what, "restore it from a copy, or name another file")
    if traces.was_made(path):
        remedy = f"restore it from a copy; to begin anew, delete it: rm {path}"
        raise fault(StoreCorrupt, path, "it is empty, and was a database: its content was cut off", remedy)


def _open(path: str, readonly: bool, lock_timeout_s: float) -> sqlite3.Connection:
    target, uri = (path, False) if path == MEMORY else (_uri(path, readonly), True)
    connection = sqlite3.connect(
        target, uri=uri, timeout=lock_timeout_s, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        connection.execute("pragma foreign_keys = off")
        connection.execute("pragma temp_store = memory")
        connection.execute("pragma secure_delete = fast")  # what was sealed or erased does not stay in a page's gaps
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _uri(path: str, readonly: bool) -> str:
    file = Path(path).resolve()
    if not readonly:
        return f"{file.as_uri()}?mode=rwc"
    # Readers make the log's index in the folder. Where they cannot, and there is no log, nobody else writes either.
    wal = Path(f"{file}-wal")
    sealed = not os.access(file.parent, os.W_OK) and not Path(f"{file}-shm").exists()
    if sealed and (not wal.exists() or wal.stat().st_size == 0):
        return f"{file.as_uri()}?mode=ro&immutable=1"
    return f"{file.as_uri()}?mode=ro"


def _check(connection: sqlite3.Connection, path: str) -> None:
    tables = connection.execute("select count(*) from sqlite_master").fetchone()[0]
    program = connection.execute("pragma application_id").fetchone()[0]
    version, newest = schema.version_of(connection), len(schema.MIGRATIONS)
    if (tables or program) and program != schema.APPLICATION_ID:
        what = "this is a database of another program; nothing was written to it"
        raise fault(StoreCorrupt, path, what, "name another file")
    if version > newest:
        what = f"its schema version is {version}; this Segue knows up to {newest}"
        raise fault(StoreTooNew, path, what, "upgrade Segue (pip install -U segue); nothing was written to the file")
    if version == 0 and path != MEMORY and traces.is_marked(path) and schema.version_of(connection) == 0:
        what = f"it has no tables, and was a database: its log {path}-wal was deleted or damaged"
        remedy = f"put the log back, or restore both from a copy; to begin anew, delete it: rm {path}"
        raise fault(StoreCorrupt, path, what, remedy)


def _older(path: str, version: int) -> StoreError:
    """Who only looks changes no file."""
    if version == 0:
        what = "it is empty: no run was ever recorded in it"
        return fault(StoreError, path, what, f"start a run first: {command('run', 'MODULE:FLOW')}")
    what = f"its schema version is {version}, and today's is {len(schema.MIGRATIONS)}: an older Segue has written it"
    if os.access(path, os.W_OK) and os.access(Path(path).resolve().parent, os.W_OK):
        how = command("resume", "--db", path)
        return fault(StoreError, path, what, f"bring it to today's, and go on with its open runs: {how}")
    return fault(
        StoreError, path, what,
        f"copy it to where it can be written, with its -wal and -blobs; then: {command('resume', '--db', 'COPY')}",
    )  # fmt: skip
