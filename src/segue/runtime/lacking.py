"""Runs that are ready and that no living process can go on with: `stuck(no worker)`, which is looked up, never stored.

A mark in the run's row would have to be taken back by whoever learns of the flow, and one process could mark what
another is about to take. So a run's row says that it is ready, each process says which flows it knows
(`journal.workers`), and whoever looks compares the two.
"""

from __future__ import annotations

from typing import NamedTuple

from ..core.lifecycle import RunState, StuckReason
from ..core.shell import command
from ..journal import Reader, RunRow

REASON = StuckReason.NO_WORKER.value


class Lack(NamedTuple):
    """What is missing, and what to do."""

    message: str
    remedy: str


class Lacking:
    """One look at the living, for as many runs as are asked for."""

    def __init__(self, reader: Reader, now: float):
        self._reader, self._now, self._workers, self._switches = reader, now, reader.workers(), reader.switches()

    def __call__(self, row: RunRow) -> Lack | None:
        """What a run lacks; None for one that somebody can go on with, that waits, or that is held or paused."""
        woken = row.state == RunState.PARKED
        if row.paused or not self._workers.lack(row.flow, row.version, woken=woken):
            return None
        if not self._ready(row) or (self._switches.on and self._reader.held(row.no, self._switches)):
            return None
        others = self._workers.versions(row.flow)
        if others:
            known = ", ".join(map(str, others))
            return Lack(
                f"no living process knows version {row.version} of {row.flow}; known: {known}",
                f"keep the old function as @flow(name=..., version={row.version}), or declare migrate= on the new one",
            )
        return Lack(
            f"no living process knows the flow {row.flow}, version {row.version}",
            f"import {row.flow.partition(':')[0]} where the engine runs, or start a process that does: "
            + command("resume", row.id),
        )

    def _ready(self, row: RunRow) -> bool:
        """Whether it would go on at once, if it could."""
        if row.state in (RunState.QUEUED, RunState.RUNNING):
            return not self._reader.alive(row.owner)
        if row.state != RunState.PARKED or row.owner is not None:
            return False
        due = row.wake_at is not None and row.wake_at <= self._now
        return due or bool(
            self._reader.query("select 1 from inbox where run = ? and consumed is null limit 1", (row.id,))
        )
