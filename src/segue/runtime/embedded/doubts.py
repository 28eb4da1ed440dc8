"""Once-effects of which nobody knows whether they were applied: no run ends, or is set aside, without naming them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...core.codec import dumps
from ...core.commands import Command, RunStep
from ...core.faults import FaultKind
from ...core.recovery import Attempt
from ...core.replay import Memory
from ...errors import RunStuck, UnknownEffect

if TYPE_CHECKING:
    from .execution import Execution

_INTERRUPTED = "the process ended while it was made"
_SET_ASIDE = "the run was set aside while it was made"


def known(execution: Execution) -> dict[str, str]:
    """Those that this process has looked into, and why they are in doubt."""
    return {key: execution.doubts[key] for key in execution.unknowns}


def found(execution: Execution, key: str, why: str, more: str) -> None:
    """One that nobody could reconcile: the rest of the run goes on as far as it can."""
    execution.unknowns[key], execution.doubts[key] = f"{why}; {more}", why
    execution.memory.numbers[key] = execution.histories[key][-1].n


def of(execution: Execution) -> dict[str, str]:
    """All effects in doubt of a run that goes no further here: also those that nobody could look into."""
    open_ = interrupted(execution.memory) | _asked_about(execution) | dict.fromkeys(on_their_way(execution), _SET_ASIDE)
    return {**{k: why for k, why in open_.items() if k not in execution.overridden}, **known(execution)}


def on_their_way(execution: Execution) -> set[str]:
    """The effects whose call this process has begun, and that have not ended."""
    quiet = execution.backoffs.keys() | execution.failed | execution.asking.keys()
    return {key for key in execution.once if key in execution.tries and key not in quiet}


def awaited(execution: Execution) -> set[str]:
    """The effects that must end before the run is set aside: a thread cannot be stopped, whatever it does."""
    return (on_their_way(execution) | execution.in_thread.keys()) & execution.steps.keys()


def _asked_about(execution: Execution) -> dict[str, str]:
    """Those of an earlier process, of which it is being found out what came of them."""
    memory, found = execution.memory, dict[str, str]()
    for key in execution.once & memory.effects:
        tries = execution.histories.get(key)
        if key not in execution.tries and tries and _was_interrupted(tries[-1]):
            found[key] = memory.doubts.get(key, _INTERRUPTED)
    return found


def find_unasked(execution: Execution) -> None:
    """When the flow has ended: what was begun, and its code no longer asks for, is in doubt. A fork leaves what its
    parent has begun to that.
    """
    memory = execution.memory
    for key, why in interrupted(memory).items() if memory.effects else ():
        if key not in execution.overridden and key not in memory.inherited:
            execution.unknowns[key], execution.doubts[key] = f"{why}; the code no longer asks for it", why


def told(execution: Execution, error: RunStuck) -> str:
    """Why a run is set aside, and the effects in doubt that this does not name yet."""
    others = of(execution).keys() - ({error.key} if isinstance(error, UnknownEffect) else set())
    return f"{error.message}; nobody knows whether {', '.join(sorted(others))} was applied" if others else error.message


def interrupted(memory: Memory) -> dict[str, str]:
    """The effects that a journal leaves without an outcome, and why they are in doubt."""
    found: dict[str, str] = {}
    for key in memory.effects:
        tries = memory.attempts.get(key)
        if tries and _was_interrupted(tries[-1]):
            found[key] = memory.doubts.get(key, _INTERRUPTED)
    return found


def heed(execution: Execution) -> None:
    """Before others' words are read: know the calls that are in doubt for what they were."""
    if execution.memory.effects:
        for command, _ in list(execution.drive.waiting.values()):
            as_begun(execution, command)


def as_begun(execution: Execution, command: Command) -> Command:
    """A call, as the once-effect that the journal has interrupted. That new code declares it as no effect does not say
    what came of it.
    """
    memory, key = execution.memory, command.key
    if key not in memory.effects or not isinstance(command, RunStep) or command.options.effect == "once":
        return command
    tries = memory.attempts.get(key)
    if not tries or not _was_interrupted(tries[-1]):
        return command
    execution.declared[key] = command
    return _asks(execution, command._replace(options=replace(command.options, effect="once")))


def as_declared(execution: Execution, command: Command) -> Command:
    """A call as the code declares it, once somebody has said that it was not applied."""
    declared = execution.declared.pop(command.key, None)
    return command if declared is None else _asks(execution, declared)


def _asks(execution: Execution, command: RunStep) -> RunStep:
    """What the flow waits for, from here on."""
    waiting = execution.drive.waiting
    if command.key in waiting:
        waiting[command.key] = command, waiting[command.key][1]
    return command


def _was_interrupted(last: Attempt) -> bool:
    return last.fault is not None and last.fault.kind is FaultKind.INTERRUPTED


def untold(memory: Memory) -> bool:
    """Whether one of them is not on record as in doubt yet."""
    return not interrupted(memory).keys() <= memory.doubts.keys()


def beside(detail: dict[str, Any], unknown: dict[str, str]) -> bytes:
    """The body of the event that says why a run rests: with the effects in doubt, for whoever asks about them next."""
    return dumps({**detail, "unknown": unknown} if unknown else detail)
