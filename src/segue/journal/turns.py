"""Writers of several processes on one file take turns by a file lock.

SQLite's own busy handler lets one writer starve another for seconds; a gate in front of the lock makes it nearly first
come, first served. The turn is politeness only: what protects the file is SQLite's lock. So a process that was stopped
in its turn is waited for once, and then passed by.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path

_POLL_S = 0.0003


def nothing() -> None:
    """For who wants nothing to be done."""


class Turns:
    """A lock over processes: `with turns.taken(): ...`. The kernel frees it when the process dies."""

    def __init__(self, folder: Path, patience_s: float):
        self._gate = (folder / "gate").open("ab")
        try:
            self._lock = (folder / "turn").open("ab")
        except OSError:
            self._gate.close()
            raise
        self._patience_s = self._patience_left_s = patience_s

    @contextmanager
    def taken(self, meanwhile: Callable[[], None] = nothing) -> Generator[None]:
        """Wait for this process's turn, but never longer than `patience_s`. `meanwhile` is called again and again."""
        mine = self._take(meanwhile)
        try:
            yield
        finally:
            if mine:
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the files back."""
        self._gate.close()
        self._lock.close()

    def _take(self, meanwhile: Callable[[], None]) -> bool:
        until = time.monotonic() + self._patience_left_s
        mine = self._wait(self._gate, until, meanwhile)
        if mine:
            try:
                mine = self._wait(self._lock, until, meanwhile)
            finally:
                fcntl.flock(self._gate, fcntl.LOCK_UN)
        self._patience_left_s = self._patience_s if mine else 0.0
        return mine

    def _wait(self, file: BufferedWriter, until: float, meanwhile: Callable[[], None]) -> bool:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() > until:
                    return False
                meanwhile()
                time.sleep(_POLL_S)
