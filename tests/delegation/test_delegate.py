"""`delegate`: whoever fits best handles a request; the decision and what came of it are on record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from segue import Retry, RunFailed, delegate, escalate, flow, step
from segue.agent import Delegate, Person, delegated
from segue.agent.delegation import DelegationLoop, Undelegated
from segue.core.records import AttemptRecorded, Decision, Stage, record_of
from segue.errors import DefinitionError, InputError
from segue.routing import Explore, Function, Weighted
from segue.testing import Engine as InMemory
from segue.testing import crash_everywhere, run
from segue.testing.provider import Served, serve
from tests.agent.served import KEYS, opened

DID: list[str] = []


class Forecast(BaseModel):
    city: str
    degrees: int


@dataclass
class Refund:
    order: str
    cents: int


@step
async def weather(city: str) -> Forecast:
    """The weather forecast of a city: rain, sun, temperature."""
    DID.append(f"weather {city}")
    return Forecast(city=city, degrees=20)


def add(numbers: list[int]) -> int:
    """Adds numbers up: sums, totals."""
    DID.append(f"add {numbers}")
    return sum(numbers)


async def poet(request: str) -> str:
    """Writes poems, songs and verses about anything."""
    DID.append(f"poet {request}")
    return f"O {request}"


@step
async def pay(order: str, cents: int) -> str:
    """Pays."""
    DID.append(f"pay {order}")
    return f"paid {cents} for {order}"


@flow
async def refund(order: str, cents: int) -> str:
    """Refunds an order: money back to the customer."""
    return await pay(order, cents)


@flow
async def broken(request: str) -> str:
    """Writes poems and verses and songs about anything, in rhymes."""
    raise ValueError("the muse is silent")


EVERYBODY: list[Any] = [weather, add, poet, refund]


@flow
async def desk(request: str) -> dict[str, Any]:
    made = await delegated(request, to=EVERYBODY)
    return {"by": made.by, "kind": made.kind, "value": made.value}


@flow
async def typed(request: str) -> int:
    made = await delegate(request, to=[weather], returns=Forecast)
    return made.degrees


@flow
async def refunds(claim: Refund) -> str:
    return await delegate(claim, to=[weather, add, refund])


@flow
async def second(request: str) -> dict[str, Any]:
    made = await delegated(request, to=[broken, poet, weather])
    return {"by": made.by, "tried": [(one.name, one.fault) for one in made.tried], "value": made.value}


@flow
async def escalated(request: str) -> str:
    return await delegate(request, to=[broken], escalate="editor")


async def mute(request: str) -> str:
    """Poems, verses, songs."""
    raise LookupError("no words come")


@flow
async def all_fail(request: str) -> str:
    return await delegate(request, to=[broken, mute, refund], escalate="editor")


@flow
async def all_fail_and_i_ask(request: str) -> str:
    try:
        return await delegate(request, to=[broken, mute, refund])
    except Undelegated:
        return await escalate("What now?", by="editor")


@flow
async def nobody(request: str) -> str:
    return await delegate(request, to=[weather, refund])


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    DID.clear()
    for name in KEYS:
        monkeypatch.setenv(name, "test")


def told(engine: InMemory, of: str) -> tuple[list[Decision], list[AttemptRecorded]]:
    """The decisions and attempts of delegations, in order."""
    events = [e for e in engine.history(of) if "choose[" in (e.key or "").rpartition("/")[2]]
    records = [record_of(e) for e in events if e.type in ("decision.made", "attempt.recorded")]
    return [r for r in records if isinstance(r, Decision)], [r for r in records if isinstance(r, AttemptRecorded)]


def play(made: Callable[[InMemory], Awaitable[Any]], **options: Any) -> tuple[Any, InMemory]:
    """Do something with an engine on a virtual clock."""

    async def played() -> tuple[Any, InMemory]:
        async with InMemory(**options) as engine:
            return await made(engine), engine

    return run(played())


@pytest.mark.parametrize(
    ("request_", "by", "kind"),
    [("Will it rain in Rome tomorrow? The forecast please.", "weather", "tool"),
     ("Write a poem about autumn.", "poet", "agent")],
)  # fmt: skip
def test_who_fits_best_gets_it(request_: str, by: str, kind: str) -> None:
    made, engine = play(lambda e: e.run(desk, request_, id="r"))
    assert (made["by"], made["kind"]) == (by, kind)
    (decision,), (attempt,) = told(engine, "r")
    chosen = decision.chosen
    assert chosen is not None and chosen.target.name == by and chosen.propensity == 1.0
    assert {c.target.name: c.excluded_at for c in decision.candidates if not c.eligible}["refund"] is Stage.CAPABILITY
    assert decision.route == "delegate" and decision.embedding
    assert (attempt.target.name, attempt.end, attempt.decision) == (by, "answered", decision.id)


def test_a_tool_is_chosen_by_the_type_that_it_takes() -> None:
    made, _ = play(lambda e: e.run(refunds, Refund("o-7", 500), id="r"))
    assert made == "paid 500 for o-7"
    assert DID == ["pay o-7"]


def test_results_are_of_the_type_that_is_wanted() -> None:
    assert play(lambda e: e.run(typed, "The weather forecast of Rome"))[0] == 20


def test_when_one_fails_the_next_gets_it_and_the_story_is_kept() -> None:
    made, engine = play(lambda e: e.run(second, "Write poems and verses about autumn, in rhymes.", id="r"))
    assert made["by"] == "poet" and made["tried"] == [["broken", "tool failed"], ["poet", ""]]
    (first, then), (failed, done) = told(engine, "r")
    assert first.chosen and first.chosen.target.name == "broken"
    assert then.after == first.id and then.because == "tool failed"
    out = {c.target.name: c.excluded_at for c in then.candidates if not c.eligible}
    assert out["broken"] is Stage.TRIED
    assert failed.fault is not None and "the muse is silent" in failed.fault.message
    assert (failed.end, done.end, done.why) == ("failed", "answered", "fallback")


def test_nobody_fits_is_an_error_that_says_why_and_what_to_do() -> None:
    async def made(engine: InMemory) -> Any:
        with pytest.raises(RunFailed) as failed:
            await engine.run(nobody, "xyzzy plugh", id="r")
        return failed.value.__cause__

    error, _ = play(made)
    assert isinstance(error, Undelegated)
    assert "refund: it takes order and cents" in error.excluded and "weather: its quality" in error.excluded
    assert error.remedy is not None and "Delegate(x, about=..., examples=[...])" in error.remedy


def test_all_failed_goes_to_a_person_with_the_story() -> None:
    async def made(engine: InMemory) -> Any:
        started = await engine.start(escalated, "A poem.", id="r")
        while not (items := await engine.inbox("editor")):
            await asyncio.sleep(0.1)
        story = str(items[0].story)
        await items[0].answer("Roses are red.", by="ed")
        return await started.result(), story

    (answer, story), _ = play(made)
    assert answer == "Roses are red." and "the muse is silent" in story


@pytest.mark.parametrize("way", [all_fail, all_fail_and_i_ask])
def test_a_person_is_told_of_each_who_was_tried_and_of_those_who_were_not(way: Any) -> None:
    async def made(engine: InMemory) -> Any:
        started = await engine.start(way, "A poem.", id="r")
        while not (items := await engine.inbox("editor")):
            await asyncio.sleep(0.1)
        await items[0].answer("Roses are red.", by="ed")
        await started.result()
        return items[0].story

    story, _ = play(made)
    told = {one["who"]: one for one in story if "who" in one}
    assert list(told) == ["mute", "broken", "refund"]
    assert "the muse is silent" in told["broken"]["error"]
    assert told["mute"]["error"] == "LookupError: no words come"
    assert "it takes order and cents" in told["refund"]["left out"]
    assert len(story) == 3, "it repeats nothing of them at its end"


async def hoarse(request: str) -> str:
    """Writes poems, verses, songs."""
    raise LookupError("no voice")


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_person_is_told_of_those_for_whom_no_attempt_was_left(attempts: int) -> None:
    with pytest.raises(Undelegated) as failed:
        asyncio.run(delegate("A poem.", to=[mute, hoarse], attempts=attempts))
    error, why = failed.value, "attempts=1 allows no more"
    left = {"mute", "hoarse"} - {*error.tried.split(", ")}
    assert len(left) == 2 - attempts
    assert [one for one in error.story if "left out" in one] == [{"who": one, "left out": why} for one in left]  # type: ignore[operator]
    assert error.excluded == "".join(f"{one}: {why}" for one in left)
    assert all(f"{one}: {why}" in error.message for one in left)


@step(retry=Retry(attempts=2, backoff_s=0.1))
async def stammers(request: str) -> str:
    """Poems, verses, songs, sonnets."""
    raise ConnectionError("the muse is away")


async def delegates(request: str) -> str:
    return await delegate(request, to=[stammers, broken, refund])


@flow
async def child_delegates(request: str) -> str:
    return await delegates(request)


@flow
async def child_of_a_child_delegates(request: str) -> str:
    return await child_delegates(request)


@step
async def step_delegates(request: str) -> str:
    return await delegates(request)


WAYS: dict[str, Any] = {
    "here": delegates,
    "child": child_delegates,
    "below": child_of_a_child_delegates,
    "step": step_delegates,
}


@flow
async def delegates_and_asks(request: str, way: str) -> str:
    try:
        return await WAYS[way](request)
    except Undelegated:
        return await escalate("What is the answer?", request, by="editor")


@pytest.mark.parametrize("way", WAYS)
def test_a_person_is_told_the_same_wherever_the_delegation_has_failed(way: str) -> None:
    async def made(engine: InMemory) -> Any:
        started = await engine.start(delegates_and_asks, "Poems and songs, please.", way, id="r")
        while not (items := await engine.inbox("editor")):
            await asyncio.sleep(0.1)
        story = items[0].story
        fork = await started.fork(input={"request": "Poems and songs, please."})
        while len(items := await engine.inbox("editor")) < 2:
            await asyncio.sleep(0.1)
        assert items[1].story == story, "a fork is told the same"
        for one in items:
            await one.answer("Roses are red.", by="ed")
        assert await started.result() == await fork.result() == "Roses are red."
        return story

    story, _ = play(made)
    told = {one["who"]: one for one in story if "who" in one}
    assert set(told) == {"stammers", "broken", "refund"}
    away = {one: told["stammers"][one] for one in ("attempts", "error", "fault")}
    assert away == {"attempts": 2, "error": "ConnectionError: the muse is away", "fault": "unreachable"}
    assert "stammers" in told["stammers"]["what"].rpartition("/")[2]
    assert (told["broken"]["error"], told["broken"]["fault"]) == ("ValueError: the muse is silent", "tool failed")
    assert "it takes order and cents" in told["refund"]["left out"]
    rest = [one for one in story if "who" not in one]
    outer = ["child_delegates"] if way == "below" else []
    outer += [] if way == "here" else [WAYS[way].name.rpartition(":")[2]]
    assert [one["what"].partition("[")[0] for one in rest] == outer


@flow(budget_usd=0.05)
async def bounded(request: str) -> str:
    dear = Delegate(poet, cost_usd=0.1, about="Writes poems, songs and verses about anything, for money.")
    blind = Delegate(poet, "blind", about="Writes poems, songs and verses.", tags={"residency": "us"})
    able = Delegate(poet, "able", about="Verses.", capabilities=["rhymes"], tags={"residency": "eu"})
    mute = Delegate(poet, "mute", about="Writes poems.", tags={"residency": "eu"})
    to = [dear, blind, able, mute]
    return (await delegated(request, to=to, needs=["rhymes"], require={"residency": "eu"})).by


def test_capabilities_tags_and_budgets_exclude_with_their_reason() -> None:
    by, engine = play(lambda e: e.run(bounded, "Write poems and verses", id="r"))
    (decision,), _ = told(engine, "r")
    out = {c.target.name: (c.excluded_at, c.reason) for c in decision.candidates if not c.eligible}
    assert by == "able"
    assert out == {
        "poet": (Stage.CAPABILITY, "it lacks rhymes"),
        "blind": (Stage.CAPABILITY, "it lacks rhymes"),
        "mute": (Stage.CAPABILITY, "it lacks rhymes"),
    }


@flow(budget_usd=0.05)
async def poor(request: str) -> str:
    dear = Delegate(poet, "dear", cost_usd=0.1)
    far = Delegate(poet, "far", tags={"residency": "us"})
    near = Delegate(poet, "near", about="Songs.", tags={"residency": "eu"}, cost_usd=0.01)
    return (await delegated(request, to=[dear, far, near], require={"residency": "eu"})).by


def test_what_a_budget_cannot_pay_is_not_asked() -> None:
    by, engine = play(lambda e: e.run(poor, "Write poems and songs", id="r"))
    (decision,), _ = told(engine, "r")
    out = {c.target.name: (c.excluded_at, c.reason) for c in decision.candidates if not c.eligible}
    assert by == "near"
    assert out["far"] == (Stage.RESIDENCY, "its residency is us, not eu")
    assert out["dear"][0] in (Stage.BUDGET, Stage.RESIDENCY)


# --- loops and depth --------------------------------------------------------------------------------------------------


@flow
async def ping(request: str) -> str:
    """Handles questions about the ball: who has it, who plays."""
    return await delegate(request, to=[pong], key="ping")


@flow
async def pong(request: str) -> str:
    """Handles questions about the ball: who has it, who plays."""
    return await delegate(request, to=[ping], key="pong")


async def deeper(request: str) -> str:
    """Handles questions about the ball."""
    return await delegate(request, to=[Delegate(deeper, f"deeper{len(request)}")], depth=3)


@flow
async def digs(request: str) -> str:
    return await delegate(request + "!", to=[Delegate(digs_on, "digs_on")], depth=3, loops=9)


@flow
async def digs_on(request: str) -> str:
    """Handles questions about the ball."""
    return await delegate(request + "!", to=[Delegate(digs_on, "digs_on")], depth=3, loops=9)


def test_a_cycle_over_child_runs_is_an_error_that_names_the_way() -> None:
    async def made(engine: InMemory) -> Any:
        with pytest.raises(RunFailed) as failed:
            await engine.run(ping, "Who has the ball?", id="r")
        return failed.value.__cause__

    error, engine = play(made)
    assert "ping has the request" not in str(error)
    runs = {row.id: row.state for row in engine.reader.runs()}
    assert len(runs) == 2  # pong was asked, and could not give it back
    (child,) = set(runs) - {"r"}
    (decision,), _ = told(engine, child)
    assert decision.depth == 1 and decision.objective["chain"] == ["pong"]
    (out,) = [c for c in decision.candidates if not c.eligible]
    assert out.excluded_at is Stage.DEPTH and out.reason == "it has the request already: pong > ping"
    assert isinstance(error, Undelegated) and "pong > ping" in str(error)


def test_depth_is_bounded_over_child_runs() -> None:
    async def made(engine: InMemory) -> Any:
        with pytest.raises(RunFailed) as failed:
            await engine.run(digs, "Who has the ball?", id="r")
        return failed.value.__cause__

    error, engine = play(made)
    assert len(engine.reader.runs()) == 4
    assert isinstance(error, Undelegated) and "3 delegations lie above, 3 are allowed" in str(error)
    deepest = engine.reader.runs()[0].id
    (decision,), _ = told(engine, deepest)
    assert decision.objective["chain"] == ["digs_on"] * 3


async def cyclic(request: str) -> str:
    """Handles questions about the ball."""
    return await delegate(request, to=[cyclic])


@flow
async def cycles(request: str) -> str:
    try:
        return await delegate(request, to=[cyclic])
    except Undelegated as error:
        cause = error.__cause__
        assert isinstance(cause, DelegationLoop) and cause.remedy is not None
        return f"{cause.code}: {cause.chain}: {cause.remedy}"


def test_a_loop_within_a_run_has_an_error_of_its_own() -> None:
    said, _ = play(lambda e: e.run(cycles, "Who has the ball?"))
    assert said == "delegation-loop: cyclic: add somebody who does not delegate, or allow more: depth=, loops="


async def test_loops_are_known_outside_of_a_run_too() -> None:
    with pytest.raises(Undelegated) as failed:
        await delegate("Who has the ball?", to=[cyclic])
    assert isinstance(failed.value.__cause__, DelegationLoop)


# --- who may be delegated to ------------------------------------------------------------------------------------------


@flow
async def asks(request: str) -> dict[str, Any]:
    lead = Person("claims-lead", about="Decides on damages and claims.", reassign_s=60, or_else=["manager"])
    made = await delegated(request, to=[weather, lead], returns=int)
    return {"by": made.by, "kind": made.kind, "value": made.value}


def test_a_person_is_asked_durably_for_the_type_that_is_wanted() -> None:
    async def made(engine: InMemory) -> Any:
        started = await engine.start(asks, "How much for this claim, a damaged roof?")
        while not (items := await engine.inbox("claims-lead")):
            await asyncio.sleep(1)
        while not (items := await engine.inbox("manager")):  # nobody answered within a minute
            await asyncio.sleep(10)
        await items[0].answer(1200, by="mo")
        return await started.result()

    assert play(made)[0] == {"by": "claims-lead", "kind": "person", "value": 1200}


async def test_a_person_is_left_out_where_nobody_can_wait() -> None:
    made = await delegated("Write a poem.", to=[Person("poet-in-chief", about="Writes poems."), poet])
    assert made.by == "poet"


@flow
async def with_models(request: str) -> dict[str, Any]:
    made = await delegated(request, to=["chat", Delegate("gpt", about="Writes contracts and legal letters."), weather])
    return {"by": made.by, "kind": made.kind, "value": made.value}


async def test_models_are_generalists_beside_specialists(tmp_path: Path) -> None:
    models = {name: Served(answer=lambda _, n=name: f"{n} says so") for name in ("chat", "gpt")}
    async with serve(models) as server, opened(tmp_path, server, "chat", "gpt") as engine:
        assert (await engine.run(with_models, "Will it rain? The weather forecast of Rome"))["by"] == "weather"
        assert await engine.run(with_models, "Draft a legal letter to the landlord.") == {
            "by": "gpt", "kind": "model", "value": "gpt says so",
        }  # fmt: skip
        assert (await engine.run(with_models, "xyzzy"))["by"] == "chat"  # the cheaper of the two that do most things
        server.fail("chat", "overloaded")
        run = await engine.start(with_models, "plugh")
        assert (await run.result())["by"] in ("chat", "gpt")


@flow
async def picks(request: str) -> dict[str, Any]:
    made = await delegated(request, to=[poet, weather, add], chooser="default", close=1.0, fill="default")
    return {"by": made.by, "value": made.value}


async def test_a_model_chooses_among_close_ones_and_fills_in_arguments(tmp_path: Path) -> None:
    def says(asked: Any) -> str:
        if "Fill in" in asked.system:
            return '{"numbers": [1, 2]}'
        print(asked.schema, asked.system)
        return '"add"'

    async with serve({"chat": Served(answer=says)}) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(picks, "What do one and two make?")
        assert await run.result() == {"by": "add", "value": "3"}
        records = [
            record_of(e) async for e in run.events(follow=False) if e.type == "decision.made" and "choose" in e.key
        ]
    assert [d.pinned_by for d in records if isinstance(d, Decision)] == [None, "choosing model"]


# --- learning ---------------------------------------------------------------------------------------------------------


async def clerk(request: str) -> str:
    """Answers letters about tax."""
    return "clerk"


async def expert(request: str) -> str:
    """Answers letters about tax."""
    return "expert"


@flow
async def letters(request: str) -> dict[str, str]:
    made = await delegated(request, to=[clerk, expert])
    return {"by": made.by, "key": made.key}


def test_feedback_teaches_for_requests_like_it() -> None:
    async def made(engine: InMemory) -> list[str]:
        by: list[str] = []
        for n in range(4):
            run = await engine.start(letters, f"A letter about inheritance tax, number {n}")
            said = await run.result()
            by.append(said["by"])
            await run.feedback(0.0 if said["by"] == "clerk" else 1.0, key=said["key"])
            await asyncio.sleep(5)
        by.append((await engine.run(letters, "Tax on a dog"))["by"])
        return by

    by, _ = play(made)
    assert by[0] == "clerk" and by[1:4] == ["expert"] * 3


@flow
async def checked(request: str) -> str:
    return await delegate(request, to=[clerk, expert], check=lambda said: None if said == "expert" else "not an expert")


def test_a_check_turns_a_result_down_and_teaches() -> None:
    async def made(engine: InMemory) -> Any:
        await engine.run(checked, "A letter about tax", id="a")
        await engine.run(checked, "Another letter about tax", id="b")

    _, engine = play(made)
    assert [a.target.name for a in told(engine, "a")[1]] == ["clerk", "expert"]
    (decision, *_), attempts = told(engine, "b")
    assert [a.target.name for a in attempts] == ["expert"]
    chosen = decision.chosen
    assert chosen is not None and chosen.quality is not None and chosen.quality.source == "fitness-1+2"


# --- crashes, and mistakes --------------------------------------------------------------------------------------------


def test_a_crash_at_any_write_chooses_nobody_anew_and_repeats_nothing() -> None:
    seen: list[tuple[str, int]] = []

    async def scenario(engine: InMemory) -> Any:
        return await engine.run(second, "Write poems and verses about autumn, in rhymes.", id="r")

    def check(result: Any, engine: InMemory) -> None:
        decisions, attempts = told(engine, "r")
        assert result["by"] == "poet" and len(decisions) == 2
        assert [(a.target.name, a.n) for a in attempts] == [("broken", 1), ("poet", 2)]
        ended = [e.key for e in engine.history("r") if e.type == "step.completed"]
        assert len(ended) == len(set(ended)) == 2
        seen.append((result["value"], len(ended)))

    assert crash_everywhere(scenario, check=check) > 8


def test_a_crash_at_any_write_of_a_child_starts_no_second_one() -> None:
    async def scenario(engine: InMemory) -> Any:
        return await engine.run(refunds, Refund("o-7", 500), id="r")

    def check(result: Any, engine: InMemory) -> None:
        assert result == "paid 500 for o-7"
        assert len(engine.reader.runs()) == 2
        decisions, attempts = told(engine, "r")
        assert (len(decisions), [a.target.name for a in attempts]) == (1, ["refund"])

    assert crash_everywhere(scenario, check=check) > 8


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ([], "nobody to choose from"),
        ([poet, poet], "two candidates are called 'poet'"),
        ([7], "cannot be delegated to"),
    ],
)
async def test_mistakes_are_told(to: list[Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        await delegate("Do it.", to=to)


async def test_an_unknown_option_is_told() -> None:
    with pytest.raises(InputError, match="no option 'rout'"):
        await delegate("Do it.", to=[poet], rout="cheap")


@flow
async def by_policy(request: str) -> str:
    policy = Function(function=lambda request, features, candidates: "poet")
    return (await delegated(request, to=[weather, poet], route=policy)).by


@flow
async def quick(request: str) -> str:
    slow = Delegate(poet, latency_s=100.0, cost_usd=0.1)
    fast = Delegate(poet, "quick_poet", latency_s=1.0)
    return (
        await delegated(
            request, to=[slow, fast], route=Weighted(per_usd=1.0, per_s=0.01, explore=Explore(floor=0.0, ceiling=0.0))
        )
    ).by


def test_any_policy_may_choose_and_cost_and_latency_count() -> None:
    assert play(lambda e: e.run(by_policy, "The weather forecast of Rome"))[0] == "poet"
    assert play(lambda e: e.run(quick, "A poem"))[0] == "quick_poet"


@flow
async def explores(request: str) -> str:
    policy = Weighted(explore=Explore(floor=0.5, ceiling=0.5))
    return (await delegated(request, to=[weather, poet], route=policy)).by


def test_propensities_are_those_that_the_choice_was_drawn_with() -> None:
    async def made(engine: InMemory) -> list[str]:
        return [await engine.run(explores, "A poem, a song, a verse", id=f"r{n}") for n in range(20)]

    by, engine = play(made)
    assert set(by) == {"weather", "poet"}  # each half of the time: 20 alike are one in a million
    for n, name in enumerate(by):
        decision = told(engine, f"r{n}")[0][0]
        assert {c.target.name: round(c.propensity, 6) for c in decision.candidates} == {"weather": 0.5, "poet": 0.5}
        assert decision.chosen is not None and (
            decision.chosen.target.name == name or len(told(engine, f"r{n}")[0]) > 1
        )


async def test_an_agent_of_pydantic_ai_is_taken_as_it_is() -> None:
    from pydantic_ai import Agent
    from pydantic_ai.models.test import TestModel

    agent = Agent(TestModel(custom_output_text="In rhymes."), name="bard")
    made = await delegated("Sing!", to=[weather, Delegate(agent, about="Sings songs and ballads.")])
    assert (made.by, made.value) == ("bard", "In rhymes.")
