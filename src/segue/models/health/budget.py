"""A retry budget: retries are at most a share of all calls, so that they cannot make a storm. Pure.

Each call earns a share of a retry, each retry costs one. In any stretch of time there are no more retries than
`cap + share * calls + per_s * seconds`. With a share of a third, a model gets at most half as many calls again as were
asked for, whatever fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetRule:
    """How much may be retried."""

    share: float = 1 / 3
    """Of all calls, retries among them."""
    reserve: float = 10.0
    """Retries that a quiet model may make: time refills the credit up to this."""
    per_s: float = 0.5
    failing: float = 1 / 3
    """The share of failures up to which nothing is taken: retries cannot be more than their share then."""
    cap: float = 100.0
    """Credit beyond this is not kept."""


class Budget(NamedTuple):
    """The credit, in retries, and when time last added to it. None: untouched, with the whole reserve."""

    credit: float | None = None
    at: float = 0.0


def called(budget: Budget, now: float, rule: BudgetRule) -> Budget:
    """A call is sent."""
    return Budget(min(_credit(budget, now, rule) + rule.share, rule.cap), now)


def spent(budget: Budget, now: float, rule: BudgetRule) -> Budget | None:
    """The budget after one retry; None when there is no credit for it."""
    credit = _credit(budget, now, rule)
    return Budget(credit - 1.0, now) if credit >= 1.0 else None


def returned(budget: Budget, now: float, rule: BudgetRule) -> Budget:
    """With a retry that was taken and not sent."""
    return Budget(min(_credit(budget, now, rule) + 1.0, rule.cap), now)


def _credit(budget: Budget, now: float, rule: BudgetRule) -> float:
    if budget.credit is None:
        return rule.reserve
    trickled = budget.credit + max(now - budget.at, 0.0) * rule.per_s
    return max(budget.credit, min(trickled, rule.reserve))
