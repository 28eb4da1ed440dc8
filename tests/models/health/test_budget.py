"""Retries are at most a share of the calls, whatever happens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from segue.models.health.budget import Budget, BudgetRule, called, spent

RULE = BudgetRule()


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 2)), max_size=300), st.integers(0, 299), st.integers(0, 299))
def test_in_any_stretch_retries_are_bounded(events: list[tuple[bool, float]], one: int, other: int) -> None:
    budget, now = Budget(), 50.0
    log: list[tuple[float, bool]] = []
    for is_retry, after in events:
        now += after
        if is_retry:
            left = spent(budget, now, RULE)
            if left is None:
                continue
            budget = left
        else:
            budget = called(budget, now, RULE)
        log.append((now, is_retry))
    stretch = log[min(one, other) : max(one, other) + 1]
    if stretch:
        retries = sum(is_retry for _, is_retry in stretch)
        calls, seconds = len(stretch) - retries, stretch[-1][0] - stretch[0][0]
        assert retries <= RULE.cap + RULE.share * calls + RULE.per_s * seconds + 1e-6


def test_in_an_outage_there_are_at_most_half_as_many_calls_again() -> None:
    budget, asks, retries = Budget(), 1000, 0
    for _ in range(asks):
        budget = called(budget, 1.0, RULE)
        while (left := spent(budget, 1.0, RULE)) is not None:  # everything fails, and is tried again if it may be
            budget, retries = called(left, 1.0, RULE), retries + 1
    assert asks / 2 <= retries <= asks / 2 + 1.5 * RULE.reserve


def test_a_quiet_model_may_retry() -> None:
    assert spent(Budget(), 0.0, RULE) is not None


def test_time_gives_back_the_reserve_and_no_more() -> None:
    empty = Budget(0.0, 100.0)
    assert spent(empty, 101.0, RULE) is None
    assert spent(empty, 102.0, RULE) is not None
    after = spent(empty, 1e6, RULE)
    assert after is not None
    assert after.credit == RULE.reserve - 1
