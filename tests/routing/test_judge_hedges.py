"""A policy that hedges, or does not, is judged by asks that were hedged, or not, as it would have."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, ask, flow
from segue.core.records import Stage
from segue.journal import Journal
from segue.models import Catalogue, Model, Price, Provider
from segue.routing import Cheapest, Hedge, Pinned, Policy, Request, Router, Shadow
from segue.routing.judge import Judgement, Logged, Measure, Outcome, Standing, judge, logged
from segue.routing.judge.rows import Call, Move
from segue.routing.past import logged_rows, rows
from segue.routing.policies import NEVER, Arm, Split
from segue.routing.replayed import Replayed
from segue.routing.traffic import Traffic
from segue.testing.provider import FaultPlan, Faults, Served, Trouble, serve
from tests.routing.made import model, three

PLAIN = Cheapest(explore=NEVER)
HEDGED = Hedge(of=PLAIN, after_s=1.5)
USUAL = Hedge(of=PLAIN)
LATER = Hedge(of=PLAIN, after_s=4.0)
HALF = Split(arms=(Arm(name="plain", policy=PLAIN, share=1), Arm(name="hedged", policy=HEDGED, share=1)))


@cache
def router(policy: Policy) -> Router:
    return Router(three(), {"r": policy})


def call_of(policy: Policy, silent_s: float, *, begun: bool | None = None, key: str = "k") -> tuple[Call, float]:
    """A call by a policy's own decision, and what it cost in dollars: one for each model that was asked. `begun` is
    whether a second one was asked; None: as planned.
    """
    decision = router(policy).decide(Request(text="Sort", tokens_in=500, route="r", key=key), id="d", luck=0.5)
    second = None if decision.hedge is None else decision.candidates[decision.hedge].target.name
    late = decision.hedge_after_s is not None and silent_s > decision.hedge_after_s
    beside = second if (late if begun is None else begun) else None
    return Call((), decision.candidates[decision.choice or 0].target.name, decision, silent_s, beside), (
        1.0 if beside is None else 11.0
    )


def row_of(policy: Policy, silent_s: float, key: str = "k") -> Logged:
    call, usd = call_of(policy, silent_s, key=key)
    out = Outcome(reward=1.0, cost_nano=round(usd * 1e9), latency_s=silent_s)
    return logged(f"run-{key}", replace(call.decision, route="r", pinned_by=None), out, calls=[call])


def alike(policy: Policy, call: Call) -> float:
    row = logged("run", replace(call.decision, pinned_by=None), Outcome(), calls=[call])
    return Replayed(three(), {"r": policy}).hedged(row)


@pytest.mark.parametrize(
    ("then", "silent_s", "new", "chance"),
    [
        (PLAIN, 1.0, HEDGED, 1.0), (PLAIN, 2.0, HEDGED, 0.0), (PLAIN, 2.0, LATER, 1.0), (PLAIN, 9.0, PLAIN, 1.0),
        (HEDGED, 1.0, PLAIN, 1.0), (HEDGED, 2.0, PLAIN, 0.0), (HEDGED, 2.0, HEDGED, 1.0), (HEDGED, 2.0, LATER, 0.0),
        (HEDGED, 2.0, Hedge(of=PLAIN, after_s=1.4), 1.0), (HEDGED, 2.0, USUAL, 0.0), (USUAL, 99.0, USUAL, 1.0),
        (HEDGED, 2.0, Shadow(of=HEDGED, shadows=("large",)), 1.0), (HEDGED, 2.0, HALF, 0.5), (PLAIN, 2.0, HALF, 0.5),
        (PLAIN, 2.0, Hedge(of=Pinned(model="small"), after_s=1.0), 1.0),
    ],
)  # fmt: skip
def test_the_chance_to_have_hedged_a_call_as_was_done(
    then: Policy, silent_s: float, new: Policy, chance: float
) -> None:
    call, _ = call_of(then, silent_s)
    assert alike(new, call) == pytest.approx(chance)


def test_a_hedge_that_found_no_place_is_still_the_same_hedge() -> None:
    call, _ = call_of(HEDGED, 3.0, begun=False)
    assert (alike(HEDGED, call), alike(Hedge(of=PLAIN, after_s=2.0), call), alike(PLAIN, call)) == (1.0, 0.0, 1.0)


def test_a_call_that_went_on_from_what_one_model_had_said_could_not_be_hedged_by_anybody() -> None:
    call, _ = call_of(HEDGED, 3.0, begun=False)
    bare = call._replace(decision=replace(call.decision, hedge=None, hedge_after_s=None))
    assert alike(HEDGED, bare) == alike(LATER, bare) == 1.0


def past(policy: Policy, many: int = 800, slow: float = 0.3) -> list[Logged]:
    """Asks of which a share takes two seconds; a second one costs ten dollars more."""
    late = set(random.Random(7).sample(range(many), round(slow * many)))
    return [row_of(policy, 2.0 if n in late else 0.5, key=f"k{n}") for n in range(many)]


def verdict(found: list[Logged], policy: Policy) -> Judgement:
    target = Replayed(three(), {"r": policy})
    return judge(
        found, target, onward=target.goes_on, hedged=target.hedged, climbs=target.climbs(found),
        hedges=target.hedges(found),
    )  # fmt: skip


@pytest.mark.parametrize(("then", "new"), [(PLAIN, HEDGED), (HEDGED, PLAIN)])
def test_what_a_hedge_would_cost_or_spare_is_not_claimed_of_asks_that_went_otherwise(then: Policy, new: Policy) -> None:
    for found in verdict(past(then), new).findings.values():
        assert found.standing is Standing.REFUSED and not found.figures and found.modelled is None
        assert any("would be hedged, or not, otherwise than they were" in note for note in found.notes)
        assert any("once a split has dealt it a share" in note for note in found.notes)


@pytest.mark.proof
@pytest.mark.parametrize(("new", "usd"), [(PLAIN, 1.0), (HEDGED, 1.0 + 0.3 * 10.0)])
def test_a_split_that_has_dealt_it_a_share_shows_what_a_hedge_costs(new: Policy, usd: float) -> None:
    """And what asks cost without it."""
    found = verdict(past(HALF), new).findings[Measure.COST]
    assert found.standing is Standing.CLAIMED and found.best is not None
    assert found.best.value.low <= usd <= found.best.value.high and found.best.value.high < 1.4 * usd
    assert 350 <= found.effective <= 450, "half of the asks were its own"


def test_the_same_hedge_is_judged_by_all_asks() -> None:
    found = verdict(past(HEDGED), HEDGED).findings[Measure.COST]
    assert found.best is not None and found.best.value.holds(4.0) and found.effective == pytest.approx(800)


def test_where_few_asks_are_slow_it_is_no_claim() -> None:
    found = verdict(past(PLAIN, slow=0.03), HEDGED).findings[Measure.ANSWERED]
    assert found.standing is Standing.CAUTIOUS


def test_shadows_say_nothing_of_a_hedge() -> None:
    """Nobody is asked beside a shadow."""
    shadowed = list[Logged]()
    for row in past(Shadow(of=Pinned(model="mid"), shadows=("small",)), many=300):
        place = row.candidates.index("small")
        shadowed.append(replace(row, shadows={place: Outcome(reward=1.0, cost_nano=10**9, latency_s=9.0)}))
    alone, hedge = (verdict(shadowed, policy).findings[Measure.COST] for policy in (Pinned(model="small"), HEDGED))
    assert alone.best is not None
    assert hedge.standing is Standing.MODELLED and any("a hedge's second one" in note for note in hedge.notes)


@flow
async def sorts(text: str) -> str:
    return await ask(text, repairs=0)


@flow
async def sorts_well(text: str) -> str:
    return await ask(text, repairs=1, check=lambda said: "poor" if said.startswith("poor") else None)


async def judged_by_arm(path: Path, made: Any, many: int, answer: Any = None, failing: float = 0.0) -> None:
    """Half of the asks are hedged after 0.2 seconds: either half says what its own kind of ask costs."""
    faults = FaultPlan(models={"small": Faults(rates={Trouble.SERVER_ERROR: failing})}, seed=4)
    served = {"small": Served(first_token_s=0.5, answer=answer), "large": Served(answer=answer)}
    async with serve(served, faults=faults) as server:
        among = Catalogue.of(*(
            Model(
                name=name, provider=Provider.OPENAI_COMPATIBLE, window=32_000, max_output=2000, url=server.openai_url,
                price=Price.dollars(usd, usd), quality={"any": quality},
            )
            for name, usd, quality in (("small", 1, 0.3), ("large", 20, 0.9))
        ))  # fmt: skip
        hedge = Hedge(of=PLAIN, after_s=0.2)
        half = Split(arms=(Arm(name="plain", policy=PLAIN, share=1), Arm(name="hedged", policy=hedge, share=1)))
        resources = {"catalogue": among, "routes": {"default": half}}
        async with Engine(str(path / "x.db"), resources=resources) as engine:
            await asyncio.gather(*(engine.run(made, f"Sort number {n}", id=f"r{n}") for n in range(many)))
    traffic = Traffic()
    with Journal.open_readonly(str(path / "x.db")) as reader:
        traffic.read(reader)
    found = logged_rows(rows(traffic)).rows
    own = [row for row in found if row.decision is not None and row.decision.splits[0].arm == "hedged"]
    assert len(found) == many and any(len(row.calls) > 1 for row in found)
    for new, asks in ((hedge, own), (PLAIN, [row for row in found if row not in own])):
        target = Replayed(among, {"default": new})
        assert all(target.hedged(row) == target.goes_on(row) == 1.0 for row in asks)
        told = judge(found, target, onward=target.goes_on, hedged=target.hedged, hedges=target.hedges(found)).findings
        true = sum(row.outcome.of(Measure.COST) for row in asks) / len(asks)
        best = told[Measure.COST].best
        assert best is not None and best.value.holds(true) and best.value.high < 5.0 * true


@pytest.mark.proof
async def test_repairs_that_an_engine_has_hedged(tmp_path: Path) -> None:
    """A repair goes to the same model, and its second one is whom the first call's was."""

    def answer(asked: Any) -> str:
        """One in three is poor, until it is shown its mistake."""
        return "poor" if len(asked.turns) < 2 and asked.prompt[-1] in "036" else "good"

    await judged_by_arm(tmp_path, sorts_well, 120, answer=answer)


