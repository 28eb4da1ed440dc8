"""The exit codes. They are stable: scripts may rely on them."""

from __future__ import annotations

from enum import IntEnum

from ..errors import (
    InternalError,
    RunCancelled,
    RunFailed,
    RunStuck,
    SegueError,
    StepFailed,
    StoreError,
    UnknownFlow,
    UnknownQuestion,
    UnknownRun,
    UsageError,
)


class Exit(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    STUCK = 3
    CANCELLED = 4
    STORE = 5
    UNKNOWN = 6
    WAITS = 7
    OUTPUT = 8
    INTERNAL = 70
    SUSPENDED = 130
    TERMINATED = 143


MEANING: dict[Exit, str] = {
    Exit.DONE: "done: the run completed, or the command did what it was asked",
    Exit.FAILED: "the run failed",
    Exit.USAGE: "the command or its input must change",
    Exit.STUCK: "a run is set aside; for check: today's code would set one aside or fail it",
    Exit.CANCELLED: "the run was cancelled",
    Exit.STORE: "the database: missing, locked, full, damaged, not writable",
    Exit.UNKNOWN: "no such run, thread, flow, question or note",
    Exit.WAITS: "the run is open and waits for something from outside",
    Exit.OUTPUT: "stdout cannot be written; a run that was carried out has its own code",
    Exit.INTERNAL: "a bug in Segue",
    Exit.SUSPENDED: "suspended by Ctrl-C: resumable",
    Exit.TERMINATED: "suspended by SIGTERM: resumable",
}

OF_STATE: dict[str, Exit] = {
    "completed": Exit.DONE,
    "failed": Exit.FAILED,
    "cancelled": Exit.CANCELLED,
    "stuck": Exit.STUCK,
}
"""By a run's state; a run of any other state waits."""

_OF_ERROR: tuple[tuple[type[Exception], Exit], ...] = (
    (UnknownRun, Exit.UNKNOWN),
    (UnknownFlow, Exit.UNKNOWN),
    (UnknownQuestion, Exit.UNKNOWN),
    (UsageError, Exit.USAGE),
    (StoreError, Exit.STORE),
    (RunStuck, Exit.STUCK),
    (RunCancelled, Exit.CANCELLED),
    (RunFailed, Exit.FAILED),
    (StepFailed, Exit.FAILED),
    (InternalError, Exit.INTERNAL),
    (SegueError, Exit.FAILED),
)

_OF_CODE = {"unknown-note": Exit.UNKNOWN, "output": Exit.OUTPUT}
"""Of errors whose modules are not imported for their types: most commands never need them."""


def exit_of(error: BaseException) -> Exit:
    """The code of an error."""
    if isinstance(error, SegueError) and error.code in _OF_CODE:
        return _OF_CODE[error.code]
    return next((code for kind, code in _OF_ERROR if isinstance(error, kind)), Exit.INTERNAL)
