"""Parents that are let in beyond the capacity: what fills it may be waiting for them to end it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...journal import Standing

if TYPE_CHECKING:
    from .host import Host

_AT_ONCE = 64


def due(host: Host) -> list[Standing]:
    """Parked runs whose time has come, a limit for instance, while their children are in memory here."""
    if not host.recover:
        return []
    free, values = host.switches.free()
    where = (
        f"wake_at <= ? and {free} and exists (select 1 from runs c where c.parent = runs.id and c.owner = ?"
        " and c.state = 'running') order by wake_at"
    )
    return host.journal.standing(where, host.clock.now(), *values, host.journal.owner, limit=_AT_ONCE)
