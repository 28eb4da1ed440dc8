"""Whether a call and an outcome in the journal are the same, when their keys differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..core.codec import decode_arguments, encode_arguments
from ..core.commands import Command, RunStep, StartChild
from ..core.events import Event
from ..core.keys import family
from ..core.replay import Memory
from ..errors import ReplayMismatch, UsageError


def same_call(command: Command, event: Event) -> bool:
    """Whether the stored arguments, read with today's types, are those of the call.

    So a new field with a default changes the fingerprint of an old call, and harms nobody.
    """
    return event.args is not None and _same(command, event.key or "", event.args)


def best(key: str, candidates: Sequence[str]) -> str | None:
    """Among equal calls the one of the same count, or the first."""
    count = key.rpartition("#")[2]
    return next((c for c in candidates if c.rpartition("#")[2] == count), candidates[0] if candidates else None)


def known_again(memory: Memory, commands: Iterable[Command]) -> dict[str, str]:
    """Work that the journal holds open under an older fingerprint of its arguments: old key to today's.

    Today's key takes over what the memory knows of it: attempts, backoff, the child's run.
    """
    commands = list(commands)
    asked = {c.key for c in commands}
    lost, names = [k for k in memory.open_args if k not in asked], dict[str, str]()
    for command in commands:
        if lost and command.key not in memory.open_args:
            old = best(command.key, [k for k in lost if _same(command, k, memory.open_args[k])])
            if old is not None:
                lost.remove(old)
                names[old] = command.key
                memory.rename(old, command.key)
    return names


def _same(command: Command, key: str, args: bytes) -> bool:
    if not isinstance(command, (RunStep, StartChild)) or family(command.key) != family(key):
        return False
    try:
        stored, _ = encode_arguments(command.codecs, decode_arguments(command.codecs, args))
    except (TypeError, ValueError, UsageError):  # cannot be read with today's types: not the same
        return False
    return stored == command.args


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


_SAME_CODE = (
    "a flow must make the same calls from the same outcomes: take what varies (time, random values, the order of sets) "
    "from segue.now, random and uuid or from a step; or fork the run before this step"
)
_CHANGED_CODE = (
    "the code or the input was changed before this call: put back what it had (segue check tells), then resume the "
    "run; or fork it before this step"
)