@pytest.mark.proof
async def test_fallbacks_that_an_engine_has_hedged(tmp_path: Path) -> None:
    await judged_by_arm(tmp_path, sorts, 120, failing=0.3)


def test_a_repair_is_hedged_by_whom_the_first_call_is() -> None:
    """Its own decision has nobody else: the model was named."""
    call, _ = call_of(HEDGED, 2.0)
    named = {"eligible": False, "excluded_at": Stage.POLICY, "reason": "another one is named", "latency_s": None}
    chosen = call.decision.choice
    others = [c if at == chosen else replace(c, **named) for at, c in enumerate(call.decision.candidates)]
    repair = call._replace(decision=replace(call.decision, id="d2", candidates=tuple(others), pinned_by="recovery"))
    row = logged("run", replace(call.decision, pinned_by=None), Outcome(), calls=[call, repair])
    near = Hedge(of=PLAIN, after_s=1.4)
    assert Replayed(three(), {"r": near}).hedged(row) == Replayed(three(), {"r": HEDGED}).hedged(row) == 1.0
    assert Replayed(three(), {"r": PLAIN}).hedged(row) == 0.0


def test_the_policy_that_made_it_goes_on_as_it_did() -> None:
    """Whatever its models were like meanwhile; not where there are others now."""
    row = row_of(HALF, 2.0)
    assert row.decision is not None
    moved = replace(row, moves=(Move(("small",), "large"),))
    arm = PLAIN if row.decision.splits[0].arm == "plain" else HEDGED
    other = HEDGED if arm is PLAIN else PLAIN
    assert Replayed(three(), {"r": arm}).goes_on(moved) == Replayed(three(), {"r": HALF}).goes_on(moved) == 1.0
    assert Replayed(three(), {"r": other}).goes_on(moved) == 0.0
    more = Catalogue.of(*three(), model("tiny", 0.1, 0.01))
    assert Replayed(more, {"r": arm}).goes_on(moved) == 0.0


def test_of_a_file_with_other_routes_that_hedge_nothing_is_said() -> None:
    target = Replayed(three(), {"r": PLAIN, "other": HEDGED})
    assert not target.hedges(past(PLAIN, many=3)) and Replayed(three(), {"r": HEDGED}).hedges(past(PLAIN, many=3))
