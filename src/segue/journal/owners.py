"""Who lives: each process that opens a database holds a lock on a file of its own, which the kernel frees at its death.

Beside the lock lies a doorbell, a FIFO: whoever puts something into a run's inbox rings the run's owner.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path


class Owner:
    """This process's place in the folder `<database>-live`."""

    def __init__(self, folder: Path, heartbeat_s: float):
        self.id = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._folder, self._heartbeat_s = folder, heartbeat_s
        self._path = folder / self.id
        self._file = self._path.open("xb")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._beaten = 0.0
        os.mkfifo(self._bell(self.id))
        self._bell_fd = os.open(self._bell(self.id), os.O_RDWR | os.O_NONBLOCK)
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self, rung: Callable[[], None]) -> None:
        """Call `rung` on the running loop whenever somebody rings."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._bell_fd, self._answer, rung)

    def _answer(self, rung: Callable[[], None]) -> None:
        try:
            os.read(self._bell_fd, 4096)
        except BlockingIOError:
            return
        rung()

    def beat(self) -> None:
        """Say that the writer thread still turns; called by it, at most twice a heartbeat and at least once."""
        now = time.monotonic()
        if now - self._beaten > self._heartbeat_s / 4:
            self._beaten = now
            os.utime(self._path)

    def alive(self, owner: str) -> bool:
        """Whether a process lives and its heart beats. The file of a dead one is removed."""
        if owner == self.id:
            return True
        return is_alive(self._folder, owner, self._heartbeat_s)

    def ring(self, owner: str | None) -> None:
        """Ring a process, or all others."""
        ring(self._folder, [owner] if owner is not None else [o for o in living(self._folder) if o != self.id])

    def close(self) -> None:
        """Leave."""
        if self._loop is not None:
            self._loop.remove_reader(self._bell_fd)
        os.close(self._bell_fd)
        self._bell(self.id).unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)
        self._file.close()

    def _bell(self, owner: str) -> Path:
        return self._folder / f"{owner}.bell"


def is_alive(folder: Path, owner: str, heartbeat_s: float) -> bool:
    """Whether the process holds its lock and has beaten within the heartbeat."""
    path = folder / owner
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
            (folder / f"{owner}.bell").unlink(missing_ok=True)
        return False
    except BlockingIOError:
        try:
            return time.time() - path.stat().st_mtime < heartbeat_s
        except OSError:
            return False
    except OSError:
        return False


def living(folder: Path) -> list[str]:
    """The ids that have a place in the folder, alive or not yet found dead."""
    try:
        return [p.name for p in folder.iterdir() if "-" in p.name and p.suffix != ".bell"]
    except OSError:
        return []


def ring(folder: Path, owners: list[str]) -> None:
    """Ring the doorbells of processes; one that is gone hears nothing."""
    for owner in owners:
        try:
            bell = os.open(folder / f"{owner}.bell", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            os.write(bell, b"!")
        except BlockingIOError:
            pass  # it is full of rings already
        finally:
            os.close(bell)
