"""Other routes on past decisions: the chances that they would have given, and the judge's verdict on a known truth."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segue import Engine
from segue.core.records import Decision
from segue.journal import Journal
from segue.models.spec import Catalogue
from segue.routing import (
    Best,
    Cheapest,
    Considered,
    Example,
    Examples,
    Explore,
    Features,
    Function,
    Hedge,
    Pinned,
    Policy,
    Request,
    Router,
    Split,
    Weighted,
)
from segue.routing.judge import Logged, Measure, Outcome, Standing, judge, logged
from segue.routing.past import logged_rows, rows
from segue.routing.policies import Arm
from segue.routing.replayed import Replayed
from segue.routing.traffic import Traffic
from tests.routing.asked import Question, World, asking, told
from tests.routing.made import Learned, model, three

EVEN = Explore(floor=0.5, ceiling=0.5)


def past(decision: Decision, **more: Any) -> Logged:
    return logged("run", decision, Outcome(), **more)


def made(policy: Policy, catalogue: Catalogue | None = None, **asked: Any) -> Decision:
    catalogue = catalogue or three()
    router = Router(catalogue, {"r": policy}, predictors=asked.pop("predictors", None))
    request = Request(**({"text": "write a poem", "tokens_in": 500, "route": "r"} | asked))
    return router.decide(request, id="d", luck=asked.pop("luck", 0.9))


@pytest.mark.parametrize(
    "policy",
    [
        Best(),
        Cheapest(quality_min=0.7, explore=EVEN),
        Weighted(per_usd=50.0),
        Best(among=("small", "mid")),
        Split(arms=(Arm(name="a", policy=Cheapest(), share=0.9), Arm(name="b", policy=Best(), share=0.1))),
        Pinned(model="mid"),
    ],
    ids=["best", "cheapest", "weighted", "among", "split", "pinned"],
)
def test_the_policy_that_chose_gives_the_chances_that_it_gave(policy: Policy) -> None:
    """From the estimates on record alone."""
    learned = Learned({"small": (0.72, 0.1), "mid": (0.71, 0.05)})
    from segue.routing import Predictors

    decision = made(policy, predictors=Predictors(quality=learned))
    row = past(replace(decision, pinned_by=None))
    assert Replayed(three(), {"r": policy})(row) == pytest.approx(row.propensities, abs=1e-4)


def test_whom_the_old_policy_left_out_the_new_one_may_choose() -> None:
    decision = made(Cheapest(among=("small",), explore=Explore(floor=0, ceiling=0)))
    assert Replayed(three(), {"r": Pinned(model="large")})(past(decision)) == (0.0, 0.0, 1.0)


def test_whom_the_request_left_out_nobody_may_choose() -> None:
    catalogue = Catalogue.of(model("eu", 0.5, tags={"residency": "eu"}), model("us", 0.9, tags={"residency": "us"}))
    decision = made(Best(), catalogue, require={"residency": "eu"})
    assert Replayed(catalogue, {"r": Best()})(past(decision)) == (1.0, 0.0)


def test_a_model_that_was_no_candidate_takes_its_chance_away() -> None:
    newer = Catalogue.of(*three(), model("newest", 0.99, 20.0))
    decision = made(Best(explore=EVEN))
    chances = Replayed(newer, {"r": Best(explore=Explore(floor=0, ceiling=0))})(past(decision))
    assert chances == (0.0, 0.0, 0.0)
    gone = Catalogue.of(model("mid", 0.75))
    assert Replayed(gone, {"r": Best()})(past(decision)) == (0.0, 1.0, 0.0)


def test_one_policy_may_be_taken_for_all_and_a_route_that_is_not_there_changes_nothing() -> None:
    decision = made(Best(explore=EVEN))
    row = past(decision)
    assert Replayed(three(), {})(row) == row.propensities and Replayed(three(), {}).policy_for(decision) is None
    assert Replayed(three(), {}, Pinned(model="small"))(row) == (1.0, 0.0, 0.0)


@pytest.mark.proof
async def test_the_verdict_on_journaled_traffic_holds_the_truth(tmp_path: Path) -> None:
    """Written by a fake producer with a real router, read back, judged: intervals hold what the models really do."""
    quality, usd = {"small": 0.3, "mid": 0.6, "large": 0.9}, {"small": 0.0001, "mid": 0.001, "large": 0.01}
    rng, many = random.Random(7), 900
    explored = Router(three(), {"r": Best(explore=EVEN)})
    world = World(explored, quality, usd)
    texts = [f"question {n}" for n in range(many)]
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        told(*[world.records(text, rng.random(), rng.random()) for text in texts])
        for at in range(0, many, 3):
            await engine.run(asking, [Question(text) for text in texts[at : at + 3]])
    traffic = Traffic()
    with Journal.open_readonly(str(path)) as reader:
        traffic.read(reader)
    found = logged_rows(rows(traffic))
    assert len(found.rows) == many and not found.left_out
    new = Replayed(three(), {"r": Cheapest(explore=Explore(floor=0, ceiling=0))})
    verdict = judge(found.rows, new)
    assert verdict.clusters == many / 3
    for measure, truth in ((Measure.REWARD, 0.3), (Measure.COST, 0.0001), (Measure.ANSWERED, 1.0)):
        finding = verdict.findings[measure]
        assert finding.best is not None and finding.best.value.low - 0.005 <= truth <= finding.best.value.high + 0.005
    assert verdict.findings[Measure.REWARD].standing is Standing.CLAIMED


def by_text(request: Request, features: Features, candidates: Sequence[Considered]) -> str:
    return "large" if "poem" in request.text else "small"


LIKE = Examples(
    examples=(Example(text="a poem about autumn", use=Pinned(model="large")),),
    otherwise=Pinned(model="small"),
    similarity_min=0.4,
)


@pytest.mark.parametrize(
    "policy", [LIKE, Function(function=by_text), Hedge(of=LIKE)], ids=["examples", "function", "of"]
)
def test_policies_that_read_the_text_are_given_what_was_asked(policy: Policy) -> None:
    """Also where the traffic was decided without embeddings."""
    decision, replayed = made(Best()), Replayed(three(), {"r": policy})
    assert decision.embedding is None and policy.reads()
    assert replayed(past(decision, text="write a poem about autumn")) == (0.0, 0.0, 1.0)
    assert replayed(past(decision, text="sort these letters")) == (1.0, 0.0, 0.0)
