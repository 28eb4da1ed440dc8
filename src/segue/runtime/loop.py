"""The event loop that a flow runs on: a ready queue, and nothing else.

It is drained until it is empty each time the flow is given an outcome, so "the flow has settled" is a fact. It has no
clock and no I/O: what would need them raises an error that names the durable form.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from types import FrameType
from typing import Any
from zlib import crc32

from ..errors import UnjournaledTime, UnjournaledWork, UsageError

log = logging.getLogger("segue.runtime")

MAX_TURNS = 1_000_000
"""Callbacks in one drain. A flow that needs more spins without waiting for anything."""


_NUMBER_BITS = 12
"""A set of fewer tasks of one run is in the order of their making."""


class Turn(list[Any]):
    """One callback that is due, with its arguments and context: what asyncio calls a handle. Empty when cancelled.

    A list, since it is made at every step, and its `__init__` would cost more than the callback's call.
    """

    __slots__ = ()

    def cancel(self) -> None:
        """Do not call it."""
        self.clear()

    def cancelled(self) -> bool:
        """Whether it will not be called."""
        return not self


class FlowTask(asyncio.Task[Any]):
    """A task that hashes by its number and its run, and may set cancellations aside.

    TaskGroup and asyncio.wait keep tasks in sets; one of plain tasks is in the order of addresses, which no replay has.
    asyncio itself keeps all tasks of all runs in one set, so equal numbers must not meet there.
    """

    __slots__ = ("_aside", "_hash", "aside_before")

    def __init__(self, hash: int, coro: Coroutine[Any, Any, Any], **options: Any):
        self._hash = hash  # first: asyncio hashes it as it is made
        self._aside = self.aside_before = 0
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._hash

    @property
    def cancellations(self) -> int:
        """Those that nobody has taken back, also those that are set aside."""
        return super().cancelling()

    def cancelling(self) -> int:
        """Those that nobody has taken back or set aside."""
        return super().cancelling() - self._aside

    def uncancel(self) -> int:
        """Take one back, also one that is set aside: a TaskGroup and a limit know their own."""
        self._aside = min(self._aside, super().uncancel())
        return self.cancelling()

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel it. Where a TaskGroup does so that its own task waits in already, that counts as taken back.

        Before Python 3.13 nobody would take it back: who counts cancellations would see one for ever.
        """
        cancelled = super().cancel(msg)
        if cancelled and _LEAVES_ONE and _by_group_at_its_end(sys._getframe(1)):  # pyright: ignore[reportPrivateUsage]  documented
            super().uncancel()
        return cancelled

    def set_aside(self, count: int | None = None) -> None:
        """Set aside all that there are, or only the first `count`: what looks for a cancellation sees none of them.

        `aside_before` is what was set aside before.
        """
        self.aside_before = self._aside
        self._aside = self.cancellations if count is None else min(count, self.cancellations)


_LEAVES_ONE = sys.version_info < (3, 13)
_GROUP: Any = asyncio.TaskGroup


def _by_group_at_its_end(caller: FrameType) -> bool:
    """Whether a TaskGroup cancels its task there, as a child has failed, and the task waits for its children."""
    if caller.f_code is not _GROUP._on_task_done.__code__:
        return False
    return caller.f_locals["self"]._on_completed_fut is not None


class InLine(Executor):
    """Stands for a thread where there is none: what a library wants to run in one runs in a flow at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Raise: only a flow's loop runs what it is given."""
        raise UsageError("there is no thread here", remedy="use it in a flow only")


class aside:  # noqa: N801  it is used like a function
    """Within the block flows may run: the outer loop and its hooks are put aside, and back at the end.

    That costs more than a quick step's other turns on its flow's loop, so many flows share one block.
    """

    __slots__ = ("_hooks", "_outer")

    def __enter__(self) -> None:
        self._outer, self._hooks = asyncio._get_running_loop(), sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(None, None)

    def __exit__(self, *_: object) -> None:
        sys.set_asyncgen_hooks(*self._hooks)
        asyncio._set_running_loop(self._outer)


