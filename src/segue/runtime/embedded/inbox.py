"""Turns what others ask of a run into its events."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.codec import dumps, loads
from ...core.commands import Command, RunStep
from ...core.events import OUTCOMES, EventType
from ...core.placed import IN_PLACE_OF
from ...core.replay import UNDER_WAY
from ...core.sealed import sealed
from ...core.secret import using
from ...errors import StoreError
from ...journal import BESIDE, Item
from .. import words
from . import carrying, doubts, people
from .attempts import again

if TYPE_CHECKING:
    from .execution import Execution


def in_turn(items: list[Item], *, held: bool = False) -> list[Item]:
    """In the order in which a process takes up what it reads at once: a pause holds back the signals too that came
    before it and were not read, and a cancel comes before those that a switch may have `held` back.
    """
    first = ("pause", "cancel") if held else ("pause",)
    runs = {item.run for item in items if item.kind in first}
    return sorted(items, key=lambda item: item.run in runs and item.kind == "signal") if runs else items


def takes(execution: Execution, item: Item) -> bool:
    """Whether it is taken up now: once, and not before the journal was read. In a pause signals stay in the inbox."""
    if item.no in execution.taken or not execution.begun or execution.closed or execution.aside is not None:
        return False
    return not (execution.still and item.kind == "signal")


def take_up(execution: Execution) -> bool:
    """After a pause: the signals that it has held back, and before them whatever else has come, such as a cancel: what
    a signal would begin is given up first. Then the timers that ran out in it. False where another pause has come.
    """
    with suppress(StoreError):  # it is told at the next look
        for item in sorted(execution.host.journal.items_of(execution.row.no), key=lambda item: item.kind == "signal"):
            execution.receive(item)
    if not execution.still:
        carrying.fire_late(execution)
    return not execution.still


def receive(execution: Execution, item: Item) -> None:
    """Journal one item; it is consumed in the same transaction."""
    taken: dict[str, Any] = {"body": item.body, "consumed": [item.no]}
    match item.kind:
        case "signal":
            execution.write(EventType.SIGNAL_RECEIVED, key=item.name, value=_payload(execution, item), **taken)
        case "child.ended":
            execution.write(EventType.CHILD_ENDED, key=item.name, value=item.value, version=2, **taken)
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
            _override(execution, item)
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


def place(execution: Execution) -> bool:
    """Before the flow begins: put a word on record that was said of a call in whose way an effect stood, whatever this
    code asks for. True where there is one: the run begins anew, from a journal that has it.
    """
    host, memory = execution.host, execution.memory
    items = [] if memory.fresh else host.journal.items_of(execution.row.no)
    word = next((w for w in words.waiting(items, execution.row.detail) if not memory.holds(w.key)), None)
    if word is None:
        return False
    _put_on_record(execution, word, partial(_anew, execution))
    return True


def _anew(execution: Execution) -> None:
    if not execution.closed:
        execution.drop()
        execution.host.adopt(execution.row, execution.seq)


def _put_on_record(execution: Execution, word: words.Word, done: Any = None, args: bytes | None = None) -> None:
    """A word on a call that the flow does not ask for now. What it gives counts when the flow does."""
    last: dict[str, Any] = {"key": word.key, "consumed": [word.no], "done": done}
    said: dict[str, Any] = {"value": word.value, "body": dumps(word.said)}
    if word.gives:
        execution.write(EventType.OPERATOR_ACTED, key=word.key, **said)
        value = word.value or b"null"
        execution.write(EventType.STEP_COMPLETED, attempt=0, value=value, args=args or word.args, **last)
    else:
        execution.write(EventType.OPERATOR_ACTED, **last, **said)


def _override(execution: Execution, item: Item) -> None:
    """An operator says what came of an open step, or that it is to be made again."""
    word, memory = words.read(item), execution.memory
    key = word.key
    command = execution.drive.open_call(key)
    memory.placed.hear(word.said, key, begun=command is not None or memory.holds(key))
    ending = command is not None and _has_ended(execution, command)
    if command is None and word.gives and _is_kept(execution, word):
        return _settle_begun(execution, word)
    if command is None or ending or not word.gives:
        if command is None or ending:
            left = _is_untold(execution, key, word.after)
        else:
            left = _is_under_way(execution, command, word.after)
        said = {**word.said, "details": UNDER_WAY} if left else word.said
        execution.write(EventType.OPERATOR_ACTED, key=key, value=item.value, body=dumps(said), consumed=[item.no])
        if not word.gives and not left:
            _begin_anew(execution, key, None if ending else command)
        return
    execution.write(EventType.OPERATOR_ACTED, key=key, value=item.value, body=dumps(word.said))
    execution.unknowns.pop(key, None)
    execution.overridden.add(key)
    carrying.cancel_step(execution, key)
    if key not in execution.once:  # an effect on its way is left to end; what comes of it no longer counts
        execution.steps.pop(key, None)
    value, posts = item.value or b"null", carrying.stop(execution, key, "somebody has said what came of it")
    execution.write(
        EventType.STEP_COMPLETED, key=key, seen=command.seen, attempt=0, value=value, consumed=[item.no],
        args=getattr(command, "args", None), posts=posts, done=execution.host.scan_soon if posts else None,
    )  # fmt: skip


def _begin_anew(execution: Execution, key: str, command: Command | None) -> None:
    """Make a step again: now, or when the flow asks for it. A replay reads the same from the journal."""
    if command is not None:
        again(execution, command)
    else:
        execution.memory.begin_anew(key)
        execution.drive.claims.begin_anew(key)


def _is_kept(execution: Execution, word: words.Word) -> bool:
    """Whether what came of a call that the flow does not ask for is kept: the journal has it as begun, or as one to
    begin anew, and nobody has said what came of it; or it stands in the place of a recorded one, and has no outcome.
    """
    memory, key = execution.memory, word.key
    if key in execution.overridden:
        return False
    if IN_PLACE_OF in word.said:
        return not any(True for _ in execution.host.journal.of_run(execution.row.no, tuple(OUTCOMES), key))
    return key in memory.attempts or key in memory.anew


def _settle_begun(execution: Execution, word: words.Word) -> None:
    """What came of a step that the flow does not ask for now, and that was begun, or stands for one that was."""
    execution.overridden.add(word.key)
    execution.drive.claims.lose([word.key])
    _put_on_record(execution, word, args=execution.memory.open_args.get(word.key))


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
