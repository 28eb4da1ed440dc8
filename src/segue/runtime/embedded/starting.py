"""Begins steps: those that never wait share a task, and one that waits keeps the task that it has begun in.

A task for each would be a good part of what a quick step costs. Yet a step's body has a task of its own for all it can
tell: `asyncio.current_task`, `asyncio.timeout` and cancellation are as in any task, each step has context variables of
its own, and nobody who keeps the task of a step that has ended finds another step in it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from sys import getrefcount
from types import coroutine
from typing import TYPE_CHECKING, Any
from weakref import getweakrefcount

if TYPE_CHECKING:
    from .execution import Execution


class Making:
    """A step that is being made: `work` is the coroutine of all its attempts, which runs in `context`."""

    __slots__ = ("context", "dropped", "execution", "key", "moving", "task", "waits_for", "work")

    def __init__(self, execution: Execution, key: str, work: Coroutine[Any, Any, None], context: Context):
        self.execution, self.key, self.work, self.context = execution, key, work, context
        self.task: asyncio.Task[None] | None = None
        """In which it has begun."""
        self.dropped = self.moving = False
        """`moving`: whether it runs by itself, and is not being closed by Python."""
        self.waits_for: Any = None

    def cancel(self) -> None:
        """Cancel it. One that has not begun never will."""
        if self.task is None:
            self.dropped = True
            self.work.close()
        else:
            self.task.cancel()

    @coroutine
    def carry_on(self) -> Generator[Any, None, None]:
        """Run to the end, in the task in which it has begun."""
        waits = True
        while waits:
            move: Callable[[Any], Any] = self.work.send
            given: BaseException | None = None
            try:
                yield self.waits_for
            except BaseException as error:  # noqa: BLE001  the step's, to see or to catch: its cancellation
                move, given = self.work.throw, error
            waits = self.moves(move, given)  # not while it is handled: later errors would have it as their context

    def moves(self, move: Callable[[Any], Any], given: BaseException | None) -> bool:
        """Run it up to where it waits. False when it has ended."""
        self.moving = type(given) is not GeneratorExit
        try:
            self.waits_for = self.context.run(move, given)
        except (StopIteration, asyncio.CancelledError):
            self.execution.made(self)
            return False
        except Exception as error:  # noqa: BLE001  not the user's: their errors are faults by now
            self.execution.host.crashed(self.execution, error)
            self.execution.made(self)
            return False
        except BaseException:  # Ctrl-C, or the end of the process
            self.execution.made(self)
            raise
        self.moving = False
        return True


class StepTask(asyncio.Task[None]):
    """The task of steps. It begins those that are in `steps`; None: it has begun."""

    changed = False
    """Whether somebody has changed what another step in it would find."""
    cancels_itself = False
    """Whether the step in it was the last to cancel it."""

    def __init__(self, starter: Starter, steps: deque[Making], loop: asyncio.AbstractEventLoop, context: Context):
        self.steps: deque[Making] | None = steps
        super().__init__(starter.carry_out(steps), loop=loop, context=context)

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel it. Before it has begun its steps are lost with it, and their runs take them up again."""
        self.changed, self.cancels_itself = True, asyncio.current_task(self.get_loop()) is self
        while self.steps:
            making = self.steps.popleft()
            making.cancel()
            making.execution.made(making)
        return super().cancel(msg)

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        """Call `fn` when it has ended."""
        self.changed = True
        super().add_done_callback(fn, context=context)

    def set_name(self, value: object, /) -> None:
        """Name it."""
        self.changed = True
        super().set_name(value)


class Starter:
    """Begins steps in the loop's next turn, in the order in which they are asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop, self._context = loop, copy_context()
        self._next: StepTask | None = None

    def begin(self, making: Making) -> None:
        """Begin this one soon."""
        steps = None if self._next is None or self._next.changed else self._next.steps
        if steps is None:
            steps = deque[Making]()
            self._next = self._make_task(steps)
        steps.append(making)

    def _make_task(self, steps: deque[Making]) -> StepTask:
        return StepTask(self, steps, self._loop, self._context.copy())

    async def carry_out(self, steps: deque[Making]) -> None:
        """What a task does."""
        task = asyncio.current_task()
        assert isinstance(task, StepTask)
        task.steps = None
        if task is self._next:
            self._next = None
        waiting: Making | None = None
        try:
            waiting = _begin(steps, task)
        finally:
            self._leave(steps, apart=waiting is not None)
        if waiting is not None:
            await waiting.carry_on()

    def _leave(self, steps: deque[Making], *, apart: bool) -> None:
        """The rest is for others. Where one waits, the next ones will likely wait too."""
        while steps and apart:
            self._make_task(deque([steps.popleft()]))
        if steps:
            self._make_task(steps)


def _begin(steps: deque[Making], task: StepTask) -> Making | None:
    """Begin steps until one waits, and give that one; or until somebody else knows the task, or has changed it."""
    known = getrefcount(task), getweakrefcount(task)
    while steps:
        making = steps.popleft()
        making.task = task
        if making.dropped:
            making.execution.made(making)
        elif making.moves(making.work.send, None):
            return making
        making.task = None
        if task.changed or (getrefcount(task), getweakrefcount(task)) != known:
            break
    return None
