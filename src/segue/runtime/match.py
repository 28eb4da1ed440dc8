"""Whether a call and an outcome in the journal are the same, when their keys differ."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.codec import decode_arguments, encode_arguments
from ..core.commands import Command, RunStep
from ..core.events import Event
from ..core.keys import family
from ..errors import UsageError


def same_call(command: Command, event: Event) -> bool:
    """Whether the stored arguments, read with today's types, are those of the call.

    So a new field with a default changes the fingerprint of an old call, and harms nobody.
    """
    if not isinstance(command, RunStep) or event.args is None or family(command.key) != family(event.key or ""):
        return False
    try:
        stored, _ = encode_arguments(command.codecs, decode_arguments(command.codecs, event.args))
    except (TypeError, ValueError, UsageError):  # cannot be read with today's types: not the same
        return False
    return stored == command.args


def stray(event: Event, commands: Sequence[Command]) -> str | None:
    """The call that was probably made in the place of this outcome's: one of its family."""
    return next((c.key for c in commands if family(c.key) == family(event.key or "")), None)
