"""What holds a run up below it: children that wait for somebody, are paused or set aside, or that nobody here knows."""

from __future__ import annotations

import json
import time
from typing import NamedTuple

from ..core.lifecycle import RunState
from ..core.shell import command
from ..journal import RunRow
from ..journal.reading import Reader
from ..runtime.embedded.parents import with_children
from .advice import Advice, Standing, advise, wait
from .shelf import standing_of

__all__ = ["HeldUp", "family", "held_up"]

_HELD = (
    "no in (select value from json_each(?)) and (state = 'stuck' or paused or state = 'queued'"
    """ or (state = 'parked' and (detail like '%"signal"%' or detail like '%"person"%')))"""
)
_LOOKED_AT = 20
"""Children that are looked at, of very many."""


class HeldUp(NamedTuple):
    """A child that does not move by itself, with what it waits for and what helps."""

    row: RunRow
    says: list[Advice]


def family(reader: Reader, no: int) -> list[int]:
    """The open runs that a run waits for, at any depth."""
    return [one for one in with_children(reader, no) if one != no]


def held_up(reader: Reader, no: int, most: int) -> list[HeldUp]:
    """Those of them that do not move by themselves, the oldest first."""
    found, now = list[HeldUp](), time.time()
    for row in reversed(reader.runs(_HELD, (json.dumps(family(reader, no)),), _LOOKED_AT)):
        says = _says(standing_of(reader, row), now)
        if says:
            found.append(HeldUp(row, says))
    return found[:most]


def _says(standing: Standing, now: float) -> list[Advice]:
    row = standing.row
    if row.state == RunState.STUCK or row.paused or standing.held is not None or standing.lack is not None:
        return advise(standing, now, command)
    if row.state != RunState.PARKED or standing.posts:
        return []
    waits = [w for w in standing.waits if ("signal" in w or "person" in w) and w.get("signal") not in standing.answered]
    return [wait(one, row.id, now, command) for one in waits]
