"""One transaction over whatever has queued up: the group commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..core.codec import dumps
from ..core.events import Event
from ..core.lifecycle import ENDED
from ..errors import SegueError, StaleOwner
from .blobs import INLINE_MAX, externalise
from .records import Change, Write
from .tables import insert_post, insert_run

_COLUMNS = "run, seq, epoch, at, type, version, key, attempt, seen, began, body, args, value"
_WIDTH = len(Event._fields)
_ROW = "(" + ", ".join("?" * _WIDTH) + ")"
_INSERTS = {n: f"insert into events ({_COLUMNS}) values " + ", ".join([_ROW] * n) for n in (128, 32, 8, 1)}


class Call:
    """A question to the writer: `function(connection)` runs inside of the transaction."""

    __slots__ = ("done", "function")

    def __init__(self, function: Callable[[sqlite3.Connection], Any], done: Callable[[Exception | None, Any], None]):
        self.function, self.done = function, done


Job = Write | Call
Answer = tuple[Callable[..., None], tuple[Any, ...]]


class Batcher:
    """Commits jobs. Knows whether another process has written since, which is when ownership must be checked."""

    def __init__(self, connection: sqlite3.Connection, folder: Path | None):
        self._connection, self._folder = connection, folder
        self._seen_version: int | None = None

    def commit(self, jobs: Sequence[Job]) -> list[Answer]:
        """All jobs in one transaction; one that fails is rolled back alone. Raises when the commit itself fails."""
        connection = self._connection
        connection.execute("begin immediate")
        try:
            stale = self._stale(jobs)
            try:
                answers = self._together(jobs, stale)
            except (sqlite3.Error, SegueError):
                connection.execute("rollback")
                connection.execute("begin immediate")
                answers = [self._alone(job, stale) for job in jobs]
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise
        return answers

    def _stale(self, jobs: Sequence[Job]) -> set[int]:
        """Runs of this batch that belong to another process by now."""
        version = self._connection.execute("pragma data_version").fetchone()[0]
        if version == self._seen_version:
            return set()
        epochs = {j.run: j.epoch for j in jobs if isinstance(j, Write)}
        stale: set[int] = set()
        for run, epoch in epochs.items():
            row = self._connection.execute("select epoch from runs where no = ?", (run,)).fetchone()
            if row is None or row[0] != epoch:
                stale.add(run)
        if not stale:
            self._seen_version = version
        return stale

    def _together(self, jobs: Sequence[Job], stale: set[int]) -> list[Answer]:
        """The fast way: the events of all runs in a few statements."""
        writes = [j for j in jobs if isinstance(j, Write) and j.run not in stale]
        self._insert([w.event for w in writes])
        answers: list[Answer] = []
        for job in jobs:
            if isinstance(job, Call):
                answers.append((job.done, (None, job.function(self._connection))))
            elif job.run in stale:
                answers.append(_refused(job))
            else:
                if not job.plain:
                    _apply(self._connection, job)
                answers.append((job.done, (job, None)))
        return answers

    def _alone(self, job: Job, stale: set[int]) -> Answer:
        """In a savepoint of its own, so that its failure is nobody else's."""
        if isinstance(job, Write) and job.run in stale:
            return _refused(job)
        self._connection.execute("savepoint job")
        try:
            result = self._perform(job)
        except (sqlite3.Error, SegueError) as error:
            if getattr(error, "sqlite_errorname", "") in ("SQLITE_FULL", "SQLITE_IOERR"):
                raise
            self._connection.execute("rollback to job")
            self._connection.execute("release job")
            return job.done, ((error, None) if isinstance(job, Call) else (job, error))
        self._connection.execute("release job")
        return job.done, ((None, result) if isinstance(job, Call) else (job, None))

    def _perform(self, job: Job) -> Any:
        if isinstance(job, Call):
            return job.function(self._connection)
        self._insert([job.event])
        return _apply(self._connection, job)

    def _insert(self, events: list[Event]) -> None:
        """Few statements of many rows: each statement gives up the interpreter's lock just once."""
        rows = [self._fit(e) for e in events]
        at, left = 0, len(rows)
        for size, statement in _INSERTS.items():
            while left >= size:
                self._connection.execute(statement, [v for row in rows[at : at + size] for v in row])
                at, left = at + size, left - size

    def _fit(self, event: Event) -> Event:
        for data in (event.value, event.args, event.body):
            if data is not None and len(data) > INLINE_MAX:
                return externalise(self._connection, self._folder, event)
        return event


def _refused(write: Write) -> Answer:
    error = StaleOwner(
        f"run {write.run} was taken over by another process (its epoch is no longer {write.epoch})",
        remedy="nothing: the other process goes on with it",
    )
    return write.done, (write, error)


def _apply(connection: sqlite3.Connection, write: Write) -> None:
    if write.change is not None:
        _change(connection, write, write.change)
    if write.paused is not None:
        connection.execute("update runs set paused = ? where no = ?", (write.paused, write.run))
    for no in write.consumed:
        connection.execute("update inbox set consumed = ? where no = ?", (write.run, no))
    for new in write.children:
        insert_run(connection, new)
    for post in write.posts:
        insert_post(connection, post)


def _change(connection: sqlite3.Connection, write: Write, change: Change) -> None:
    connection.execute(
        "update runs set state = ?, detail = ?, wake_at = ?, updated_at = ?, owner = iif(?, null, owner) where no = ?",
        (change.state, dumps(change.detail).decode(), change.wake_at, change.at, change.release, write.run),
    )
    if change.state in ENDED:
        connection.execute(
            "update inbox set consumed = -1 where consumed is null and run = (select id from runs where no = ?)",
            (write.run,),
        )
