"""What a journal says of money, held against the provider's own log: nothing twice, nothing forgotten."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from segue.core.budgets import Ledger, nano
from segue.core.records import BudgetScope, ScopeKind, Settlement
from segue.journal import Journal

_TYPES = ("attempt.recorded", "usage.reserved", "usage.settled")


@dataclass(frozen=True, kw_only=True, slots=True)
class Books:
    """Amounts are nano-dollars."""

    limit: int
    spent: int
    estimated: int
    """The part of `spent` that no provider has confirmed."""
    billed: int
    """What the provider's log comes to."""
    held: int
    """Set aside and never settled."""
    overspent: int
    """Budgets, of the tenant and of runs, that stand above their limit."""
    miscounted: int
    """Calls whose tokens the journal has otherwise than the provider, and does not mark as an estimate."""
    twice: int
    """Calls that the journal has more than once."""
    agree: bool
    """Whether the tables of accounts say what the events say."""

    @property
    def sound(self) -> bool:
        """Whether all holds: what is exact is billed, and all that is billed is counted, exactly or as an estimate.

        Our own count of what a provider did not count may be off by a tenth.
        """
        wrong = self.held or self.overspent or self.miscounted or self.twice
        exact = self.spent - self.estimated
        counted = exact <= self.billed <= exact + 1.1 * self.estimated
        return not wrong and self.agree and counted and self.spent <= self.limit


def audit(database: str, limit_usd: float, log: Iterable[Mapping[str, Any]], dollars: Mapping[str, Any]) -> Books:
    """Read a journal that nobody writes any more. `dollars` are the prices of models by the provider's names."""
    entries = {entry["id"]: entry for entry in log if entry["model"] in dollars}
    ledger, seen, wrong = Ledger(), Counter[str](), 0
    exact: set[tuple[int, str]] = set()
    tenant = BudgetScope(kind=ScopeKind.TENANT, name="default", limit_nano=nano(limit_usd))
    with Journal.open_readonly(database) as journal:
        position = 0
        recorded: list[tuple[int, dict[str, Any]]] = []
        while page := journal.since(position, _TYPES, 5000):
            position = page[-1][0]
            for _, event in page:
                if event.type == "attempt.recorded":
                    recorded.append((event.run, json.loads(journal.whole(event).body or b"{}")))
                else:
                    ledger.fold(event)
                    if event.type == "usage.settled":
                        took = Settlement.from_body(json.loads(event.body or b"{}"))
                        if not took.estimated:
                            exact.add((event.run, took.settles))
        (stood,) = journal.standing_of([tenant])
        over = journal.query("select count(*) from accounts where spent_nano + held_nano > limit_nano")[0][0]
    for run, body in recorded:
        name, used = body.get("request_id"), body.get("usage")
        if name is None or used is None or name not in entries:
            continue
        seen[name] += 1
        entry = entries[name]
        said = (used.get("tokens_in", 0), used.get("tokens_out", 0))
        if (run, body.get("reservation")) in exact and said != (entry["tokens_in"], entry["tokens_out"]):
            wrong += 1
    return Books(
        limit=nano(limit_usd), spent=stood.spent, estimated=stood.estimated, held=stood.held, overspent=over,
        billed=sum(_cost(entry, dollars[entry["model"]]) for entry in entries.values()), miscounted=wrong,
        twice=sum(n > 1 for n in seen.values()), agree=stood == ledger.standing(tenant) and not ledger.open(),
    )  # fmt: skip


def _cost(entry: Mapping[str, Any], dollars: tuple[float, float]) -> int:
    """As a price would have it: rounded up."""
    into, out = (nano(each) for each in dollars)
    return -(-(entry["tokens_in"] * into + entry["tokens_out"] * out) // 1_000_000)
