"""Who may answer, and the stage and reason of everybody else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from segue.core.records import Stage
from segue.models.spec import Catalogue, Price, Tier
from segue.routing import Features, Modality
from segue.routing.eligible import eligible
from tests.routing.made import Now, asked, catalogues, conditions, model, situation, three


def why(catalogue: Catalogue, features: Features | None = None, **request: Any) -> dict[str, tuple[Stage, str]]:
    """Who is excluded, at which stage, and what is said."""
    at = situation(catalogue, features, **request)
    found = next(eligible(at))
    assert sorted([*found.rows.tolist(), *found.excluded]) == list(range(len(catalogue)))
    return {at.table.names[row]: (one.stage, one.reason) for row, one in found.excluded.items()}


def test_everybody_may_answer_a_plain_request() -> None:
    assert why(three()) == {}


def test_a_capability_that_is_lacking_is_named() -> None:
    pair = Catalogue.of(model("able", can=("tools", "vision")), model("half", can=("tools",)))
    seen = Features(tokens=10, modalities=frozenset({Modality.TEXT, Modality.IMAGE}))
    assert why(pair, seen, needs=frozenset({"tools"})) == {"half": (Stage.CAPABILITY, "it lacks vision")}
    nobody = why(pair, needs=frozenset({"telepathy"}))
    assert nobody["able"] == (Stage.CAPABILITY, "it lacks telepathy")


def test_a_model_that_only_embeds_writes_no_answer_and_another_one_embeds_nothing() -> None:
    pair = Catalogue.of(model("chat"), model("vectors", can=("embeddings",), max_output=0))
    assert why(pair) == {"vectors": (Stage.CAPABILITY, "it only embeds")}
    assert why(pair, needs=frozenset({"embeddings"})) == {"chat": (Stage.CAPABILITY, "it lacks embeddings")}


def test_the_window_holds_the_input_and_the_answer_that_is_expected() -> None:
    pair = Catalogue.of(model("wide"), model("narrow", window=1400, max_output=1000))
    reason = "1000 tokens of input and 500 of output, its window holds 1400"
    assert why(pair) == {"narrow": (Stage.WINDOW, reason)}
    assert why(pair, tokens_out=400.0) == {}
    estimated = why(pair, Features(tokens=1000, counted=False), tokens_out=400.0)
    assert estimated["narrow"][0] is Stage.WINDOW, "an estimate has a margin"


def test_who_cannot_write_enough_is_left_out() -> None:
    pair = Catalogue.of(model("long"), model("short", max_output=100))
    reason = "it writes 100 tokens at most, not 2000"
    assert why(pair, tokens_out_min=2000) == {"short": (Stage.WINDOW, reason)}


def test_residency_is_a_stage_of_its_own_and_other_tags_are_policy() -> None:
    pair = Catalogue.of(
        model("here", tags={"residency": "eu"}), model("there", tags={"residency": "us"}), model("nowhere")
    )
    found = why(pair, require={"residency": ("eu", "local")})
    assert found == {
        "there": (Stage.RESIDENCY, "its residency is us, not eu or local"),
        "nowhere": (Stage.RESIDENCY, "it has no tag residency; wanted is eu or local"),
    }
    assert {stage for stage, _ in why(pair, require={"owner": "me"}).values()} == {Stage.POLICY}


def test_one_whose_answer_a_budget_would_cut_is_left_out_while_another_is_paid_whole() -> None:
    pair = Catalogue.of(model("dear", usd=10), model("cheap", usd=0.1))
    found = why(pair, budget_nano=22_000_000, tokens_out_max=1000)
    assert list(found) == ["dear"] and found["dear"][0] is Stage.BUDGET
    assert why(Catalogue.of(model("dear", usd=10)), budget_nano=22_000_000, tokens_out_max=1000) == {}


def test_what_is_left_of_a_budget_excludes_the_dear_and_those_without_a_price() -> None:
    found = why(three().with_(model("odd", usd=None)), budget_nano=5_000_000)
    assert found == {
        "large": (Stage.BUDGET, "it may cost 0.02024 USD, 0.005 are left"),
        "odd": (Stage.BUDGET, "no price is known, and there is a budget"),
    }


def test_a_long_request_has_the_price_of_its_tier() -> None:
    tiers = (Tier(above=900, per_million_in=10**12, per_million_out=0),)
    tiered = model("tiered", price=Price(per_million_in=0, per_million_out=0, tiers=tiers))
    assert why(Catalogue.of(tiered), budget_nano=1000)["tiered"][0] is Stage.BUDGET
    assert why(Catalogue.of(tiered), Features(tokens=900, counted=True), budget_nano=1000) == {}


@pytest.mark.parametrize("standing", ["stalled", "broken", "shut"])
def test_who_is_down_is_excluded_with_what_health_says(standing: str) -> None:
    found = why(three(), now={"mid": Now(standing, "5 of 6 calls failed", wait_s=float("inf"))})
    assert found == {"mid": (Stage.HEALTH, f"{standing}: 5 of 6 calls failed")}


def test_who_is_probing_may_answer() -> None:
    assert why(three(), now={"mid": Now("probing", "one call may find out")}) == {}


def test_a_long_wait_excludes_unless_all_must_wait() -> None:
    busy = Now("busy", free=0, wait_s=40.0)
    assert why(three(), now={"mid": busy}) == {"mid": (Stage.LIMIT, "no place is free for 40.0 s")}
    assert why(three(), now={"mid": busy}, wait_s_max=60.0) == {}
    assert why(three(), now=dict.fromkeys(("small", "mid", "large"), busy)) == {}


def test_who_was_tried_and_who_is_not_wanted() -> None:
    found = why(three(), tried={"small": "overloaded", "unheard of": "x"}, model="mid")
    assert found["small"] == (Stage.POLICY, "the caller wants mid")
    assert found["large"] == (Stage.POLICY, "the caller wants mid")
    assert why(three(), tried={"small": "overloaded"}) == {"small": (Stage.TRIED, "it was tried: overloaded")}


def test_an_empty_catalogue_has_nobody() -> None:
    assert why(Catalogue.of()) == {}


@given(catalogues(), asked(), conditions())
def test_all_are_either_eligible_or_excluded_with_a_reason(
    catalogue: Catalogue, request: dict[str, Any], now: Any
) -> None:
    found = why(catalogue, **request, now=now)
    assert all(reason for _, reason in found.values())
    tagged = request["require"].get("residency")
    for one in catalogue:
        if one.name not in found:
            assert one.capabilities >= request["needs"]
            assert one.name not in request["tried"]
            assert tagged is None or one.tags["residency"] in tagged
            assert now.get(one.name, Now()).standing not in ("stalled", "broken", "shut")
