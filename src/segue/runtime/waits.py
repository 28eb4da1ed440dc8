"""Durable waits: `sleep`, `timeout`, `wait_for`."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from ..core.codec import codec, misfit
from ..core.commands import Timer, Wait
from ..core.events import Event, EventType
from ..core.keys import quoted
from ..errors import InputError
from .drive import Drive
from .loop import FlowTask
from .scope import FlowScope, in_flow

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")
Seconds = float | timedelta


async def sleep(seconds: Seconds) -> None:
    """Wait durably. The time is counted from the first call, through crashes and restarts."""
    scope = in_flow("segue.sleep")
    after = seconds_of(seconds, "sleep", scope)
    await scope.drive.outcome(Timer(scope.key("sleep"), scope.drive.seen, after, "sleep"))


class timeout:  # noqa: N801  reads as asyncio.timeout
    """`async with timeout(30):` cancels its body after that many seconds and raises TimeoutError. Journaled."""

    def __init__(self, seconds: Seconds):
        self._given = seconds
        self._fired = self._left = False
        self._scope: FlowScope | None = None
        self._key = ""

    async def __aenter__(self) -> timeout:
        scope = self._scope = in_flow("segue.timeout")
        self._seconds = seconds_of(self._given, "timeout", scope)
        self._task = cast("FlowTask", asyncio.current_task())
        self._cancellations = self._task.cancellations
        self._key = scope.key("timeout")
        future = scope.drive.request(Timer(self._key, scope.drive.seen, self._seconds, "timeout"))
        future.add_done_callback(self._fire)
        return self

    def _fire(self, future: asyncio.Future[Event]) -> None:
        if not self._left and not future.cancelled() and future.exception() is None:
            self._fired = True
            self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        scope, self._left = self._scope, True
        assert scope is not None
        if not self._fired:
            scope.drive.give_up(self._key)
            return
        self._task.uncancel()
        if self._task.cancellations <= self._cancellations and kind is asyncio.CancelledError:
            raise TimeoutError(f"{self._seconds:g} s have passed at {self._key}") from error


@overload
async def wait_for(name: str, *, timeout_s: Seconds | None = None) -> Any: ...
@overload
async def wait_for(name: str, *, returns: TypeForm[T], timeout_s: Seconds | None = None) -> T: ...


async def wait_for(name: str, *, returns: Any = Any, timeout_s: Seconds | None = None) -> Any:
    """Wait durably for a signal, sent before or after. Each wait takes one signal, in the order of their arrival.

    A payload that is no `returns` is recorded as rejected, and the wait goes on. Raises TimeoutError after `timeout_s`.
    """
    scope = in_flow("segue.wait_for")
    if not isinstance(name, str) or not name.strip():  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        raise InputError(
            f"segue.wait_for: {name!r} is no name of a signal",
            run=scope.drive.run,
            key=f"{scope.path}wait",
            remedy='give a text: wait_for("approved")',
        )
    if timeout_s is None:
        return await _signal(scope, name, returns)
    seconds_of(timeout_s, "wait_for", scope)
    async with timeout(timeout_s):
        return await _signal(scope, name, returns)


async def _signal(scope: FlowScope, name: str, returns: Any) -> Any:
    drive, of = scope.drive, codec(returns)
    of.ready()
    secret = of if of.private else None
    while True:
        wait = Wait(scope.key("wait", quoted(name)), drive.seen, name, payload=secret, takes=of)
        event = await drive.outcome(wait)
        event, refused = event if secret is None else drive.seal(wait, event), f"{name}@{event.seq}"
        if had_refused(drive, EventType.SIGNAL_REJECTED, refused):
            continue
        try:
            return of.decode(event.value or b"null")
        except ValueError as error:
            why = misfit(of, error)
            if had_taken(drive, EventType.SIGNAL_REJECTED, refused):
                raise drive.undecodable(wait.key, why, taken=True) from (None if of.private else error)
            drive.record(EventType.SIGNAL_REJECTED, refused, {"signal": name, "seq": event.seq, "why": why})


def had_refused(drive: Drive, type_: str, refused: str) -> bool:
    """In a replay, whether what the flow was just given was refused on record: it stays so, whatever fits today."""
    return drive.replaying and (type_, refused) in drive.claims.memory.recorded


def had_taken(drive: Drive, type_: str, refused: str) -> bool:
    """In a replay, whether an earlier incarnation has taken what the flow was just given: it went on from here, and did
    not write this record, by which what does not fit is refused.
    """
    memory = drive.claims.memory
    return drive.replaying and memory.moved >= drive.seen and (type_, refused) not in memory.recorded


def seconds_of(given: Seconds, what: str, scope: FlowScope) -> float:
    """A time to wait, in seconds. Raises InputError, naming `what` was called."""
    try:
        seconds = given.total_seconds() if isinstance(given, timedelta) else float(given)
    except (TypeError, ValueError, OverflowError):
        seconds = None
    if seconds is None or not 0 <= seconds < math.inf:
        shown = repr(given)[:80] if seconds is None else f"{seconds:g} s"
        raise InputError(
            f"segue.{what}: {shown} is no time to wait",
            run=scope.drive.run,
            key=scope.path + what,
            remedy="give a number of seconds from 0 up",
        )
    return seconds
