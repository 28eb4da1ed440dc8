"""Whose turn it is to carry the batches: one process at a time, by a lock that the kernel frees at its death."""

from __future__ import annotations

import fcntl
from io import BufferedWriter
from pathlib import Path

__all__ = ["Turn"]


class Turn:
    """A lock on a file. Without a path there is nobody else."""

    def __init__(self, path: Path | None):
        self._path = path
        self._file: BufferedWriter | None = None

    @property
    def taken(self) -> bool:
        """Whether it is this process's turn."""
        return self._path is None or self._file is not None

    def take(self) -> bool:
        """Whether it is this process's turn now; it stays so until it is given back. Raises OSError."""
        if self._path is None or self._file is not None:
            return True
        file = self._path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        except BaseException:
            file.close()
            raise
        self._file = file
        return True

    def give(self) -> None:
        """Let others have it."""
        if self._file is not None:
            self._file.close()
            self._file = None
