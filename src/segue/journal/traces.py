"""What stands beside a database and tells of it: whether a file without content was one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

HEADER = 100
"""Bytes that every SQLite file has that holds anything."""


def size(path: str) -> int | None:
    """The bytes of the file; None when there is none."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return None


def was_made(path: str) -> bool:
    """Whether an empty file was a database: its mark is there, or a log with what it lacks.

    One that another process is just making was not. It may have got its first page meanwhile: so its size is asked
    for again, after the mark.
    """
    if size(path) != 0:
        return False
    return (is_marked(path) or bool(size(f"{Path(path).resolve()}-wal"))) and size(path) == 0


def is_marked(path: str) -> bool:
    """Whether it had its tables once."""
    return _mark(path).exists()


def mark(path: str) -> None:
    """Note that the database has its tables. On a full disk it stays without its mark until it is opened again."""
    with suppress(OSError):
        _mark(path).touch()


def forget(path: str) -> None:
    """The file is gone: whoever makes a new one of that name begins anew."""
    with suppress(OSError):
        _mark(path).unlink()


def withdraw(path: str) -> None:
    """Remove a file of this process that could not be made a database. One that holds anything stays."""
    with suppress(OSError):
        if size(path) == 0:
            Path(path).unlink()


def _mark(path: str) -> Path:
    return Path(f"{path}-live") / "made"
