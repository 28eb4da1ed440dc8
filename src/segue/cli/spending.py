"""What a run has cost, from its journal. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..core.codec import loads
from ..core.events import Event, EventType


class Cost(NamedTuple):
    """Nano-dollars; `estimated` is the part of them that no provider has confirmed."""

    amount: int = 0
    estimated: int = 0

    def plus(self, amount: int, estimated: bool) -> Cost:
        """With another amount."""
        return Cost(self.amount + amount, self.estimated + amount * estimated)

    @property
    def usd(self) -> str:
        """In USD: six places, or as many as it takes to see something."""
        text = f"{self.amount / 1e9:.6f}" if self.amount >= 1000 or not self.amount else f"{self.amount / 1e9:.9f}"
        whole = text.rstrip("0")
        return whole + "00"[: max(0, 2 - len(whole.partition(".")[2]))]

    @property
    def said(self) -> str:
        """For people."""
        part = f", {self.estimated / self.amount:.0%} of it estimated" if self.estimated else ""
        return f"cost {self.usd} USD{part}"


class Spending:
    """The calls of models that a run paid. Of one under a budget its settlement counts, of any other its usage."""

    def __init__(self) -> None:
        self._settled: dict[str, tuple[str, int, bool]] = {}
        self._used: list[tuple[str, int, bool]] = []

    def add(self, event: Event) -> None:
        """Take the next event."""
        if event.type == EventType.USAGE_SETTLED:
            body = loads(event.body)
            took = (event.key or "", int(body["amount_nano"]), bool(body.get("estimated", False)))
            self._settled[body["settles"]] = took
        elif event.type == EventType.ATTEMPT_RECORDED:
            self._record(event.key or "", loads(event.body))

    def _record(self, key: str, body: dict[str, Any]) -> None:
        used: dict[str, Any] = body.get("usage") or {}
        cost = used.get("cost_nano")
        if cost is not None and body.get("reservation") is None:
            self._used.append((key, int(cost), bool(used.get("estimated", False))))

    def of(self, key: str | None = None) -> Cost | None:
        """What one call cost, or all of them; None where nothing has a price."""
        every = [one for one in (*self._settled.values(), *self._used) if key in (None, one[0])]
        total = Cost()
        for _, amount, estimated in every:
            total = total.plus(amount, estimated)
        return total if every else None
