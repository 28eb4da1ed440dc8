"""One transaction over whatever has queued up: the group commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from ..core.codec import dumps
from ..core.events import Event
from ..core.lifecycle import ENDED
from ..errors import StaleOwner, StoreError
from .blobs import INLINE_MAX, Payloads, large, large_arguments
from .faults import passes
from .records import Change, More, Write
from .schema import GAP, STALE
from .tables import insert_post, insert_run

_COLUMNS = "run, seq, epoch, at, type, version, key, attempt, seen, began, body, args, value"
_WIDTH = len(Event._fields)
_ROW = "(" + ", ".join("?" * _WIDTH) + ")"
_INSERTS = {n: f"insert into events ({_COLUMNS}) values " + ", ".join([_ROW] * n) for n in (128, 32, 8, 1)}


class Call:
    """A question to the writer: `function(connection)` runs inside of the transaction, which will store `payloads`."""

    __slots__ = ("done", "function", "payloads")

    def __init__(
        self,
        function: Callable[[sqlite3.Connection], Any],
        done: Callable[[Exception | None, Any], None],
        payloads: tuple[bytes, ...] = (),
    ):
        self.function, self.done, self.payloads = function, done, payloads


Job = Write | Call
Answer = tuple[Callable[..., None], tuple[Any, ...]]


class Batcher:
    """Commits jobs. That only a run's owner writes to it, and without a gap, the database itself sees to (schema)."""

    def __init__(self, connection: sqlite3.Connection, payloads: Payloads):
        self._connection, self._payloads = connection, payloads
        self._may_be_large = True

    def pack(self, jobs: Sequence[Job]) -> None:
        """Make large payloads ready. Slow, so it comes before the transaction and before this process's turn."""
        found: list[bytes] = []
        self._may_be_large = False
        for job in jobs:
            if isinstance(job, Call):
                found += job.payloads
                continue
            event = job.event
            if _has_large(event):
                self._may_be_large = True
                found += large(event.value, event.body) + large_arguments(event.args)
            if job.more is not None and job.more.children:
                found += [d for c in job.more.children for d in large_arguments(c.args)]
        if found:
            self._payloads.pack(self._connection, found)

    def commit(self, jobs: Sequence[Job]) -> list[Answer]:
        """All jobs in one transaction; one that fails is rolled back alone. Raises when the commit itself fails."""
        connection = self._connection
        connection.execute("begin immediate")
        try:
            try:
                answers = self._together(jobs)
            except Exception as error:
                if passes(error):
                    raise
                connection.execute("rollback")
                connection.execute("begin immediate")
                answers = [self._alone(job) for job in jobs]
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise
        self._payloads.forget()
        self._may_be_large = True
        return answers

    def shrink(self) -> None:
        """Move the log into the database, and give its space back."""
        self._connection.execute("pragma wal_checkpoint(truncate)")

    def _together(self, jobs: Sequence[Job]) -> list[Answer]:
        """The fast way: the events of all runs in a few statements."""
        self._insert([j.event for j in jobs if isinstance(j, Write)])
        answers: list[Answer] = []
        for job in jobs:
            if isinstance(job, Call):
                answers.append((job.done, (None, job.function(self._connection))))
            else:
                if job.more is not None:
                    self._apply(job.event, job.more)
                answers.append((job.done, (job, None)))
        return answers

    def _alone(self, job: Job) -> Answer:
        """In a savepoint of its own, so that its failure is nobody else's."""
        connection = self._connection
        connection.execute("savepoint job")
        try:
            result = self._perform(job)
        except Exception as error:
            if passes(error) or not connection.in_transaction:
                raise
            connection.execute("rollback to job")
            connection.execute("release job")
            return job.done, ((error, None) if isinstance(job, Call) else (job, _refused(job, error)))
        connection.execute("release job")
        return job.done, ((None, result) if isinstance(job, Call) else (job, None))

    def _perform(self, job: Job) -> Any:
        if isinstance(job, Call):
            return job.function(self._connection)
        self._insert([job.event])
        return None if job.more is None else self._apply(job.event, job.more)

    def _insert(self, events: list[Event]) -> None:
        """Few statements of many rows: each statement gives up the interpreter's lock just once."""
        if self._may_be_large:
            events = [self._payloads.externalise(self._connection, e) if _has_large(e) else e for e in events]
        at, left = 0, len(events)
        for size, statement in _INSERTS.items():
            while left >= size:
                self._connection.execute(statement, list(chain.from_iterable(events[at : at + size])))
                at, left = at + size, left - size

    def _apply(self, event: Event, more: More) -> None:
        connection = self._connection
        if more.change is not None:
            _change(connection, event.run, more.change)
        if more.paused is not None:
            connection.execute("update runs set paused = ? where no = ?", (more.paused, event.run))
        for no in more.consumed:  # its payload is in the event now; what stays is the id, against doubles
            connection.execute("update inbox set consumed = ?, value = null, body = null where no = ?", (event.run, no))
        for new in more.children:
            insert_run(connection, new, self._payloads)
        for post in more.posts:
            insert_post(connection, post)


def _has_large(event: Event) -> bool:
    value, args, body = event.value, event.args, event.body
    return (
        (value is not None and len(value) > INLINE_MAX)
        or (args is not None and len(args) > INLINE_MAX)
        or (body is not None and len(body) > INLINE_MAX)
    )


def _refused(write: Write, error: Exception) -> Exception:
    """What the trigger of the events table has said."""
    if isinstance(error, sqlite3.IntegrityError) and STALE in str(error):
        return StaleOwner(
            f"run {write.event.run} was taken over by another process (its epoch is no longer {write.event.epoch})",
            remedy="nothing: the other process goes on with it",
        )
    if isinstance(error, sqlite3.IntegrityError) and GAP in str(error):
        return StoreError(
            f"event {write.event.seq} of run {write.event.run} was not written: the one before it is missing",
            remedy="nothing: the run goes on from what the journal holds",
        )
    return error


def _change(connection: sqlite3.Connection, no: int, change: Change) -> None:
    connection.execute(
        "update runs set state = ?, detail = ?, wake_at = ?, updated_at = ?, owner = iif(?, null, owner) where no = ?",
        (change.state, dumps(change.detail).decode(), change.wake_at, change.at, change.release, no),
    )
    if change.state in ENDED:
        connection.execute(
            "update inbox set consumed = -1, value = null, body = null"
            " where consumed is null and run = (select id from runs where no = ?)",
            (no,),
        )
