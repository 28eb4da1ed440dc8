"""Whether a once-effect is still wanted: one that the flow gave up, or that somebody spoke about, is not made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.codec import dumps
from ...core.commands import RunStep
from ...core.events import EventType

if TYPE_CHECKING:
    from .execution import Execution


def wanted(execution: Execution, key: str) -> bool:
    """Whether the flow still waits for it, and nobody has said meanwhile what came of it.

    A flow that is about to be set aside may wait for nothing any more: then what it gave up before that counts.
    """
    waits = key in execution.drive.waiting
    if execution.aside is not None:
        waits = waits or key not in execution.memory.cancelled
    return waits and key not in execution.overridden


def may_begin(execution: Execution, key: str) -> bool:
    """Whether an attempt may begin: none does once the run is to be set aside."""
    return execution.aside is None and wanted(execution, key)


def made_again(execution: Execution, command: RunStep) -> bool:
    """Whether a once-effect that was not applied is still wanted; if the flow gave it up, that is put on record."""
    still = wanted(execution, command.key)
    if not still and command.key not in execution.overridden:
        body = dumps({"applied": False})
        execution.write(EventType.STEP_CANCELLED, key=command.key, seen=command.seen, body=body)
    return still
