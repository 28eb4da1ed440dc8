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
from ...journal import BESIDE, SAID_AFTER, Item
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
    said = loads(item.body)
    said_after = int(said.pop(SAID_AFTER, 0))
    act = said.get("act", "result")
    if command is not None and _has_ended(execution, command):
        command = None
    if command is not None:
        said |= _lets_go(execution, key)
    if command is None and act != "retry" and _is_known(execution, key):
        return _settle_begun(execution, item, said)
    if command is None or act == "retry":
        if command is None:
            left = _is_untold(execution, key, said_after)
        else:
            left = _is_under_way(execution, command, said_after)
        taken["body"] = dumps({**said, "details": UNDER_WAY} if left else said)
        execution.write(EventType.OPERATOR_ACTED, key=key, value=item.value, **taken)
        if act == "retry" and not left:
            _begin_anew(execution, key, command)
        return
    execution.write(EventType.OPERATOR_ACTED, key=key, value=item.value, body=dumps(said))
    execution.unknowns.pop(key, None)
    execution.overridden.add(key)
    carrying.cancel_step(execution, key)
    if key not in execution.once:  # an effect on its way is left to end; what comes of it no longer counts
        execution.steps.pop(key, None)
    value, posts = item.value or b"null", carrying.stop(execution, key, "somebody has said what came of it")
    execution.write(
        EventType.STEP_COMPLETED, key=key, seen=command.seen, attempt=0, value=value, consumed=taken["consumed"],
        args=getattr(command, "args", None), posts=posts, done=execution.host.scan_soon if posts else None,
    )  # fmt: skip


def _lets_go(execution: Execution, key: str) -> dict[str, str]:
    """What stood in the way of a call, and does so no more now that somebody has spoken of it."""
    other = execution.drive.claims.let_through.pop(key, None)
    if other is None:
        return {}
    execution.memory.let_go.add(other)
    return {"in_place_of": other}


def _begin_anew(execution: Execution, key: str, command: Command | None) -> None:
    """Make a step again: now, or when the flow asks for it. A replay reads the same from the journal."""
    if command is not None:
        again(execution, command)
    else:
        execution.memory.begin_anew(key)
        execution.drive.claims.begin_anew(key)


def _is_known(execution: Execution, key: str) -> bool:
    """Whether the journal has a step as begun, or as one to begin anew, and nobody has said what came of it."""
    memory = execution.memory
    return (key in memory.attempts or key in memory.anew) and key not in execution.overridden


def _settle_begun(execution: Execution, item: Item, said: dict[str, Any]) -> None:
    """What came of a step that was begun, and that the flow does not ask for now: it counts when the flow does."""
    key = item.name
    execution.write(EventType.OPERATOR_ACTED, key=key, value=item.value, body=dumps(said))
    execution.overridden.add(key)
    execution.drive.claims.lose([key])
    execution.write(
        EventType.STEP_COMPLETED, key=key, attempt=0, value=item.value or b"null", consumed=[item.no],
        args=execution.memory.open_args.get(key),
    )  # fmt: skip


def _is_untold(execution: Execution, key: str, said_after: int) -> bool:
    """Whether an effect was on its way when its process ended, and that was not on record as a doubt when somebody
    spoke of it. Nobody can say of a journal that cannot be read.
    """
    memory = execution.memory
    return not memory.last_seq or (key in doubts.interrupted(memory) and not _answers(execution, key, said_after))


def _answers(execution: Execution, key: str, said_after: int) -> bool:
    """Whether a word is one on the doubt that is on record: not one that was said before it, and is read after it."""
    doubted = execution.memory.doubted.get(key)
    return doubted is not None and doubted <= said_after


def _is_under_way(execution: Execution, command: Command, said_after: int) -> bool:
    """Whether a once-effect is on its way, or was when its process ended, and nobody has looked what came of it: it is
    left to end, and what came of it is asked. A word that was said before the doubt was on record does not settle it:
    who said it may have been told that the effect simply runs, and so a replay would read it.
    """
    key = command.key
    if not isinstance(command, RunStep) or command.options.effect != "once":
        return False
    if key in execution.unknowns:
        return not _answers(execution, key, said_after)
    if key in execution.steps:
        return not carrying.is_between(execution, key)
    return _is_untold(execution, key, said_after)


def _has_ended(execution: Execution, command: Command) -> bool:
    """Whether what came of a step is being written: the first word counts, and it is not made again."""
    if not isinstance(command, RunStep) or not execution.replayed or not execution.unwritten:
        return False
    open_ = execution.steps.keys() | execution.unknowns.keys() | {kept.key for kept in execution.kept}
    return command.key not in open_
