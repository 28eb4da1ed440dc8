"""Writers of several processes on one file take turns by a file lock.

SQLite's own busy handler lets one writer starve another for seconds; a gate in front of the lock makes it first come,
first served.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from types import TracebackType


class Turns:
    """A fair lock over processes: `with turns: ...`. The kernel frees it when the process dies."""

    def __init__(self, folder: Path):
        self._gate = (folder / "gate").open("ab")
        self._lock = (folder / "turn").open("ab")

    def __enter__(self) -> None:
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        fcntl.flock(self._gate, fcntl.LOCK_UN)

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the files back."""
        self._gate.close()
        self._lock.close()
