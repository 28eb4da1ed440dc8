"""How a run begins and ends: its input, its result or fault, why it was set aside, what it waits for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ...core.codec import decode_arguments, dumps, loads, roundtrip
from ...core.commands import Command, RunStep, StartChild, Timer, Wait
from ...core.events import EventType
from ...core.faults import own_frames
from ...core.lifecycle import RunState, StuckReason
from ...core.recovery import AskPerson
from ...core.sealed import sealed
from ...core.secret import using
from ...core.shell import command as shell
from ...errors import (
    Continued,
    CrashLoop,
    ReplayMismatch,
    RunStuck,
    SegueError,
    StoreCorrupt,
    Undecodable,
    UnknownEffect,
)
from ...journal import Change, Item, Journal, Post, RunRow
from ..exits import raised_by
from ..past import memory_of
from ..stories import of_end, place_of
from . import doubts
from .carrying import cancel_child
from .purse import forgo, settle_open
from .sealing import fault_of

if TYPE_CHECKING:
    from .execution import Execution

_REASONS = {
    "mismatch": StuckReason.MISMATCH,
    "crashes": StuckReason.CRASHES,
    "undecodable": StuckReason.UNDECODABLE,
    "unknown-effect": StuckReason.UNKNOWN_EFFECT,
}


_OF_PEOPLE = frozenset({"decide", "reassign"})
"""Words on a question: they wait for a flow that knows it, or they would count as too late."""

ERRORS_KEPT = 256
"""Live errors that are kept for whoever asks for the result: with each goes all that its traceback's frames hold."""


class End(NamedTuple):
    """The event that ends a run."""

    type: str
    state: RunState
    value: bytes | None
    body: bytes | None
    version: int = 1


def input_of(execution: Execution, args: bytes) -> dict[str, Any]:
    """The stored input as today's types. Raises Undecodable."""
    flow, what = execution.flow, "the stored input does not fit today's signature"
    try:
        if callable(flow.migrate) and execution.row.version != flow.version:
            what = f"migrate= of version {flow.version} cannot read the stored input"
            args = flow.migrated(args)
        with using(execution.vault):
            return decode_arguments(flow.signature.codecs, args)
    except Exception as error:
        raise Undecodable(
            f"{what}: {type(error).__name__}: {error}",
            run=execution.row.id,
            remedy="restore the types, or give @flow(version=..., migrate=function) from the old input to the new",
        ) from error


def end_of(execution: Execution) -> End:
    """What came of a flow that is done. Calls that are still on their way are paid for first.

    Raises Continued for one that goes on as new.
    """
    settle_open(execution)
    drive = execution.drive
    orphans = {"orphaned": drive.orphans} if drive.orphans else {}
    try:
        with using(execution.vault):
            value = roundtrip(execution.flow.signature.result, drive.result())[0]
    except (asyncio.CancelledError, Continued, BaseExceptionGroup) as raised:
        error = _within(raised)
        if isinstance(error, Continued):
            if not drive.cancelling:
                raise error from None
            error = asyncio.CancelledError("cancelled as it went on as new")
        elif not isinstance(error, asyncio.CancelledError):
            return _failed(execution, error, orphans)
        body = dumps({**orphans, "fault": fault_of(execution, error).body()})
        if drive.cancelling:
            return End(EventType.RUN_CANCELLED, RunState.CANCELLED, None, body)
        return End(EventType.RUN_FAILED, RunState.FAILED, None, body, 3)
    except BaseException as error:  # noqa: BLE001  whatever the flow raised is its end
        return _failed(execution, error, orphans)
    return End(EventType.RUN_COMPLETED, RunState.COMPLETED, value, dumps(orphans) if orphans else None)


