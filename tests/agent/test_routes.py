"""Each policy of `segue.toml` end to end: who answered by the provider's own log, what the decision on record says, and
what `segue route --policy` says beforehand.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, Run, flow
from segue.agent import answer
from segue.cli import route as command
from segue.core.records import AttemptRecorded, Decision
from segue.routing import Considered, Features, Request
from segue.testing.provider import Provider as Server
from segue.testing.provider import Served, serve
from tests.agent.routed import MODELS, asked, brief, saying, served, shadows, told

ROUTES = """
[routes.cheap]
policy = "cheapest"
quality_min = 0.5
explore = 0

[routes.any]
policy = "cheapest"
explore = 0

[routes.strong]
policy = "best"
cost_usd_max = 0.0002
explore = 0

[routes.quick]
policy = "fastest"
quality_min = 0.5
explore = 0

[routes.fair]
policy = "weighted"
per_usd = 3000
explore = 0

[routes.hasty]
policy = "weighted"
per_s = 10
explore = 0

[routes.stairs]
policy = "cascade"
steps = ["small", "large"]

[routes.trial]
policy = "split"
arms = { small = 0.5, large = 0.5 }

[routes.watched]
policy = "shadow"
of = "cheap"
shadows = ["large"]

[routes.hurried]
policy = "hedge"
of = "any"
after_s = 0.15

[routes.fixed]
policy = "pinned"
model = "small"
otherwise = "cheap"

[routes.like]
policy = "examples"
otherwise = "small"
similarity_min = 0.4
examples = [
  { text = "I want a refund for my last order", use = "large" },
  { text = "Where is my parcel? The delivery is late", use = "middle" },
]

[routes.own]
policy = "function"
function = "tests.agent.test_routes:choose"

[routes.mixed]
policy = "function"
function = "tests.agent.test_routes:weigh"

[routes.stay]
policy = "fastest"
affinity = "session"
explore = { floor = 0.9, ceiling = 0.9 }
"""
TIERS = ("base", "base", "gold")
LONG = "You sort messages. " * 400


def choose(request: Request, features: Features, candidates: Sequence[Considered]) -> list[str]:
    """What is hard goes to the large one, all else to the small one, and then to whoever is left."""
    names = [one.name for one in candidates if one.tags.get("tier") != "gold" or "hard" in request.text]
    return sorted(names, reverse="hard" not in request.text)


def weigh(request: Request, features: Features, candidates: Sequence[Considered]) -> Mapping[str, float]:
    return {"small": 1.0, "middle": 3.0}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")


class House:
    """An engine whose models and routes stand in a file, the server behind them, and the command line beside it."""

    def __init__(self, engine: Engine, server: Server, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.engine, self.server, self._config, self._capsys = engine, server, config, capsys

    async def ask(self, route: str, text: str = "Which?", **options: Any) -> tuple[str, Decision]:
        """Who answered, by the record and by the provider's log, and the decision."""
        before = {entry.id for entry in self.server.log}
        run = await self.engine.start(put, route, text, options)
        said = await run.result()
        (decision, *_), _ = await told(run)
        new = [entry.model for entry in self.server.log if entry.id not in before]
        assert new == [said], "whom the provider saw"
        return said, decision

    def preview(self, route: str, text: str = "Which?") -> tuple[Decision, str]:
        """What `segue route TEXT --policy ROUTE --json` prints: the decision, and the reasons in words."""
        self._capsys.readouterr()
        assert command.route(text, route, self.engine.path, str(self._config), True) == 0
        said = json.loads(self._capsys.readouterr().out)
        return Decision.from_body(said), "\n".join(said["reasons"])


def chances(decision: Decision) -> list[float]:
    return [c.propensity for c in decision.candidates]


@flow
async def put(route: str, text: str, options: dict[str, Any]) -> str:
    return (await answer(text, route=route, timeout_s=8, **options)).model


@asynccontextmanager
async def house(
    path: Path, capsys: pytest.CaptureFixture[str], models: Mapping[str, Served] | None = None
) -> AsyncGenerator[House]:
    async with serve(dict(models or served())) as server:
        config = path / "segue.toml"
        tables = [
            f'[models.{name}]\nprovider = "openai-compatible"\nurl = "{server.openai_url}"\nwindow = 32_000\n'
            f"max_output = 2000\nquality = {0.3 + 0.3 * n}\nlimits = {{ concurrency = 20 }}\n"
            f'capabilities = ["tools", "json-schema", "streaming"]\ntags = {{ tier = "{TIERS[n]}" }}\n'
            f"price = {{ in = {0.1 * 2**n}, out = {0.4 * 2**n}, cache_read = {0.01 * 2**n} }}\n"
            for n, name in enumerate(MODELS)
        ]
        config.write_text("\n".join(tables) + ROUTES)
        async with Engine(str(path / "x.db"), resources={"config": str(config)}) as engine:
            yield House(engine, server, config, capsys)


