"""A guarded answer comes whole, once the guards have passed it: live, late, in an agent, hedged, and relayed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent

from segue import Ended, Engine, Piece, RunFailed, ask, flow
from segue.agent import relayed
from segue.agent.durable import Durable
from segue.agent.guards import Guard
from segue.agent.guards.builtin import patterns
from segue.core.records import StreamEnd, record_of
from segue.models.errors import ContentBlocked, ModelFailed
from segue.routing import Cheapest, Hedge
from segue.routing.policies import NEVER
from segue.runtime.outlet import Outlet
from segue.testing.provider import Provider as Server
from segue.testing.provider import Served, serve
from tests.agent.served import KEYS, calls, catalogue, in_turn

SAID = "Write to ada.lovelace@example.org about it."
MAY = "Write to [email] about it."
PII = Guard(name="no-pii", look=patterns("pii"), on_hit="redact")


def passes(text: str) -> None:
    """Finds nothing."""


@flow
async def tells(question: str) -> str:
    return await ask(question, stream=True, route="r", timeout_s=20)


async def look(at: str) -> str:
    """Look at something."""
    return f"a {at}"


quiet = Agent(name="guarded", tools=[look], capabilities=[Durable(stream=True, route="r")])


@flow
async def quietly(text: str) -> str:
    return (await quiet.run(text)).output


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


@asynccontextmanager
async def opened(
    path: Path, *guards: Guard, route: Any = None, **models: Served
) -> AsyncGenerator[tuple[Engine, Server]]:
    served = models or {"chat": Served(answer=lambda asked: SAID, token_s=0.001)}
    async with serve(served) as server:
        routes = {"r": route or Cheapest(name="r", explore=NEVER)}
        resources = {"catalogue": catalogue(server, *served), "routes": routes, "guards": list(guards)}
        async with Engine(str(path / "x.db"), resources=resources) as engine:
            yield engine, server


async def heard(run: Any) -> list[tuple[str, str]]:
    return [(type(one).__name__, getattr(one, "text", "")) async for one in run.stream()]


async def ends(run: Any) -> list[StreamEnd]:
    said = [record_of(event) async for event in run.events() if event.type == "stream.ended"]
    return [one for one in said if isinstance(one, StreamEnd)]


async def test_it_goes_out_whole_and_without_what_was_taken_out(tmp_path: Path) -> None:
    async with opened(tmp_path, PII) as (engine, _):
        run = await engine.start(tells, "How?")
        assert await heard(run) == [("Piece", MAY), ("Ended", "")]
        assert await run.result() == MAY
        assert await heard(run) == [("Piece", MAY), ("Ended", "")], "the late hear the same"
        (end,) = await ends(run)
        assert (end.bytes_total, end.bytes_released, end.end.value) == (len(MAY), len(MAY), "complete")


async def test_nothing_of_a_blocked_answer_goes_out(tmp_path: Path) -> None:
    async with opened(tmp_path, Guard(name="strict", look=patterns("pii"), stage="after")) as (engine, _):
        run = await engine.start(tells, "How?")
        assert await heard(run) == []
        with pytest.raises(RunFailed):
            await run.result()
        with pytest.raises(ContentBlocked):
            _ = [text async for text in relayed("How?", route="r")]


async def test_who_can_only_be_given_text_gets_it(tmp_path: Path) -> None:
    async with opened(tmp_path, PII):
        assert [text async for text in relayed("How?", route="r")] == [MAY]
        assert [text async for text in relayed("How?", route="r", guards=[passes])] == [MAY]


async def test_an_answer_of_which_nothing_went_out_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mute(outlet: Outlet, text: str, kind: str = "text") -> None:
        """Publishes nothing."""

    async with opened(tmp_path):
        monkeypatch.setattr(Outlet, "say", mute)
        with pytest.raises(ModelFailed, match="nothing of it went out"):
            _ = [text async for text in relayed("How?", route="r")]


async def test_what_an_agent_says_is_looked_at_too(tmp_path: Path) -> None:
    models = {"claude": Served(answer=in_turn(calls("look", at="fox"), SAID), token_s=0.001)}
    async with opened(tmp_path, PII, **models) as (engine, _):
        run = await engine.start(quietly, "Tell.")
        said = [one async for one in run.stream()]
        assert await run.result() == MAY
    assert [one.text for one in said if isinstance(one, Piece)] == [MAY]
    assert isinstance(said[-1], Ended)


async def test_a_guarded_answer_may_be_hedged(tmp_path: Path) -> None:
    route = Hedge(name="r", of=Cheapest(name="inner", explore=NEVER), after_s=0.1)
    models = {
        "chat": Served(answer=lambda asked: f"slow: {SAID}", first_token_s=5.0),
        "claude": Served(answer=lambda asked: f"swift: {SAID}"),
    }
    async with opened(tmp_path, PII, route=route, **models) as (engine, _):
        run = await engine.start(tells, "How?")
        assert await heard(run) == [("Piece", f"swift: {MAY}"), ("Ended", "")]
        assert await heard(run) == [("Piece", f"swift: {MAY}"), ("Ended", "")], "its text is found beside the other's"
