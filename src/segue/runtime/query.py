"""Which runs are meant: filters, as SQL over the columns of a run's row. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..core.lifecycle import ENDED, OPEN, RunState, StuckReason
from ..errors import InputError

GROUPS = {"open": OPEN, "ended": ENDED}
STATES = (*(s.value for s in RunState), "paused", *GROUPS)
REASONS = tuple(r.value for r in StuckReason)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunQuery:
    """All of them hold at once. Ages are seconds. Raises InputError for a word that there is not."""

    id: str | None = None
    """With `*` for any text: `order-*`."""
    state: str | None = None
    """A state, or `paused`, `open`, `ended`."""
    flow: str | None = None
    """With or without its module."""
    tenant: str | None = None
    reason: str | None = None
    """Why it is stuck. `no worker` is looked up for each run that is ready."""
    parent: str | None = None
    older_than_s: float | None = None
    """Accepted so long ago."""
    newer_than_s: float | None = None
    idle_for_s: float | None = None
    """Its row has not changed for so long."""

    def __post_init__(self) -> None:
        _among("state", self.state, STATES)
        _among("reason", self.reason, REASONS)

    @property
    def lacks(self) -> bool:
        """Whether only runs are meant that no living process can go on with."""
        return self.reason == StuckReason.NO_WORKER

    def sql(self, now: float) -> tuple[str, list[Any]]:
        """A condition and its values."""
        where, values = _state(self.state)
        for part, value in (
            ("id glob ?", None if self.id is None else self.id.replace("[", "[[]").replace("?", "[?]")),
            ("tenant = ?", self.tenant),
            ("parent = ?", self.parent),
            ("state = 'stuck' and json_extract(detail, '$.reason') = ?", None if self.lacks else self.reason),
            ("created_at <= ?", _ago(now, self.older_than_s)),
            ("created_at > ?", _ago(now, self.newer_than_s)),
            ("updated_at <= ?", _ago(now, self.idle_for_s)),
        ):
            if value is not None:
                where, values = [*where, part], [*values, value]
        if self.flow is not None:
            where.append("(flow = ? or substr(flow, -length(?)) = ?)")
            values += [self.flow, f":{self.flow}", f":{self.flow}"]
        if self.lacks:
            where.append("state in ('queued', 'running', 'parked')")
        return " and ".join(where) or "1", values


def _ago(now: float, seconds: float | None) -> float | None:
    return None if seconds is None else now - seconds


def _state(state: str | None) -> tuple[list[str], list[Any]]:
    if state is None:
        return [], []
    if state == "paused":
        return ["paused"], []
    group = [str(s) for s in sorted(GROUPS.get(state, {state}))]
    return [f"state in ({', '.join('?' * len(group))})"], list(group)


def _among(what: str, word: str | None, words: tuple[str, ...]) -> None:
    if word is not None and word not in words:
        raise InputError(f"{what} {word!r}: no such {what}", remedy=f"one of: {', '.join(words)}")