def _within(raised: BaseException) -> BaseException:
    """What a flow raised. A TaskGroup in which it has called `continue_as_new` makes a group of that."""
    inside: BaseException = raised
    while isinstance(inside, BaseExceptionGroup) and len(inside.exceptions) == 1:  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]  of any errors
        inside = inside.exceptions[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  see above
    return inside if isinstance(inside, Continued) else raised


def _failed(execution: Execution, error: BaseException, orphans: dict[str, Any]) -> End:
    """The flow has raised. Its error is kept for a while, for whoever asks for the result here."""
    if isinstance(error, SegueError):
        error.run = error.run or execution.row.id
    errors = execution.host.errors
    errors[execution.row.no] = error.with_traceback(own_frames(error))
    if len(errors) > ERRORS_KEPT:
        del errors[next(iter(errors))]
    run, fault = execution.row.id, fault_of(execution, error).body()
    key = place_of(error, run)[0] or raised_by({"fault": fault}, run)
    more = {"tried": of_end(error, run, execution.vault.without), "key": key}
    body = dumps({**orphans, "fault": fault, **{k: v for k, v in more.items() if v}})
    return End(EventType.RUN_FAILED, RunState.FAILED, None, body, 3)


def told(execution: Execution, end: End) -> dict[str, Any]:
    """What is written with a run's end: where it stands then, and what others are told."""
    change = Change(end.state, {}, execution.now())
    return {"change": change, "posts": farewell(execution, end.value, end.body)}


def farewell(execution: Execution, value: bytes | None, body: bytes | None) -> list[Post]:
    """What a run's end says to others: to its parent that it ended, to its children to end too."""
    seal_unread(execution)
    row, posts = execution.row, list[Post]()
    if row.parent is not None and row.parent_key is not None:
        told = dumps({"run": row.id, **{k: v for k, v in loads(body).items() if k != "key"}})  # a key of its own calls
        posts.append(Post(row.parent, "child.ended", f"child:{row.id}", row.parent_key, execution.now(), value, told))
    return posts + orphan(execution)


def seal_unread(execution: Execution) -> None:
    """Signals that nobody has taken, by whose names the flow has taken secrets."""
    drive = execution.drive
    with using(execution.vault):
        for name, wait in drive.secrets.items():
            for event in drive.signals.get(name, ()):
                value = sealed(wait, event.value)
                if value is not None and value != event.value:
                    execution.host.journal.seal(execution.row, event.seq, value)


def orphan(execution: Execution) -> list[Post]:
    """What its children are told that it still waits for."""
    return [cancel_child(execution, c, "its parent has ended") for c in execution.children.values()]


def cancel_of(journal: Journal, row: RunRow) -> Item | None:
    """What cancels a run that is set aside: also when who had claimed it for that has died, or was closed, since."""
    last = journal.query(
        "select type from events where run = ? and type not in (?, ?) order by seq desc limit 1",
        (row.no, EventType.RUN_STARTED, EventType.RUN_PARKED),
    )
    return _cancel_of(journal, row) if last == [(EventType.RUN_STUCK,)] else None


def _cancel_of(journal: Journal, row: RunRow) -> Item | None:
    """What asks a run to end, whose code cannot run. Not before each effect in doubt is on record as one."""
    cancel = next((item for item in journal.items_of(row.no) if item.kind == "cancel"), None)
    if cancel is not None:
        with suppress(StoreCorrupt):
            if doubts.untold(memory_of(journal, row)):
                return None
    return cancel


def damaged(error: StoreCorrupt) -> Undecodable:
    """Why a run is set aside whose journal is damaged."""
    return Undecodable(error.message, run=error.run, remedy=error.remedy)


def begins_stuck(execution: Execution, error: RunStuck) -> None:
    """Set a run aside whose flow cannot begin or go on, unless somebody had asked it to end: then that is its end."""
    host, execution.begun = execution.host, True
    cancel = _cancel_of(host.journal, execution.row)
    if cancel is not None:
        return end_cancelled(execution, cancel)
    doubts.heed(execution)
    drive = execution.drive
    if isinstance(error, Undecodable) and (found := host.journal.damage(execution.row)) is not None:
        error = damaged(found)  # no type of the code is to blame
    for item in host.journal.items_of(execution.row.no):  # or a `resume` would wake it again and again
        if item.kind not in _OF_PEOPLE or drive.open_call(drive.on_record(item.name)) is not None:
            execution.receive(item)
    return execution.set_aside(error)


def end_cancelled(execution: Execution, item: Item) -> None:
    """Cancel a run that is set aside: its code cannot run, so nothing is cleaned up."""
    host, row = execution.host, execution.row
    try:
        execution.children = memory_of(host.journal, row).children
    except StoreCorrupt:
        execution.children = {}
    forgo(execution)
    cancelled = fault_of(execution, asyncio.CancelledError("the run was cancelled while it was set aside"))
    body = dumps({**loads(item.body), "fault": cancelled.body()})
    change, posts = Change(RunState.CANCELLED, {}, execution.now()), farewell(execution, None, body)
    done = partial(host.ended, row)
    execution.write(EventType.RUN_CANCELLED, body=body, change=change, consumed=[item.no], posts=posts, done=done)
    execution.leave(park=False)


def stuck_detail(error: RunStuck) -> dict[str, Any]:
    """Why a run was set aside, as its row and its event say it."""
    detail = {"reason": _REASONS[error.code], "message": error.message, "key": error.key, "remedy": error.remedy}
    detail["asks"] = error.asks if isinstance(error, ReplayMismatch) else None
    return {k: v for k, v in detail.items() if v is not None}


def unknown_effect(execution: Execution, key: str, why: str) -> UnknownEffect:
    """Nobody knows whether a once-effect was applied."""
    was, not_ = (shell("override", execution.row.id, key, *how) for how in (("--result", "JSON"), ("--retry",)))
    return UnknownEffect(
        f"the effect of {key} was interrupted, and whether it was applied is unknown ({why})",
        run=execution.row.id,
        key=key,
        remedy=f"find out, then: {was} (it was), or {not_} (it was not)",
    )


def set_unknown_aside(execution: Execution) -> None:
    """All that is left to do depends on whether an effect was applied."""
    key, why = min(execution.unknowns.items())  # the same one each time
    execution.set_aside(unknown_effect(execution, key, why))


def crash_loop(execution: Execution, starts: int) -> CrashLoop:
    """The run seems to end its process."""
    return CrashLoop(
        f"the run has been started {starts} times without progress: it seems to end its process, or to make it hang",
        run=execution.row.id,
        remedy=f"find out what kills the process (memory? os._exit?) or keeps all of it busy, then: "
        f"{shell('resume', execution.row.id)}",
    )


def waits_on(execution: Execution) -> list[dict[str, Any]]:
    """What the run waits for, for people."""
    waits: list[dict[str, Any]] = []
    for key, command in _open(execution).items():
        match command:
            case None:
                waits.append({"step": key, "key": key})
            case Wait():
                put = (one for one, id_ in execution.drive.questions.items() if id_ == command.name)
                waits.append({"signal": command.name, "key": next(put, key)})  # a question is known by its own key
            case Timer() if key in execution.timers:
                waits.append({command.why: execution.timers[key][0], "key": key})
            case StartChild() if key in execution.children:
                waits.append({"child": execution.children[key], "key": key})
            case RunStep() if asked := _asked(execution, key):
                whom, to, due_at = asked
                waits.append({whom: to, "key": key, **({} if due_at is None else {"due_at": due_at})})
            case RunStep() if key in execution.backoffs:
                waits.append({"retry": execution.backoffs[key], "key": key})
            case StartChild():  # not begun: a pause holds it back, for instance
                waits.append({"step": key, "key": key})
            case RunStep():
                unknown = {"unknown": execution.doubts[key]} if key in execution.unknowns else {}
                waits.append({"step": key, "key": key, **unknown})
            case _:
                pass
    return waits


def _open(execution: Execution) -> dict[str, Command | None]:
    """What it waits for: its calls, and after them the effects that it no longer asks for, and ends after. One that is
    about to be set aside waits for its effects alone.
    """
    left = execution.drive.left
    if execution.aside is not None:
        return dict.fromkeys(sorted(doubts.awaited(execution)))
    open_: dict[str, Command | None] = {key: command for key, (command, _) in execution.drive.waiting.items()}
    ending = execution.once | (left.keys() & execution.unknowns.keys())
    return open_ | {key: left.get(key) for key in sorted(ending - open_.keys())}


def _asked(execution: Execution, key: str) -> tuple[str, str, float | None] | None:
    """Whether a step waits for a person or a service, for whom, and until when; also one that a pause holds back since
    the run was taken up.
    """
    if key in execution.asking:
        asking = execution.asking[key]
        return "service" if asking.service else "person", asking.to, asking.due_at
    answer = execution.memory.attempts[key][-1].answer if execution.memory.attempts.get(key) else None
    if not isinstance(answer, AskPerson):
        return None
    return "service" if answer.service else "person", answer.to, execution.memory.due_at.get(key)
