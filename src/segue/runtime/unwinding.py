"""How a flow's tasks leave memory: each is cancelled until it ends, and one that never does is dropped as it stands."""

from __future__ import annotations

import logging
from asyncio import Future, Task
from typing import Any

from ..errors import Suspended, UsageError
from .loop import FlowLoop

log = logging.getLogger("segue.runtime")

_PASSED = ("segue", "asyncio", "contextlib")
_ROUNDS = 8
MOST_REFUSED = 100
"""Durable calls of one flow that are refused as it is unwound; what it calls after them waits until it is cancelled."""


class Unwinding:
    """Why a flow is unwound: the error that its durable calls raise from now on."""

    def __init__(self, error: BaseException):
        self._error, self._refused = error, 0

    @property
    def leaves(self) -> bool:
        """Whether nothing has ended: the run only leaves this process."""
        return isinstance(self._error, Suspended)

    def refuse(self, loop: FlowLoop) -> Future[Any]:
        """Raise for a durable call. After many of them, give a future without an end: a loop that catches all of them
        would never let go.
        """
        self._refused += 1
        if self._refused <= MOST_REFUSED:
            raise self._error
        return loop.create_future()


def drained(loop: FlowLoop) -> bool:
    """Drain it. False where it spins: it is of no use to drain it again."""
    try:
        loop.drain()
    except UsageError:
        return False
    return True


def unwind(loop: FlowLoop) -> None:
    """Let all tasks end that do. An interruption is raised, after the others had their turn."""
    loop.quiet, interrupted = True, None
    for n in range(_ROUNDS + 1):
        for task in list(loop.tasks) if n else ():
            task.cancel()
        try:
            if not drained(loop) or not loop.tasks:
                break
        except BaseException as raised:  # noqa: BLE001  Ctrl-C in the flow's code
            interrupted = raised
    if interrupted is not None:
        raise interrupted


def abandon(loop: FlowLoop, run: str) -> bool:
    """Drop the tasks that no unwinding has ended: nothing wakes them again. Whether there are such.

    They are never freed, nor closed at exit: Python would raise GeneratorExit in them, and what they catch that with
    would run outside of their flow, where steps are plain functions and a loop without a wait has no end.
    """
    if not loop.tasks:
        return False
    import ctypes  # noqa: PLC0415  it is rarely needed, and takes time to import

    for task in loop.tasks:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(task))
    log.warning(
        "run %s: its flow does not end when it is unwound, and is dropped where it waits, at %s; its memory is not "
        "freed. Something there catches everything and goes on, as a bare `except:` does: write `except Exception:`",
        run,
        ", ".join(sorted({_place(task) for task in loop.tasks})[:3]),
    )
    return True


def _place(task: Task[Any]) -> str:
    """Where a task waits: the innermost line that is neither ours nor asyncio's."""
    at: Any = task.get_coro()
    place = task.get_name()
    while at is not None:
        frame = getattr(at, "cr_frame", None) or getattr(at, "gi_frame", None) or getattr(at, "ag_frame", None)
        if frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] not in _PASSED:
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
        at = getattr(at, "cr_await", None) or getattr(at, "gi_yieldfrom", None) or getattr(at, "ag_await", None)
    return place
