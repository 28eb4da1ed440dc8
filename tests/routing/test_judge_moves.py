"""A policy is judged by what an ask came to in the end, as far as it would have gone on as the ask did."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from segue import Engine, ask, flow
from segue.journal import Journal
from segue.models import Catalogue, Model, Price, Provider
from segue.routing import Best, Cheapest, Explore, Pinned, Policy, Request, Router
from segue.routing.judge import Judgement, Measure, Outcome, Standing, judge, logged
from segue.routing.judge.rows import Move
from segue.routing.past import Past, logged_rows, rows
from segue.routing.policies import NEVER, Arm, Cascade, Split
from segue.routing.replayed import Replayed
from segue.routing.traffic import Traffic
from segue.testing.provider import Provider as Server
from segue.testing.provider import Served, serve
from tests.routing.made import three

EVEN = Explore(floor=0.65, ceiling=0.65)
MANY = 200


def models(server: Server) -> list[Model]:
    """Each dearer than the one before, and better by the catalogue."""
    return [
        Model(
            name=name, provider=Provider.OPENAI_COMPATIBLE, window=32_000, max_output=2000, url=server.openai_url,
            price=Price.dollars(cost, cost), quality={"any": quality},
        )
        for name, cost, quality in (("small", 1, 0.3), ("mid", 4, 0.6), ("large", 20, 0.9))
    ]  # fmt: skip


@flow
async def sorts(text: str) -> str:
    return await ask(text, repairs=0, check=lambda said: "poor" if said == "poor" else None)


THREE = Cheapest(explore=EVEN)
CLIMBS = Cascade(steps=("small", "large"), explore=NEVER, skip=False)


async def traffic(path: Path, poor: int, policy: Policy = THREE) -> tuple[Past, Catalogue]:
    """Asks of an even choice among three; of the small one's answers one in `poor` is turned down, and climbs."""
    asked: list[str] = []

    def small(_: object) -> str:
        asked.append("")
        return "poor" if len(asked) % poor == 0 else "fine"

    async with serve({"small": Served(answer=small), "mid": Served(), "large": Served()}) as server:
        among = Catalogue.of(*models(server))
        routes = {"default": policy}
        async with Engine(str(path / "x.db"), resources={"catalogue": among, "routes": routes}) as engine:
            for at in range(0, MANY, 20):
                await asyncio.gather(*(engine.run(sorts, f"Sort number {n}") for n in range(at, at + 20)))
    found = Traffic()
    with Journal.open_readonly(str(path / "x.db")) as reader:
        found.read(reader)
    return logged_rows(rows(found)), among


def verdict(past: Past, among: Catalogue, policy: Policy) -> Judgement:
    target = Replayed(among, {"default": policy})
    return judge(past.rows, target, onward=target.goes_on, climbs=target.climbs(past.rows))


@pytest.mark.proof
async def test_a_cascade_that_climbs_to_another_one_than_was_climbed_to_is_refused(tmp_path: Path) -> None:
    past, among = await traffic(tmp_path, poor=2)
    moved = [row for row in past.rows if row.moves]
    assert moved and {row.moves[0].tried for row in moved} == {("small",)}
    for found in verdict(past, among, CLIMBS).findings.values():
        assert found.standing is Standing.REFUSED and found.modelled is None and not found.figures
        assert any("would go on otherwise than they did" in note for note in found.notes)
    best = verdict(past, among, Best(explore=NEVER))
    assert all(found.figures for found in best.findings.values()), "of whom nothing was turned down"


@pytest.mark.parametrize(
    ("policy", "chance"),
    [
        (Cascade(steps=("small", "mid", "large"), explore=NEVER, skip=False), 1.0),
        (Cascade(steps=("small", "large"), explore=NEVER, skip=False), 0.0),
        (Cheapest(explore=NEVER), 1.0), (Best(explore=NEVER), 0.0), (Pinned(model="small"), 0.0),
    ],
)  # fmt: skip
async def test_the_chance_to_have_gone_on_as_an_ask_did(policy: Policy, chance: float) -> None:
    async with serve({"small": Served()}) as server:
        among = Catalogue.of(*models(server))
    decision = Router(among, {"r": THREE}).decide(Request(text="Sort", tokens_in=50, route="r"), id="d", luck=0.5)
    row = logged("run", replace(decision, pinned_by=None), Outcome(), moves=[Move(("small",), "mid")])
    assert Replayed(among, {"r": policy}).goes_on(row) == pytest.approx(chance)
    assert Replayed(among, {"r": policy}).goes_on(replace(row, moves=())) == 1.0


@pytest.mark.proof
async def test_where_few_asks_would_go_on_otherwise_it_is_no_claim_and_says_so(tmp_path: Path) -> None:
    past, among = await traffic(tmp_path, poor=10**9)
    drawn = [at for at, row in enumerate(past.rows) if row.candidates[row.choice] == "small"]
    for at in drawn[::35]:  # one in 35, or a little more
        past.rows[at] = replace(past.rows[at], moves=(Move(("small",), "mid"),))
    told = verdict(past, among, CLIMBS).findings
    for measure, found in told.items():
        bounded = measure in {Measure.ANSWERED, Measure.REWARD}
        assert found.standing is (Standing.CAUTIOUS if bounded else Standing.REFUSED) and found.need is None
        assert any("would go on otherwise" in note for note in found.notes)
    assert any("which may add" in note for note in told[Measure.COST].notes), "a large one may be asked"


