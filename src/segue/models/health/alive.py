"""Who lives: each process that shares a file of health holds a lock on a file of its own, which the kernel frees.

A killed process's places come back as soon as somebody looks, without a heartbeat and without waiting for a lease.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import weakref
from pathlib import Path

from ...journal import owners


class Alive:
    """This process's place in a folder, under `id`. Raises OSError where the folder cannot be made."""

    def __init__(self, folder: Path):
        self.id = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._folder = folder
        folder.mkdir(exist_ok=True)
        draft = folder / f"{self.id}.new"
        self._file = draft.open("xb")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        draft.rename(folder / self.id)  # nobody finds it without its lock
        _OPEN.add(self)
        self._sweep()

    def holds(self, owner: str) -> bool:
        """Whether a process is there. The file of a dead one is removed."""
        if owner == self.id or owners.holds(self._folder, owner):
            return True
        owners.remove(self._folder, owner)
        return False

    def close(self) -> None:
        """Leave."""
        _OPEN.discard(self)
        owners.remove(self._folder, self.id)
        self._file.close()

    def abandon(self) -> None:
        """In a forked child: let go of the lock without freeing it, so that the parent alone holds it."""
        self._file.close()

    def _sweep(self) -> None:
        for owner in owners.living(self._folder):
            self.holds(owner)


_OPEN: weakref.WeakSet[Alive] = weakref.WeakSet()


def _forked() -> None:
    for alive in list(_OPEN):
        alive.abandon()


os.register_at_fork(after_in_child=_forked)
