"""What a step that pays knows of its run's money: who pays, how their budgets stand, and how to set money aside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from ..core.budgets import Standing
    from ..core.records import BudgetScope, Reservation, Settlement


Recorded = tuple[str, int, dict[str, Any]]
"""A record of an attempt that goes out with its outcome: its type, version and body."""


class Payer(NamedTuple):
    """A run that pays: the step's own, or one that it is a child of. `budget_nano` None: it has no budget."""

    run: str
    tenant: str
    budget_nano: int | None


class Purse(Protocol):
    """The money of one attempt. A far side brings it; a step without one has no journal to count in."""

    def payers(self) -> Sequence[Payer]:
        """The run and those above it, its own first."""
        ...

    def thread(self) -> str | None:
        """The conversation that the run is a turn of."""
        ...

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def standings(self, scopes: Sequence[BudgetScope]) -> Sequence[Standing]:
        """How budgets stand by what is committed, in the order of `scopes`."""
        ...

    async def reserve(self, asked: Reservation) -> None:
        """Set money aside, and wait for the commit. Raises BudgetExceeded: then nothing was written."""
        ...

    def take_up(self, held: Reservation) -> None:
        """An attempt before this one has set it aside; this one settles it."""
        ...

    def settle(self, took: Settlement) -> None:
        """Settle at once, for an attempt that will not come to an outcome of its own."""
        ...

    def forgo(self, ids: Sequence[str]) -> None:
        """Of these, what attempts before this one have set aside took nothing: it was not sent. That replaces what a
        restart has counted.
        """
        ...

    async def settled(self, events: list[Recorded]) -> None:
        """Wait until all that the attempt has settled is committed; of its `events`, which would go out with its
        outcome, those of its calls are taken out and go out before: what it paid for holds nothing more then.
        """
        ...
