"""Turns what others ask of a run into its events."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.codec import dumps, loads
from ...core.commands import Command, RunStep
from ...core.events import EventType
from ...core.replay import UNDER_WAY
from ...core.sealed import sealed
from ...core.secret import using
from ...journal import BESIDE, Item
from . import carrying, doubts, people
from .attempts import again

if TYPE_CHECKING:
    from .execution import Execution


def receive(execution: Execution, item: Item) -> None:
    """Journal one item; it is consumed in the same transaction."""
    taken: dict[str, Any] = {"body": item.body, "consumed": [item.no]}
    match item.kind:
        case "signal":
            execution.write(EventType.SIGNAL_RECEIVED, key=item.name, value=_payload(execution, item), **taken)
        case "child.ended":
            execution.write(EventType.CHILD_ENDED, key=item.name, value=item.value, **taken)
        case "cancel":
            if execution.paused:  # what was held back is given up first: it must not begin now
                execution.write(EventType.RUN_RESUMED, body=item.body, paused=False)
                taken["done"] = partial(execution.host.loop.call_soon, execution.resume)
            execution.write(EventType.RUN_CANCELLING, **taken)
        case "pause":
            execution.paused = True
            execution.write(EventType.RUN_PAUSED, paused=True, **taken)
        case "resume":
            execution.write(EventType.RUN_RESUMED, paused=False, done=execution.resume, **taken)
        case "decide":
            people.decide(execution, item, taken)
        case "reassign":
            people.reassign(execution, item, taken)
        case "override":
            _override(execution, item, taken)
        case kind if kind == BESIDE:
            said = loads(item.body)
            taken |= {"body": dumps(said["record"]), "attempt": said["attempt"], "version": said["version"]}
            execution.write(EventType.ATTEMPT_RECORDED, key=item.name, **taken)
        case _:
            execution.write(EventType.FEEDBACK_GIVEN, key=item.name or None, value=item.value, **taken)


def _payload(execution: Execution, item: Item) -> bytes | None:
    """A signal's payload, sealed where the wait that takes it says so."""
    wait = execution.drive.next_wait(item.name)
    if wait is None:
        return item.value
    with using(execution.vault):
        return sealed(wait, item.value)


def _override(execution: Execution, item: Item, taken: dict[str, Any]) -> None:
    """An operator says what came of an open step, or that it is to be made again."""
    key = item.name
    command = execution.drive.open_call(key)
    act = loads(item.body).get("act", "result")
    if command is not None and _has_ended(execution, command):
        command = None
    if command is None and act != "retry" and _is_known(execution, key):
        return _settle_begun(execution, item)
    if command is None or act == "retry":
        left = _is_untold(execution, key) if command is None else _is_under_way(execution, command)
        if left:
            taken["body"] = dumps({**loads(item.body), "details": UNDER_WAY})
        execution.write(EventType.OPERATOR_ACTED, key=key, value=item.value, **taken)
        if left:
            return
        if command is not None:
            again(execution, command)
        else:  # as a replay does
            execution.memory.forget(key)
            execution.drive.forget(key)
        return
    execution.write(EventType.OPERATOR_ACTED, key=key, value=item.value, body=item.body)
    execution.unknowns.pop(key, None)
    execution.overridden.add(key)
    carrying.cancel_step(execution, key)
    if key not in execution.once:  # an effect on its way is left to end; what comes of it no longer counts
        execution.steps.pop(key, None)
    value, posts = item.value or b"null", carrying.stop(execution, key, "somebody has said what came of it")
    execution.write(
        EventType.STEP_COMPLETED, key=key, seen=command.seen, attempt=0, value=value, consumed=taken["consumed"],
        posts=posts, done=execution.host.scan_soon if posts else None,
    )  # fmt: skip


def _is_known(execution: Execution, key: str) -> bool:
    """Whether the journal has an effect as begun, and nobody has looked into it or spoken about it."""
    memory = execution.memory
    return key in memory.effects and key in memory.attempts and key not in execution.overridden


def _settle_begun(execution: Execution, item: Item) -> None:
    """What came of an effect that was begun, and that the flow does not ask for now: it counts when the flow does."""
    key = item.name
    execution.write(EventType.OPERATOR_ACTED, key=key, value=item.value, body=item.body)
    execution.overridden.add(key)
    execution.write(
        EventType.STEP_COMPLETED, key=key, attempt=0, value=item.value or b"null", consumed=[item.no],
        args=execution.memory.open_args.get(key),
    )  # fmt: skip


def _is_untold(execution: Execution, key: str) -> bool:
    """Whether an effect was on its way when its process ended, and that is not on record as a doubt. Nobody can say of
    a journal that cannot be read.
    """
    memory = execution.memory
    return not memory.last_seq or (key in doubts.interrupted(memory) and key not in memory.doubts)


def _is_under_way(execution: Execution, command: Command) -> bool:
    """Whether a once-effect is on its way, or was when its process ended, and nobody has looked what came of it: it is
    left to end, and what came of it is asked. A word that comes before the doubt is on record does not settle it: who
    said it may have been told that the effect simply runs, and so a replay would read it.
    """
    key, memory = command.key, execution.memory
    if not isinstance(command, RunStep) or command.options.effect != "once":
        return False
    if key in execution.unknowns:
        return key not in memory.doubts
    if key in execution.steps:
        return not carrying.is_between(execution, key)
    return _is_untold(execution, key)


def _has_ended(execution: Execution, command: Command) -> bool:
    """Whether what came of a step is being written: the first word counts, and it is not made again."""
    if not isinstance(command, RunStep) or not execution.replayed or not execution.unwritten:
        return False
    open_ = execution.steps.keys() | execution.unknowns.keys() | {kept.key for kept in execution.kept}
    return command.key not in open_
