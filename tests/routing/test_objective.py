"""What is expected of each, and what a policy makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.models.spec import Catalogue, Price
from segue.routing import Best, Cheapest, Conversation, Fastest, Features, Held, InvalidPolicy, Predictors, Weighted
from segue.routing.objective import bounded, rank
from segue.routing.policies import Ranked
from segue.routing.predict import predict
from segue.routing.types import Predictions, Spread
from tests.routing.made import Learned, Now, catalogues, model, situation, three


def expected(catalogue: Catalogue, features: Features | None = None, **request: Any) -> Predictions:
    at = situation(catalogue, features, **request)
    return predict(at, np.arange(len(catalogue)))


def made(quality: list[float], cost: list[float], latency: list[float]) -> Predictions:
    columns = [np.array(column, np.float64) for column in (quality, cost, latency)]
    spreads = [Spread(column, np.full(len(column), 0.1), np.zeros(len(column))) for column in columns]
    return Predictions(spreads[0], spreads[1], spreads[2], np.zeros(len(quality)))


def order(policy: Ranked, of: Predictions) -> list[int]:
    return rank(policy, of).order.tolist()


# --- predictions ------------------------------------------------------------------------------------------------------


def test_a_prior_is_by_kind_of_task_and_uncertain() -> None:
    pair = Catalogue.of(model("a", priors={"code": 0.9, "any": 0.4}), model("b", priors={}))
    of = expected(pair, Features(kind="code", tokens=10)).quality
    assert of.mean.tolist() == [0.9, 0.5]
    assert of.sd.tolist() == [0.25, 0.25]
    assert of.n.tolist() == [0, 0]
    assert of.source == "prior"


def test_what_was_learned_goes_before_the_prior_where_it_knows_something() -> None:
    of = expected(three(), predictors=Predictors(quality=Learned({"mid": (1.4, 0.03)}))).quality
    assert of.mean.tolist() == [0.5, 1.0, 0.95], "within 0 and 1"
    assert of.sd.tolist() == [0.25, 0.03, 0.25]
    assert of.n.tolist() == [0, 10, 0]
    assert of.source == "v1"


def test_the_cost_is_the_price_of_input_and_expected_output() -> None:
    one = Catalogue.of(model("a", price=Price.dollars(2, 10, request=0.001)))
    of = expected(one).cost
    assert of.mean[0] == pytest.approx(0.001 + 1000 * 2e-6 + 500 * 10e-6)
    assert of.sd[0] == pytest.approx(0.8 * 500 * 10e-6)


def test_the_output_is_no_longer_than_its_limits() -> None:
    pair = Catalogue.of(model("a", price=Price.dollars(0, 10)), model("b", price=Price.dollars(0, 10), max_output=100))
    assert expected(pair).cost.mean.tolist() == pytest.approx([500e-5, 100e-5])
    assert expected(pair, tokens_out=None, tokens_out_max=50).cost.mean.tolist() == pytest.approx([50e-5, 50e-5])


def test_a_held_prefix_makes_a_model_cheaper_while_it_is_fresh() -> None:
    price = Price.dollars(10, 0, cache_read=1)
    pair = Catalogue.of(model("a", price=price), model("b", price=price))
    fresh = expected(pair, conversation=Conversation(held={"b": Held(800, 10.0), "gone": Held(5)}))
    assert fresh.cost.mean.tolist() == pytest.approx([0.01, 0.01 - 0.9 * 800 * 9e-6])
    assert fresh.cost.sd[1] > 0
    assert fresh.cached.tolist() == pytest.approx([0.0, 720.0])
    stale = expected(pair, conversation=Conversation(held={"b": Held(800, 400.0)}))
    assert stale.cost.mean.tolist() == pytest.approx([0.01, 0.01])


def test_writing_the_cache_has_its_price() -> None:
    one = Catalogue.of(model("a", price=Price.dollars(10, 0, cache_write=12.5)))
    assert expected(one, conversation=Conversation(caching=True)).cost.mean[0] == pytest.approx(0.0125)


def test_latency_follows_health_and_counts_the_wait() -> None:
    now = {"small": Now(p95_s=4.0, wait_s=3.0), "mid": Now(ttft_s=0.5, tokens_per_s=100.0)}
    of = expected(three(), now=now).latency
    assert of.mean.tolist() == pytest.approx([2.0 + 3.0, 0.5 + 5.0, 0.8 + 500 / 60])
    assert of.n.tolist() == [20, 20, 0]
    assert of.source == "health"


def test_a_wait_without_end_is_still_a_number() -> None:
    assert np.isfinite(expected(three(), now={"mid": Now("busy", wait_s=float("inf"))}).latency.mean).all()


# --- objectives -------------------------------------------------------------------------------------------------------


def test_cheapest_takes_the_cheapest_that_is_good_enough() -> None:
    of = made([0.4, 0.8, 0.9], [1, 2, 3], [1, 1, 1])
    assert order(Cheapest(quality_min=0.7), of) == [1, 2, 0]
    assert order(Cheapest(), of) == [0, 1, 2]


def test_where_nobody_is_good_enough_the_best_comes_first() -> None:
    assert order(Cheapest(quality_min=0.95), made([0.4, 0.8, 0.9], [1, 2, 3], [1, 1, 1])) == [2, 1, 0]


def test_a_strict_bound_excludes() -> None:
    of = made([0.4, 0.8], [1, 2], [1, 1])
    broken = bounded(Cheapest(quality_min=0.7, strict=True), of)
    assert {at: why.reason for at, why in broken.items()} == {
        0: "its quality is expected to be 0.40, at least 0.7 is wanted"
    }


def test_best_within_a_cost() -> None:
    of = made([0.9, 0.8, 0.7], [3, np.nan, 1], [1, 1, 9])
    policy = Best(cost_usd_max=2, latency_s_max=5)
    assert {at: why.reason for at, why in bounded(policy, of).items()} == {
        0: "it is expected to cost 3.000000 USD, at most 2 are allowed",
        1: "no price is known, at most 2 are allowed",
        2: "it is expected to take 9.00 s, at most 5 are allowed",
    }
    assert order(policy, of) == [0, 1, 2]


def test_fastest_within_a_quality() -> None:
    assert order(Fastest(quality_min=0.6), made([0.5, 0.7, 0.9], [1, 1, 1], [1, 3, 2])) == [2, 1, 0]


def test_weights_are_absolute() -> None:
    of = made([0.5, 0.6], [0.01, 0.02], [1, 1])
    assert order(Weighted(per_usd=5), of) == [1, 0]
    assert order(Weighted(per_usd=15), of) == [0, 1]
    assert rank(Weighted(per_usd=5, per_s=0.1), of).score.tolist() == pytest.approx([0.35, 0.4])


def test_caution_counts_on_less_than_what_is_expected() -> None:
    of = made([0.7, 0.9], [1, 2], [1, 1])
    assert order(Cheapest(quality_min=0.65), of) == [0, 1]
    assert order(Cheapest(quality_min=0.65, caution=1.0), of) == [1, 0]


def test_ties_are_broken_by_quality_then_by_cost() -> None:
    assert order(Cheapest(), made([0.5, 0.6], [1, 1], [1, 1])) == [1, 0]
    assert order(Best(), made([0.6, 0.6], [2, 1], [1, 1])) == [1, 0]


@pytest.mark.parametrize(
    ("kind", "values", "field"),
    [
        (Cheapest, {"quality_min": 1.5}, "quality_min"),
        (Best, {"cost_usd_max": -1}, "cost_usd_max"),
        (Weighted, {"per_quality": 0.0}, "per_quality"),
        (Fastest, {"caution": float("inf")}, "caution"),
    ],
)
def test_a_policy_that_cannot_be_names_its_field(kind: type[Ranked], values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidPolicy) as caught:
        kind(**values)
    assert caught.value.field == field


amounts = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@given(amounts, st.floats(0, 1), st.data())
def test_every_order_holds_everybody_and_puts_those_who_fit_first(
    quality: list[float], least: float, data: Any
) -> None:
    same = st.lists(st.floats(0, 10), min_size=len(quality), max_size=len(quality))
    of = made(quality, data.draw(same), data.draw(same))
    for policy in (Cheapest(quality_min=least), Best(quality_min=least), Fastest(quality_min=least)):
        ranking = rank(policy, of)
        assert sorted(ranking.order.tolist()) == list(range(len(quality)))
        fits = ranking.fits[ranking.order].tolist()
        assert fits == sorted(fits, reverse=True)
        scores = ranking.score[ranking.order][: sum(fits)]
        assert (np.diff(scores) <= 0).all()


@given(catalogues(), st.integers(0, 3000))
def test_predictions_are_numbers_where_they_are_known(catalogue: Catalogue, tokens: int) -> None:
    of = expected(catalogue, Features(tokens=tokens))
    for spread in (of.quality, of.latency):
        assert np.isfinite(spread.mean).all()
        assert np.isfinite(spread.sd).all()
    priced = np.array([one.price is not None for one in catalogue])
    assert (np.isfinite(of.cost.mean) == priced).all()
    assert (of.cost.mean[priced] >= 0).all()
