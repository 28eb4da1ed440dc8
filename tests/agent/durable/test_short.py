"""`agent(...)`: the short form, in the words of `ask`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from segue import RunFailed, agent, flow, memory, step, tool
from segue.errors import DefinitionError, InputError
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import KEYS, calls, in_turn, opened, results

SAW: list[str] = []


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    SAW.clear()
    for name in KEYS:
        monkeypatch.setenv(name, "test")


class Plan(BaseModel):
    city: str
    nights: int


async def look_up(city: str) -> str:
    """Look a city up."""
    if city == "Atlantis":
        raise ValueError("there is no Atlantis")
    return f"{city} is fine"


@step(effect="once")
async def book(city: str, nights: int) -> str:
    """Book a hotel."""
    SAW.append(f"{city} {nights}")
    return "booked"


critic = agent("You judge plans.", name="critic", model="gpt")
planner = agent("You plan trips.", name="planner", tools=[look_up, book, critic], returns=Plan, model="chat")
endless = agent("You never stop.", tools=[look_up], rounds=3)


@tool(effect="read")
async def known(question: str) -> list[str]:
    """What is known of Ann."""
    return await memory.recall(question, ["user:ann"])


friend = agent("You know Ann.", name="friend", tools=[known], model="chat")


@flow
async def meets() -> str:
    await memory.remember("Ann lives in Oslo.", "user:ann")
    return await friend("Where do we meet?")


@flow
async def trip(wish: str) -> Plan:
    return await planner(wish, {"budget": 400})


@flow
async def never(wish: str) -> str:
    return await endless(wish)


DONE = json.dumps({"city": "Rome", "nights": 2})


async def test_it_is_called_like_a_question_and_answers_with_a_value(tmp_path: Path) -> None:
    said = in_turn(
        calls("look_up", city="Atlantis"), calls("look_up", city="Rome"), calls("critic", request="Is Rome fine?"),
        calls("book", city="Rome", nights=2), DONE,
    )  # fmt: skip
    seen: list[list[str]] = []
    models = {
        "chat": Served(answer=lambda asked: (seen.append(results(asked)), said(asked))[1]),
        "gpt": Served(answer=lambda asked: f"gpt says: {asked.prompt[-13:]}"),
    }
    async with serve(models) as server, opened(tmp_path, server, *models) as engine:
        run = await engine.start(trip, "Plan a weekend.")
        assert await run.result() == Plan(city="Rome", nights=2)
        keys = [re.sub(r"\[[0-9a-f]{12}\]", "", e.key or "") async for e in run.events() if e.type == "step.completed"]
        assert '{"budget":400}' in server.log.entries[0].prompt
    assert "there is no Atlantis" in seen[-1][0]
    assert seen[-1][2] == "gpt says: Is Rome fine?"
    assert "agent[planner]#1/agent[critic]#1/ask#1" in keys and "agent[planner]#1/book#1" in keys
    assert SAW == ["Rome 2"]


async def test_its_rounds_are_bounded(tmp_path: Path) -> None:
    async with (
        serve({"chat": Served(answer=lambda _: calls("look_up", city="Rome"))}) as server,
        opened(tmp_path, server, "chat") as engine,
    ):
        with pytest.raises(RunFailed, match="request_limit of 3"):
            await engine.run(never, "Go.")
        assert server.counts("chat").calls == 3


async def test_a_memory_is_told_by_a_tool(tmp_path: Path) -> None:
    """An agent has no `memory=`; what is said in its place holds."""

    def says(asked: Asked) -> Any:
        told = results(asked)
        return told[-1] if told else calls("known", question="Where does Ann live?")

    async with serve({"chat": Served(answer=says)}) as server, opened(tmp_path, server, "chat") as engine:
        assert "Ann lives in Oslo." in await engine.run(meets)


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(DefinitionError, match="rounds is at least 1"):
        agent("You.", rounds=0)
    with pytest.raises(InputError, match="no temperature="):
        agent("You.", temperature=3)  # pyright: ignore[reportCallIssue]
    with pytest.raises(DefinitionError, match="7 is no tool"):
        _ = agent("You.", tools=[7]).agent  # pyright: ignore[reportArgumentType]
