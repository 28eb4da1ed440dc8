"""The one thread that writes: it commits whatever has queued up, so a thousand runs share an fsync."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from ..errors import EngineClosed, StoreError, StoreFull, StoreLocked
from .batch import Answer, Batcher, Call, Job
from .connect import translate
from .turns import Turns

BATCH_MAX = 2048
_RETRY_S = (0.05, 0.1, 0.25, 0.5, 1.0)


class Writer:
    """Owns the connection that writes. Jobs are answered on the loop, in order, after their commit."""

    def __init__(
        self, batcher: Batcher, path: str, turns: Turns | None, beat: Callable[[], None] | None = None, beat_s: float = 1.0
    ):
        self._batcher, self._path, self._turns, self._beat, self._beat_s = batcher, path, turns, beat, beat_s
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._closed = threading.Event()
        self.trouble: StoreError | None = None
        """Why writes wait at the moment, if they do."""
        self._thread = threading.Thread(target=self._run, name="segue-writer", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        """Queue a job."""
        self._queue.put(job)

    async def close(self) -> None:
        """Write what is queued, then end the thread."""
        self._closed.set()
        self._queue.put(None)
        while self._thread.is_alive():
            await asyncio.sleep(0.001)

    def _run(self) -> None:
        while True:
            jobs, last = self._collect()
            if jobs:
                self._tell(self._commit(jobs))
            if self._beat is not None:
                self._beat()
            if last:
                return

    def _collect(self) -> tuple[list[Job], bool]:
        queue, jobs = self._queue, list[Job]()
        try:
            job = queue.get(timeout=self._beat_s)
            while job is not None:
                jobs.append(job)
                if len(jobs) >= BATCH_MAX or queue.empty():
                    return jobs, False
                job = queue.get()
        except Empty:
            return jobs, False
        return jobs, True

    def _commit(self, jobs: Sequence[Job]) -> list[Answer]:
        """Commit; on a full disk or a foreign lock, refuse the questions and try the writes again until they fit."""
        tries = 0
        answers: list[Answer] = []
        while True:
            try:
                done = self._once(jobs)
                self.trouble = None
                return answers + done
            except sqlite3.Error as cause:
                error = translate(cause, self._path)
            except OSError as cause:
                error = StoreFull(f"{self._path}: {cause}", remedy="free some space on the disk of this file")
            self.trouble = error
            waits = isinstance(error, (StoreFull, StoreLocked)) and not self._closed.is_set()
            answers += [(j.done, (error, None)) for j in jobs if isinstance(j, Call)]
            jobs = [j for j in jobs if not isinstance(j, Call)]
            if not waits:
                return answers + [(j.done, (j, error)) for j in jobs]
            self._tell(answers)
            answers = []
            self._closed.wait(_RETRY_S[min(tries, len(_RETRY_S) - 1)])
            tries += 1

    def _once(self, jobs: Sequence[Job]) -> list[Answer]:
        if self._turns is None:
            return self._batcher.commit(jobs)
        with self._turns:
            return self._batcher.commit(jobs)

    def _tell(self, answers: list[Answer]) -> None:
        if not answers:
            return
        try:
            self._loop.call_soon_threadsafe(tell, answers)
        except RuntimeError:  # the loop is closed: nobody is left to tell
            return


class InlineWriter:
    """For a database in memory: commits on the loop, in its next turn. `probe` sees each commit before and after."""

    def __init__(self, batcher: Batcher, path: str, probe: Callable[[str], None] | None = None):
        self._batcher, self._path, self._probe = batcher, path, probe
        self._jobs: list[Job] = []
        self._loop = asyncio.get_running_loop()
        self._dead = False
        self.trouble: StoreError | None = None

    def put(self, job: Job) -> None:
        """Queue a job."""
        if self._dead:
            return
        if not self._jobs:
            self._loop.call_soon(self._flush)
        self._jobs.append(job)

    async def close(self) -> None:
        """Write what is queued."""
        while self._jobs and not self._dead:
            await asyncio.sleep(0)
        self._dead = True

    def _flush(self) -> None:
        jobs, self._jobs = self._jobs, []
        if self._dead:
            return
        try:
            if self._probe is not None:
                self._probe("before")
            answers = self._batcher.commit(jobs)
            if self._probe is not None:
                self._probe("after")
        except ProcessDied:
            self._dead = True
            return
        tell(answers)


class ProcessDied(BaseException):
    """Raised by a probe: from here on this process writes nothing and hears nothing."""


def tell(answers: list[Answer]) -> None:
    """Call each job's `done`."""
    for done, args in answers:
        done(*args)


def closed(path: str) -> EngineClosed:
    """The error of a job that comes too late."""
    return EngineClosed(f"the engine on {path} is closed", remedy="use it inside of `async with Engine(...)`")
