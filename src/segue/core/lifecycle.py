"""The states of a run.

    accepted -> queued -> running <-> parked -> completed | failed | cancelled
                             |
                           stuck(reason), which is open and resumable

`paused` and `cancelling` are flags beside an open state.
"""

from __future__ import annotations

from enum import StrEnum


class RunState(StrEnum):
    """Where a run stands. Terminal states never change: later work is a fork."""

    QUEUED = "queued"
    RUNNING = "running"
    PARKED = "parked"
    STUCK = "stuck"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StuckReason(StrEnum):
    """Why a run was set aside, and by that who can help it."""

    MISMATCH = "mismatch"
    CRASHES = "crashes"
    UNKNOWN_EFFECT = "unknown effect"
    UNDECODABLE = "undecodable"
    NO_WORKER = "no worker"


OPEN = frozenset({RunState.QUEUED, RunState.RUNNING, RunState.PARKED, RunState.STUCK})
ENDED = frozenset({RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED})

_NEXT: dict[RunState, frozenset[RunState]] = {
    RunState.QUEUED: frozenset({RunState.RUNNING, RunState.STUCK, RunState.CANCELLED}),
    RunState.RUNNING: frozenset({RunState.QUEUED, RunState.PARKED, RunState.STUCK}) | ENDED,
    RunState.PARKED: frozenset({RunState.RUNNING, RunState.QUEUED, RunState.STUCK, RunState.CANCELLED}),
    RunState.STUCK: frozenset({RunState.RUNNING, RunState.QUEUED, RunState.CANCELLED}),
}


def allowed(before: RunState, after: RunState) -> bool:
    """Whether a run may go from `before` to `after`."""
    return after in _NEXT.get(before, frozenset())