@pytest.mark.proof
@pytest.mark.parametrize("other", [Cheapest(explore=EVEN), Cheapest(explore=NEVER), Pinned(model="large")])
async def test_a_split_that_has_dealt_a_cascade_its_share_shows_what_its_climbs_cost(
    tmp_path: Path, other: Policy
) -> None:
    """Also beside an arm that asks the same one first, and goes on to another."""
    policy = Split(arms=(Arm(name="now", policy=other, share=1), Arm(name="new", policy=CLIMBS, share=1)))
    past, among = await traffic(tmp_path, poor=4, policy=policy)
    own = [row for row in past.rows if row.decision and row.decision.splits[0].arm == "new"]
    assert len([row for row in own if row.moves]) >= 10
    told = verdict(past, among, CLIMBS).findings
    for measure, found in told.items():
        assert found.best is not None, found.notes
        assert not any("would go on otherwise" in note for note in found.notes)
        assert found.best.value.holds(sum(row.outcome.of(measure) for row in own) / len(own))
    others = {move.next for row in past.rows if row not in own for move in row.moves}
    assert others or isinstance(other, Pinned)
    if others != {"large"}:  # an even choice may by luck have gone on as the cascade does: then all of it counts
        assert told[Measure.COST].effective <= len(own) * 1.01


@pytest.mark.proof
async def test_what_a_route_did_before_its_split_is_left_aside(tmp_path: Path) -> None:
    await traffic(tmp_path, poor=3)
    policy = Split(arms=(Arm(name="now", policy=THREE, share=3), Arm(name="new", policy=CLIMBS, share=1)))
    past, among = await traffic(tmp_path, poor=3, policy=policy)
    assert len(past.rows) == 2 * MANY
    told = verdict(past, among, CLIMBS)
    assert told.weighable == MANY
    own = [row for row in past.rows if row.decision and row.decision.splits and row.decision.splits[0].arm == "new"]
    for measure, found in told.findings.items():
        assert found.best is not None and found.best.value.holds(sum(r.outcome.of(measure) for r in own) / len(own))
        assert any(f"{MANY} of {2 * MANY} asks" in note for note in found.notes)


@pytest.mark.proof
async def test_of_a_split_that_has_dealt_little_yet_it_is_said_how_much_is_lacking(tmp_path: Path) -> None:
    past, among = await traffic(
        tmp_path, poor=2,
        policy=Split(arms=(Arm(name="now", policy=THREE, share=12), Arm(name="new", policy=CLIMBS, share=1))),
    )  # fmt: skip
    found = verdict(past, among, CLIMBS).findings[Measure.COST]
    assert found.standing is Standing.REFUSED and found.need is not None
    assert not any("would go on otherwise" in note for note in found.notes)


@pytest.mark.proof
async def test_where_no_climb_is_on_record_of_a_cascade_its_cost_is_not_claimed(tmp_path: Path) -> None:
    past, among = await traffic(tmp_path, poor=10**9)
    told = verdict(past, among, CLIMBS).findings
    assert told[Measure.COST].standing is Standing.MODELLED, "that is labelled as its first call"
    assert "no ask is on record that went on by its rules" in " ".join(told[Measure.COST].notes)
    assert told[Measure.ANSWERED].figures


@pytest.mark.parametrize(
    ("policy", "climbs"),
    [
        (Cheapest(), False), (Pinned(model="small"), False), (Cascade(), True),
        (Split(arms=(Arm(name="a", policy=Cheapest(), share=1), Arm(name="b", policy=Cascade(), share=1))), True),
    ],
)  # fmt: skip
def test_a_cascade_somewhere_in_it_goes_on_by_rules_of_its_own(policy: Policy, climbs: bool) -> None:
    made = Router(three(), {"r": Cheapest()}).decide(Request(text="Sort", tokens_in=50, route="r"), id="d", luck=0.5)
    assert Replayed([], {"r": policy}).climbs([logged("run", made, Outcome())]) is climbs
    assert not Replayed([], {"r": Cheapest(), "other": policy}).climbs([logged("run", made, Outcome())])


async def test_what_nobody_has_drawn_of_a_cascade_is_labelled_as_its_first_call(tmp_path: Path) -> None:
    async with serve({name: Served() for name in ("small", "mid", "large")}) as server:
        among = Catalogue.of(*models(server))
        routes = {"default": Pinned(model="large")}
        async with Engine(str(tmp_path / "x.db"), resources={"catalogue": among, "routes": routes}) as engine:
            for n in range(40):
                await engine.run(sorts, f"Sort number {n}")
    found = Traffic()
    with Journal.open_readonly(str(tmp_path / "x.db")) as reader:
        found.read(reader)
    told = verdict(logged_rows(rows(found)), among, Cascade(steps=("small", "mid"), explore=NEVER, skip=False))
    modelled = [one for one in told.findings.values() if one.standing is Standing.MODELLED]
    assert modelled and all(any("the first call alone" in note for note in one.notes) for one in modelled)
