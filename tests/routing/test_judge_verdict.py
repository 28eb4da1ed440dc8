"""Verdicts: claimed on much, cautious on some, refused on little, and never weights where nothing was drawn."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from segue.core.records import Sampling
from segue.routing.judge import Estimator, Finding, Logged, Measure, Outcome, Standing, judge, says
from segue.routing.judge.rows import Move, Prediction
from segue.routing.judge.simulate import World, drawn, rows, tables, traffic, truth


def target_of(world: World) -> Callable[[Logged], Sequence[float]]:
    policy = tables(world).target
    return lambda row: policy[row.features.index(1.0)].tolist()


def judged(world: World, seed: int = 0, change: Callable[[Logged], Logged] | None = None) -> dict[Measure, Finding]:
    log = rows(traffic(world, seed))
    log = [change(row) for row in log] if change else log
    return dict(judge(log, target_of(world)).findings)


def without_chances(row: Logged) -> Logged:
    return replace(row, sampling=Sampling.DETERMINISTIC)


MUCH = World(runs=800, exploration=0.3)
SOME = World(runs=600, exploration=0.05)
LITTLE = World(runs=200, exploration=0.02)


def test_much_evidence_is_claimed_and_right() -> None:
    facts = truth(MUCH)
    for measure, found in judged(MUCH).items():
        assert found.standing is Standing.CLAIMED
        assert found.need is None
        assert found.effective >= 200.0
        assert [figure.estimator for figure in found.figures] == [Estimator.IPS, Estimator.SNIPS, Estimator.DR]
        assert found.best is not None
        assert found.best.value.holds(facts[measure][0])
        assert found.best.difference.holds(facts[measure][1])


def test_some_evidence_is_answered_with_caution() -> None:
    found = judged(SOME)[Measure.ANSWERED]
    assert found.standing is Standing.CAUTIOUS
    assert 30.0 <= found.effective < 200.0
    assert found.best is not None
    assert found.need is not None
    assert "below 200" in says(found)


def test_little_evidence_is_refused_and_names_exploration_and_days() -> None:
    for found in judged(LITTLE).values():
        assert found.standing is Standing.REFUSED
        assert found.figures == ()
        assert found.best is None
        assert found.effective < 30.0
        need = found.need
        assert need is not None
        assert need.exploration == pytest.approx(0.02)
        assert need.days_to_answer is not None
        assert need.days_to_claim is not None
        assert 0.0 < need.days_to_answer < need.days_to_claim
        assert need.exploration_wanted > 0.02
        assert need.days_then is not None
        assert need.days_then <= 14.0
        assert "exploration is 2.0% of the traffic" in says(found)
        assert "days for a claim" in says(found)


def test_of_what_a_split_has_dealt_no_exploration_is_told() -> None:
    found = judged(LITTLE, change=lambda row: replace(row, exploration=0.0))[Measure.COST]
    assert found.need is not None and found.need.dealt and found.need.days_to_claim is not None
    said = says(found)
    assert "exploration is" not in said and "0.0%" not in said
    assert "at the shares of the split and the present traffic it takes" in said and "explored" in said


def test_the_asks_that_were_named_do_suffice() -> None:
    world = World(runs=50, exploration=0.1)
    found = judged(world)[Measure.COST]
    assert found.need is not None
    assert found.need.asks_to_claim is not None
    grown = world.runs * (1.0 + 1.25 * found.need.asks_to_claim / found.rows)
    assert judged(replace(world, runs=int(grown)))[Measure.COST].standing is Standing.CLAIMED
    assert judged(replace(world, runs=int(0.5 * grown)))[Measure.COST].standing is Standing.CAUTIOUS


def kept_to(keys: int) -> Callable[[Logged], Logged]:
    """Rows as those of a split that sticks to so many keys."""
    return lambda row: replace(row, cluster=f"split:{int(row.cluster.removeprefix('run-')) % keys}")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("runs", [400, 1600])
@pytest.mark.parametrize("keys", [1, 3, 20])
def test_more_asks_of_the_same_few_keys_do_not_help(keys: int, runs: int) -> None:
    found = judged(replace(MUCH, runs=runs), change=kept_to(keys))[Measure.COST]
    assert found.standing is (Standing.CAUTIOUS if keys == 20 else Standing.REFUSED)
    assert found.need is not None
    assert found.need.keys_to_claim == 30
    assert found.need.asks_to_claim is found.need.days_to_claim is found.need.days_then is None
    assert found.need.exploration_wanted == found.need.exploration
    said = says(found)
    assert "keys that a split sticks to" in said and "runs" not in said
    assert "more asks of the same keys do not help, other keys do: it takes 30" in said and "day" not in said


def test_where_there_are_keys_enough_it_is_said_that_new_ones_are_counted_on() -> None:
    found = judged(replace(SOME, exploration=0.03), change=kept_to(300))[Measure.COST]
    assert found.need is not None and found.need.keys_to_claim is None and found.need.days_to_claim is not None
    assert "for a claim, if new keys come as they have so far" in says(found)
    runs = judged(replace(SOME, exploration=0.03))[Measure.COST]
    assert "new keys" not in says(runs)


def test_where_each_ask_has_a_key_of_its_own_the_days_are_named() -> None:
    """As without `sticky=`, where the run is the key."""
    one = replace(LITTLE, runs=600, exploration=0.01)
    log = [replace(row, cluster=f"split:{at}", exploration=0.0) for at, row in enumerate(rows(traffic(one, 0)))]
    for found in judge(log, target_of(one)).findings.values():
        assert found.standing is Standing.REFUSED and found.need is not None
        assert found.need.keys_to_claim is None and (found.need.days_to_claim or 0.0) > 1.0
        assert "for a claim, if new keys come as they have so far" in says(found)


def test_where_no_ask_has_fallen_to_an_arm_yet_the_days_are_named() -> None:
    """As of a hundred asks under a split of 1%."""
    out = Outcome(reward=1.0, cost_nano=1000, latency_s=1.0)
    log = [
        Logged(
            cluster=f"split:{n}", candidates=("small", "large"), propensities=(0.99, 0.01), choice=0,
            sampling=Sampling.EXACT, outcome=out, at=1e9 + 600.0 * n,
        )
        for n in range(100)
    ]  # fmt: skip
    found = judge(log, lambda _: [0.0, 1.0]).findings[Measure.COST]
    assert found.need is not None and found.need.asks_to_claim == pytest.approx(20_000, rel=0.05)
    assert "139 days for a claim" in says(found)


def test_that_one_ask_alone_was_drawn_is_no_measure_of_what_more_exploration_brings() -> None:
    out = Outcome(reward=1.0, cost_nano=1000, latency_s=1.0)
    log = [
        Logged(
            cluster=f"run-{n}", candidates=("small", "large"), propensities=(0.98, 0.02), choice=int(n == 7),
            sampling=Sampling.EXACT, outcome=out, exploration=0.04, at=1e9 + 173.0 * n,
        )
        for n in range(400)
    ]  # fmt: skip
    need = judge(log, lambda _: [0.0, 1.0]).findings[Measure.COST].need
    assert need is not None and need.exploration_wanted < 0.5 and (need.days_then or math.inf) <= 14.0


def test_where_one_key_has_most_of_the_asks_it_is_other_keys_that_are_lacking() -> None:
    """However many small ones come beside it."""
    log = [
        replace(row, cluster="split:big" if at % 2 else f"split:{at}") for at, row in enumerate(rows(traffic(MUCH, 0)))
    ]
    found = judge(log, target_of(MUCH)).findings[Measure.COST]
    assert found.standing is Standing.REFUSED and found.need is not None and found.need.keys_to_claim == 30
    assert "other keys do" in says(found) and "day" not in says(found)


def test_what_nobody_has_said_is_not_taken_for_what_could_not_be_drawn() -> None:
    log = [replace(row, outcome=replace(row.outcome, reward=None)) for row in rows(traffic(MUCH, 0))]
    found = judge(log, target_of(MUCH)).findings
    quality = found[Measure.REWARD]
    assert found[Measure.COST].standing is Standing.CLAIMED and quality.standing is not Standing.CLAIMED
    assert quality.need is None and not quality.figures
    assert "checks, or feedback, say it" in says(quality) and "drawn" not in says(quality)


def test_more_exploration_needs_fewer_days() -> None:
    now, more = (judged(replace(LITTLE, exploration=share))[Measure.COST].need for share in (0.02, 0.04))
    assert now is not None
    assert more is not None
    assert now.asks_to_claim is not None
    assert more.asks_to_claim is not None
    assert more.asks_to_claim < 0.7 * now.asks_to_claim


@pytest.mark.parametrize("sampling", [Sampling.DETERMINISTIC, Sampling.OTHER])
def test_no_weights_are_formed_where_nothing_was_drawn(sampling: Sampling) -> None:
    for found in judged(MUCH, change=lambda row: replace(row, sampling=sampling)).values():
        assert found.standing is Standing.REFUSED
        assert found.figures == ()
        assert found.need is not None
        assert found.need.days_to_claim is None
        assert found.need.exploration_wanted > 0.0
        assert "no number of days" in says(found)


def test_only_rows_with_chances_weigh() -> None:
    """Rows without them, with absurd outcomes, do not move a figure."""
    log = rows(traffic(MUCH, 0))
    absurd = [without_chances(replace(row, outcome=Outcome(answered=False, cost_nano=10**15))) for row in log]
    alone, mixed = judge(log, target_of(MUCH)), judge([*log, *absurd], target_of(MUCH))
    assert mixed.weighable == len(log)
    assert mixed.findings[Measure.COST].best == alone.findings[Measure.COST].best


def test_models_answer_for_a_policy_that_was_never_drawn_and_are_labelled() -> None:
    world = replace(MUCH, models="good")
    for measure, found in judged(world, change=without_chances).items():
        assert found.standing is Standing.MODELLED
        assert found.basis is Estimator.MODELS
        assert found.figures == ()
        assert found.modelled == pytest.approx(truth(world)[measure][0], rel=0.2)
        assert "no experiment stands behind it" in says(found)


def shadow_log(world: World, seed: int) -> list[Logged]:
    w, beside = drawn(world, seed)
    log = [without_chances(row) for row in rows(w)]
    asked = {m: of.tolist() for m, of in beside.items()}
    return [replace(row, shadows=_shadows(asked, i)) for i, row in enumerate(log)]


def _shadows(asked: dict[Measure, list[list[float]]], i: int) -> dict[int, Outcome]:
    answered = asked[Measure.ANSWERED][i]
    return {
        j: Outcome(
            answered=bool(a),
            reward=None if math.isnan(r := asked[Measure.REWARD][i][j]) else r,
            cost_nano=round(asked[Measure.COST][i][j] * 1e9),
            latency_s=asked[Measure.LATENCY][i][j],
        )
        for j, a in enumerate(answered)
        if not math.isnan(a)
    }


def test_shadow_pairs_answer_for_a_deterministic_policy() -> None:
    world, seeds = World(runs=400, exploration=0.0, target="dear", shadowed=0.25), range(8)
    held = {m: 0 for m in Measure}
    for seed in seeds:
        for measure, found in judge(shadow_log(world, seed), target_of(world)).findings.items():
            assert found.basis is Estimator.SHADOWS
            assert found.standing in {Standing.CLAIMED, Standing.CAUTIOUS}
            assert found.best is not None
            value, change = truth(world)[measure]
            held[measure] += found.best.value.holds(value) and found.best.difference.holds(change)
    assert min(held.values()) >= len(seeds) - 2


def _dearer(one: Prediction, times: float) -> Prediction:
    return replace(one, cost_usd=(one.cost_usd or 0.0) * times)


LEFT_OPEN = [(200, Standing.CLAIMED), (40, Standing.CAUTIOUS), (10, Standing.REFUSED)]


def well(row: Logged, *, answered: bool = True) -> Logged:
    """The same, with shadows that answered, or did not."""
    return replace(row, shadows={at: replace(one, answered=answered) for at, one in row.shadows.items()})


@pytest.mark.parametrize(("of", "standing"), LEFT_OPEN)
def test_shadow_pairs_claim_nothing_where_a_shadow_that_failed_leaves_open_what_follows(
    of: int, standing: Standing
) -> None:
    world = World(runs=800, exploration=0.0, target="dear", shadowed=1.0)
    log = [well(row, answered=at % of != 0) for at, row in enumerate(shadow_log(world, 0))]
    found = judge(log, target_of(world), onward=lambda _: 1.0).findings
    assert found[Measure.ANSWERED].standing is standing
    assert ("would go on otherwise" in says(found[Measure.ANSWERED])) == (standing is not Standing.CLAIMED)
    assert found[Measure.COST].standing is Standing.REFUSED
    assert "add nobody knows what" in says(found[Measure.COST])
    ends = judge(log, target_of(world)).findings
    if standing is not Standing.REFUSED:
        known, told = ends[Measure.ANSWERED].best, found[Measure.ANSWERED].best
        assert known is not None and told is not None
        assert told.value.high == pytest.approx(min(1.0, known.value.high + 1 / of), abs=1e-3), "they may answer yet"
        assert told.difference.low == pytest.approx(known.difference.low - 1 / of, abs=1e-3)
    assert ends[Measure.COST].standing is Standing.CLAIMED, "there asks end with their first call"


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("of", "standing"), LEFT_OPEN)
def test_shadow_pairs_claim_nothing_where_an_ask_would_have_gone_on_otherwise(of: int, standing: Standing) -> None:
    world = World(runs=800, exploration=0.0, target="other", moved=1, shadowed=1.0)
    log = [well(row) for row in shadow_log(world, 0)]
    alike = [at for at, row in enumerate(log) if target_of(world)(row)[row.choice] == 1.0]
    for at in alike[:: max(1, of * len(alike) // len(log))]:
        log[at] = replace(log[at], moves=(Move(("a",), "b"),))
    found = judge(log, target_of(world), onward=lambda _: 0.0).findings[Measure.ANSWERED]
    assert found.standing is standing


@pytest.mark.sampled(2)
@pytest.mark.parametrize("off", [1.0, 50.0])
@pytest.mark.parametrize(("times", "standing"), [(1, Standing.CLAIMED), (6, Standing.CAUTIOUS), (60, Standing.REFUSED)])
def test_what_few_asks_may_add_to_the_cost_is_weighed_by_the_dearest_that_could_be_asked(
    times: int, standing: Standing, off: float
) -> None:
    """Three in a thousand would go on to somebody else; what is expected of all may be too much by far."""
    world = replace(MUCH, models="good")
    log = rows(traffic(world, 0))
    chosen = [at for at, row in enumerate(log) if target_of(world)(row)[row.choice] == 1.0]
    now = sum(log[at].outcome.of(Measure.COST) for at in chosen) / len(chosen)
    dear = replace(log[0].predictions[0], cost_usd=now * times)
    for at in chosen[::333]:
        log[at] = replace(log[at], moves=(Move(("a",), "b"),), predictions=(dear,) * len(log[at].predictions))
    log = [replace(row, predictions=tuple(_dearer(one, off) for one in row.predictions)) for row in log]
    found = judge(log, target_of(world), onward=lambda _: 0.0).findings
    assert found[Measure.COST].standing is standing
    assert found[Measure.ANSWERED].standing is Standing.CLAIMED, "that is from 0 to 1"


def test_too_few_shadow_pairs_are_no_answer() -> None:
    world = World(runs=100, exploration=0.0, target="dear", shadowed=0.02)
    assert judge(shadow_log(world, 0), target_of(world)).findings[Measure.COST].standing is Standing.REFUSED


def test_a_policy_that_chooses_what_could_not_be_drawn_is_refused() -> None:
    log = [replace(row, propensities=(1.0, 0.0, 0.0), choice=0) for row in rows(traffic(MUCH, 0))]
    found = judge(log, lambda _: [0.9, 0.1, 0.0]).findings[Measure.COST]
    assert found.standing is Standing.REFUSED
    assert "10.0% of its choices could not have been drawn" in says(found)
    assert found.need is not None
    assert found.need.asks_to_claim is None
    assert found.need.days_then is not None


def test_a_single_run_is_no_evidence_however_long() -> None:
    found = judged(MUCH, change=lambda row: replace(row, cluster="the only run"))
    assert all(f.standing is Standing.REFUSED for f in found.values())
    assert "1 runs" in says(found[Measure.COST])


def test_a_small_change_of_policy_is_not_claimed_on_asks_that_it_leaves_alone() -> None:
    world = World(runs=300, exploration=0.03, target="other", moved=1)
    found = judged(world)[Measure.ANSWERED]
    assert found.effective > 30.0
    assert found.standing is Standing.REFUSED
    assert "where it differs most" in says(found)


def test_propensities_estimated_from_few_draws_are_no_claim() -> None:
    def estimated(draws: int) -> Standing:
        def change(row: Logged) -> Logged:
            return replace(row, sampling=Sampling.ESTIMATED, samples=draws)

        return judged(MUCH, change=change)[Measure.COST].standing

    assert estimated(20) is Standing.CAUTIOUS
    assert estimated(100_000) is Standing.CLAIMED


def test_what_is_known_of_some_asks_only_is_said() -> None:
    assert "known for 6" in says(judged(MUCH)[Measure.REWARD])
    assert "known for" not in says(judged(MUCH)[Measure.COST])


def test_no_traffic_is_refused() -> None:
    verdict = judge([], lambda _: [])
    assert {f.standing for f in verdict.findings.values()} == {Standing.REFUSED}
    json.dumps(verdict.to_json(), allow_nan=False)


def test_nothing_known_is_refused() -> None:
    def unknown(row: Logged) -> Logged:
        return replace(row, outcome=Outcome(answered=None))

    assert {f.standing for f in judged(LITTLE, change=unknown).values()} == {Standing.REFUSED}


@pytest.mark.parametrize("world", [MUCH, LITTLE])
def test_a_verdict_is_plain_json(world: World) -> None:
    made = judge(rows(traffic(world, 0)), target_of(world)).to_json()
    again = json.loads(json.dumps(made, allow_nan=False))
    assert set(again["findings"]) == {m.value for m in Measure}
    assert again["findings"]["cost_usd"]["standing"] in {"claimed", "refused"}
    assert "per ask" in again["findings"]["cost_usd"]["says"] or "refused" in again["findings"]["cost_usd"]["says"]


def test_the_same_log_gives_the_same_verdict() -> None:
    assert judged(SOME) == judged(SOME)
