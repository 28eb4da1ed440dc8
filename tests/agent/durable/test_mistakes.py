"""What cannot be is said at once, in our words: of agents, tools, delegation, hand-offs and patterns."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic_ai import Agent

from segue import RunFailed, agent, ask, delegate, flow, tool
from segue.agent import Role, converse, durable
from segue.agent.durable import Durable
from segue.agent.patterns import Side, debate, improve, map_reduce, plan_and_work, vote
from segue.errors import DefinitionError, InputError
from segue.testing import Engine as InMemory
from segue.testing.provider import Served, serve
from tests.agent.served import KEYS, catalogue


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


async def look(city: str) -> str:
    """Looks."""
    return city


twin = tool(name="look")(look)
MADE: dict[str, Callable[[], Any]] = {
    "is no text that says": lambda: agent(5),  # pyright: ignore[reportCallIssue, reportArgumentType]
    "a list of tools": lambda: agent("x", tools=look),  # pyright: ignore[reportCallIssue, reportArgumentType]
    "two tools are called 'look'": lambda: agent("x", tools=[look, look]),
    "two tools are called": lambda: agent("x", tools=[look, twin]),
    "rounds is at least 1": lambda: agent("x", rounds="3"),  # pyright: ignore[reportCallIssue, reportArgumentType]
    "name=''": lambda: agent("x", name=""),
    "a type was expected": lambda: agent("x", returns="Place"),  # pyright: ignore[reportCallIssue, reportArgumentType]
    "no thread=": lambda: agent("x", thread="t"),  # pyright: ignore[reportCallIssue]
    "no memory=": lambda: agent("x", memory=["user:ann"]),  # pyright: ignore[reportCallIssue]
    "no escalate=": lambda: agent("x", escalate="lead"),  # pyright: ignore[reportCallIssue]
    "'look' is no tool": lambda: agent("x", tools=["look"]),  # pyright: ignore[reportCallIssue, reportArgumentType]
    "limit_chars=3": lambda: Durable(limit_chars=3),
    "give tools=[helper.as_tool]": lambda: Agent(tools=[strange(agent("x", name="helper"))], capabilities=[Durable()]),
}


@pytest.mark.parametrize("says", MADE)
def test_an_agent_that_cannot_be_is_refused_where_it_is_made(says: str) -> None:
    with pytest.raises((DefinitionError, InputError), match=re.escape(says)):
        MADE[says]()


def strange(value: object) -> Any:
    return value


CASES: dict[str, Callable[[], Awaitable[object]]] = {
    "the prompt is no text": lambda: agent("x")(strange(None)),
    "nothing is asked: the prompt is empty": lambda: agent("x")(" ", ""),
    "history is a text": lambda: agent("x")("hi", history=strange("abc")),
    "history is a list of messages, not a dict": lambda: agent("x")("hi", history=strange({"role": "user"})),
    "history has {'role': 'system'": lambda: agent("x")("hi", history=[{"role": "system", "content": "obey"}]),
    "history has {'role': 'user', 'content': 5}": lambda: agent("x")(
        "hi", history=strange([{"role": "user", "content": 5}])
    ),
    "history has 'hello'": lambda: agent("x")("hi", history=strange(["hello"])),
    "cannot be shown": lambda: agent("x")("hi", object()),
    "tools is a list, not None": lambda: ask("x", tools=strange(None)),
    "tools is a list, not <function look": lambda: ask("x", tools=strange(look)),
    "to='chat'": lambda: delegate("hi", to="chat"),
    "to=<function": lambda: delegate("hi", to=strange(look)),
    "is a class": lambda: delegate("hi", to=[int]),
    "by='chat': a list": lambda: vote("x", by="chat"),
    "by=True": lambda: vote("x", by=True),
    "by=2.5": lambda: vote("x", by=strange(2.5)),
    "'nobody', who does not vote": lambda: vote("x", by=["chat"], weights={"nobody": 2}),
    "'chat', who does not vote": lambda: vote("x", by=3, weights={"chat": 2}),
    "no vote counts": lambda: vote("x", by=["chat", "gpt"], weights={"chat": 0, "gpt": 0.0}),
    "each is a number": lambda: vote("x", by=["chat"], weights={"chat": strange("2")}),
    "weights={'chat': inf}": lambda: vote("x", by=["chat"], weights={"chat": float("inf")}),
    "quorum='x'": lambda: vote("x", by=["chat"], quorum=strange("x")),
    "none is below 0": lambda: vote("x", by=["chat"], weights={"chat": -2}),
    "quorum=2": lambda: vote("x", by=["chat"], quorum=2),
    "tie='dunno'": lambda: vote("x", by=["chat"], tie=strange("dunno")),
    "ask has no option 'rout'": lambda: vote("x", by=["chat"], options=strange({"rout": 1})),
    "a list of Side": lambda: debate("x", sides=strange("ab")),
    "'a' is no Side": lambda: debate("x", sides=[Side("b"), strange("a")]),
    "fan=1: a whole number from 2": lambda: map_reduce("x", "abc", fan=1),
    "document is a text": lambda: map_reduce("x", strange(None)),
    "missing_max a share": lambda: map_reduce("x", "abc", missing_max=7),
    "evaluator='chat'": lambda: improve("x", evaluator=strange("chat")),
    "ask has no option 'modle'": lambda: improve("x", evaluator=strange({"modle": "chat"})),
    "ask has no option 'modl'": lambda: debate("x", sides=[Side("a")], judged=strange({"modl": "chat"})),
    "ask has no option 'mode'": lambda: plan_and_work("x", workers=[look], finisher=strange({"mode": "chat"})),
    "delegate has no option 'attempt'": lambda: plan_and_work("x", workers=[look], delegating={"attempt": 1}),
    "delegating has no key=": lambda: plan_and_work("x", workers=[look], delegating={"key": "k"}),
    "enough is from 0 to 1": lambda: improve("x", enough=strange("much")),
    "'a' is no role": lambda: converse("x", strange(["a"]), thread="t"),
    "handoffs is at least 0": lambda: converse("x", [Role("a")], thread="t", handoffs=-1),
    "a text cannot be filled in": lambda: converse("x", [Role("a")], thread="t", brief="Use {"),
    "a place for 'nobody'": lambda: converse("x", [Role("a")], thread="t", brief="{nobody}"),
}


@flow
async def case(name: str) -> str:
    return str(await CASES[name]())


@pytest.mark.parametrize("says", CASES)
async def test_what_cannot_be_is_said_before_anybody_is_asked(says: str) -> None:
    async with (
        serve({"chat": Served(answer=lambda _: "fine")}) as server,
        InMemory(resources={"catalogue": catalogue(server, "chat")}) as engine,
    ):
        with pytest.raises(RunFailed) as failed:
            await engine.run(case, says)
        assert says in str(failed.value) and isinstance(failed.value.__cause__, DefinitionError | InputError)
        assert server.counts("chat").calls == 0


@flow
async def badly_judged(how: str) -> str:
    judges: dict[str, Any] = {"text": lambda _: "great", "nan": lambda _: float("nan")}
    made = await improve("x", evaluator=judges[how], rounds=1)
    return made.versions[0].error


@pytest.mark.parametrize("how", ["text", "nan"])
async def test_an_evaluator_that_says_nothing_of_use_has_not_judged(how: str) -> None:
    async with (
        serve({"chat": Served(answer=lambda _: "fine")}) as server,
        InMemory(resources={"catalogue": catalogue(server, "chat")}) as engine,
    ):
        assert await engine.run(badly_judged, how)


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("", "")])
def test_no_banner_stands_between_the_lines_of_what_is_printed(
    monkeypatch: pytest.MonkeyPatch, before: str | None, after: str
) -> None:
    monkeypatch.setenv("PYDANTIC_AI_NO_BANNER", "x")  # it is put back after the test
    if before is None:
        monkeypatch.delenv("PYDANTIC_AI_NO_BANNER")
    else:
        monkeypatch.setenv("PYDANTIC_AI_NO_BANNER", before)
    assert durable.Durable
    assert os.environ["PYDANTIC_AI_NO_BANNER"] == after
