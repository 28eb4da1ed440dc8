"""A run that is about to be set aside: its row says so, and for which effects it still waits. For whoever looks on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.lifecycle import RunState
from ..journal import RunRow


def noted(epoch: int, why: Mapping[str, Any], waits_on: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the row says, as long as this incarnation has the run."""
    return {"nearly": {**why, "epoch": epoch}, "waits_on": list(waits_on)}


def nearly(row: RunRow) -> dict[str, Any] | None:
    """Why a run is about to be set aside: `reason`, `message`, `key`, `remedy`. None for one that is not."""
    said: dict[str, Any] | None = row.detail.get("nearly")
    if said is None or row.state != RunState.RUNNING or said.get("epoch") != row.epoch:
        return None
    return said


def told(why: Mapping[str, Any]) -> str:
    """That, as a message."""
    return f"about to be set aside, after the effects on their way: {why.get('message', '')}"
