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
from . import wheres
from .advice import Standing, advise
from .shelf import standing_of
from .waits import Advice, wait

__all__ = ["Below", "HeldUp", "family", "held_up"]

_HELD = (
    "(state = 'stuck' or paused or state = 'queued'"
    """ or (state = 'parked' and (detail like '%"signal"%' or detail like '%"person"%')))"""
)
_ASLEEP = """(state = 'parked' and not paused and (wake_at is not null or detail like '%"service"%'))"""
_LOOKED_AT = 20
"""Children that are looked at, of very many."""


class HeldUp(NamedTuple):
    """A child that does not move by itself, or not yet, with what it waits for and what helps."""

    row: RunRow
    says: list[Advice]


class Below(NamedTuple):
    """Children that hold a run up: some by name, and how many more there are."""

    named: list[HeldUp]
    more: int = 0
    listed: str = ""
    """The command that lists those others."""

    @property
    def others(self) -> list[Advice]:
        """That there are more of them."""
        what = f"Of its children {self.more:,} more {'waits' if self.more == 1 else 'wait'}."
        return [Advice(what, ((self.listed, "to see them"),))] if self.more else []


def family(reader: Reader, no: int) -> list[int]:
    """The open runs that a run waits for, at any depth."""
    return [one for one in with_children(reader, no) if one != no]


def held_up(reader: Reader, no: int, most: int, *, asleep: bool = False) -> Below:
    """Those of them that do not move by themselves, the oldest first, and `asleep` also what waits for its time."""
    kinds = f"({_HELD} or {_ASLEEP})" if asleep else _HELD
    query = (
        "select no, parent, flow, state = 'queued' and not paused as ready from runs"
        f" where no in (select value from json_each(?)) and {kinds} order by ready, {_HELD} desc, no"
    )
    all_ = reader.query(query, (json.dumps(family(reader, no)),))
    found, now = list[HeldUp](), time.time()
    for one, *_ in all_[:_LOOKED_AT]:
        for row in reader.runs("no = ?", (one,)):
            if says := _says(standing_of(reader, row), now, asleep=asleep):
                found.append(HeldUp(row, says))
    lacking = {one.row.flow for one in found if one.row.state == RunState.QUEUED}  # others just wait for a place
    parents = [one.row.parent for one in found[most:]]
    parents += [parent for _, parent, flow, ready in all_[_LOOKED_AT:] if not ready or flow in lacking]
    return Below(found[:most], len(parents), _lists(reader, no, set(parents)) if parents else "")


def _lists(reader: Reader, no: int, parents: set[str | None]) -> str:
    """The command that lists the open children of these; where they are several, all that is below the run."""
    (parent, *others), root = parents, reader.get(no).id
    where = ["state=open", f"id={root}/*" if others else f"parent={parent}"]
    if "," in where[1]:
        where.pop()
    query, values = wheres.read(where).sql(time.time())
    ((count,),) = reader.query(f"select count(*) from runs where {query}", values)
    return wheres.listing(where[::-1], count, command)


def _says(standing: Standing, now: float, *, asleep: bool) -> list[Advice]:
    row = standing.row
    if row.state == RunState.STUCK or row.paused or standing.held is not None or standing.lack is not None:
        return advise(standing, now, command)
    if row.state != RunState.PARKED or standing.posts:
        return []
    waits = [w for w in standing.waits if w.get("signal") not in standing.answered]
    if asleep:
        waits = [w for w in waits if not w.keys() & {"child", "turn", "step"}]
    else:
        waits = [w for w in waits if "signal" in w or "person" in w]
    return [wait(one, row.id, now, command) for one in waits]
