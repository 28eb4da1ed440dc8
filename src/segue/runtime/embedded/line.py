"""A run's line in the journal: it numbers and times the events, and hands them to the writer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.codec import dumps
from ...core.commands import RunStep
from ...core.events import Event, EventType, made
from ...errors import BudgetExceeded, InputError
from ...journal import More, RunRow, Write

if TYPE_CHECKING:
    from ...core.records import Reservation
    from .host import Host
    from .purse import Held

_OF_ATTEMPTS = (EventType.ATTEMPT_STARTED, EventType.ATTEMPT_FAILED)
_COMPLETED = EventType.STEP_COMPLETED.value


class Line:
    """Writes the events of a run that this process owns. `unwritten` of them are not yet on disk."""

    def __init__(self, host: Host, row: RunRow, seq: int):
        self.host, self.row = host, row
        self.seq, self.at, self.unwritten = seq, 0.0, 0
        self._put = host.journal.write
        self.closed = False
        """Whether the run has left this process's memory."""
        self.holds: dict[str, Held] = {}
        """Reservations that are not settled yet, by their ids."""
        self.forgone: set[str] = set()
        """Those of which this process has written that they take nothing, since nobody waits any more."""

    def now(self) -> float:
        """The time of the next event: never before that of the last one."""
        self.at = max(self.at, self.host.clock.now())
        return self.at

    def completed(self, command: RunStep, began: float, value: bytes) -> None:
        """Journal that a step completed at its first attempt: `write`, in a few lines for speed."""
        self.seq = seq = self.seq + 1
        at, row = self.host.clock.now(), self.row
        if at < self.at:  # noqa: PLR1730  `max` is a call, at every step
            at = self.at
        self.at = at
        self.unwritten += 1
        key, seen, args = command.key, command.seen, command.args
        event = (row.no, seq, row.epoch, at, _COMPLETED, 1, key, 1, seen, began, None, args, value)
        self._put(made(Write, (made(Event, event), self._written, None, None)))

    def write(
        self, type_: str, *, key: str | None = None, attempt: int | None = None, seen: int | None = None,
        began: float | None = None, body: bytes | None = None, args: bytes | None = None, value: bytes | None = None,
        done: Any = None, version: int = 1, **more: Any,
    ) -> Event:  # fmt: skip
        """Journal an event of this run; `done` is called after the commit, `more` is written with it."""
        self.seq += 1
        no, epoch = self.row.no, self.row.epoch
        event = Event(no, self.seq, epoch, self.now(), type_, version, key, attempt, seen, began, body, args, value)
        self.unwritten += 1
        self._put(Write(event, self._written, done, More(**more) if more else None))
        return event

    def reserve(
        self, asked: Reservation, *, key: str, attempt: int, seen: int, done: Callable[[Exception | None], None]
    ) -> None:
        """Journal that money is set aside. `done(None)` is called after the commit; `done(refusal)` where it does not
        fit: then nothing was written, and the run goes on.
        """
        self.seq += 1
        self.unwritten += 1
        event = Event(
            self.row.no, self.seq, self.row.epoch, self.now(), asked.type, asked.version, key, attempt, seen,
            body=dumps(asked.to_body()),
        )  # fmt: skip
        self._put(Write(event, partial(self._answered, done), partial(done, None), More(reserve=asked)))

    def _answered(self, done: Callable[[Exception | None], None], write: Write, error: Exception | None) -> None:
        if not isinstance(error, BudgetExceeded | InputError):
            return self._written(write, error)
        self.unwritten -= 1
        done(error)
        if not self.unwritten:
            self.settle()

    async def durable(
        self, type_: str, command: RunStep, *, attempt: int, began: float | None = None, body: Any = None,
        value: bytes | None = None, version: int = 1,
    ) -> None:  # fmt: skip
        """Journal something of an attempt, and wait for the commit."""
        self._check_open()
        future: asyncio.Future[None] = self.host.loop.create_future()
        packed = dumps(body) if body is not None else None
        self.write(
            type_, key=command.key, seen=command.seen, attempt=attempt, began=began, body=packed, value=value,
            args=command.args if type_ in _OF_ATTEMPTS else None, done=partial(_resolve, future), version=version,
        )  # fmt: skip
        await future

    def _check_open(self) -> None:
        """A step that swallowed its cancellation may still report, when the run has ended or is another's."""
        if self.closed:
            raise asyncio.CancelledError

    def _written(self, write: Write, error: Exception | None) -> None:
        raise NotImplementedError

    def settle(self) -> None:
        """After something has moved."""
        raise NotImplementedError


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
