"""Whether a once-effect is still wanted: one that the flow gave up, or that somebody spoke about, is not made."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ...core.codec import dumps
from ...core.commands import RunStep
from ...core.events import EventType

if TYPE_CHECKING:
    from .execution import Execution


def wanted(execution: Execution, key: str) -> bool:
    """Whether the flow still waits for it, and nobody has said meanwhile what came of it.

    A flow that a value ended which cannot be read gives nothing up by that.
    """
    drive = execution.drive
    waits = key in drive.waiting or (key in drive.unwound and not execution.closed)
    return waits and key not in execution.overridden


def may_begin(execution: Execution, key: str) -> bool:
    """Whether an attempt may begin: none does once the run is to be set aside."""
    return execution.aside is None and wanted(execution, key)


def made_again(execution: Execution, command: RunStep) -> bool:
    """Whether a once-effect that was not applied is still wanted; if the flow gave it up, that is put on record."""
    still = wanted(execution, command.key)
    if not still and command.key not in execution.overridden:
        _not_applied(execution, command)
    return still


def begins_anew(execution: Execution, command: RunStep) -> bool:
    """Whether an effect that was interrupted may begin anew, since it was not applied. Where the run is to be set aside
    it may not, and that it was not applied is put on record: nobody has to ask again.
    """
    if execution.aside is not None:
        _not_applied(execution, command)
    return execution.aside is None


def _not_applied(execution: Execution, command: RunStep) -> None:
    if execution.closed:  # a step that swallowed its cancellation still reports
        raise asyncio.CancelledError
    body = dumps({"applied": False})
    execution.write(EventType.STEP_CANCELLED, key=command.key, seen=command.seen, body=body)
    execution.unknowns.pop(command.key, None)
