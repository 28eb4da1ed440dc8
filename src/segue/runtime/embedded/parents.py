"""Parents that are let in beyond the capacity: what fills it may be waiting for them to end it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...journal import Standing

if TYPE_CHECKING:
    from .host import Host

_AT_ONCE = 64
_HAS_SOME_HERE = """exists (
    with recursive below (id, owner, state) as (
        select c.id, c.owner, c.state from runs c where c.parent = runs.id and c.parent_key is not null
        union all
        select c.id, c.owner, c.state from runs c join below on c.parent = below.id
        where c.parent_key is not null and below.state in ('queued', 'running', 'parked')
    )
    select 1 from below where below.owner = ? and below.state = 'running'
)"""


def due(host: Host) -> list[Standing]:
    """Runs that wait for others which are in memory here, and that would move: parked ones whose time has come, a limit
    for instance, and those whose process has died.
    """
    if not host.recover:
        return []
    (free, values), me, now = host.switches.free(), host.journal.owner, host.clock.now()
    parked, left = "wake_at <= ?", "state = 'running' and owner is not ? and not paused"
    return [
        *host.journal.standing(
            f"{parked} and {free} and {_HAS_SOME_HERE} order by wake_at", now, *values, me, limit=_AT_ONCE
        ),
        *host.journal.standing(f"{left} and {free} and {_HAS_SOME_HERE}", me, *values, me, limit=_AT_ONCE),
    ]