class FlowLoop(AbstractEventLoop):
    """A deterministic asyncio loop for one run. `where` names the run in errors, `time_of` gives the journal's time."""

    def __init__(self, where: str, time_of: Callable[[], float]):
        self._where, self._time_of = where, time_of
        self.quiet = False
        """Whether callbacks run again, or for nothing: what they raise is not logged."""
        self._ready: deque[Turn] = deque()
        self.tasks: set[asyncio.Task[Any]] = set()
        self._last_hash = crc32(where.encode()) << _NUMBER_BITS

    def drain(self) -> None:
        """Run all that is due, and all that becomes due by it."""
        if self._ready:
            with aside():
                self.drain_aside()

    def drain_aside(self) -> None:
        """`drain`, within `aside`."""
        ready, turns = self._ready, 0
        asyncio._set_running_loop(self)  # documented for loops
        while ready:
            turn = ready.popleft()
            if turn:
                callback, args, context = turn
                try:
                    context.run(callback, *args)
                except KeyboardInterrupt:
                    raise
                except BaseException as error:  # noqa: BLE001  as asyncio: also CancelledError, of `task.exception()`
                    if not (isinstance(error, SystemExit) and _is_of_task(callback)):
                        self.call_exception_handler({"handle": turn, "exception": error})
            turns += 1
            if turns > MAX_TURNS:
                ready.clear()
                raise UsageError(
                    "the flow spins: it has run a million callbacks without waiting for a durable call",
                    run=self._where,
                    remedy="wait with segue.sleep, wait_for or a step instead of asyncio.sleep(0) in a loop",
                )

    def call_soon(  # pyright: ignore[reportIncompatibleMethodOverride]  a Turn is all of a Handle that callers use
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Turn:
        """Make a callback due."""
        turn = Turn((callback, args, contextvars.copy_context() if context is None else context))
        self._ready.append(turn)
        return turn

    def create_task(self, coro: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A task of the flow."""
        self._last_hash += 1
        task = FlowTask(self._last_hash, coro, loop=self, **options)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def create_future(self) -> asyncio.Future[Any]:
        """A future of the flow."""
        return asyncio.Future(loop=self)

    def time(self) -> float:
        """The time of the last event that the flow has seen."""
        return self._time_of()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Run it now, for who asks for that (`InLine`). Raises UnjournaledWork for threads."""
        if not isinstance(executor, InLine):
            return _refuse("run_in_executor")(self)
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  it is the function's own, and raised where it is awaited
            done.set_exception(error)
        return done

    get_debug = bool  # pyright: ignore[reportAssignmentType]  `bool()` is False, and takes no frame of ours
    """Never in debug mode: it would need a clock."""

    def get_task_factory(self) -> None:
        """None: libraries ask before they make tasks."""

    def is_running(self) -> bool:
        """It runs whenever somebody can ask."""
        return True

    def is_closed(self) -> bool:
        """It is never closed, only dropped."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Log what a callback has raised. Errors that nobody retrieved belong to tasks that the flow dropped: the
        journal has their steps.
        """
        if "handle" in context and not self.quiet:
            callback, error = context["handle"][0], context["exception"]
            name = getattr(getattr(callback, "func", callback), "__qualname__", type(callback).__name__)
            log.error("run %s: exception in the callback %s, its flow goes on", self._where, name, exc_info=error)

    def call_later(self, delay: float, *_: Any, **__: Any) -> Any:
        """Raise: asyncio's timers are not durable."""
        raise UnjournaledTime(
            "asyncio.sleep, asyncio.timeout and asyncio.wait_for(..., timeout) are not durable: on replay they would "
            "fire at another moment",
            run=self._where,
            key=self._here(),
            remedy="use `await segue.sleep(s)` and `async with segue.timeout(s):`, or timeout_s= of the step; of an "
            "agent's stream debounce_by=None",
        )

    call_at = call_later  # pyright: ignore[reportAssignmentType]  both only raise

    def _here(self) -> str | None:
        from .scope import here  # noqa: PLC0415  a cycle: scopes live on loops

        scope = here()
        return getattr(scope, "path", None) or None


def _is_of_task(callback: object) -> bool:
    """Whether a task goes on by it. What `sys.exit` raises there fails the task, and asyncio raises it too."""
    return isinstance(getattr(callback, "__self__", None), asyncio.Task)


def _refuse(name: str) -> Callable[..., Any]:
    def refused(self: FlowLoop, *_: Any, **__: Any) -> Any:
        raise UnjournaledWork(
            f"the flow called {name}: I/O, threads and processes in a flow would run again on each replay",
            run=self._where,  # pyright: ignore[reportPrivateUsage]
            remedy="put it into a @step (a plain `def` step runs in a thread of its own)",
        )

    return refused


for _name in dir(AbstractEventLoop):
    if not _name.startswith("_") and _name not in vars(FlowLoop) and _name != "set_debug":
        setattr(FlowLoop, _name, _refuse(_name))