def why_not(decision: Decision, name: str) -> str:
    (one,) = [c for c in decision.candidates if c.target.name == name]
    return one.reason or ""


Capsys = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("route", "who", "excluded"),
    [
        ("cheap", "middle", {}),  # the small one is not good enough
        ("strong", "middle", {"large": "it is expected to cost"}),
        ("fair", "middle", {}),  # small is worse by more than it saves, large dearer by more than it is better
        ("fixed", "small", {"middle": "pinned to small"}),
        ("stairs", "small", {}),
        ("own", "small", {}),
    ],
)
async def test_the_policy_chooses_records_and_foretells_the_same(
    tmp_path: Path, capsys: Capsys, route: str, who: str, excluded: dict[str, str]
) -> None:
    async with house(tmp_path, capsys) as at:
        preview, _ = at.preview(route)
        said, decision = await at.ask(route)
    assert (said, asked(decision), asked(preview)) == (who, who, who)
    assert (decision.policy, decision.objective) == (route, preview.objective)
    assert chances(decision) == chances(preview)
    for name, why in excluded.items():
        assert why in why_not(decision, name) and why in why_not(preview, name)


async def test_the_fastest_that_is_good_enough_by_how_long_calls_took(tmp_path: Path, capsys: Capsys) -> None:
    models = {name: Served(first_token_s=s, answer=saying(name)) for name, s in zip(MODELS, (0, 0.1, 0.3), strict=True)}
    async with house(tmp_path, capsys, models) as at:
        for name in MODELS:
            for n in range(4):
                await at.ask("quick", f"Warm {n}?", model=name)
        said, decision = await at.ask("quick")
        assert (said, asked(at.preview("quick")[0])) == ("middle", "middle")
        small, middle, large = (c.latency_s for c in decision.candidates)
        assert small and middle and large and small.mean < middle.mean < large.mean
        said, _ = await at.ask("hasty")  # of the weights a second is the heaviest
        assert (said, asked(at.preview("hasty")[0])) == ("small", "small")


async def test_a_cascade_climbs_when_a_check_turns_the_cheap_answer_down(tmp_path: Path, capsys: Capsys) -> None:
    async with house(tmp_path, capsys) as at:
        run = await at.engine.start(checked, "stairs")
        assert await run.result() == "large"
        decisions, attempts = await told(run)
        assert [entry.model for entry in at.server.log] == ["small", "large"]
        assert at.preview("stairs")[0].order == (2,)  # who comes next, by place
    assert brief(attempts) == [("small", "primary", "rejected"), ("large", "climb", "answered")]
    assert [asked(d) for d in decisions] == ["small", "large"] and [d.stage for d in decisions] == [0, 1]


@flow
async def checked(route: str) -> str:
    return (await answer("Which?", route=route, repairs=0, timeout_s=8, check=large_enough)).value


def large_enough(said: str) -> str | None:
    return "too small" if said == "small" else None


async def test_a_split_is_sticky_by_key_and_both_arms_answer(tmp_path: Path, capsys: Capsys) -> None:
    async with house(tmp_path, capsys) as at:
        users = [f"user {n}" for n in range(8)]
        first = [await at.ask("trial", sticky=user) for user in users]
        again = [(await at.ask("trial", sticky=user))[0] for user in users]
        preview, _ = at.preview("trial")
    assert [said for said, _ in first] == again and set(again) == {"small", "large"}
    for said, decision in first:
        (split,) = decision.splits
        assert (split.arm, split.share) == (said, 0.5) and split.by is not None and "user" not in split.by
        assert chances(decision) == [0.5, 0.0, 0.5]
    assert chances(preview) == [0.5, 0.0, 0.5]


async def test_a_shadow_answers_beside_and_is_not_shown(tmp_path: Path, capsys: Capsys) -> None:
    async with house(tmp_path, capsys) as at:
        run = await at.engine.start(put, "watched", "Which?", {})
        assert await run.result() == "middle"
        (beside,) = await aside(run)
        assert sorted(entry.model for entry in at.server.log) == ["large", "middle"]
        preview, reasons = at.preview("watched")
    assert (beside.target.name, beside.details["answer"], preview.shadows) == ("large", "large", (2,))
    assert "large answers on the side, and nobody is shown that" in reasons


