"""A model of Mistral's says words where a value was asked for: streamed it goes on as when it answers whole."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai.models.mistral import MistralModel, MistralStreamedResponse

from segue import Engine, ask, flow, tool
from segue.agent import relayed, stream
from segue.core.faults import FaultKind
from segue.core.records import AttemptRecorded, record_of
from segue.core.streams import Piece
from segue.models import Capability, Catalogue, Model, Price, Provider
from segue.testing.provider import Answer, Asked, Call, FaultPlan, Faults, Outcome, Served, Trouble, serve
from segue.testing.provider import Provider as Server

CAN = frozenset({Capability.TOOLS, Capability.STREAMING, Capability.JSON_SCHEMA})
ROME = '{"name":"Rome","people":3}'
STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


class City(BaseModel):
    name: str
    people: int


@tool(effect="read")
async def look(city: str) -> str:
    """Look it up."""
    return f"saw {city}"


@flow
async def which(streamed: bool) -> str:
    return repr(await ask("Which city?", returns=City, stream=streamed, timeout_s=20))


@flow
async def looked(streamed: bool) -> str:
    return repr(await ask("Which city?", returns=City, tools=[look], stream=streamed, timeout_s=20))


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRAL_API_KEY", "k")


@asynccontextmanager
async def world(
    path: Path, answer: Callable[[Asked], Any] | None, plan: FaultPlan | None = None
) -> AsyncGenerator[tuple[Server, Engine]]:
    """A cheap model of Mistral's, and a dear one of another provider that gives the right answer."""
    served = {"mistral": Served(mistral=True, answer=answer), "gpt": Served(answer=lambda _: ROME)}
    async with serve(served, faults=plan or FaultPlan()) as server:
        dear = Price.dollars(1, 1)
        more: dict[str, Any] = {"capabilities": CAN, "window": 64_000, "max_output": 4_000}
        models = Catalogue.of(
            Model(name="mistral", provider=Provider.MISTRAL, url=server.url, price=Price.dollars(0.1, 0.1), **more),
            Model(name="gpt", provider=Provider.OPENAI_COMPATIBLE, url=server.openai_url, price=dear, **more),
        )
        async with Engine(str(path / "x.db"), resources={"catalogue": models}) as engine:
            yield server, engine


@STREAMED
async def test_words_are_repaired_by_the_second_call(tmp_path: Path, streamed: bool) -> None:
    said = iter(["Rome, I think.", ROME])
    async with world(tmp_path, lambda _: next(said)) as (server, engine):
        assert await engine.run(which, streamed) == "City(name='Rome', people=3)"
    assert [entry.model for entry in server.log] == ["mistral", "mistral"]
    assert "the answer is no JSON" in str(server.log.entries[1].body)


@pytest.mark.parametrize(("streamed", "told"), [(False, True), (True, True), (True, False)])
async def test_then_the_next_model_is_asked_and_each_call_is_billed(tmp_path: Path, streamed: bool, told: bool) -> None:
    plan = FaultPlan() if told else FaultPlan(models={"mistral": Faults(rates={Trouble.NO_USAGE: 1})})
    async with world(tmp_path, lambda _: "Rome, I think.", plan) as (server, engine):
        run = await engine.start(which, streamed)
        assert await run.result() == "City(name='Rome', people=3)"
        records = [record_of(event) async for event in run.events(follow=False)]
    made = [record for record in records if isinstance(record, AttemptRecorded)]
    assert [entry.model for entry in server.log] == ["mistral", "mistral", "mistral", "gpt"]
    assert [one.why for one in made[:3]] == ["primary", "repair", "repair"]
    took = [one.usage for one in made if one.usage is not None]
    assert [one.estimated for one in took] == [not told] * 3 + [False]
    assert all(one.tokens_out >= 4 and (one.cost_nano or 0) > 0 for one in took)


@STREAMED
async def test_words_before_a_call_do_not_hide_it(tmp_path: Path, streamed: bool) -> None:
    def answer(asked: Asked) -> Answer | None:
        seen = any(turn.role == "tool" for turn in asked.turns)
        name, args = ("answer", ROME) if seen else ("look", '{"city":"Rome"}')
        return Answer(text="Let me see.", calls=(Call(name, args),))

    async with world(tmp_path, answer) as (server, engine):
        assert await engine.run(looked, streamed) == "City(name='Rome', people=3)"
    assert [entry.outcome for entry in server.log] == [Outcome.ANSWERED] * 2


@pytest.mark.parametrize("way", [relayed, stream])
async def test_who_listens_hears_the_next_model(tmp_path: Path, way: Any) -> None:
    async with world(tmp_path, lambda _: "Rome, I think."):
        said = [piece async for piece in way("Which city?", returns=City)]
    last = (
        "".join(said) if way is relayed else "".join(p.text for p in said if isinstance(p, Piece) and p.attempt[1] == 4)
    )
    assert last == ROME


@STREAMED
async def test_the_test_server_lets_it_say_words(tmp_path: Path, streamed: bool) -> None:
    plan = FaultPlan(models={"mistral": Faults(first=(Trouble.NOT_JSON,))})
    async with world(tmp_path, None, plan) as (server, engine):
        assert "City(" in await engine.run(which, streamed)
    assert [entry.trouble for entry in server.log] == ["not-json", None]
    assert server.log.entries[0].answer.startswith("Sure!")


@STREAMED
async def test_an_adapter_that_stumbles_over_an_answer_is_repaired_and_left(
    tmp_path: Path, streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(seen: Any, *_: object) -> tuple[()]:
        if isinstance(seen, MistralModel) or seen.get().text:
            raise ValueError("trailing comma")
        return ()

    monkeypatch.setattr(MistralModel, "_process_response", odd)
    monkeypatch.setattr(MistralStreamedResponse, "_handle_tool_call_deltas", odd)
    async with world(tmp_path, lambda _: "Rome, I think.") as (server, engine):
        run = await engine.start(which, streamed)
        assert await run.result() == "City(name='Rome', people=3)"
        records = [record_of(event) async for event in run.events(follow=False)]
    assert [entry.model for entry in server.log] == ["mistral", "mistral", "mistral", "gpt"]
    made = [record for record in records if isinstance(record, AttemptRecorded) and record.fault is not None]
    assert {(one.fault.kind, one.fault.message) for one in made if one.fault is not None} == {
        (FaultKind.BAD_OUTPUT, "mistral: what came cannot be read as an answer: ValueError('trailing comma')")
    }
    if streamed:
        assert all(one.usage is not None and one.usage.estimated and one.usage.tokens_out for one in made)
