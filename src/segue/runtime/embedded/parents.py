"""Parents that are let in beyond the capacity: what fills it may be waiting for them to end it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...journal import Standing

if TYPE_CHECKING:
    from .host import Host

_AT_ONCE = 64
_OPEN = "c.parent_key is not null and c.state in ('queued', 'running', 'parked', 'stuck')"
"""A child that is awaited. One that is set aside may have some that are at work."""
_HAS_SOME_HERE = f"""exists (
    with recursive below (id, owner, state) as (
        select c.id, c.owner, c.state from runs c where c.parent = runs.id and {_OPEN}
        union all
        select c.id, c.owner, c.state from runs c join below on c.parent = below.id where {_OPEN}
    )
    select 1 from below where below.owner = ? and below.state = 'running'
)"""


def left(host: Host) -> list[str | None]:
    """The owners of runs that nobody carries out: processes that have died, and none."""
    owners = host.journal.query("select distinct owner from runs where state in ('queued', 'running')")
    return [owner for (owner,) in owners if owner is None or not host.journal.alive(owner)]


def kept_out(host: Host) -> list[Standing]:
    """Runs that wait for others which are in memory here, and that would move: parked ones whose time has come, a limit
    for instance, and those that nobody carries out.
    """
    if not host.recover:
        return []
    (free, values), me, now = host.switches.free(), host.journal.owner, host.clock.now()
    parked = f"wake_at <= ? and {free} and {_HAS_SOME_HERE} order by wake_at"
    found = host.journal.standing(parked, now, *values, me, limit=_AT_ONCE)
    ready = f"state in ('queued', 'running') and owner is ? and not paused and {free} and {_HAS_SOME_HERE}"
    for owner in left(host):
        found += host.journal.standing(ready, owner, *values, me, limit=_AT_ONCE)
    return found
