"""One transaction over whatever has queued up: the group commit."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..core.events import Event
from ..core.lifecycle import ENDED
from ..errors import BudgetExceeded, InputError, StaleOwner, StoreError
from .arrivals import Arrivals
from .blobs import Payloads, is_large, large, large_arguments
from .faults import passes
from .numbers import Numbers
from .records import More, NewRun, Write
from .rows import Rows
from .schema import GAP, STALE, TAKEN
from .tables import accept, consume, continue_run, insert_post, insert_run
from .threads import add_summary, add_turn
from .turns import nothing

if TYPE_CHECKING:
    from .books import Books


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


class Accept:
    """A run to be accepted: `done(None, (row, whether it is new))` follows."""

    __slots__ = ("done", "new", "payloads")

    def __init__(self, new: NewRun, done: Callable[[Exception | None, Any], None]):
        self.new, self.done, self.payloads = new, done, tuple(large_arguments(new.args))


Job = Write | Call | Accept
Answer = tuple[Callable[..., None], Any, Any]
"""A job's `done`, and what to call it with."""


class Batcher:
    """Commits jobs. That only a run's owner writes to it, and without a gap, the database itself sees to (schema).

    `lock_timeout_s`: for how long a commit waits for SQLite's lock. The connection itself waits for a part of it.
    """

    def __init__(self, connection: sqlite3.Connection, payloads: Payloads, lock_timeout_s: float = 0.0):
        self._connection, self._payloads, self._lock_timeout_s = connection, payloads, lock_timeout_s
        self._rows, self._numbers, self._arrivals = Rows(connection), Numbers(), Arrivals(connection)
        self._books: Books | None = None
        self._meanwhile = nothing

    def pack(self, jobs: Sequence[Job], meanwhile: Callable[[], None] = nothing, most: float = math.inf) -> int:
        """Make large payloads ready. Slow, so it comes before the transaction and before this process's turn.

        Gives how many of the jobs make one transaction: the first ones, whose large payloads have together no more than
        `most` bytes, and at least one. `meanwhile` is called again and again.
        """
        found, size, ready = list[bytes](), 0, len(jobs)
        for at, job in enumerate(jobs):
            payloads = _payloads_of(job, meanwhile)
            if payloads:
                size += sum(map(len, payloads))
                if size > most and at:
                    ready = at
                    break
                found += payloads
        if found:
            self._payloads.pack(self._connection, found, meanwhile)
        return ready

    def commit(self, jobs: Sequence[Job], meanwhile: Callable[[], None] = nothing) -> list[Answer]:
        """All jobs in one transaction; one that fails is rolled back alone. Raises when the commit itself fails.

        While it waits for the lock, and stores large payloads, `meanwhile` is called again and again.
        """
        connection, self._meanwhile = self._connection, meanwhile
        self._begin(meanwhile)
        try:
            try:
                answers = self._together(jobs)
            except Exception as error:
                if passes(error):
                    raise
                self._clear()
                self._numbers.drop()
                connection.execute("rollback")
                self._begin(meanwhile)
                answers = [self._alone(job) for job in jobs]
            connection.execute("commit")
        except BaseException:
            self._clear()
            self._numbers.drop()
            if connection.in_transaction:
                connection.execute("rollback")
            raise
        self._numbers.keep()
        self._payloads.forget()
        return answers

    def _begin(self, meanwhile: Callable[[], None]) -> None:
        until = time.monotonic() + self._lock_timeout_s
        while True:
            try:
                self._connection.execute("begin immediate")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                    raise
            meanwhile()

    def shrink(self) -> None:
        """Move the log into the database, and give its space back."""
        self._connection.execute("pragma wal_checkpoint(truncate)")

    def rescue(self) -> None:
        """Move the log into the database: its file has no name any more, and is gone when this process ends."""
        self._connection.execute("pragma wal_checkpoint(passive)")

    def _together(self, jobs: Sequence[Job]) -> list[Answer]:
        """The fast way: the rows of all runs in a few statements. Whoever looks at rows finds them written."""
        answers: list[Answer] = []
        money = [job for job in jobs if isinstance(job, Write) and job.more is not None and _is_money(job.more)]
        if money:
            self._open_books().load(money)
        self._arrivals.expect(job.new for job in jobs if isinstance(job, Accept))
        for job in jobs:
            answers.append(self._add(job) if isinstance(job, Write) else self._asked(job))
        self._flush()
        self._arrivals.clear()
        return answers

    def _asked(self, job: Call | Accept) -> Answer:
        if isinstance(job, Accept):
            row = self._arrivals.add(job.new) if job.new.leaves is None else None
            if row is not None:
                return job.done, None, (row, True)
            self._arrivals.flush()
        else:
            self._flush()
            self._give_way()
        return job.done, None, self._answer(job)

    def _alone(self, job: Job) -> Answer:
        """In a savepoint of its own, so that its failure is nobody else's."""
        connection = self._connection
        connection.execute("savepoint job")
        try:
            answer = self._add(job) if isinstance(job, Write) else (job.done, None, self._answer(job))
            self._flush()
            if isinstance(job, Call):
                self._give_way()
        except Exception as error:
            if passes(error) or not connection.in_transaction:
                raise
            self._clear()
            connection.execute("rollback to job")
            connection.execute("release job")
            if not isinstance(job, Write):
                return job.done, error, None
            refusal = _refused(job, error)
            if isinstance(refusal, InputError):
                self._numbers.refuse(job.event)
            return job.done, job, refusal
        connection.execute("release job")
        return answer

    def _answer(self, job: Call | Accept) -> Any:
        if isinstance(job, Call):
            return job.function(self._connection)
        answer, events = accept(self._connection, job.new)
        for event in events:
            self._append(event)
        return answer

    def _add(self, job: Write) -> Answer:
        if self._numbers:
            job = job._replace(event=self._numbers.placed(job.event))
        event, more = job.event, job.more
        if more is not None and _is_money(more):
            try:
                self._open_books().carry(event, more)
            except (BudgetExceeded, InputError, UnicodeEncodeError) as refusal:  # before anything of it was written
                self._numbers.refuse(event)
                return job.done, job, refusal
        self._append(event)
        if more is not None:
            self._apply(event, more)
        return job.done, job, None

    def _open_books(self) -> Books:
        if self._books is None:
            from .books import Books  # noqa: PLC0415  see there

            self._books = Books(self._connection)
        return self._books

    def _flush(self) -> None:
        self._arrivals.flush()
        self._rows.flush()
        if self._books is not None:
            self._books.flush()

    def _clear(self) -> None:
        self._arrivals.clear()
        self._rows.clear()
        if self._books is not None:
            self._books.forget()

    def _give_way(self) -> None:
        if self._books is not None:
            self._books.give_way()

    def _append(self, event: Event) -> None:
        if is_large(event):
            event = self._payloads.externalise(self._connection, event, self._meanwhile)
        self._rows.append(event)

    def _apply(self, event: Event, more: More) -> None:
        connection = self._connection
        if more.change is not None:
            self._rows.change(event.run, more.change)
            if self._numbers and (more.change.release or more.change.state in ENDED):
                self._numbers.forget(event.run)
        if more.turn is not None:
            add_turn(connection, event, more.turn)
        if more.summary is not None:
            add_summary(connection, event, *more.summary)
        if more.continued is not None:
            continue_run(connection, event, more.continued)
            self._numbers.forget(event.run)
        if more.paused is not None:
            connection.execute("update runs set paused = ? where no = ?", (more.paused, event.run))
        if more.consumed:
            consume(connection, event, more.consumed)
        if more.children or more.posts:
            self._arrivals.flush()
        for new in more.children:
            for first in insert_run(connection, new)[1]:
                self._append(first)
        for post in more.posts:
            insert_post(connection, post)


def _payloads_of(job: Job, meanwhile: Callable[[], None]) -> Sequence[bytes]:
    """The large ones that a job will store."""
    if not isinstance(job, Write):
        return job.payloads
    event, more, found = job.event, job.more, list[bytes]()
    if is_large(event):
        found += large(event.value, event.body) + large_arguments(event.args, meanwhile)
    if more is not None and more.children:
        found += [d for c in more.children for d in large_arguments(c.args, meanwhile)]
    return found


def _is_money(more: More) -> bool:
    return more.reserve is not None or more.settle is not None


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
    if isinstance(error, sqlite3.IntegrityError) and TAKEN in str(error):
        return InputError("a reservation of this run has this id already", remedy="an attempt reserves once")
    return error
