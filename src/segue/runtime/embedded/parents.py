"""Parents and the children that they wait for: who is let in beyond the capacity, since what fills it may be waiting
for them to end it, and who comes with whom.
"""

from __future__ import annotations

from json import dumps
from typing import TYPE_CHECKING, Any

from ...journal import Reader, Standing

if TYPE_CHECKING:
    from .host import Host

_AT_ONCE = 64
_AWAITED = "parent_key is not null and {0}.state in ('queued', 'running', 'parked', 'stuck')"
"""A child that is awaited. One that is set aside may have some that are at work."""
_ABOVE = f"""with recursive above (id) as (
    select c.parent from runs c where c.owner = ? and c.state = 'running' and c.{_AWAITED.format("c")}
    union
    select p.parent from above join runs p on p.id = above.id where p.{_AWAITED.format("p")}
)
select above.id, runs.no from above join runs on runs.id = above.id"""
"""The runs that wait for those in memory here, at any depth: few, however many wait for a place."""


_BELOW = f"""with recursive below (no, id) as (
    select no, id from runs where no = ?
    union
    select c.no, c.id from below join runs c on c.parent = below.id where c.{_AWAITED.format("c")}
)
select no from below"""
"""A run, and the open ones that it waits for, at any depth."""


def with_children(reader: Reader, no: int) -> list[int]:
    """A run, and all that must go on for it to go on: a parent that rests is not replayed, so it does not name them."""
    return [one for (one,) in reader.query(_BELOW, (no,))]


def left(host: Host) -> list[str | None]:
    """The owners of runs that nobody carries out: processes that have died, and none."""
    return _left(host, "state")


def kept_out(host: Host) -> list[Standing]:
    """Runs that wait for others which are in memory here, and that would move: parked ones whose time has come, a limit
    for instance, and those that nobody carries out. Where nothing is recovered, only those that were asked for here.
    """
    if not (host.recover or host.own):
        return []
    found = host.journal.query(_ABOVE, (host.journal.owner,))
    above = [run for run, no in found if host.recover or no in host.own]
    if not above:
        return []
    (free, values), now = host.switches.free(), host.clock.now()
    these = "runs.id in (select value from json_each(?))"
    parked = f"{these} and +wake_at <= ? and {free} order by +wake_at"
    found = host.journal.standing(parked, dumps(above), now, *values, limit=_AT_ONCE)
    ready = f"{these} and +state in ('queued', 'running') and +owner is ? and not paused and {free}"
    for owner in _left(host, f"{these} and +state", dumps(above)):
        found += host.journal.standing(ready, dumps(above), owner, *values, limit=_AT_ONCE)
    return found


def _left(host: Host, where: str, *values: Any) -> list[str | None]:
    owners = host.journal.query(f"select distinct owner from runs where {where} in ('queued', 'running')", values)
    return [owner for (owner,) in owners if owner is None or not host.journal.alive(owner)]
