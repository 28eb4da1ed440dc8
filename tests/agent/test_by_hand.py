"""What people say in the place of a model's answer: a fork and an override take the answer itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from segue import ask, flow, step
from segue.agent import answer
from segue.core.events import EventType
from segue.errors import RunFailed
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import KEYS, calls, opened, results
from tests.behaviour.world import in_state


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


class Topic(BaseModel):
    topic: Literal["card", "loan"]


@flow
async def triage(text: str) -> str:
    sorted_ = await ask("Which topic?", text, returns=Topic)
    said = await answer(f"Answer about a {sorted_.topic}.", text)
    return f"{said.value} ({said.model or 'by hand'})"


@step
async def look_up(order: str) -> str:
    """What is known of an order."""
    return "paid"


@flow
async def tooled(text: str) -> str:
    return await ask(text, tools=[look_up])


def says(asked: Asked) -> Any:
    if asked.schema:
        return '{"topic": "loan"}'
    if "order" in asked.prompt and not results(asked):
        return calls("look_up", order="o-7")
    return "about a loan" if "a loan." in str(asked.body) else "about a card"


async def keys_of(run: Any, name: str = "ask[") -> list[str]:
    ends = [e.key or "" async for e in run.events(follow=False) if e.type == EventType.STEP_COMPLETED]
    return [key for key in ends if name in key.rpartition("/")[2]]


async def test_a_fork_takes_the_answer_as_it_is(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=says)}) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(triage, "My card is gone.")
        assert await run.result() == "about a loan (chat)"
        topic, told = await keys_of(run)
        asked_again = await run.fork(results={topic: {"topic": "card"}})
        assert await asked_again.result() == "about a card (chat)"
        assert await (await run.fork(results={told: "It is blocked."})).result() == "It is blocked. (by hand)"
        with pytest.raises(RunFailed, match="does not fit today's type"):
            await (await run.fork(results={topic: {"topic": "cat"}})).result()


async def test_a_fork_takes_it_in_the_place_of_a_request_that_calls_tools(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=says)}) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(tooled, "Where is my order?")
        assert (await run.result()).startswith("about")
        first, _ = await keys_of(run)
        (looked,) = await keys_of(run, "look_up")
        fork = await run.fork(looked, results={first: "It is on its way."})
        assert await fork.result() == "It is on its way."
        assert await keys_of(fork, "look_up") == []


async def test_an_override_takes_the_answer_as_it_is(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer="???")}) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(waiting, "My card is gone.")
        status = await in_state(run, "parked")
        await run.override(str(status.waits_on[0]["key"]), {"topic": "card"}, by="ada")
        assert await run.result() == "card"


@flow
async def waiting(text: str) -> str:
    return (await ask("Which topic?", text, returns=Topic, escalate="ada", repairs=0, attempts=1)).topic
