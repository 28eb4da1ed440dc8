"""Turns what others ask of a run into its events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...core.codec import loads
from ...core.events import EventType
from ...journal import Item

if TYPE_CHECKING:
    from .execution import Execution


def receive(execution: Execution, item: Item) -> None:
    """Journal one item; it is consumed in the same transaction."""
    taken: dict[str, Any] = {"body": item.body, "consumed": [item.no]}
    match item.kind:
        case "signal":
            execution.write(EventType.SIGNAL_RECEIVED, key=item.name, value=item.value, **taken)
        case "child.ended":
            execution.write(EventType.CHILD_ENDED, key=item.name, value=item.value, **taken)
        case "cancel":
            execution.write(EventType.RUN_CANCELLING, **taken)
            if execution.paused:
                execution.write(EventType.RUN_RESUMED, body=item.body, paused=False)
                execution.resume()
        case "pause":
            execution.paused = True
            execution.write(EventType.RUN_PAUSED, paused=True, **taken)
        case "resume":
            execution.write(EventType.RUN_RESUMED, paused=False, done=execution.resume, **taken)
        case "override":
            _override(execution, item, taken)
        case _:
            execution.write(EventType.FEEDBACK_GIVEN, key=item.name or None, value=item.value, **taken)


def _override(execution: Execution, item: Item, taken: dict[str, Any]) -> None:
    """An operator says what came of an open step, or that it is to be made again."""
    key = item.name
    waits = key in execution.drive.waiting
    act = loads(item.body).get("act", "result")
    execution.write(EventType.OPERATOR_ACTED, key=key, value=item.value, **taken)
    if not waits:
        return
    execution.unknowns.pop(key, None)
    if act == "retry":
        execution.again(key)
        return
    execution.overridden.add(key)
    task = execution.steps.pop(key, None)
    if task is not None:
        execution.once.discard(key)
        task.cancel()
    seen = execution.drive.waiting[key][0].seen
    execution.write(EventType.STEP_COMPLETED, key=key, seen=seen, attempt=0, value=item.value or b"null")
