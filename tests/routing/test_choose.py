"""A distribution over the candidates: right, whole, within the bounds of the exploration, and what is drawn from."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.routing import Best, Cheapest, Fastest, Weighted
from segue.routing.arrays import Vector
from segue.routing.choose import by_draws, draw, mixed, normal_cdf, only, thompson
from segue.routing.objective import Ranking, rank
from segue.routing.policies import Ranked
from tests.routing.test_objective import made

shares = st.floats(0, 1)


def ranking(policy: Ranked, quality: list[float], cost: list[float]) -> Ranking:
    return rank(policy, made(quality, cost, cost))


def played(of: Ranking, sd: Vector, samples: int = 200_000) -> Vector:
    """What Thompson sampling does when it is played: an independent account of the same chances."""
    rng = np.random.default_rng(7)
    noise = rng.standard_normal((samples, len(sd))) * sd
    quality = of.quality + noise
    fits = (quality >= of.floor) | (of.floor == 0.0)
    score = np.where(fits, of.score + of.slope * noise, -np.inf)
    missed = ~fits.any(axis=1)
    score[missed] = quality[missed]
    return np.bincount(score.argmax(axis=1), minlength=len(sd)) / samples


POLICIES = [
    Cheapest(quality_min=0.7),
    Cheapest(),
    Fastest(quality_min=0.9),
    Best(),
    Best(quality_min=0.5),
    Weighted(per_usd=0.1),
]
FIELDS = [
    ([0.5, 0.75, 0.95], [1.0, 2.0, 3.0], [0.25, 0.25, 0.25]),
    ([0.7, 0.71, 0.5], [1.0, 2.0, 3.0], [0.001, 0.001, 0.25]),
    ([0.2, 0.3], [1.0, 2.0], [0.05, 0.3]),
    ([0.6] * 5, [1.0, 1.5, 2.0, 2.5, 3.0], [0.02, 0.1, 0.1, 0.2, 0.4]),
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: f"{policy.kind}-{policy.quality_min}")
@pytest.mark.parametrize(("quality", "cost", "sd"), FIELDS)
def test_the_computed_chances_are_those_of_the_played_game(
    policy: Ranked, quality: list[float], cost: list[float], sd: list[float]
) -> None:
    of, spread = ranking(policy, quality, cost), np.array(sd)
    chances = thompson(of, spread, seed=1)
    assert chances.samples == 0
    assert np.abs(chances.p - played(of, spread)).max() < 0.02


def test_what_cannot_be_computed_is_estimated_and_says_so() -> None:
    of = ranking(Weighted(per_usd=0.1, quality_min=0.6), [0.5, 0.75, 0.95], [1.0, 2.0, 3.0])
    sd = np.full(3, 0.25)
    chances = thompson(of, sd, seed=5)
    assert (chances.samples, chances.seed) == (256, "5")
    assert np.abs(chances.p - played(of, sd)).max() < 0.12
    assert (by_draws(of, sd, 5).p == chances.p).all()


@given(st.lists(st.tuples(shares, st.floats(0, 9), st.floats(0, 1)), min_size=1, max_size=9), shares, st.integers(0, 9))
def test_chances_are_a_distribution_for_any_policy(
    field: list[tuple[float, float, float]], least: float, seed: int
) -> None:
    quality, cost, sd = (list(column) for column in zip(*field, strict=True))
    for kind in (Cheapest, Best, Fastest, Weighted):
        p = thompson(ranking(kind(quality_min=least), quality, cost), np.array(sd), seed).p
        assert (p >= 0).all()
        assert p.sum() == pytest.approx(1.0, abs=1e-9)


def test_a_thousand_candidates_have_chances_too() -> None:
    rng = np.random.default_rng(1)
    of = ranking(Best(), rng.random(1000).tolist(), rng.random(1000).tolist())
    p = thompson(of, np.full(1000, 0.1), seed=1).p
    assert p.sum() == pytest.approx(1.0)
    assert np.abs(p - played(of, np.full(1000, 0.1), 20_000)).max() < 0.02


def test_who_is_surely_best_gets_all_and_equals_share() -> None:
    sure = thompson(ranking(Best(), [0.2, 0.9], [1, 1]), np.full(2, 0.01), 1)
    assert sure.p.tolist() == pytest.approx([0, 1])
    equal = thompson(ranking(Best(), [0.5] * 4, [1, 2, 3, 4]), np.full(4, 0.2), 1)
    assert equal.p.tolist() == pytest.approx([0.25] * 4)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.integers(0, 29), shares, shares)
def test_the_share_of_the_others_is_within_its_bounds(weights: list[float], greedy: int, a: float, b: float) -> None:
    floor, ceiling = min(a, b) * 0.99, max(a, b)
    total = sum(weights)
    p = np.array(weights) / total if total > 1e-6 else only(0, len(weights))
    greedy %= len(p)
    after = mixed(p, greedy, floor, ceiling)
    share = 1.0 - after[greedy]
    slack = 1e-9 * len(p)
    assert after.sum() == pytest.approx(1.0)
    assert (after >= 0).all()
    assert floor - slack <= share <= ceiling + slack
    assert (np.delete(after, greedy) >= floor / (len(p) - 1) - slack).all()
    own = 1.0 - p[greedy]
    if floor < own < ceiling and floor == 0.0:
        assert share == pytest.approx(own, abs=slack)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0, 1, exclude_max=True))
def test_nobody_without_a_chance_is_drawn(weights: list[float], luck: float) -> None:
    p = np.array(weights)
    if p.sum() > 1e-6:
        assert p[draw(p / p.sum(), luck)] > 0


def test_draws_come_as_often_as_they_should() -> None:
    p = np.array([0.0, 0.5, 0.0, 0.3, 0.2, 0.0])
    drawn = Counter(draw(p, at / 1000) for at in range(1000))
    assert drawn == {1: 500, 3: 300, 4: 200}


def test_the_normal_distribution() -> None:
    z = np.array([-8.0, -1.96, 0.0, 1.0, 1.6448536, 8.0])
    assert normal_cdf(z).tolist() == pytest.approx([0.0, 0.0249979, 0.5, 0.8413447, 0.95, 1.0], abs=2e-7)


@given(shares, shares, st.floats(0.001, 1), st.tuples(st.floats(0, 5), st.floats(0.001, 5)), shares)
def test_a_cheaper_one_of_the_same_quality_is_never_chosen_less_often(
    quality: float, other: float, sd: float, costs: tuple[float, float], least: float
) -> None:
    cost, more = costs
    of = ranking(Cheapest(quality_min=least), [quality, quality, other], [cost + more, cost, cost + more / 2])
    p = thompson(of, np.full(3, sd), 1).p
    assert p[1] >= p[0] - 1e-6
    after = mixed(p, int(of.order[0]), 0.02, 0.1)
    assert after[1] >= after[0] - 1e-6
