"""Whether a call and an outcome in the journal are the same, when their keys differ."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..core.codec import decode_arguments, encode_arguments, fingerprint
from ..core.commands import Command, RunStep, StartChild
from ..core.events import Event, EventType
from ..core.keys import family, leaf_of, name_of
from ..core.shell import command as shell
from ..errors import ReplayMismatch, Undecodable, UsageError

_FINGERPRINT = re.compile(r"\[[0-9a-f]{12}\]#\d+$")


def same_call(command: Command, event: Event) -> bool:
    """Whether the stored arguments, read with today's types, are those of the call.

    So a new field with a default changes the fingerprint of an old call, and harms nobody.
    """
    return event.args is not None and _goes_on(command, event.key or "", event.args)


def known_again(
    begun: Mapping[str, bytes], commands: Iterable[Command], holds: Callable[[str], bool]
) -> dict[str, str]:  # fmt: skip
    """Work that was begun under an older fingerprint of its arguments: the key of a command to the one on record.

    `begun` are the stored arguments by key. What the journal `holds` under its own key is known by that.
    """
    commands = list(commands)
    asked, found = {c.key for c in commands}, dict[str, str]()
    lost: dict[str, list[str]] = {}
    for key in begun:
        if key not in asked:
            lost.setdefault(family(key), []).append(key)
    for command in commands if lost else ():
        if holds(command.key) or command.key in found:
            continue
        left = lost.get(family(command.key), [])
        old = next((k for k in left if _goes_on(command, k, begun[k])), None)
        if old is not None:
            left.remove(old)
            found[command.key] = old
    return found


def _goes_on(command: Command, key: str, args: bytes) -> bool:
    """Whether a call is the one on record under another key: both go by their arguments, these are the same, and so is
    the count among equal calls. What has a key of the user's own is only what goes by that.
    """
    if not (_goes_by_arguments(command) and _FINGERPRINT.search(key)):
        return False
    return command.key.rpartition("#")[2] == key.rpartition("#")[2] and _same(command, key, args)


def _goes_by_arguments(command: Command) -> bool:
    return isinstance(command, RunStep | StartChild) and f"[{fingerprint(command.args)}]#" in command.key


def same_work(command: Command, key: str, args: bytes | None) -> bool:
    """Whether a call on record, in whatever scope, has the name and the identity of this one: the user's key, or the
    arguments.
    """
    if leaf_of(command.key) == leaf_of(key):
        return True
    by_arguments = _goes_by_arguments(command) and _FINGERPRINT.search(key) is not None
    return by_arguments and args is not None and name_of(command.key) == name_of(key) and _equal(command, args)


def _same(command: Command, key: str, args: bytes) -> bool:
    return family(command.key) == family(key) and _equal(command, args)


def _equal(command: Command, args: bytes) -> bool:
    if not isinstance(command, RunStep | StartChild):
        return False
    try:
        stored = _today(command, args)
        return stored in (command.args, _today(command, command.args))  # `5` for a float is read as 5.0
    except (TypeError, ValueError, UsageError):  # cannot be read with today's types: not the same
        return False


def _today(command: RunStep | StartChild, args: bytes) -> bytes:
    """Stored arguments as today's types write what they read."""
    return encode_arguments(command.codecs, decode_arguments(command.codecs, args))[0]


def stray(event: Event, commands: Sequence[Command]) -> str | None:
    """The call that was probably made in the place of this outcome's: one of its family."""
    return next((c.key for c in commands if family(c.key) == family(event.key or "")), None)


def mismatch(run: str, event: Event, instead: str | None, *, strict: bool) -> ReplayMismatch:
    """The error of a recorded call that the code does not make; `instead` is what it asks for."""
    made = f"the code now asks for {instead}" if instead else "the code no longer asks for it"
    place = f"event {event.seq}" if event.seq else "begun, without an outcome"
    return ReplayMismatch(
        f"the journal holds {event.key} ({place}), but {made}",
        run=run,
        key=event.key,
        remedy=_SAME_CODE if strict else _CHANGED_CODE,
    )


def in_the_way(run: str, event: Event, instead: str, *, strict: bool, led: bool = False) -> ReplayMismatch:
    """The error of what must not happen twice, and may be what the journal holds under another key. `led` says that it
    was a fork's other result or input which has led the flow there.
    """
    place = f"event {event.seq}" if event.seq else "begun, without an outcome"
    place = "its result was given to this fork" if event.type == EventType.RUN_FORKED else place
    same, other = (shell("override", run, instead, *how) for how in (("--result", "JSON"), ("--retry",)))
    back = f"put back the code that led to {event.key}, then resume the run"
    if led:
        back = f"fork the run again with the result or the input that led to {event.key}"
    error = ReplayMismatch(
        f"the journal holds {event.key} ({place}), but the code now asks for {instead}, with which an effect that must"
        " not happen twice may happen again",
        run=run,
        key=event.key,
        remedy=_SAME_CODE
        if strict
        else f"{back}; or say what the new call is, then {shell('resume', run)}. The same effect, and this is what it"
        f" gives: {same}. Another one, which is to be applied: {other}",
    )
    error.asks = instead
    return error


def not_given_up(run: str, key: str) -> ReplayMismatch:
    """The error of a child that was given up, and cancelled with that, where the code now waits for it."""
    return ReplayMismatch(
        f"the journal holds that the child {key} was given up, but the code now waits for it",
        run=run,
        key=key,
        remedy="put back the limit, or whatever gave it up, then resume the run; or fork it before this call",
    )


_SAME_CODE = (
    "a flow must make the same calls from the same outcomes: take what varies (time, random values, the order of sets) "
    "from segue.now, random and uuid or from a step; or fork the run before this step"
)
_CHANGED_CODE = (
    "the code or the input was changed before this call: put back what it had, then resume the "
    "run; or fork it before this step"
)


def unread(run: str, key: str, why: str, *, taken: bool) -> Undecodable:
    """The error of a stored value, or of what a wait has `taken`, that today's type does not read."""
    what = f"what {key} has taken" if taken else "the stored value"
    remedy = "put the type back, or give its new fields a default"
    if not taken:
        remedy = "restore the type, or write @step(upcast=...)"
    return Undecodable(
        f"{what} does not fit today's type: {why}", run=run, key=key, remedy=f"{remedy}, then resume the run"
    )
