"""A Claude that thinks goes on with a loop of tools, whoever began it: with its thoughts, or without thinking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, ask, flow, gather
from segue.agent import agent
from segue.agent.tools import tool
from segue.core.records import Reservation, record_of
from segue.models import Catalogue, Deployment, Model, Price, Provider
from segue.routing import Cascade
from segue.testing.provider import Entry, Served, serve
from segue.testing.provider import Provider as Server
from tests.agent.served import CAN, KEYS
from tests.agent.served import model as one_of

LOW = {"thinking": "low"}
FIXED = {"anthropic_thinking": {"type": "enabled", "budget_tokens": 2048}}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


@tool(effect="read")
async def look(city: str) -> str:
    """Look a city up."""
    return f"seen {city}"


@flow
async def many(count: int) -> list[str]:
    return await gather(
        *(ask(f"Use look for Oslo {n}", model="claude", tools=[look], max_tokens=300, key=str(n)) for n in range(count))
    )


@flow
async def twice(first: str, stream: bool) -> list[str]:
    route = Cascade(steps=(first, "claude"))
    begun = await ask("Use look for Oslo", route=route, tools=[look], max_tokens=300, stream=stream, thread="t")
    return [begun, await ask("And now?", model="claude", max_tokens=300, stream=stream, thread="t")]


@flow
async def within_a_budget(usd: float) -> str:
    return await ask(
        "Use look for Oslo", route=Cascade(steps=("other", "claude")), tools=[look], max_tokens=300, budget_usd=usd
    )


AGENT = agent("You help.", name="helper", tools=[look], route=Cascade(steps=("other", "claude")))


@flow
async def helped() -> str:
    return await AGENT("Use look for Oslo")


def pool(server: Server) -> Model:
    places = tuple(Deployment(name=name, url=server.at(name)) for name in ("east", "west"))
    return replace(claude(server), url=None, deployments=places)


def claude(server: Server, name: str = "claude", of: str = "", settings: Mapping[str, Any] = LOW) -> Model:
    return Model(
        name=name, provider=Provider.ANTHROPIC, id=of or name, capabilities=CAN, window=64_000, max_output=4_000,
        price=Price.dollars(1, 3), url=server.url, settings=settings,
    )  # fmt: skip


def opened(path: Path, *models: Model) -> Engine:
    return Engine(str(path / "x.db"), resources={"catalogue": Catalogue.of(*models)})


def thinks(entry: Entry) -> str | None:
    thinking: dict[str, Any] = entry.body.get("thinking") or {}
    return thinking.get("type")


async def test_a_pool_of_two_keys_answers_every_question_with_tools(tmp_path: Path) -> None:
    async with serve({"claude": Served(thinking=True, first_token_s=0.02)}) as server:
        async with opened(tmp_path, pool(server)) as engine:
            assert len(await engine.run(many, 10)) == 10
        assert {(entry.status, thinks(entry)) for entry in server.log} == {(200, "enabled")}
        assert {entry.place for entry in server.log} == {"east", "west"}
        for n in range(10):
            own = [entry for entry in server.log if f"Oslo {n}" in entry.raw.decode()]
            assert len(own) == 2
            assert own[0].place == own[1].place


async def test_the_other_key_gets_the_thoughts_where_the_one_that_began_fails(tmp_path: Path) -> None:
    async with serve({"claude": Served(thinking=True)}) as server:
        async with opened(tmp_path, pool(server)) as engine:
            server.next("claude", None, "overloaded")
            assert await engine.run(many, 1)
        one, failed, other = server.log
        assert one.place == failed.place != other.place
        assert [thinks(entry) for entry in (one, failed, other)] == ["enabled"] * 3
        assert other.body["messages"][1]["content"][0]["type"] == "thinking"


@pytest.mark.sampled(2)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("settings", [LOW, FIXED], ids=["word", "budget"])
@pytest.mark.parametrize("first", ["chat", "gpt", "gemini", "other"])
async def test_what_another_model_began_is_ended_without_thinking(
    tmp_path: Path, first: str, settings: dict[str, Any], stream: bool
) -> None:
    async with serve({first: Served(thinking=first != "chat"), "claude": Served(thinking=True)}) as server:
        begins = claude(server, "other") if first == "other" else one_of(server, first)
        async with opened(tmp_path, begins, claude(server, settings=settings)) as engine:
            server.next(first, None, "overloaded")
            assert len(await engine.run(twice, first, stream)) == 2
        assert [(entry.model, entry.status) for entry in server.log][2:] == [("claude", 200)] * 2
        taken_over, asked_anew = [entry for entry in server.log if entry.model == "claude"]
        assert thinks(taken_over) is None
        assert taken_over.body["max_tokens"] == 300
        assert thinks(asked_anew) == "enabled"
        assert asked_anew.body["max_tokens"] == 300 + 2048


async def test_so_does_an_agent(tmp_path: Path) -> None:
    async with serve({"other": Served(thinking=True), "claude": Served(thinking=True)}) as server:
        async with opened(tmp_path, claude(server, "other"), claude(server)) as engine:
            server.next("other", None, "overloaded")
            assert await engine.run(helped)
        assert [(e.model, e.status, thinks(e)) for e in server.log][1:] == [
            ("other", 529, "enabled"), ("claude", 200, None)
        ]  # fmt: skip


async def test_thinking_that_adapts_goes_on(tmp_path: Path) -> None:
    opus = "claude-opus-4-8"
    async with serve({"other": Served(thinking=True), opus: Served(thinking=True)}) as server:
        async with opened(tmp_path, claude(server, "other"), claude(server, of=opus)) as engine:
            server.next("other", None, "overloaded")
            assert await engine.run(helped)
        last = server.log.entries[-1]
        assert (last.model, last.status, thinks(last)) == (opus, 200, "adaptive")


@pytest.mark.parametrize("settings", [LOW, FIXED], ids=["word", "budget"])
async def test_a_loop_that_is_taken_over_costs_no_thinking(tmp_path: Path, settings: dict[str, Any]) -> None:
    async with serve({"other": Served(), "claude": Served(thinking=True)}) as server:
        begins = replace(claude(server, "other"), settings={})
        async with opened(tmp_path, begins, claude(server, settings=settings)) as engine:
            server.next("other", None, "overloaded")
            run = await engine.start(within_a_budget, 0.004)  # 2,048 tokens for thinking would cost 0.006
            assert await run.result()
            said = [record_of(event) async for event in run.events(follow=False)]
            held = [one.tokens_out_max for one in said if isinstance(one, Reservation)]
        assert [(e.model, e.status, thinks(e)) for e in server.log][1:] == [
            ("other", 529, None), ("claude", 200, None)
        ]  # fmt: skip
        assert held == [300] * 3
