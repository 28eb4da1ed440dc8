"""Estimators against sums done by hand and against what must hold whatever the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.records import Sampling
from segue.routing.judge import Estimator, Logged, Measure, Outcome, Prediction
from segue.routing.judge.estimators import (
    WEIGHING,
    agreement,
    by_models,
    design_effect,
    effective_expected,
    known,
    pairs,
    shadowed,
    weighted,
)
from segue.routing.judge.fitted import cross_fitted
from segue.routing.judge.intervals import kish
from segue.routing.judge.simulate import World, drawn, rows, tables, traffic
from segue.routing.judge.weighed import shadows_of, weigh


def ask(run: str, p: float, choice: int, reward: float | None, shadows: Mapping[int, Outcome] | None = None) -> Logged:
    return Logged(
        cluster=run,
        candidates=("a", "b"),
        propensities=(1 - p, p),
        choice=choice,
        sampling=Sampling.EXACT,
        outcome=Outcome(reward=reward),
        predictions=(Prediction(reward=0.4), Prediction(reward=0.8)),
        shadows=shadows or {},
    )


def always_b(_: Logged) -> list[float]:
    return [0.0, 1.0]


FOUR = [ask("r1", 0.5, 1, 1.0), ask("r1", 0.5, 0, 0.0), ask("r2", 0.25, 1, 0.5), ask("r3", 0.5, 0, 1.0)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (Estimator.IPS, (2 * 1.0 + 4 * 0.5) / 4),
        (Estimator.SNIPS, (2 * 1.0 + 4 * 0.5) / 6),
        (Estimator.DR, 0.8 + (2 * 0.2 - 4 * 0.3) / 4),
    ],
)
def test_values_are_those_of_the_formulas(name: Estimator, expected: float) -> None:
    figure = weighted(weigh(FOUR, always_b), Measure.REWARD, name)
    assert figure.value.value == pytest.approx(expected)
    assert figure.difference.value == pytest.approx(expected - 2.5 / 4)
    assert figure.value.low <= figure.value.value <= figure.value.high


def test_the_effective_sample_of_equal_weights_is_their_number() -> None:
    assert kish(np.ones(7)) == pytest.approx(7.0)
    assert kish(np.array([5.0, 0.0, 0.0])) == pytest.approx(1.0)
    assert kish(np.zeros(3)) == 0.0


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=30))
def test_an_effective_sample_is_between_one_and_the_number_of_weights(weights: list[float]) -> None:
    w = np.array(weights)
    if (w**2).sum() > 0.0:
        assert 1.0 - 1e-9 <= kish(w) <= len(w) + 1e-9


def test_repeated_asks_of_a_run_count_once() -> None:
    w = traffic(World(runs=200, asks=1.0, target="same"), seed=1)
    assert design_effect(w, Measure.COST) < 2.0
    tenfold = w.only(np.repeat(np.arange(len(w)), 10))  # pyright: ignore[reportArgumentType]
    assert design_effect(tenfold, Measure.COST) == pytest.approx(10 * design_effect(w, Measure.COST), rel=0.25)


def test_without_a_difference_between_outcomes_a_run_counts_as_one() -> None:
    alike = [ask(f"r{i % 5}", 0.5, 1, 1.0) for i in range(50)]
    assert design_effect(weigh(alike, always_b), Measure.REWARD) == pytest.approx(10.0)


@pytest.mark.parametrize("measure", list(Measure))
def test_the_logged_policy_itself_gets_what_was_logged(measure: Measure) -> None:
    seen = known(traffic(World(runs=100, target="same"), seed=3), measure)
    for name in (Estimator.IPS, Estimator.SNIPS):
        figure = weighted(seen, measure, name)
        assert figure.value.value == pytest.approx(float(seen.outcomes[measure].mean()))
        assert figure.difference.value == pytest.approx(0.0, abs=1e-12)
    assert weighted(seen, measure, Estimator.DR).difference.holds(0.0)


@given(st.floats(0.1, 10.0))
@settings(max_examples=20, deadline=None)
def test_snips_and_dr_move_with_cost_whatever_the_weights(times: float) -> None:
    w = traffic(World(runs=80, exploration=0.2), seed=5)
    scaled = replace(w, outcomes={m: y * times for m, y in w.outcomes.items()})
    for name in WEIGHING:
        one, other = (weighted(x, Measure.COST, name).value for x in (w, scaled))
        assert (other.value, other.low, other.high) == pytest.approx(
            (one.value * times, one.low * times, one.high * times)
        )


def test_intervals_of_shares_stay_between_0_and_1() -> None:
    for seed in range(20):
        seen = known(traffic(World(runs=60, exploration=0.1), seed=seed), Measure.REWARD)
        for name in WEIGHING:
            found = weighted(seen, Measure.REWARD, name).value
            assert 0.0 <= found.low <= found.value <= found.high <= 1.0


def test_no_failure_seen_is_no_certainty() -> None:
    w = traffic(World(runs=300, exploration=0.5, failures=0.0), seed=1)
    for name in (Estimator.SNIPS, Estimator.DR):
        assert 0.96 < weighted(w, Measure.ANSWERED, name).value.low < 0.99


def test_good_models_narrow_the_doubly_robust_interval_and_poor_ones_do_not_move_it() -> None:
    world = World(runs=1500, exploration=0.2, skew=0.3, common=0.1)
    w = traffic(world, seed=1)
    by = {n: weighted(w, Measure.COST, n).value for n in WEIGHING}
    widths = {n: v.high - v.low for n, v in by.items()}
    assert widths[Estimator.DR] < 0.9 * widths[Estimator.SNIPS] < 0.9 * widths[Estimator.IPS]
    poor = weighted(traffic(replace(world, models="poor"), 1), Measure.COST, Estimator.DR).value
    assert poor.value == pytest.approx(by[Estimator.DR].value, rel=0.05)


def test_cross_fitting_never_looks_at_the_cluster_it_speaks_of() -> None:
    w = traffic(World(runs=50), seed=2)
    before = cross_fitted(w, Measure.COST)
    inside = w.cluster == 7
    changed = {**w.outcomes, Measure.COST: np.where(inside, 1e3, w.outcomes[Measure.COST])}
    after = cross_fitted(replace(w, outcomes=changed), Measure.COST)
    assert after[inside] == pytest.approx(before[inside])
    assert not np.allclose(after[~inside], before[~inside])


def test_cross_fitted_models_learn_what_arms_and_kinds_cost() -> None:
    world = World(runs=3000, exploration=0.6, skew=0.3, common=0.1)
    w, t = traffic(world, seed=2), tables(world)
    q, kind = cross_fitted(w, Measure.COST), w.features.argmax(axis=1)
    true = t.means[Measure.COST].mean(axis=0)[kind]
    assert float(np.abs(q / true - 1.0).mean()) < 0.25


@pytest.mark.parametrize("many", [90, 400])
def test_what_nobody_knew_yet_of_the_first_asks_does_not_stretch_what_is_said_of_money_and_time(many: int) -> None:
    """`b` takes a tenth more or less than a cent; before its first answer a dollar was expected."""
    luck = np.random.default_rng(5)
    log = list[Logged]()
    for n in range(many):
        choice, cost = int(n >= 8 and luck.random() < 0.3), luck.uniform(0.009, 0.011)
        cold = Prediction(cost_usd=0.001, latency_s=0.1), Prediction(cost_usd=1.0, latency_s=90.0)
        known = Prediction(cost_usd=0.001, latency_s=0.1), Prediction(cost_usd=0.01, latency_s=1.0)
        outcome = Outcome(cost_nano=int(cost * 1e9 if choice else 1e6), latency_s=cost * 100 if choice else 0.1)
        log.append(
            replace(
                ask(f"r{n}", 0.3, choice, None), outcome=outcome, predictions=cold if n < 8 else known,
            )
        )  # fmt: skip
    w = weigh(log, always_b)
    for measure, true in ((Measure.COST, 0.01), (Measure.LATENCY, 1.0)):
        found = weighted(w, measure, Estimator.DR).value
        assert found.low <= true * 1.01 and true * 0.99 <= found.high
        assert found.high - found.low < 0.1 * true


def test_agreeing_sees_what_the_effective_sample_hides() -> None:
    """Most kinds go as ever; of the one that is moved, hardly a choice agrees."""
    w = traffic(World(runs=300, exploration=0.03, target="other", moved=1), seed=0)
    assert kish(w.weight) > 50.0
    assert agreement(w).count < 10.0
    everywhere = traffic(World(runs=300, exploration=0.03), seed=0)
    assert agreement(everywhere).count == pytest.approx(effective_expected(everywhere), rel=0.3)


def shadow_rows() -> list[Logged]:
    shadow = {1: Outcome(reward=1.0)}
    found = [ask("r1", 0.5, 0, 0.5, shadow), ask("r2", 0.5, 0, 0.0), ask("r3", 0.5, 1, 0.6), ask("r4", 0.5, 0, 0.3)]
    return [replace(row, sampling=Sampling.DETERMINISTIC) for row in found]


def test_shadow_pairs_are_what_was_logged_and_the_difference_where_the_policy_differs() -> None:
    found = shadow_rows()
    w = weigh(found, always_b)
    p = pairs(w, shadows_of(found, w, Measure.REWARD), Measure.REWARD)
    assert p.differs.tolist() == [1, 1, 0, 1]
    assert p.paired.tolist() == [True, False, False, False]
    figure = shadowed(p, Measure.REWARD)
    assert figure.difference.value == pytest.approx(0.75 * 0.5)
    assert figure.value.value == pytest.approx(0.35 + 0.75 * 0.5)


def test_a_policy_that_never_differs_gets_what_was_logged() -> None:
    found = shadow_rows()
    w = weigh(found, lambda row: [float(i == row.choice) for i in range(2)])
    figure = shadowed(pairs(w, shadows_of(found, w, Measure.REWARD), Measure.REWARD), Measure.REWARD)
    assert (figure.difference.low, figure.difference.value, figure.difference.high) == (0.0, 0.0, 0.0)
    assert figure.value.value == pytest.approx(0.35)


def test_the_models_estimate_is_their_mean_and_says_how_far_off_they_were() -> None:
    value, off = by_models(weigh(FOUR, always_b), Measure.REWARD)
    assert value == pytest.approx(0.8)
    assert off == pytest.approx((0.2 - 0.4 - 0.3 + 0.6) / 4)
    assert np.isnan(by_models(weigh(FOUR, always_b), Measure.LATENCY)[0])


def test_rows_and_arrays_of_the_same_traffic_give_the_same() -> None:
    world = World(runs=60, exploration=0.3, models="good")
    w, _ = drawn(world, 4)
    t = tables(world)
    again = weigh(rows(w), lambda row: t.target[row.features.index(1.0)].tolist())
    assert again.weight == pytest.approx(w.weight)
    for m in Measure:
        one, other = (weighted(known(x, m), m, Estimator.DR).value for x in (w, again))
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high), rel=1e-5)
