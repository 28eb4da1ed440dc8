"""A question with tools, read outside of a run: each of its rounds is a call of its own, with a key and an end."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from segue import Ended, Engine, Piece, ask, flow, step, tool
from segue.agent import relayed, stream
from segue.core.streams import Joined
from segue.models import Capability, Catalogue, Model, Price, Provider
from segue.routing import Cheapest
from segue.routing.policies import NEVER, Rescue
from segue.testing.provider import Answer, Asked, Call, Served, serve
from segue.testing.provider import Provider as Server

TALE = "Once upon a time there was a fox, who lived in a wood, and it was hungry all day long."
FOX = json.dumps({"name": "fox", "age": 3})
FIRST = "I will first look into the wood for it. "


@dataclass
class Beast:
    name: str
    age: int


@tool(effect="read")
async def look(place: str) -> str:
    """Look into a place."""
    return f"a fox in the {place}"


@tool(effect="read")
async def wonder(place: str) -> str:
    """Ask somebody else, who is heard while it answers."""
    return await ask("And now?", model="aside", stream=True)


def model(server: Server, name: str, cost: float) -> Model:
    can = frozenset({Capability.STREAMING, Capability.JSON_SCHEMA, Capability.TOOLS})
    return Model(
        name=name, provider=Provider.OPENAI_COMPATIBLE, window=32_000, max_output=2000, url=server.openai_url,
        capabilities=can, price=Price.dollars(cost, cost),
    )  # fmt: skip


def answers(first: str, last: Any, called: str = "look") -> Any:
    def said(asked: Asked) -> Answer | str:
        if any(turn.role == "tool" for turn in asked.turns):
            return last(asked) if callable(last) else last
        return Answer(text=first, calls=(Call(called, '{"place": "wood"}'),))

    return said


@asynccontextmanager
async def world(
    first: str, last: Any = TALE, called: str = "look", **more: Any
) -> AsyncGenerator[tuple[Server, Engine]]:
    served = {name: Served(answer=answers(first, last, called)) for name in ("a", "b")}
    async with serve({**served, "aside": Served(answer=lambda _: "Nothing of that.")}) as server:
        models = [replace(model(server, name, cost), **more) for cost, name in enumerate(("a", "b", "aside"), 1)]
        async with Engine(":memory:", resources={"catalogue": Catalogue.of(*models)}) as engine:
            yield server, engine


def route(rescue: Rescue = "fail", hold_ms: int = 0) -> Cheapest:
    return Cheapest(among=("a", "b"), explore=NEVER, rescue=rescue, hold_ms=hold_ms)


@pytest.mark.parametrize("first", ["", FIRST], ids=["calls", "says and calls"])
@pytest.mark.parametrize("troubles", [(None, None), ("cut", None), (None, "cut"), ("cut", "cut")])
async def test_each_round_is_a_call_with_its_text_and_its_end(first: str, troubles: tuple[str | None, ...]) -> None:
    async with world(first) as (server, _):
        server.next("a", *troubles)
        said, joined, ends = stream("Where is it?", route=route(), tools=[look]), Joined(), list[str]()
        async for event in said:
            joined.add(event)
            ends += [event.key] if isinstance(event, Ended) else []
        assert [text.rstrip() for text in joined.texts.values()] == [first.rstrip(), TALE]
        assert ends == ["ask/ask#1", "ask/ask#2"]
        assert said.answer.value == TALE


async def test_a_step_that_reads_a_stream_has_each_round_with_its_end() -> None:
    ends = list[str]()

    @step
    async def reads() -> str:
        said = stream("Where is it?", route=route(), tools=[look])
        async for event in said:
            ends.extend([event.key.rpartition("/")[2]] if isinstance(event, Ended) else [])
        return str(said.answer.value)

    @flow
    async def reading() -> str:
        return await reads()

    async with world(FIRST) as (_, engine):
        assert await engine.run(reading) == TALE
    assert ends == ["ask#1", "ask#2"]


@pytest.mark.parametrize("first", ["", FIRST], ids=["calls", "says and calls"])
@pytest.mark.parametrize("at", [1, 2])
async def test_what_follows_a_tool_is_gone_on_from_as_any_text(first: str, at: int) -> None:
    async with world(first) as (server, _):
        server.next("a", *[None] * (at - 1), "cut")
        texts = [t async for t in relayed("Where is it?", route=route("continue"), tools=[look])]
        assert "".join(texts) == first + TALE
        assert server.counts("b").calls == (1 if at == 2 else 2)


async def test_a_round_that_fails_before_it_says_anything_leaves_what_the_one_before_it_said() -> None:
    async with world(FIRST) as (server, _):
        server.next("a", None, "overloaded")
        assert "".join([t async for t in relayed("Where is it?", route=route(), tools=[look])]) == FIRST + TALE


@pytest.mark.parametrize(("returns", "last"), [(Beast, FOX), (int, "3")])
@pytest.mark.parametrize("provider", [Provider.OPENAI_COMPATIBLE, Provider.ANTHROPIC, Provider.GOOGLE])
async def test_what_is_said_with_a_call_is_no_part_of_json(
    provider: Provider, returns: Any, last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANTHROPIC", "GOOGLE"):
        monkeypatch.setenv(f"{name}_API_KEY", "test")
    async with world(FIRST, answered(last)) as (server, _):
        at = server.openai_url if provider is Provider.OPENAI_COMPATIBLE else server.url
        only = replace(model(server, "a", 1), provider=provider, url=at)
        async with Engine(":memory:", resources={"catalogue": Catalogue.of(only)}):
            texts = [t async for t in relayed("Which one?", route=route(), tools=[look], returns=returns)]
            assert json.loads("".join(texts)) == json.loads(last)


def answered(last: str) -> Callable[[Asked], Answer | str]:
    """By the tool that stands for the answer where there is one, else by its schema."""

    def said(asked: Asked) -> Answer | str:
        value = last if last.startswith("{") else json.dumps({"answer": json.loads(last)})
        by_tool = any(one.name == "answer" for one in asked.tools)
        return Answer(calls=(Call("answer", value),)) if by_tool else value

    return said


@pytest.mark.parametrize("first", ["", FIRST], ids=["calls", "says and calls"])
@pytest.mark.parametrize("provider", [Provider.OPENAI_COMPATIBLE, Provider.ANTHROPIC])
async def test_an_answer_that_is_given_by_a_tool_goes_out_piece_by_piece(
    first: str, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "test")
    can, last = frozenset({Capability.STREAMING, Capability.TOOLS}), Answer(calls=(Call("answer", FOX),))
    async with world(first, last, capabilities=can) as (server, _):
        at = server.url if provider is Provider.ANTHROPIC else server.openai_url
        only = replace(model(server, "a", 1), provider=provider, url=at, capabilities=can)
        async with Engine(":memory:", resources={"catalogue": Catalogue.of(only)}):
            texts = [t async for t in relayed("Which one?", route=route(), tools=[look], returns=Beast)]
            assert json.loads("".join(texts)) == {"name": "fox", "age": 3}
            assert len(texts) > 1


async def test_what_a_tool_says_itself_is_no_part_of_the_answer() -> None:
    async with world(FIRST, TALE, "wonder") as (server, _):
        texts = [t async for t in relayed("Where is it?", route=route(), tools=[wonder])]
        assert "".join(texts) == FIRST + TALE
        assert server.counts("aside").calls == 1
        said = [event async for event in stream("Where?", route=route(), tools=[wonder]) if isinstance(event, Piece)]
        assert len({event.key for event in said}) == 3
