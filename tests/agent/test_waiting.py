"""Many questions that wait for few models, on virtual time: a queue is no reason to give up, an open breaker is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, RunFailed, flow, testing
from segue.agent import ask
from segue.agent.gateway import Gateway
from segue.models import Catalogue, Limits, Model, Price, Provider
from segue.models.health import Health
from segue.testing.provider import FaultPlan, Faults, Served, serve
from segue.testing.provider import Provider as Server


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")


@flow
async def asks(text: str) -> str:
    return await ask("Say it.", text)


def model(server: Server, name: str, dollars: str = "1", **given: Any) -> Model:
    return Model(
        name=name, provider=Provider.OPENAI_COMPATIBLE, url=server.openai_url, window=64_000, max_output=4000,
        price=Price.dollars(dollars, dollars), **given,
    )  # fmt: skip


@asynccontextmanager
async def over(*models: Model) -> AsyncIterator[testing.Engine]:
    clock = asyncio.get_running_loop().time
    gateway = Gateway.of(Catalogue.of(*models), health=Health(clock=clock))
    async with testing.Engine(resources={"gateway": gateway, "catalogue": gateway.catalogue}) as engine:
        yield engine


async def all_of(engine: testing.Engine, count: int) -> tuple[list[str], float]:
    """The errors of so many questions at once, and the virtual seconds until the last one has ended."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    runs = [engine.run(asks, f"{n}", id=f"r{n}") for n in range(count)]
    said = await asyncio.gather(*runs, return_exceptions=True)
    return [str(one) for one in said if isinstance(one, BaseException)], loop.time() - began


@pytest.mark.proof
@testing.simulated
async def test_a_queue_of_forty_minutes_at_a_limit_is_waited_for() -> None:
    """It was given up after 32 waits, without a call."""
    async with serve(["a"]) as server, over(model(server, "a", limits=Limits(rpm=1))) as engine:
        failed, took = await all_of(engine, 36)
        assert not failed
        assert 35 * 60 <= took < 45 * 60
        assert server.counts().calls == 36
        decided = [event async for event in (await engine.get("r35")).events(follow=False) if _is_decision(event)]
        assert len(decided) <= 60, "about one decision a minute"


def _is_decision(event: Any) -> bool:
    return event.type == "decision.made"


@pytest.mark.sampled(2)
@pytest.mark.parametrize("names", ["a", "abc"])
def test_all_who_wait_for_the_dead_are_told_so_together(names: str) -> None:
    """Each had eight calls of its own, and one probe at a time served all of them: half an hour."""

    async def case() -> None:
        async with serve(list(names)) as server, over(*(model(server, name) for name in names)) as engine:
            for name in names:
                server.fail(name, "overloaded")
            failed, took = await all_of(engine, 20)
            assert len(failed) == 20
            assert took < 240
            assert sum(all(f"{name}:" in said for name in names[1:]) for said in failed) > 10, failed

    testing.run(case())


@pytest.mark.proof
@pytest.mark.parametrize("names", ["a", "ab", "abc"])
def test_an_outage_of_a_minute_loses_no_question(names: str) -> None:
    """Whenever in it they come, and however many models it takes with it."""

    async def case() -> None:
        async with serve(list(names)) as server, over(*(model(server, name) for name in names)) as engine:
            runs: list[asyncio.Task[str]] = []
            for second in range(120):
                for name in names:
                    if second == 5:
                        server.fail(name, "overloaded")
                    if second == 65:
                        server.heal(name)
                runs.append(asyncio.create_task(engine.run(asks, f"{second}", id=f"r{second}")))
                await asyncio.sleep(1.0)
            said = await asyncio.gather(*runs, return_exceptions=True)
            lost = [str(one) for one in said if isinstance(one, BaseException)]
            assert len(lost) <= 2, lost  # who had all of its calls in the first seconds

    testing.run(case())


@testing.simulated
async def test_a_model_that_comes_back_answers_all_who_wait_for_it() -> None:
    plan = FaultPlan(models={"a": Faults(first=["overloaded"] * 12)})
    async with serve(["a"], faults=plan) as server, over(model(server, "a")) as engine:
        failed, _ = await all_of(engine, 10)
        assert not failed


@flow
async def bounded(text: str, usd: float) -> str:
    return await ask("Say it.", "word " * 400, max_tokens=1000, budget_usd=usd)


@pytest.mark.parametrize("faults", [{"first": ["overloaded"]}, {"first": ["rate-limited"] * 2}])
async def test_who_had_bad_luck_is_asked_again_where_the_other_one_is_too_dear(
    tmp_path: Path, faults: Mapping[str, Any]
) -> None:
    plan = FaultPlan(models={"a": Faults(**faults)}, retry_after_s=1)
    async with serve({"a": Served(answer=lambda _: "well"), "b": Served()}, faults=plan) as server:
        known = Catalogue.of(model(server, "a", "0.1"), model(server, "b", "10"))
        async with Engine(str(tmp_path / "x.db"), resources={"catalogue": known}) as engine:
            for usd in (0.008, 0.011):
                assert await engine.run(bounded, "Which?", usd) == "well"
        assert {call.model for call in server.log} == {"a"}


async def test_where_nobody_is_left_whom_the_budget_pays_it_says_so_and_how_the_others_are(tmp_path: Path) -> None:
    async with serve({"a": Served(keys=frozenset({"another"})), "b": Served()}) as server:
        known = Catalogue.of(model(server, "a", "0.1"), model(server, "b", "10"))
        async with Engine(str(tmp_path / "x.db"), resources={"catalogue": known}) as engine:
            with pytest.raises(RunFailed, match="BudgetExceeded") as failed:
                await engine.run(bounded, "Which?", 0.01)
            assert "a: shut: its key was refused" in str(failed.value)
