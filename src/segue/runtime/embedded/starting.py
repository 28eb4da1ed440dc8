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

if TYPE_CHECKING:
    from .execution import Execution


class Making:
    """A step that is being made: `work` is the coroutine of all its attempts, which runs in `context`."""

    __slots__ = ("context", "dropped", "execution", "key", "task", "waits_for", "work")

    def __init__(self, execution: Execution, key: str, work: Coroutine[Any, Any, None], context: Context):
        self.execution, self.key, self.work, self.context = execution, key, work, context
        self.task: asyncio.Task[None] | None = None
        """In which it has begun."""
        self.dropped = False
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
            try:
                yield self.waits_for
            except BaseException as error:  # noqa: BLE001  the step's, to see or to catch: its cancellation
                waits = self.moves(self.work.throw, error)
            else:
                waits = self.moves(self.work.send, None)

    def moves(self, move: Callable[[Any], Any], given: BaseException | None) -> bool:
        """Run it up to where it waits. False when it has ended."""
        try:
            self.waits_for = self.context.run(move, given)
        except (StopIteration, asyncio.CancelledError):
            self.execution.made(self)
            return False
        except BaseException:  # Ctrl-C, or the end of the process
            self.execution.made(self)
            raise
        return True


class Starter:
    """Begins steps in the loop's next turn, in the order in which they are asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop, self._context = loop, copy_context()
        self._next: deque[Making] | None = None

    def begin(self, making: Making) -> None:
        """Begin this one soon."""
        if self._next is None:
            self._next = deque()
            self._make_task(self._next)
        self._next.append(making)

    def _make_task(self, steps: deque[Making]) -> None:
        asyncio.Task(self._carry_out(steps), loop=self._loop, context=self._context.copy())

    async def _carry_out(self, steps: deque[Making]) -> None:
        if steps is self._next:
            self._next = None
        task = asyncio.current_task()
        assert task is not None
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


def _begin(steps: deque[Making], task: asyncio.Task[None]) -> Making | None:
    """Begin steps until one waits, and give that one; or until somebody else knows the task, or has cancelled it."""
    known = getrefcount(task)
    while steps:
        making = steps.popleft()
        making.task = task
        if making.dropped:
            making.execution.made(making)
        elif making.moves(making.work.send, None):
            return making
        making.task = None
        if getrefcount(task) != known or task.cancelling():
            break
    return None
