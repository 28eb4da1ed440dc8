"""Who lives: each process that opens a database holds a lock on a file of its own, which the kernel frees at its death.

Beside the lock lies a doorbell, a FIFO: whoever puts something into a run's inbox rings the run's owner.
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path

_BELL, _DRAFT = ".bell", ".new"
FLOWS, TAP = ".flows", ".tap"


class Owner:
    """This process's place in the folder `<database>-live`."""

    def __init__(self, folder: Path, heartbeat_s: float):
        self.id = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._folder, self._heartbeat_s = folder, heartbeat_s
        self._path = folder / self.id
        self._file = self._settle()
        self._beaten = 0.0
        try:
            os.mkfifo(self._bell(self.id))
            self._bell_fd = os.open(self._bell(self.id), os.O_RDWR | os.O_NONBLOCK)
        except OSError:
            remove(self._folder, self.id)
            self._file.close()
            raise
        self._loop: asyncio.AbstractEventLoop | None = None
        self._seen: dict[str, tuple[int, float]] = {}
        """When which heartbeat of another process was seen first, by this machine's monotonic clock."""
        self._granted: dict[str, int] = {}
        """The heartbeats for which a standstill of this process was taken into account."""
        self.sweep()

    def _settle(self) -> BufferedWriter:
        """Make the file. It gets its name once it is locked: nobody can find it without its lock."""
        draft = self._folder / f"{self.id}{_DRAFT}"
        file = draft.open("xb")
        fcntl.flock(file, fcntl.LOCK_EX)
        with suppress(OSError):  # on a full disk others go by their own
            os.write(file.fileno(), f"{self._heartbeat_s:g}".encode())  # how long to wait for its beats
        draft.rename(self._path)
        return file

    def sweep(self) -> None:
        """Remove what the dead have left."""
        for owner in living(self._folder):
            self.alive(owner)

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
        """Say that the writer thread still turns, or waits for others; called by it, several times a heartbeat."""
        now = time.monotonic()
        if now - self._beaten > self._heartbeat_s / 4:
            self._beaten = now
            try:
                os.utime(self._path)
            except FileNotFoundError:  # somebody has cleared the folder: take the place again
                self._folder.mkdir(exist_ok=True)
                self._file.close()
                self._file = self._settle()

    def alive(self, owner: str) -> bool:
        """Whether a process lives and its heart beats. The files of a dead one are removed.

        A heart has stopped when its file did not change for the `heartbeat_s` that is written in it, while this process
        looked on: nobody's wall clock is trusted.
        """
        if owner == self.id:
            return True
        path = self._folder / owner
        if not _locked(path):
            remove(self._folder, owner)
            self._seen.pop(owner, None)
            self._granted.pop(owner, None)
            return False
        beat = _beat(path)
        if beat is None:
            return False
        now = time.monotonic()
        last, since = self._seen.get(owner, (0, now))
        if beat != last:
            self._seen[owner] = (beat, now)
            return True
        return now - since < self._patience(path)

    def heard(self, owner: str) -> int | None:
        """The beat by which `alive` has judged a process; None for a dead one, and one that nobody has looked at."""
        seen = self._seen.get(owner)
        return None if seen is None else seen[0]

    def silent(self, owner: str, heard: int | None) -> bool:
        """Whether a process has died, or its heart did not beat since that was `heard`. Any thread may ask."""
        path = self._folder / owner
        return heard is None or not _locked(path) or _beat(path) == heard

    def looked_away(self, seconds: float) -> None:
        """This process stood still itself for so long: nobody's heart was looked at. That is granted to each heart once
        until it beats again: one that stood still too does soon, and one that hangs is found also by who is busy.
        """
        for owner, (beat, since) in self._seen.items():
            if seconds > self._patience(self._folder / owner) / 2 and self._granted.get(owner) != beat:
                self._granted[owner] = beat
                self._seen[owner] = beat, since + seconds

    def _patience(self, path: Path) -> float:
        """The heartbeat that another process has promised; processes may differ in it."""
        try:
            return float(path.read_bytes())
        except ValueError:
            return self._heartbeat_s
        except OSError:  # nobody can tell, as when this process may open no more files: then it lives
            return math.inf

    def ring(self, owner: str | None) -> None:
        """Ring a process, or all others."""
        ring(self._folder, [owner] if owner is not None else [o for o in living(self._folder) if o != self.id])

    def abandon(self) -> None:
        """In a forked child: let go of the lock without freeing it, so that the parent alone holds it."""
        self._file.close()
        os.close(self._bell_fd)

    def close(self) -> None:
        """Leave."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._bell_fd)
        os.close(self._bell_fd)
        remove(self._folder, self.id)
        self._file.close()

    def _bell(self, owner: str) -> Path:
        return self._folder / f"{owner}{_BELL}"


def _locked(path: Path) -> bool:
    """Whether a process holds its file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except OSError:  # held; or nobody can tell, as when this process may open no more files: then it lives
        return True


def _beat(path: Path) -> int | None:
    """When a process's heart beat last, in ns by the file system's clock; None where it has no place any more."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def holds(folder: Path, owner: str) -> bool:
    """Whether a process holds its place. Nothing is removed: for those who only look."""
    return _locked(folder / owner)


def silent_s(folder: Path, owner: str) -> float | None:
    """For how many seconds a process that holds its place seems to hang; None where by the wall clock its last beat
    is no longer ago than it promised. That says only that it is worth to look on: `Owner.alive` knows then.
    """
    path = folder / owner
    with suppress(OSError, ValueError):
        since = time.time() - path.stat().st_mtime
        return since if since > float(path.read_bytes()) else None
    return None


def remove(folder: Path, owner: str) -> None:
    """Remove an owner's files."""
    for name in (f"{owner}{_BELL}", f"{owner}{FLOWS}", f"{owner}{TAP}", owner):
        with suppress(OSError):
            (folder / name).unlink()


def living(folder: Path) -> list[str]:
    """The ids that have a place in the folder, alive or not yet found dead."""
    try:
        return [p.name for p in folder.iterdir() if "-" in p.name and not p.suffix]
    except OSError:
        return []


def ring(folder: Path, owners: list[str]) -> None:
    """Ring the doorbells of processes; one that is gone hears nothing."""
    for owner in owners:
        try:
            bell = os.open(folder / f"{owner}{_BELL}", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            os.write(bell, b"!")
        except OSError:
            pass  # it is full of rings already, or its reader has just left
        finally:
            os.close(bell)
