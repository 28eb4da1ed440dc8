"""What holds a run up below it: children that wait for somebody, are paused or set aside, or that nobody here knows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from ..core.lifecycle import RunState
from ..core.shell import command
from ..journal import RunRow
from ..journal.reading import Reader
from .advice import Advice, Standing, advise, wait
from .shelf import standing_of

__all__ = ["HeldUp", "family", "held_up"]

_BELOW = (
    "with recursive below (no, id) as (select no, id from runs where no = ? union"
    " select c.no, c.id from below join runs c on c.parent = below.id and c.parent_key is not null"
    " where c.state in ('queued', 'running', 'parked', 'stuck'))"
    " select runs.no from below join runs on runs.no = below.no where runs.no != ?"
)
_HELD = (
    " and (state = 'stuck' or paused or state = 'queued'"
    """ or (state = 'parked' and (detail like '%"signal"%' or detail like '%"person"%')))"""
)
_LOOKED_AT = 20
"""Children that are looked at, of very many."""


class HeldUp(NamedTuple):
    """A child that does not move by itself, with what it waits for and what helps."""

    row: RunRow
    says: list[Advice]


def family(reader: Reader, no: int) -> Iterator[RunRow]:
    """The open runs that a run waits for, at any depth."""
    yield from (reader.get(one) for (one,) in reader.query(_BELOW, (no, no)))


def held_up(reader: Reader, no: int, most: int) -> list[HeldUp]:
    """Those of them that do not move by themselves, the oldest first."""
    found: list[HeldUp] = []
    for (one,) in reader.query(f"{_BELOW}{_HELD} order by runs.no limit {_LOOKED_AT}", (no, no)):
        row = reader.get(one)
        says = _says(standing_of(reader, row), time.time())
        if says:
            found.append(HeldUp(row, says))
        if len(found) == most:
            break
    return found


def _says(standing: Standing, now: float) -> list[Advice]:
    row = standing.row
    if row.state == RunState.STUCK or row.paused or standing.held is not None or standing.lack is not None:
        return advise(standing, now, command)
    if row.state != RunState.PARKED or standing.posts:
        return []
    waits = [w for w in standing.waits if ("signal" in w or "person" in w) and w.get("signal") not in standing.answered]
    return [wait(one, row.id, now, command) for one in waits]
