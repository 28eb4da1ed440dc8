"""Carries out what a flow asks for beside steps: timers, children, and that something is no longer wanted."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from ...core.codec import dumps
from ...core.commands import Cancel, Record, Rekey, RunStep, StartChild, Timer
from ...core.events import EventType
from ...core.faults import classify
from ...core.questions import Put
from ...errors import DuplicateRun, StoreError
from ...journal import NewRun, Post, input_hash
from ..flow import Flow
from .purse import forgo

if TYPE_CHECKING:
    from .execution import Execution


def set_timer(execution: Execution, command: Timer) -> None:
    """Set a timer; one that an earlier incarnation has set keeps its time."""
    host, key = execution.host, command.key
    if key in execution.overridden:
        return  # that was in the inbox as the run began
    due = execution.memory.timers.pop(key, None)
    if due is None:
        since = None if command.since is None else execution.memory.put.get(command.since)
        due = (host.clock.now() if since is None else since.at) + command.after_s
        body = dumps({"due_at": due, "why": command.why})
        execution.write(EventType.TIMER_SET, key=key, seen=command.seen, body=body)
    execution.timers[key] = (due, host.call_at(due, partial(_fire, execution, key, command.seen)))


def _fire(execution: Execution, key: str, seen: int) -> None:
    """A timer has run out. In a pause it waits for the end of that: what it would cut short may have come by then."""
    catch_up(execution)
    if not execution.closed and not execution.still and execution.timers.pop(key, None) is not None:
        execution.write(EventType.TIMER_FIRED, key=key, seen=seen)


def fire_late(execution: Execution) -> None:
    """Fire the timers that ran out in a pause, in their order."""
    now = execution.host.clock.now()
    for due, key in sorted((due, key) for key, (due, _) in execution.timers.items()):
        if due <= now and (command := execution.drive.open_call(key)) is not None:
            _fire(execution, key, command.seen)


def catch_up(execution: Execution) -> None:
    """Before a time is over: take up what came in time, and this process was too busy to see."""
    with suppress(StoreError):  # it is told at the next look
        if not execution.closed:
            execution.host.receive_items(execution)


def record(execution: Execution, command: Record | Rekey) -> None:
    """Journal a fact of the flow's own, or which key a call has now."""
    if isinstance(command, Rekey):
        body = dumps({"asked_as": command.asked_as})
        execution.write(EventType.CALL_REKEYED, key=command.key, seen=command.seen, body=body)
        return
    event = execution.write(
        command.type, key=command.key, seen=command.seen, body=dumps(command.body), value=command.value,
        version=command.version,
    )  # fmt: skip
    if command.type == EventType.APPROVAL_ASKED:
        execution.memory.put.setdefault(command.key, Put(command.body["id"], event.at))


def start_child(execution: Execution, command: StartChild) -> None:
    """Start a child run, in one transaction with the event that says so."""
    host, row, key = execution.host, execution.row, command.key
    if execution.drive.open_call(key) is None or key in execution.overridden:
        return  # its end, or what was said of it, was in the inbox as the run began
    if not command.detached and execution.replaced(EventType.CHILD_ENDED, command):
        return
    run = execution.children.get(key) or command.id or f"{row.id}/{key}"
    if key in execution.children:
        return _left(execution, run)
    flow = cast("Flow[..., Any]", command.flow)
    if _taken(execution, run, flow, command):
        return
    if not command.detached:
        execution.children[key] = run
    names = [name for name in execution.drive.threads if name]
    new = NewRun(
        run, row.tenant, flow.name, flow.origin, flow.version, command.args, execution.now(), host.seed(),
        host.journal.owner, flow.revision, row.id, None if command.detached else key,
        body={"threads": names} if len(names) > 1 else None,
    )  # fmt: skip
    execution.write(
        EventType.CHILD_DETACHED if command.detached else EventType.CHILD_STARTED, key=key, seen=command.seen,
        body=dumps({"run": run, "flow": flow.name}), args=command.args, children=[new],
        done=partial(host.child_started, row, run, command.args),
    )  # fmt: skip


def _left(execution: Execution, run: str) -> None:
    """A child was started by an earlier incarnation of its parent, which now waits for it here."""
    host = execution.host
    row = None if host.recover else host.journal.find(run)
    if row is not None:
        host.take_up(row.no)


def _taken(execution: Execution, run: str, flow: Flow[..., Any], command: StartChild) -> bool:
    """Whether the child's id is another run's: then the call fails. A detached child may be the same run again."""
    row = execution.host.journal.find(run)
    if row is None or (
        command.detached and (row.flow, row.input_hash) == (flow.name, input_hash(command.args)) and not row.memo_run
    ):
        return False
    error = DuplicateRun(
        f"the child's id {run} is taken by another run, of {row.flow}",
        run=execution.row.id,
        key=command.key,
        remedy="start this run, or the child, with another id",
    )
    body = dumps({"run": run, "fault": classify(error).body()})
    execution.write(EventType.CHILD_ENDED, key=command.key, seen=command.seen, args=command.args, body=body)
    return True


def take_up(execution: Execution, command: RunStep) -> None:
    """Begin a step; where nothing new may start, after that."""
    if not execution.still:
        execution.run(command)
    else:  # as it is now: the code may declare it otherwise, and it is held back once
        execution.kept = [kept for kept in execution.kept if type(kept) is not RunStep or kept.key != command.key]
        execution.kept.append(command)


def give_up(execution: Execution, command: Cancel) -> None:
    """Stop what the flow no longer wants. A once-effect that is on its way is left to end."""
    key = command.key
    body = dumps({"applied": False}) if key in execution.once and is_between(execution, key) else None
    execution.memory.cancelled.add(key)
    cancel_step(execution, key)
    posts = stop(execution, key, "its parent no longer waits for it")
    done = execution.host.scan_soon if posts else None
    execution.write(EventType.STEP_CANCELLED, key=key, seen=command.seen, body=body, posts=posts, done=done)


def cancel_step(execution: Execution, key: str) -> None:
    """Stop a step, unless it is a once-effect whose call may be on its way."""
    if key not in execution.once or is_between(execution, key):
        execution.once.discard(key)
        making = execution.steps.get(key)
        if making is not None:
            making.cancel()
        forgo(execution, key)


@contextmanager
def failed(execution: Execution, key: str) -> Generator[None]:
    """While that an attempt has failed is being written, and nothing is waited for yet."""
    execution.failed.add(key)
    try:
        yield
    finally:
        execution.failed.discard(key)


def is_between(execution: Execution, key: str) -> bool:
    """Whether no call of a step is on its way: one has failed, and what follows is waited for, or being written."""
    return key in execution.backoffs or key in execution.failed


def between_attempts(execution: Execution) -> set[str]:
    """Once-effects of which no call is on its way."""
    return {key for key in execution.once if is_between(execution, key)}


def end_effects(execution: Execution) -> None:
    """The flow has ended: no further attempts are made for it."""
    for key in sorted(between_attempts(execution)):
        give_up(execution, Cancel(key, execution.drive.seen))


def stop(execution: Execution, key: str, why: str) -> list[Post]:
    """Stop the timer of a call; what is to be told to its child."""
    timer, child = execution.timers.pop(key, None), execution.children.pop(key, None)
    if timer is not None:
        timer[1].cancel()
    return [] if child is None else [cancel_child(execution, child, why)]


def cancel_child(execution: Execution, child: str, why: str) -> Post:
    """Asks a child to end."""
    asked = dumps({"by": f"run {execution.row.id}", "why": why})
    return Post(child, "cancel", f"parent:{execution.row.id}", "", execution.now(), None, asked)
