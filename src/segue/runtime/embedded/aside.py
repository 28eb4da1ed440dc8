"""How a run is set aside: after the effects that are on their way, whose outcomes are journaled first.

They cannot be stopped, or not without a doubt. Where the run was taken up again beside one, it could be made twice.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from ...core.events import EventType
from ...core.lifecycle import RunState
from ...core.shell import command
from ...errors import CrashLoop
from ...journal import Change
from ...journal.damage import UNREADABLE
from ..nearly import noted
from . import doubts, ends

if TYPE_CHECKING:
    from ...errors import RunStuck
    from .execution import Execution

log = logging.getLogger("segue")


def set_aside(execution: Execution, error: RunStuck) -> None:
    """Set a run aside, as soon as no effect of it is on its way. Nothing else begins, or goes on, before that."""
    if execution.closed:
        return
    begun, first = _begun(execution), execution.aside is None
    execution.aside = execution.aside or error
    if not begun:
        write(execution)
    elif first:
        _stop_others(execution, begun)
        said = noted(execution.row.epoch, ends.stuck_detail(error), ends.waits_on(execution))
        execution.host.journal.note(execution.row, said)


def crashed(execution: Execution, error: BaseException | None) -> None:
    """What nobody has foreseen: set the run aside, or it would go on to crash for ever. It is a bug of ours, if it does
    not come of a damaged journal.
    """
    row, journal = execution.row, execution.host.journal
    found = journal.damage(row) if isinstance(error, UNREADABLE) else None
    why = None if found is None else ends.damaged(found)
    if why is None:
        log.error("internal error in run %s", row.id, exc_info=error)
        why = CrashLoop(
            f"a bug in Segue: {type(error).__name__}: {error}",
            run=row.id,
            remedy=f"report it, with {command('events', row.id, '--json')}; then {command('resume', row.id)}",
        )
    set_aside(execution, why)


def write(execution: Execution) -> None:
    """Write it, whatever is on its way: what came of that is in doubt."""
    error = execution.aside
    assert error is not None
    error.run = error.run or execution.row.id
    error.message = doubts.told(execution, error)
    detail, in_doubt = ends.stuck_detail(error), doubts.of(execution)
    change = Change(RunState.STUCK, detail, execution.now(), release=True)
    body, done = doubts.beside(detail, in_doubt), partial(execution.host.ended, execution.row)
    execution.write(EventType.RUN_STUCK, body=body, change=change, done=done, version=2)
    execution.drop()


def _begun(execution: Execution) -> set[str]:
    """The effects whose end is waited for; not one in whose own task this is said: that is a bug of ours in it."""
    if not execution.once:
        return set()
    task = asyncio.current_task(execution.host.loop)
    return {key for key in doubts.awaited(execution) if task is None or execution.steps[key].task is not task}


def _stop_others(execution: Execution, begun: set[str]) -> None:
    """What is no effect on its way goes on when the run is taken up again."""
    for key, why in doubts.of(execution).items():
        if key not in begun and key not in execution.unknowns:  # else nothing here knows of it when this is written
            execution.unknowns[key] = execution.doubts[key] = why
    for key, making in list(execution.steps.items()):
        if key not in begun:
            making.cancel()
    for _, handle in execution.timers.values():
        handle.cancel()
