"""A run that was asked to end while nobody carries it out: what it waited for helps no more. For whoever looks on."""

from __future__ import annotations

from typing import NamedTuple

from ..core.lifecycle import RunState
from ..core.shell import command
from ..journal import Reader, RunRow, cancels

_WAITING = (RunState.QUEUED, RunState.RUNNING, RunState.PARKED)


class Ending(NamedTuple):
    """That it is being cancelled, by whom and why; and what carries it on, where nobody is there to do so."""

    message: str
    remedy: str | None


def asked_to_end(reader: Reader, row: RunRow, *, attended: bool) -> Ending | None:
    """That a cancel of it is not taken up yet. None also for a run that a living process has in memory, which takes it
    up at once, and for one that is set aside. `attended`: somebody is there to go on with it.
    """
    if row.state not in _WAITING or (row.owner is not None and reader.alive(row.owner)):
        return None
    found = reader.query(cancels.PENDING, (row.id,))
    if not found:
        return None
    remedy = None if attended else f"let it clean up: {command('resume', row.id)}"
    return Ending(f"being cancelled{cancels.told(found[0][0])}", remedy)
