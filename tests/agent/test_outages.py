"""Outages on virtual time: one of a minute is outlasted, however many ask in it and whatever it looks like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from segue import Flow, RunFailed, flow, gather, testing
from segue.agent import ask
from segue.core.events import EventType
from segue.models import Capability, Catalogue, Model, Price, Provider
from segue.testing.provider import FaultPlan, Served, serve
from segue.testing.provider import Provider as Server

DOWN_S = 60.0
KINDS = [
    "overloaded",
    "refused",
    "reset",
    "headers-cut",
    "html-error",
    "html-ok",
    "empty-body",
    "rate-limited",
    "rate-limited for 0 s",
]
MANY = [1, 2, 3, 4, 8, 20]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "any")


@flow
async def asks(text: str) -> str:
    return await ask("Say it.", text)


@flow
async def streams(text: str) -> str:
    return await ask("Say it.", text, stream=True)


@flow
async def asks_thrice(text: str) -> str:
    return await ask("Say it.", text, attempts=3)


@asynccontextmanager
async def opened(
    models: int, retry_after_s: float = 2.0, *, streaming: bool = True
) -> AsyncGenerator[tuple[testing.Engine, Server]]:
    names, clock = "abc"[:models], asyncio.get_running_loop().time
    async with serve(
        {name: Served() for name in names}, faults=FaultPlan(retry_after_s=retry_after_s), clock=clock
    ) as server:
        provider = Provider.OPENAI_COMPATIBLE
        known = Catalogue.of(
            *(
                Model(
                    name=n, provider=provider, url=server.openai_url, window=64_000, max_output=4_000,
                    capabilities=frozenset({Capability.STREAMING} if streaming else ()),
                )
                for n in names
            )
        )  # fmt: skip
        async with testing.Engine(resources={"catalogue": known}, seed=1) as engine:
            yield engine, server


async def go_down(server: Server, kind: str) -> None:
    if kind == "refused":
        await server.stop()
        return
    for name in server.models:
        server.fail(name, kind.removesuffix(" for 0 s"))


async def come_back(server: Server, kind: str) -> None:
    if kind == "refused":
        await server.start()
    for name in server.models:
        server.heal(name)


async def outlasted(models: int, questions: int, kind: str) -> None:
    async with opened(models, 0.0 if kind.endswith(" for 0 s") else 2.0) as (engine, server):
        await go_down(server, kind)
        runs = [asyncio.create_task(engine.run(asks, f"{n}", id=f"r{n}")) for n in range(questions)]
        await asyncio.sleep(DOWN_S)
        await come_back(server, kind)
        said = await asyncio.gather(*runs, return_exceptions=True)
        assert said == [f"You said: {n}" for n in range(questions)], (questions, kind)
        assert not server.log.answered_twice()
        for n in range(questions):
            assert calls_of(engine, f"r{n}") <= 22 + models


def calls_of(engine: testing.Engine, run: str) -> int:
    return sum(event.type == EventType.ATTEMPT_RECORDED for event in engine.history(run))


@pytest.mark.sampled(10)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("models", [1, pytest.param(2, marks=pytest.mark.soak), 3])
def test_an_outage_of_a_minute_is_outlasted_however_many_ask(models: int, kind: str) -> None:
    async def case() -> None:
        for questions in MANY if kind == "refused" else (1, 4):
            await outlasted(models, questions, kind)

    testing.run(case())


@pytest.mark.parametrize("kind", ["headers-cut", "empty-body", "html-error"])
@testing.simulated
async def test_a_stream_that_had_not_said_anything_when_it_broke_off_was_turned_away_as_well(kind: str) -> None:
    async with opened(1) as (engine, server):
        await go_down(server, kind)
        run = asyncio.create_task(engine.run(streams, "1", id="r"))
        await asyncio.sleep(DOWN_S)
        await come_back(server, kind)
        assert await run == "You said: 1"


@pytest.mark.parametrize(
    ("kind", "flows", "can"),
    [
        *((kind, streams, True) for kind in ("cut", "cut-reset", "stream-error", "bad-chunk", "no-end")),
        *((kind, asks, True) for kind in ("cut", "cut-reset", "bad-chunk", "no-end")),
        ("cut", streams, False),
        ("cut-reset", streams, False),
    ],
)
def test_calls_that_break_off_within_an_answer_are_counted(kind: str, flows: Flow[[str], str], can: bool) -> None:
    """They are paid for, so they are not bounded by time."""

    async def case() -> None:
        async with opened(1, streaming=can) as (engine, server):
            server.fail("a", kind)
            with pytest.raises(RunFailed, match=r"\(8 calls in"):
                await engine.run(flows, "1 2 3 4 5 6 7 8 9 10 11 12", id="r")
            assert len(server.log) == 8

    testing.run(case())


@pytest.mark.parametrize("models", [1, 3])
def test_a_server_that_was_never_started_is_given_up_and_it_is_said_after_how_much(models: int) -> None:
    async def case() -> None:
        async with opened(models) as (engine, server):
            await server.stop()
            loop = asyncio.get_running_loop()
            began = loop.time()
            with pytest.raises(RunFailed, match=r"\(\d+ calls in [12]\d\d s\)"):
                await engine.run(asks, "1", id="r")
            assert 150 <= loop.time() - began < 240
            assert calls_of(engine, "r") <= 25 + models

    testing.run(case())


@testing.simulated
async def test_a_number_of_calls_that_is_said_holds() -> None:
    async with opened(1) as (engine, server):
        server.fail("a", "overloaded")
        with pytest.raises(RunFailed, match="3 calls"):
            await engine.run(asks_thrice, "1", id="r")
        assert len(server.log) == 3


@testing.simulated
async def test_what_a_key_or_a_request_is_refused_for_fails_at_once() -> None:
    async with opened(1) as (engine, server):
        server.fail("a", "unauthorised")
        began = asyncio.get_running_loop().time()
        with pytest.raises(RunFailed):
            await engine.run(asks, "1", id="r")
        assert asyncio.get_running_loop().time() - began < 2 and len(server.log) == 1


@testing.simulated
async def test_a_question_that_is_resumed_long_after_it_was_killed_in_an_outage_has_all_its_patience() -> None:
    async with opened(1) as (engine, server):
        server.fail("a", "overloaded")
        run = await engine.start(asks, "1", id="r")
        await asyncio.sleep(7.0)
    await asyncio.sleep(155.0)
    async with opened(1) as (_, server):
        known = Catalogue.of(
            Model(name="a", provider=Provider.OPENAI_COMPATIBLE, url=server.openai_url, window=64_000, max_output=4_000)
        )
        server.fail("a", "overloaded")
        async with testing.Engine(after=engine, resources={"catalogue": known}, seed=1) as again:
            asked = asyncio.create_task((await again.get("r")).result())
            await asyncio.sleep(9.0)
            server.heal("a")
            assert await asked == "You said: 1"
    assert run.id == "r"


@flow(budget_usd=0.05)
async def both(n: int) -> list[str]:
    return await gather(*(ask("Say it.", f"question {i} here") for i in range(n)), limit=2)


@testing.simulated
async def test_money_that_a_call_under_way_holds_is_waited_for() -> None:
    """The output limit of the dear one is lowered to all that is left: those beside it had nothing, and failed."""
    clock = asyncio.get_running_loop().time
    async with serve({"cheap": Served(first_token_s=0.2), "dear": Served(first_token_s=0.5)}, clock=clock) as server:
        server.next("cheap", "cut", "cut")
        provider = Provider.OPENAI_COMPATIBLE
        prices = {"cheap": Price.dollars("0.1", "0.4"), "dear": Price.dollars("30", "150")}
        known = Catalogue.of(
            *(
                Model(name=n, provider=provider, url=server.openai_url, price=p, window=64_000, max_output=4_000)
                for n, p in prices.items()
            )
        )
        async with testing.Engine(resources={"catalogue": known}) as engine:
            assert len(await engine.run(both, 4, id="r")) == 4


@flow(budget_usd=0.005)
async def asks_for_little(text: str) -> str:
    return await ask("Say it.", text)


@testing.simulated
async def test_a_budget_that_an_outage_has_used_up_says_what_failed_and_how_often() -> None:
    clock = asyncio.get_running_loop().time
    async with serve({"a": Served()}, clock=clock) as server:
        dear = Price.dollars("0.5", "1.5")
        model = Model(
            name="a", provider=Provider.OPENAI_COMPATIBLE, url=server.openai_url, window=64_000, max_output=4_000,
            price=dear,
        )  # fmt: skip
        async with testing.Engine(resources={"catalogue": Catalogue.of(model)}, seed=1) as engine:
            server.fail("a", "reset")
            with pytest.raises(RunFailed, match=r"a failed before: unreachable \(\d+ calls in \d+ s\)"):
                await engine.run(asks_for_little, "question here", id="r")
