"""How a run comes to rest: whether it may park, and what its row says then."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...core.commands import Command, RunStep
from ...core.events import EventType
from ...core.lifecycle import RunState
from ...journal import Change
from ..status import NOTED_MAX
from . import doubts, ends

if TYPE_CHECKING:
    from .execution import Execution


def earliest(execution: Execution) -> float | None:
    """When the run moves on by itself: a timer, a backoff, the time limit of a question."""
    wakes = [due for due, _ in execution.timers.values()] + list(execution.backoffs.values())
    return min((due for due in wakes if due < math.inf), default=None)


def rest(execution: Execution) -> None:
    """All that the run waits for is durable: it may park, unless an effect in doubt is all that is left."""
    if execution.unknowns and not execution.timers and not execution.backoffs:
        ends.set_unknown_aside(execution)
    else:
        execution.host.rests(execution)


def park(execution: Execution) -> None:
    """Give the run up, in the state in which whoever comes next finds it.

    What a switch holds back is queued, so that the next look finds it when the switch is off; a paused run waits to be
    resumed.
    """
    host = execution.host
    detail = {"waits_on": ends.waits_on(execution)[: NOTED_MAX + 1]} if execution.begun else execution.row.detail
    behind = not execution.paused and (lost_a_step(execution) or (execution.held and execution.behind))
    resting = execution.resting and not behind
    wake_at = earliest(execution) if resting and not execution.paused else None
    state = RunState.PARKED if resting else RunState.QUEUED
    change = Change(state, detail, execution.now(), wake_at, release=True)
    body = doubts.beside(detail, doubts.known(execution))
    execution.write(EventType.RUN_PARKED, body=body, change=change, done=host.scan_soon, version=2)
    if wake_at is not None:
        host.wake_at(wake_at)


def lost_a_step(execution: Execution) -> bool:
    """Whether a step has no outcome and nobody at work on it: Ctrl-C went through it. It must begin anew."""
    held = execution.backoffs.keys() | execution.unknowns.keys() | execution.overridden
    waiting = execution.drive.waiting
    return any(isinstance(c, RunStep) and k not in held for k, (c, _) in waiting.items())


def owed(execution: Execution, command: Command) -> bool:
    """Whether it is an effect that the flow gave up after it was begun: what came of it must be found out."""
    return command.key in execution.drive.left and command.key in execution.memory.attempts
