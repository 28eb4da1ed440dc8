"""The one thread that writes: it commits whatever has queued up, so a thousand runs share an fsync."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from queue import Empty, SimpleQueue

from ..errors import SegueError, StoreFull, StoreMissing
from .batch import Answer, Batcher, Job
from .faults import fault, identity, passes, translate
from .records import Write
from .turns import Turns, nothing

BATCH_MAX = 2048
PACKED_MAX = 32 << 20
"""Bytes of large payloads in one transaction, before they are compressed: whoever comes first does not wait for all."""
log = logging.getLogger("segue.journal")
_RETRY_S = (0.05, 0.1, 0.25, 0.5, 1.0)


class Writer:
    """Owns the connection that writes. Jobs are answered on the loop, in order, after their commit.

    While the disk is full, the file is locked or not writable, questions are refused and writes wait.
    """

    def __init__(
        self,
        batcher: Batcher,
        path: str,
        turns: Turns | None,
        beat: Callable[[], None] | None = None,
        beat_s: float = 1.0,
    ):
        self._batcher, self._path, self._turns, self._beat, self._beat_s = batcher, path, turns, beat, beat_s
        self._queue: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._made: list[Job] = []
        self._loop = asyncio.get_running_loop()
        self._closed, self._committing = threading.Event(), threading.Lock()
        self._wal = f"{os.path.realpath(path)}-wal"
        self._file, self._log = identity(path), identity(self._wal)
        self.told: Callable[[], None] = nothing
        """Called on the loop after the answers of a commit."""
        self.trouble: SegueError | None = None
        """Why what runs waits to be written; None when it was written."""
        self._thread = threading.Thread(target=self._run, name="segue-writer", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        """Queue a job, from the loop. What one turn of the loop makes is handed over at once: waking the thread for
        each job would have the two threads fight for the interpreter, in batches of a few.
        """
        if not self._made:
            self._loop.call_soon(self._hand_over)
        self._made.append(job)

    def _hand_over(self) -> None:
        made, self._made = self._made, []
        if made:
            self._queue.put(made)

    async def close(self) -> None:
        """Write what is queued, then end the thread."""
        self._hand_over()
        self._closed.set()
        self._queue.put(None)
        while self._thread.is_alive():  # noqa: ASYNC110  a thread sets no event of the loop's
            await asyncio.sleep(0.001)

    def _run(self) -> None:
        while True:
            jobs, last = self._collect()
            if jobs:
                self._commit(jobs)
            self._live()
            if last:
                return

    def _live(self) -> None:
        if self._beat is not None:
            with suppress(OSError):  # on a read-only or full disk nobody can take the runs over either
                self._beat()

    def _collect(self) -> tuple[list[Job], bool]:
        queue, jobs = self._queue, list[Job]()
        try:
            made = queue.get(timeout=self._beat_s)
            while made is not None:
                jobs += made
                if len(jobs) >= BATCH_MAX or queue.empty():
                    return jobs, False
                made = queue.get()
        except Empty:
            return jobs, False
        return jobs, True

    def _commit(self, jobs: list[Job]) -> None:
        """Commit, and answer. What cannot be written now is tried again until it can, or the journal is closed."""
        tries = 0
        while jobs:
            try:
                answers = self._once(jobs)
            except Exception as cause:  # noqa: BLE001  this thread must not die: others wait for it
                error = translate(cause, self._path)
                if not passes(cause) or self._closed.is_set():
                    self._tell([_failed(j, error) for j in jobs])
                    return
                jobs = self._refuse_questions(jobs, error)
                if not jobs:
                    return
                self._waits(error)
                self._make_room(error)
                self._rest(_RETRY_S[min(tries, len(_RETRY_S) - 1)])
                tries += 1
                jobs += self._waiting()
            else:
                self._tell(answers)
                jobs, tries, self.trouble = jobs[len(answers) :], 0, None
                self._live()

    def _rest(self, seconds: float) -> None:
        """Until the next try, or the journal is closed."""
        until = time.monotonic() + seconds
        self._live()
        while (left := until - time.monotonic()) > 0 and not self._closed.wait(min(left, self._beat_s)):
            self._live()

    def _waits(self, error: SegueError) -> None:
        """Note why, and log it once as long as it is the same."""
        if str(error) != str(self.trouble):
            log.warning("what runs waits for the database: %s", error)
        self.trouble = error

    def _make_room(self, error: SegueError) -> None:
        """The log may be larger than what is in it."""
        if isinstance(error, StoreFull):
            with suppress(Exception):
                self._batcher.shrink()

    def _once(self, jobs: Sequence[Job]) -> list[Answer]:
        """Commit the first of them, as many as make one transaction."""
        gone = self.gone()
        if gone is not None:
            if self._file == identity(self._path):
                self._batcher.rescue()
            raise gone
        ready = self._batcher.pack(jobs, self._live, PACKED_MAX)
        with self._committing, self._turns.taken(self._live) if self._turns is not None else nullcontext():
            return self._batcher.commit(jobs[:ready], self._live)

    @contextmanager
    def between_commits(self, wait_s: float) -> Generator[None]:
        """Within it nothing is committed, so no lock is held that others need; unless one takes longer than that."""
        mine = self._committing.acquire(timeout=wait_s)
        try:
            yield
        finally:
            if mine:
                self._committing.release()

    def gone(self) -> StoreMissing | None:
        """Why nothing can be written: the file or its log was taken away. Any thread may ask."""
        if self._file != identity(self._path):
            return fault(
                StoreMissing, self._path, "the file was moved, deleted or replaced while it was open",
                "put it back and start the process again: nothing was acknowledged since",
            )  # fmt: skip
        if self._log is not None and self._log != identity(self._wal):
            return fault(
                StoreMissing, self._path, f"its log {self._wal} was moved, deleted or replaced while it was open",
                "start the process again: what was acknowledged is in the database",
            )  # fmt: skip
        return None

    def _refuse_questions(self, jobs: Sequence[Job], error: SegueError) -> list[Job]:
        """Whoever asks is told at once; whoever runs can wait."""
        self._tell([_failed(j, error) for j in jobs if not isinstance(j, Write)])
        return [j for j in jobs if isinstance(j, Write)]

    def _waiting(self) -> list[Job]:
        """What has been queued meanwhile. The end mark goes back."""
        jobs: list[Job] = []
        while not self._queue.empty():
            made = self._queue.get()
            if made is None:
                self._queue.put(None)
                break
            jobs += made
        return jobs

    def _tell(self, answers: list[Answer]) -> None:
        if not answers:
            return
        try:
            self._loop.call_soon_threadsafe(tell, answers, self.told)
        except RuntimeError:  # the loop is closed: nobody is left to tell
            return


class InlineWriter:
    """For a database in memory: commits on the loop, in its next turn. `probe` sees each commit before and after."""

    def __init__(self, batcher: Batcher, path: str, probe: Callable[[str], None] | None = None):
        self._batcher, self._path, self._probe = batcher, path, probe
        self._jobs: list[Job] = []
        self._loop = asyncio.get_running_loop()
        self._dead = False
        self.told: Callable[[], None] = nothing
        self.trouble: SegueError | None = None

    def put(self, job: Job) -> None:
        """Queue a job."""
        if self._dead:
            return
        if not self._jobs:
            self._loop.call_soon(self._flush)
        self._jobs.append(job)

    async def close(self) -> None:
        """Write what is queued."""
        while self._jobs and not self._dead:  # noqa: ASYNC110  the next turn of the loop writes them
            await asyncio.sleep(0)
        self._dead = True

    def _flush(self) -> None:
        jobs, self._jobs = self._jobs, []
        if self._dead:
            return
        try:
            if self._probe is not None:
                self._probe("before")
            self._batcher.pack(jobs)
            answers = self._batcher.commit(jobs)
            if self._probe is not None:
                self._probe("after")
        except ProcessDied:
            self._dead = True
            return
        tell(answers, self.told)


class ProcessDied(BaseException):
    """Raised by a probe: from here on this process writes nothing and hears nothing."""


def tell(answers: list[Answer], told: Callable[[], None]) -> None:
    """Call each job's `done`, then `told`; one that raises is reported to the loop and keeps no other from being
    called.
    """
    for done, first, second in answers:
        try:
            done(first, second)
        except Exception as error:  # noqa: BLE001  it belongs to one run
            loop = asyncio.get_running_loop()
            loop.call_exception_handler({"message": f"in {done!r}", "exception": error})
    told()


def _failed(job: Job, error: Exception) -> Answer:
    return (job.done, job, error) if isinstance(job, Write) else (job.done, error, None)
