"""Intervals of sums over clusters: known quantiles, invariances, and what they say when little is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.routing.judge.intervals import Array, interval, share_interval, t_quantile


def mean(totals: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return totals[..., 0] / totals[..., 1]


def columns(values: list[float]) -> Array:
    return np.column_stack([values, np.ones(len(values))])


@pytest.mark.parametrize(
    ("p", "df", "expected"),
    [(0.975, 1, 12.7062), (0.975, 2, 4.30265), (0.975, 10, 2.22814), (0.975, 30, 2.04227), (0.95, 5, 2.01505),
     (0.995, 7.5, 3.42054), (0.975, 1e9, 1.95996)],
)  # fmt: skip
def test_quantiles_of_student_are_those_of_the_tables(p: float, df: float, expected: float) -> None:
    assert t_quantile(p, df) == pytest.approx(expected, rel=2e-3 if df == 7.5 else 2e-5)


values = st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=40)


@given(values)
@settings(max_examples=60, deadline=None)
def test_an_interval_holds_its_value_and_is_finite(given_values: list[float]) -> None:
    found = interval(mean, columns(given_values))
    assert math.isfinite(found.low)
    assert math.isfinite(found.high)
    assert found.low <= found.value <= found.high
    assert found.value == pytest.approx(float(np.mean(given_values)), abs=1e-9)


@given(values, st.floats(-50, 50), st.floats(0.01, 100))
@settings(max_examples=60, deadline=None)
def test_it_moves_and_scales_with_the_values(given_values: list[float], by: float, times: float) -> None:
    if np.ptp(given_values) < 1e-3:
        return
    one = interval(mean, columns(given_values))
    other = interval(mean, columns([v * times + by for v in given_values]))
    slack = 1e-6 * (1.0 + abs(by) + times * max(map(abs, given_values)))
    assert other.low == pytest.approx(one.low * times + by, abs=slack)
    assert other.high == pytest.approx(one.high * times + by, abs=slack)


def test_the_order_of_clusters_says_nothing() -> None:
    drawn = np.random.default_rng(1).lognormal(size=(50, 1))
    totals = np.column_stack([drawn, np.ones(50)])
    one, other = interval(mean, totals), interval(mean, totals[::-1])
    assert (one.low, one.high) == pytest.approx((other.low, other.high))


def test_rows_of_one_cluster_are_no_news() -> None:
    """A hundred copies of the same row in each cluster leave the interval as wide as one would."""
    drawn = np.random.default_rng(2).normal(size=40)
    once = interval(mean, np.column_stack([drawn, np.ones(40)]))
    often = interval(mean, np.column_stack([100 * drawn, 100 * np.ones(40)]))
    assert (once.low, once.high) == pytest.approx((often.low, often.high))


def test_skewed_values_reach_further_to_their_long_side() -> None:
    found = interval(mean, columns(np.random.default_rng(3).lognormal(sigma=1.2, size=60).tolist()))
    assert found.high - found.value > 1.2 * (found.value - found.low)


@pytest.mark.parametrize("totals", [np.array([[3.0, 1.0]]), np.array([[3.0, 1.0], [0.0, 0.0]]), np.zeros((5, 2))])
def test_what_hangs_on_one_cluster_has_no_ends(totals: Array) -> None:
    found = interval(mean, totals)
    assert math.isinf(found.low)
    assert math.isinf(found.high)


def test_pseudo_clusters_keep_none_seen_from_being_none_possible() -> None:
    ones = columns([1.0] * 50)
    pseudo = columns([0.0, 0.0, 1.0, 1.0])
    assert interval(mean, ones).low == 1.0
    found = share_interval(mean, ones, pseudo, 50.0)
    assert found.value == 1.0
    assert 0.89 < found.low < 0.94


def test_a_tighter_level_is_narrower() -> None:
    totals = columns(np.random.default_rng(4).normal(size=30).tolist())
    wide, narrow = interval(mean, totals, level=0.99), interval(mean, totals, level=0.8)
    assert wide.low < narrow.low < narrow.high < wide.high
