"""Budgets are never overspent and never counted twice, whatever the order of events, with crashes in between."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.budgets import Ledger, Rates, Standing, lost, lowered, nano, usd, worst_case
from segue.core.codec import dumps
from segue.core.events import Event
from segue.core.faults import FaultKind, classify
from segue.core.records import BudgetScope, Reservation, ScopeKind, SettledBy, Settlement
from segue.errors import BudgetExceeded, InputError

LIMIT = 1000
TENANT = BudgetScope(kind=ScopeKind.TENANT, name="acme", limit_nano=LIMIT)


def scopes(run: int) -> tuple[BudgetScope, ...]:
    return (BudgetScope(kind=ScopeKind.RUN, name=str(run), limit_nano=LIMIT // 2), TENANT)


def reservation(name: str = "b1", amount: int = 100, run: int = 1) -> Reservation:
    return Reservation(id=name, amount_nano=amount, scopes=scopes(run))


def written(run: int, record: Reservation | Settlement, seq: int = 1, epoch: int = 1) -> Event:
    return Event(run, seq, epoch, 0.0, record.type, record.version, body=dumps(record.to_body()))


amounts = st.integers(0, 400)
moves = st.lists(
    st.tuples(
        st.integers(1, 3),
        amounts,
        st.sampled_from(["used", "estimated", "open", "corrected", "unsent"]),
        st.floats(0, 1),
    ),
    max_size=25,
)


def play(steps: list[tuple[int, int, str, float]]) -> tuple[Ledger, list[Event]]:
    """A history: each move reserves, and then what its word says happens. Gives the ledger, and the events."""
    ledger, events = Ledger(), list[Event]()

    def say(run: int, record: Reservation | Settlement) -> None:
        events.append(written(run, record, len(events) + 1))

    for i, (run, amount, then, share) in enumerate(steps):
        asked = reservation(f"b{i}", amount, run)
        try:
            ledger.reserve(run, asked)
        except BudgetExceeded:
            continue
        say(run, asked)
        took = Settlement(settles=asked.id, amount_nano=int(amount * share))
        ends = {
            "used": [took],
            "estimated": [replace(took, estimated=True)],
            "open": [],
            "corrected": [lost(asked), replace(took, why=SettledBy.CORRECTED)],
            "unsent": [replace(took, amount_nano=0, why=SettledBy.UNUSED)],
        }[then]
        for end in ends:
            ledger.add(run, end)
            say(run, end)
    return ledger, events


def everything(ledger: Ledger) -> list[Any]:
    all_scopes = [scopes(run)[0] for run in (1, 2, 3)] + [TENANT]
    return [*(ledger.standing(s) for s in all_scopes), ledger.open(), ledger.overruns()]


@given(moves)
def test_no_budget_is_ever_overspent(steps: list[tuple[int, int, str, float]]) -> None:
    for n in range(len(steps) + 1):
        ledger, _ = play(steps[:n])
        assert ledger.standing(TENANT).used <= LIMIT
        assert all(ledger.standing(scopes(run)[0]).used <= LIMIT // 2 for run in (1, 2, 3))


@given(moves)
def test_the_tenant_pays_the_sum_of_its_runs_once(steps: list[tuple[int, int, str, float]]) -> None:
    ledger, _ = play(steps)
    runs = [ledger.standing(scopes(run)[0]) for run in (1, 2, 3)]
    assert ledger.standing(TENANT) == Standing(*(sum(column) for column in zip(*runs, strict=True)))


@given(moves, st.randoms(use_true_random=False))
def test_events_fold_in_any_order_and_any_number_of_times(
    steps: list[tuple[int, int, str, float]], chance: Any
) -> None:
    ledger, events = play(steps)
    again = events + chance.choices(events, k=5) if events else []
    chance.shuffle(again)
    assert everything(Ledger.of(again)) == everything(ledger)


@given(moves, st.data())
def test_after_a_crash_nothing_that_was_spent_is_forgotten(steps: list[tuple[int, int, str, float]], data: Any) -> None:
    _, events = play(steps)
    durable = events[: data.draw(st.integers(0, len(events)))]
    after = Ledger.of(durable)
    before = after.standing(TENANT).used
    for run, _, left_open in after.open(before_epoch=2):
        after.add(run, lost(left_open), epoch=2)
    assert after.standing(TENANT).held == 0
    assert after.standing(TENANT).spent == before <= LIMIT
    late = [e for e in events if e not in durable and e.type == "usage.settled"]  # the bill comes after all
    for event in late:
        after.fold(event)
    assert after.standing(TENANT).spent <= before


def test_what_a_crash_left_open_counts_in_full_as_an_estimate() -> None:
    ledger = Ledger.of([written(1, reservation()), written(1, reservation("b2", 50), 2, epoch=2)])
    assert ledger.standing(TENANT) == Standing(spent=0, held=150)
    (stale,) = ledger.open(run=1, before_epoch=2)
    ledger.add(1, lost(stale.reservation))
    assert ledger.standing(TENANT) == Standing(spent=100, held=50, estimated=100)
    ledger.add(1, Settlement(settles="b1", amount_nano=30))
    assert ledger.standing(TENANT) == Standing(spent=30, held=50)


def test_equal_ids_in_two_runs_are_two_reservations() -> None:
    ledger = Ledger()
    ledger.reserve(1, reservation(run=1))
    ledger.reserve(2, reservation(run=2))
    assert ledger.standing(TENANT).held == 200
    with pytest.raises(InputError, match="exists"):
        ledger.reserve(1, reservation(run=1))


def test_a_call_that_does_not_fit_is_refused_with_the_numbers() -> None:
    ledger = Ledger()
    ledger.reserve(1, reservation("a", 450))
    with pytest.raises(BudgetExceeded, match=r"run:1 is 0\.0000005 USD, and 0\.00000005 are left") as caught:
        ledger.reserve(1, reservation("b", 51))
    error = caught.value
    assert (error.scope, error.limit_nano, error.asked_nano, error.left_nano) == ("run:1", 500, 51, 50)
    assert classify(error).kind is FaultKind.BUDGET_EXCEEDED
    assert ledger.left(scopes(1)) == 50
    assert ledger.open() == [(1, 1, reservation("a", 450))]


def test_budgets_of_other_periods_and_currencies_stand_alone() -> None:
    ledger = Ledger()
    november = replace(TENANT, period="2026-11")
    ledger.add(1, Reservation(id="a", amount_nano=900, scopes=(november,)))
    ledger.add(1, Reservation(id="b", amount_nano=800, scopes=(TENANT,), currency="EUR"))
    assert (ledger.standing(november).held, ledger.standing(TENANT).held, ledger.standing(TENANT, "EUR").held) == (
        900,
        0,
        800,
    )


def test_a_limit_that_is_not_there_is_no_limit() -> None:
    free = replace(TENANT, limit_nano=None)
    ledger = Ledger()
    ledger.reserve(1, Reservation(id="a", amount_nano=10**18, scopes=(free,)))
    assert ledger.left((free,)) is None
    assert ledger.left(()) is None
    assert ledger.left((TENANT,)) == 0


def test_a_scope_that_is_named_twice_is_charged_once() -> None:
    ledger = Ledger()
    ledger.add(1, Reservation(id="a", amount_nano=10, scopes=(TENANT, replace(TENANT, limit_nano=5))))
    assert ledger.standing(TENANT).held == 10


def test_more_than_was_reserved_is_counted_and_said() -> None:
    ledger = Ledger()
    ledger.add(1, Settlement(settles="b1", amount_nano=130))
    assert ledger.standing(TENANT) == Standing()
    ledger.add(1, reservation())
    assert ledger.standing(TENANT).spent == 130
    assert ledger.overruns() == [(1, "b1", 30)]


def test_other_events_are_passed_over() -> None:
    assert Ledger.of([Event(1, 1, 1, 0.0, "step.completed"), Event(1, 2, 1, 0.0, "moon.landed")]).open() == []


@pytest.mark.parametrize(
    ("dollars", "whole"),
    [(0.5, 500_000_000), ("0.25", 250_000_000), (0.1, 100_000_000), (Decimal("1e-10"), 1), (3, 3_000_000_000)],
)
def test_dollars_are_whole_nano_dollars(dollars: Any, whole: int) -> None:
    assert nano(dollars) == whole


def test_nano_dollars_are_dollars_exactly() -> None:
    assert usd(1) + usd(nano("0.3")) == Decimal("0.300000001")
    with pytest.raises(InputError, match="no amount"):
        nano("a lot")
    with pytest.raises(InputError, match="no amount"):
        nano(float("nan"))


CHEAP = Rates(per_million_in=20_000_000, per_million_out=2_500_001, per_request=7)
rates = st.builds(Rates, per_million_in=amounts, per_million_out=st.integers(0, 10**8), per_request=st.integers(0, 50))
tokens = st.integers(0, 5000)


def test_the_worst_case_is_rounded_up() -> None:
    assert worst_case(CHEAP, 0, 0) == 7
    assert worst_case(CHEAP, 1, 0) == 27
    assert worst_case(CHEAP, 0, 1) == 10


@given(rates, tokens, tokens, st.integers(0, 10**6), st.integers(1, 20))
def test_an_output_limit_is_lowered_to_the_largest_that_fits(
    of: Rates, tokens_in: int, wanted: int, left: int, at_least: int
) -> None:
    limit = lowered(of, tokens_in, wanted, left, at_least)
    fitting = [n for n in {wanted, *range(at_least, min(wanted, 5000) + 1)} if worst_case(of, tokens_in, n) <= left]
    assert limit == max(fitting, default=None)
