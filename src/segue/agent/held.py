"""Money that calls under way hold is waited for, as a place is: what they do not use is free again when they end.

Whoever waits holds none itself: it has not asked for a place yet. So each of those that it waits for ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from ..core.records import Decision

__all__ = ["Holds", "Patience", "affordable"]

_PATIENCE_S = 30.0
"""How long an attempt waits; then its Recovery says what follows, and the run may be parked."""
_LOOK_S, _LOOK_MAX_S = 0.05, 2.0
"""How often it looks: others may hold the money in other processes, and who can be paid depends on more than money."""


class Holds(Protocol):
    """Budgets, of which calls under way may hold a part."""

    @property
    def left(self) -> int | None:
        """Nano-dollars that a call may cost by now; None where no budget has a limit."""
        ...

    @property
    def freed(self) -> int | None:
        """What would be left if the calls under way took nothing of what they hold; None where they hold nothing."""
        ...

    @property
    def mark(self) -> str:
        """What is spent and held: another one when anything was settled or set aside."""
        ...


class Patience:
    """How long one attempt waits for money, in all."""

    def __init__(self, bill: Holds):
        self._bill, self._loop = bill, asyncio.get_running_loop()
        self._until = self._loop.time() + _PATIENCE_S

    async def wait(self) -> bool:
        """Until it is worth to look again. False when it has waited for long enough."""
        seen, look_s, began = self._bill.mark, _LOOK_S, self._loop.time()
        while self._loop.time() < self._until:
            await asyncio.sleep(look_s)
            if self._bill.mark != seen or self._loop.time() - began >= _LOOK_MAX_S:
                return True
            look_s *= 2
        return False


async def affordable(bill: Holds, decide: Callable[[int | None], Decision]) -> tuple[Decision, Decision | None]:
    """Who answers, given what is left; waited for while there would be somebody if less were held. Where nobody came of
    it, the second one is who that would be.
    """
    patience = Patience(bill)
    while True:
        seen, decision = bill.mark, decide(bill.left)
        if decision.chosen is not None:
            return decision, None
        rest = bill.freed
        if bill.mark != seen:
            continue  # another process has settled something: what was left and what is held do not go together
        if rest is None:
            return decision, None
        would = decide(rest)
        if would.chosen is None or not await patience.wait():
            return decision, would if would.chosen is not None else None
