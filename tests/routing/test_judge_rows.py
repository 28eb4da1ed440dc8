"""Rows of past traffic: what a decision says, what it does not, and damage that is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segue.core.records import Candidate, Decision, Estimate, Sampling, Split, Stage, Target, TargetKind
from segue.errors import InputError
from segue.routing.judge import Logged, Measure, Outcome, left_out, logged
from segue.routing.judge.rows import chances
from segue.routing.judge.weighed import weigh

SMALL = Candidate(
    target=Target(kind=TargetKind.MODEL, name="small"),
    quality=Estimate(mean=0.6),
    cost_usd=Estimate(mean=0.001),
    latency_s=Estimate(mean=0.4),
    propensity=0.9,
)
LARGE = Candidate(target=Target(kind=TargetKind.MODEL, name="large"), propensity=0.1)
NARROW = Candidate(
    target=Target(kind=TargetKind.MODEL, name="narrow"), eligible=False, excluded_at=Stage.WINDOW, reason="too long"
)


def decision(**more: object) -> Decision:
    fields: dict[str, object] = {
        "id": "d1", "policy": "p", "policy_version": "1", "candidates": (SMALL, LARGE, NARROW), "choice": 0,
        "sampling": Sampling.EXACT, "exploration": 0.2,
    }  # fmt: skip
    return Decision(**{**fields, **more})


def row(**more: object) -> Logged:
    return replace(logged("run-1", decision(), Outcome(cost_nano=5_000)), **more)  # pyright: ignore[reportArgumentType]


def test_a_decision_and_its_outcome_are_a_row() -> None:
    made = logged("run-1", decision(), Outcome(reward=0.5, cost_nano=2_000_000, latency_s=1.5), at=7.0, features=[1, 2])
    assert made.cluster == "run-1"
    assert made.candidates == ("small", "large", "narrow")
    assert made.propensities == (0.9, 0.1, 0.0)
    assert [made.outcome.of(m) for m in Measure] == pytest.approx([0.5, 0.002, 1.5, 1.0])
    assert made.predictions[0].of(Measure.COST) == 0.001
    assert np.isnan(made.predictions[1].of(Measure.REWARD))
    assert (made.weighable, made.exploration, made.at, made.features) == (True, 0.2, 7.0, (1, 2))


def test_asks_that_a_sticky_split_sent_one_way_are_one_cluster() -> None:
    split = Split(name="ab", arm="b", share=0.5, by="user-7")
    assert logged("run-1", decision(splits=(split,)), Outcome()).cluster == "split:user-7"


@pytest.mark.parametrize(
    ("more", "reason"),
    [({"choice": None}, "nobody was eligible"), ({"pinned_by": "caller"}, "pinned by caller"), ({}, None)],
)
def test_where_there_was_no_choice_there_is_no_row(more: dict[str, object], reason: str | None) -> None:
    made = decision(**more)
    assert left_out(made) == reason
    if reason is not None:
        with pytest.raises(InputError, match=reason):
            logged("run-1", made, Outcome())


@pytest.mark.parametrize("sampling", [Sampling.DETERMINISTIC, Sampling.OTHER])
def test_no_row_weighs_without_chances(sampling: Sampling) -> None:
    assert not row(sampling=sampling).weighable


@pytest.mark.parametrize(
    "damage",
    [
        {"choice": 3},
        {"choice": -1},
        {"choice": 2},
        {"propensities": (0.5, 0.5)},
        {"propensities": (0.5, 0.4, 0.0)},
        {"propensities": (1.2, -0.2, 0.0)},
        {"shadows": {5: Outcome()}},
        {"predictions": ((),)},
    ],
)
def test_a_damaged_row_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(InputError, match="small"):
        row(**damage)


@pytest.mark.parametrize("given", [[1.0], [0.5, 0.6, 0.0], [-0.1, 1.1, 0.0], [float("nan"), 0.0, 0.0]])
def test_a_policy_that_gives_no_distribution_is_refused(given: list[float]) -> None:
    with pytest.raises(InputError, match="policy"):
        chances(lambda _: given, row())


def test_rows_of_different_width_are_padded_and_arms_are_told_apart_by_name() -> None:
    wide = row()
    thin = Logged(
        cluster="run-2",
        candidates=("large",),
        propensities=(1.0,),
        choice=0,
        sampling=Sampling.EXACT,
        outcome=Outcome(answered=None),
    )
    w = weigh([wide, thin], lambda r: [1.0 if name == "large" else 0.0 for name in r.candidates])
    assert w.arms.tolist() == [[0, 1, 2], [1, -1, -1]]
    assert w.target.tolist() == [[0, 1, 0], [1, 0, 0]]
    assert w.weight.tolist() == [0.0, 1.0]
    assert w.unreached.tolist() == [0.0, 0.0]
    assert np.isnan(w.outcomes[Measure.ANSWERED][1])


def test_what_could_not_have_been_chosen_is_unreached() -> None:
    assert weigh([row()], lambda _: [0.5, 0.0, 0.5]).unreached.tolist() == [0.5]
    assert weigh([row()], lambda _: [0.5, 0.0, 0.0]).unreached.tolist() == [0.5]
