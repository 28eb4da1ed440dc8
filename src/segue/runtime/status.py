"""Where a run stands, as its row says it, and the error of one that is set aside. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..core.lifecycle import RunState, StuckReason
from ..errors import CrashLoop, ReplayMismatch, RunStuck, SegueError, Undecodable, UnknownEffect
from ..journal import RunRow
from .ending import Ending
from .lacking import REASON, Lack
from .nearly import nearly, told

__all__ = ["NOTED_MAX", "RunStatus", "noted_waits", "status_of", "stuck_error"]

NOTED_MAX = 20
"""So many of the things that a run waits for are noted when it comes to rest; one beyond is a sign of more."""
_STUCK: dict[str, type[RunStuck]] = {
    StuckReason.MISMATCH: ReplayMismatch,
    StuckReason.CRASHES: CrashLoop,
    StuckReason.UNDECODABLE: Undecodable,
    StuckReason.UNKNOWN_EFFECT: UnknownEffect,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStatus:
    """Where a run stands. Times are seconds since the epoch, UTC."""

    id: str
    flow: str
    version: int
    state: RunState
    paused: bool
    parent: str | None
    created_at: float
    updated_at: float
    tenant: str = "default"
    waits_on: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    reason: str | None = None
    """Why it is set aside; `no worker` for one that is ready, while no living process knows its flow."""
    message: str | None = None
    """The same in words; of one that is about to be set aside too, was asked to end, or waits for the database to be
    written, which has no reason.
    """
    key: str | None = None
    remedy: str | None = None
    asks: str | None = None
    """The call in whose way the effect of `key` stands: an override of it lets the run go on."""


def status_of(
    row: RunRow,
    waits_on: list[dict[str, Any]] | None = None,
    lack: Lack | None = None,
    ahead: str | None = None,
    ending: Ending | None = None,
    *,
    trouble: SegueError | None = None,
) -> RunStatus:
    """A row as a status; `waits_on` of a run that is in memory is newer than the row's; `lack`: nobody can take it;
    `ahead`: the turn that it waits for; `ending`: that it was asked to end, which nobody has taken up yet;
    `trouble`: why nothing of it can be written.
    """
    stuck = row.detail if row.state == RunState.STUCK else {}
    waits_on = noted_waits(row.detail.get("waits_on", [])) if waits_on is None else waits_on
    if (soon := nearly(row)) is not None:
        stuck = {**soon, "reason": None, "message": told(soon)}
    if ending is not None:
        waits_on, ahead, stuck = [], None, ending._asdict()
    if lack is not None:
        stuck = {"reason": REASON, "message": lack.message, "remedy": lack.remedy}
    if trouble is not None:
        stuck = {"message": f"waits for the database: {trouble.message}", "remedy": trouble.remedy}
    return RunStatus(
        id=row.id, flow=row.flow, version=row.version, state=RunState(row.state), paused=row.paused, parent=row.parent,
        created_at=row.created_at, updated_at=row.updated_at, tenant=row.tenant,
        waits_on=[{"turn": ahead}] if ahead else waits_on,
        reason=stuck.get("reason"), message=stuck.get("message"), key=stuck.get("key"), remedy=stuck.get("remedy"),
        asks=stuck.get("asks"),
    )  # fmt: skip


def noted_waits(noted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a run that came to rest has noted that it waits for. An older one may name a child that had not begun: that
    is a call like any other.
    """
    told = noted[:NOTED_MAX]
    return [{"step": w["key"], "key": w["key"]} if w.get("child", "") is None else w for w in told]


def stuck_error(row: RunRow) -> RunStuck:
    """Why a run is set aside, as `result()` raises it."""
    detail = row.detail
    kind = _STUCK.get(detail.get("reason", ""), RunStuck)
    message = detail.get("message", "the run is set aside")
    error = kind(message, run=row.id, key=detail.get("key"), remedy=detail.get("remedy"))
    if isinstance(error, ReplayMismatch):
        error.asks = detail.get("asks")
    return error
