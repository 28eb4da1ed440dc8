"""Money: what was set aside before a call, and what the call took of it. Amounts are whole nano-dollars."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from ..events import EventType
from .attempts import AttemptRef, Target, Usage
from .base import Part, Record, expect, record


class ScopeKind(StrEnum):
    """What a budget is for."""

    RUN = "run"
    THREAD = "thread"
    TENANT = "tenant"
    FLOW = "flow"
    USER = "user"
    TARGET = "target"
    ASK = "ask"
    """One question, all its attempts together."""
    OTHER = "other"


@record
class BudgetScope(Part):
    """One budget that a call counts against."""

    kind: ScopeKind
    name: str
    limit_nano: int | None = None
    """As it stood then; null: only counted."""
    period: str | None = None
    """The period that the limit is for, as `2026`, `2026-11` or `2026-11-22`; null: for ever."""


@record
class Reservation(Record):
    """The worst case of a call, set aside before it is sent. The envelope's `key` and `attempt` are the call's."""

    type: ClassVar[EventType] = EventType.USAGE_RESERVED
    id: str
    """Unique in its run."""
    amount_nano: int
    scopes: tuple[BudgetScope, ...]
    """Every budget that it counts against, in full against each."""
    currency: str = "USD"
    """ISO 4217; amounts are 1e-9 of it."""
    target: Target | None = None
    attempt: AttemptRef | None = None
    tokens_in_max: int | None = None
    """The input bound that the amount is made of."""
    tokens_out_max: int | None = None
    """The output limit that the call is sent with."""
    lowered_from: int | None = None
    """The output limit that was asked for, where it had to be lowered to fit."""
    price_source: str | None = None
    price_version: str | None = None

    def __post_init__(self) -> None:
        """Nothing negative is set aside."""
        expect(self.amount_nano >= 0, "amount_nano", "not negative")


class SettledBy(StrEnum):
    """Why a reservation was settled. `lost`: a crash left it open; `unused`: the call was not sent."""

    USED = "used"
    UNUSED = "unused"
    LOST = "lost"
    CORRECTED = "corrected"
    OTHER = "other"


@record
class Settlement(Record):
    """What a call took of what was set aside for it; the rest is free again."""

    type: ClassVar[EventType] = EventType.USAGE_SETTLED
    settles: str
    """The id of the reservation, in the same run."""
    amount_nano: int
    why: SettledBy = SettledBy.USED
    estimated: bool = False
    """Whether this is not what the provider said: an exact settlement of the same reservation replaces it."""
    currency: str = "USD"
    usage: Usage | None = None

    def __post_init__(self) -> None:
        """Nothing negative was used."""
        expect(self.amount_nano >= 0, "amount_nano", "not negative")
