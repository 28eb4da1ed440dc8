"""Turns the errors of SQLite and of the file system into ours."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import TypeVar

from ..errors import (
    InputError,
    InternalError,
    SegueError,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
)

E = TypeVar("E", bound=StoreError)

_WRITABLE = "make the file and its folder writable for this user; what waits to be written is written then"
_SPACE = "free some space on the disk of this file: what waits to be written is written then"
_FILES = "this process has too many files open: close some, or allow more (ulimit -n)"
_KINDS: dict[str, tuple[type[StoreError], str]] = {
    "FULL": (StoreFull, _SPACE),
    "BUSY": (StoreLocked, "end the program that holds it: what waits to be written is written then"),
    "LOCKED": (StoreLocked, "end the program that holds it: what waits to be written is written then"),
    "PROTOCOL": (StoreLocked, "end the program that holds it: what waits to be written is written then"),
    "CORRUPT": (StoreCorrupt, "keep a copy, then recover what is readable: sqlite3 FILE .recover | sqlite3 NEW"),
    "NOTADB": (StoreCorrupt, "this is no Segue database, or its first page is damaged: name another file"),
    "READONLY": (StoreReadOnly, _WRITABLE),
    "PERM": (StoreReadOnly, _WRITABLE),
    "AUTH": (StoreReadOnly, "this journal was opened to be read: open it with an engine to write"),
    "CANTOPEN": (StoreReadOnly, _WRITABLE),
    "IOERR": (StoreError, "the disk refuses reads or writes: look at the system's log, and keep a copy of the file"),
}
_ERRNOS: dict[int, tuple[type[StoreError], str]] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), (StoreFull, _SPACE)),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), (StoreError, _FILES)),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), (StoreReadOnly, _WRITABLE)),
}
_READS = ("SQLITE_IOERR_READ", "SQLITE_IOERR_SHORT_READ", "SQLITE_IOERR_DATA", "SQLITE_IOERR_CORRUPTFS")


def fault(kind: type[E], path: str, what: str, remedy: str) -> E:
    """A store error that names the file."""
    error = kind(f"{path}: {what}", remedy=remedy)
    error.path = path
    return error


def translate(error: Exception, path: str) -> SegueError:
    """The typed error of one of SQLite's or of the file system's; an InternalError for anything else."""
    if isinstance(error, StoreError) and not error.path:
        error.path, error.message = path, f"{path}: {error.message}"
    if isinstance(error, SegueError):
        return error
    if isinstance(error, OSError):
        kind, remedy = _ERRNOS.get(error.errno or 0, (StoreError, _KINDS["IOERR"][1]))
        return fault(kind, path, str(error), remedy)
    if isinstance(error, ValueError | OverflowError):
        return InputError(f"a value cannot be stored: {error}", remedy="use printable text and 64-bit numbers")
    if not isinstance(error, sqlite3.Error):
        return InternalError(f"{path}: {type(error).__name__}: {error}", remedy="please report it, with the traceback")
    name = _name(error)
    kind, remedy = _KINDS.get(name.split("_")[1] if "_" in name else "", (StoreError, "see the error above"))
    what = f"{error}" + (f" ({name})" if name else "")
    if kind is StoreReadOnly and _out_of_files():  # SQLite does not say why it cannot open a file
        kind, remedy = StoreError, _FILES
    if kind is StoreLocked:
        what += held_by(path)
    return fault(kind, path, what, remedy)


def identity(path: str) -> tuple[int, int] | None:
    """Which file it is that has this name now; None where there is none, or none that can be seen."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def passes(error: Exception) -> bool:
    """Whether it is the disk's or a lock's state, and the same write may succeed later."""
    if isinstance(error, OSError):
        return True
    name = _name(error)
    kind = name.split("_")[1] if "_" in name else ""
    return kind in ("FULL", "BUSY", "LOCKED", "PROTOCOL", "READONLY", "CANTOPEN") or (
        kind == "IOERR" and name not in _READS
    )


def _out_of_files() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    return False


def held_by(path: str) -> str:
    """Which other processes hold a lock on the database, where the system tells (Linux)."""
    pids = sorted(holders(path) - {os.getpid()})
    return f"; held by process {', '.join(map(str, pids))}" if pids else ""


def holders(path: str) -> set[int]:
    """The processes that hold a write lock on the file, its log's index, or the turn to write."""
    inodes: set[str] = set()
    for file in (path, f"{path}-shm", f"{path}-live/turn"):
        try:
            inodes.add(str(Path(file).stat().st_ino))
        except OSError:
            continue
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return set()
    fields = [line.split() for line in lines if "->" not in line]
    return {int(f[4]) for f in fields if len(f) > 5 and f[3] == "WRITE" and f[5].rpartition(":")[2] in inodes}


def _name(error: Exception) -> str:
    return getattr(error, "sqlite_errorname", "") or ""