async def aside(run: Run[Any]) -> list[AttemptRecorded]:
    async with asyncio.timeout(10):
        while not (found := shadows((await told(run))[1])):
            await asyncio.sleep(0.01)
    return found


async def test_a_hedge_is_asked_when_the_first_is_slow(tmp_path: Path, capsys: Capsys) -> None:
    async with house(tmp_path, capsys, served(small=6)) as at:
        run = await at.engine.start(put, "hurried", "Which?", {})
        preview, _ = at.preview("hurried")
        won = await run.result()
        (decision,), attempts = await told(run)
        await at.server.idle()
        assert [entry.model for entry in at.server.log] == ["small", won]
        assert [entry.outcome.value for entry in at.server.log.of("small")] == ["abandoned"]
    assert decision.hedge is not None and decision.candidates[decision.hedge].target.name == won
    assert (preview.hedge, preview.hedge_after_s) == (decision.hedge, 0.15)
    assert brief(attempts) == [("small", "primary", "cancelled"), (won, "hedge", "answered")]


async def test_a_pin_gives_way_only_to_what_its_route_names(tmp_path: Path, capsys: Capsys) -> None:
    async with house(tmp_path, capsys) as at:
        at.server.next("small", "overloaded", "overloaded")
        run = await at.engine.start(put, "fixed", "Which?", {})
        assert await run.result() == "middle"
        decisions, _ = await told(run)
    assert [(asked(d), d.pinned_by) for d in decisions] == [("small", "policy"), ("middle", "recovery")]


@pytest.mark.parametrize(
    ("text", "who", "example"),
    [
        ("Please refund the order from last week, I do not want it", "large", 0),
        ("my parcel has not been delivered, it is late", "middle", 1),
        ("Write a poem about autumn leaves", "small", None),
    ],
)
async def test_requests_like_these_go_there(
    tmp_path: Path, capsys: Capsys, text: str, who: str, example: int | None
) -> None:
    async with house(tmp_path, capsys) as at:
        preview, _ = at.preview("like", text)
        said, decision = await at.ask("like", text)
    assert (said, asked(preview)) == (who, who)
    assert decision.objective["example"] == preview.objective["example"] == example
    assert decision.objective["similarity"] == preview.objective["similarity"]


async def test_a_function_chooses_and_its_order_is_that_of_the_fallback(tmp_path: Path, capsys: Capsys) -> None:
    async with house(tmp_path, capsys) as at:
        said, decision = await at.ask("own", "This is hard.")
        assert (said, asked(at.preview("own", "This is hard.")[0])) == ("large", "large")
        assert [decision.candidates[n].target.name for n in decision.order] == ["middle", "small"]
        at.server.next("small", "overloaded")
        run = await at.engine.start(put, "own", "Which?", {})
        assert await run.result() == "middle"  # and never the large one, which it has not named
        dealt = [(await at.ask("mixed", f"Which, {n}?"))[0] for n in range(40)]
        assert chances(at.preview("mixed")[0]) == [0.25, 0.75, 0.0]
    assert set(dealt) == {"small", "middle"}


async def test_a_session_stays_with_who_answered(tmp_path: Path, capsys: Capsys) -> None:
    async with house(tmp_path, capsys) as at:
        first, _ = await at.ask("stay", thread="thread-7")
        others = [await at.ask("stay", f"And {n}?", thread="thread-7") for n in range(5)]
    assert {said for said, _ in others} == {first} and {d.pinned_by for _, d in others} == {"session"}


async def test_a_prefix_that_is_cached_makes_a_model_cheaper(tmp_path: Path, capsys: Capsys) -> None:
    """Middle holds the long prefix: for this conversation it is cheaper than the small one, which costs half."""
    models = served() | {"middle": Served(cache=True, answer=saying("middle"))}
    async with house(tmp_path, capsys, models) as at:
        before, cold = await at.ask("any", LONG, max_tokens=16, thread="new")
        await at.ask("any", LONG, model="middle", max_tokens=16, thread="t")
        after, warm = await at.ask("any", LONG, max_tokens=16, thread="t")
    assert (before, after) == ("small", "middle")
    cost = [[c.cost_usd.mean for c in d.candidates if c.cost_usd is not None] for d in (cold, warm)]
    assert cost[0][0] < cost[0][1] and cost[1][1] < cost[1][0]
