"""`ask` over a server that speaks the real formats and fails on demand: who answers instead, and what is on record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from segue import Engine, RunFailed, flow
from segue.agent import answer, ask
from segue.core.records import AttemptRecorded, Decision, record_of
from segue.models import Capability, Catalogue, Limits, Model, Price, Provider
from segue.models.health import Rules
from segue.models.health.breaker import BreakerRule
from segue.models.health.concurrency import ConcurrencyRule
from segue.routing import Cheapest, Function, Policy
from segue.routing.policies import NEVER
from segue.testing.provider import Answer, Call, FaultPlan, Served, serve
from segue.testing.provider import Provider as Server

CAN = frozenset({Capability.TOOLS, Capability.JSON_SCHEMA, Capability.STREAMING})
CHEAP = Cheapest(name="cheap", explore=NEVER)


class City(BaseModel):
    name: str
    people: int


@flow
async def question(text: str) -> dict[str, Any]:
    given = await answer(text, returns=City, route="cheap", timeout_s=5)
    return {"model": given.model, "faults": [tried.fault for tried in given.tried]}


@flow
async def asks_once(text: str) -> str:
    return (await ask(text, returns=City, route="cheap", attempts=1)).name


@flow
async def asks_bounded(text: str) -> str:
    return (await ask(text, returns=City, route="cheap", budget_usd=0.0000001)).name


def catalogue(server: Server, **windows: int) -> Catalogue:
    """Three models in three formats, from the cheapest to the dearest."""
    where = {
        "small": (Provider.OPENAI_COMPATIBLE, server.openai_url),
        "middle": (Provider.ANTHROPIC, server.url),
        "large": (Provider.OPENAI_RESPONSES, server.openai_url),
    }
    return Catalogue.of(
        *(
            Model(
                name=name, provider=provider, id=name, capabilities=CAN, window=windows.get(name, 32_000),
                max_output=2000, price=Price.dollars(0.1 * 2**n, 0.4 * 2**n), url=url, limits=Limits(concurrency=20),
            )
            for n, (name, (provider, url)) in enumerate(where.items())
        )
    )  # fmt: skip


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "test")


@asynccontextmanager
async def opened(
    path: Path,
    server: Server,
    rules: Rules | None = None,
    only: str | None = None,
    route: Policy = CHEAP,
    **windows: int,
) -> AsyncIterator[Engine]:
    models = catalogue(server, **windows)
    models = models if only is None else Catalogue.of(models.get(only))
    routes = {"cheap": route}
    resources: dict[str, Any] = {"catalogue": models, "routes": routes, "rules": rules}
    async with Engine(str(path / "x.db"), resources=resources) as engine:
        yield engine


async def told(engine: Engine, run: Any) -> tuple[list[Decision], list[AttemptRecorded]]:
    records = [record_of(e) async for e in run.events(follow=False) if e.type in ("decision.made", "attempt.recorded")]
    return [r for r in records if isinstance(r, Decision)], [r for r in records if isinstance(r, AttemptRecorded)]


@pytest.mark.parametrize(
    ("trouble", "fault", "who"),
    [
        ("overloaded", "overloaded", "middle"),
        ("rate-limited", "rate limited", "middle"),
        ("unauthorised", "unauthorised", "middle"),
        ("reset", "unreachable", "middle"),
        ("html-ok", "unreachable", "middle"),
        ("empty-content", "bad output", "small"),
        ("wrong-schema", "bad output", "small"),
    ],
)
async def test_who_answers_instead(tmp_path: Path, trouble: str, fault: str, who: str) -> None:
    async with serve(["small", "middle", "large"]) as server, opened(tmp_path, server) as engine:
        server.next("small", trouble)
        run = await engine.start(question, "Which city?")
        assert await run.result() == {"model": who, "faults": [fault, ""]}
        decisions, attempts = await told(engine, run)
    assert [d.chosen.target.name for d in decisions if d.chosen] == ["small", who]
    assert [a.end for a in attempts][-1] == "answered"
    assert [a.decision for a in attempts] == [d.id for d in decisions]
    assert attempts[-1].usage is not None
    assert attempts[-1].usage.cost_nano


async def test_a_function_that_has_nobody_beside_whom_has_failed_has_that_one_asked_again(tmp_path: Path) -> None:
    route = Function(name="cheap", function=lambda request, *_: None if request.tried else "small")
    async with serve(["small", "middle", "large"]) as server, opened(tmp_path, server, route=route) as engine:
        server.next("small", "overloaded")
        run = await engine.start(question, "Which city?")
        assert await run.result() == {"model": "small", "faults": ["overloaded", ""]}


async def test_a_lasting_outage_costs_no_answer(tmp_path: Path) -> None:
    async with serve(["small", "middle", "large"]) as server, opened(tmp_path, server) as engine:
        server.fail("small", "overloaded")
        server.fail("middle", "overloaded")
        for n in range(5):
            assert (await engine.run(question, f"City {n}?"))["model"] == "large"


async def test_what_it_cannot_mend_fails_with_the_last_error(tmp_path: Path) -> None:
    async with serve(["small", "middle", "large"]) as server, opened(tmp_path, server) as engine:
        server.fail("small", "overloaded")
        with pytest.raises(RunFailed, match="Overloaded"):
            await engine.run(asks_once, "Which city?")


async def test_a_refusal_is_no_reason_for_a_detour(tmp_path: Path) -> None:
    async with serve(["small", "middle", "large"]) as server, opened(tmp_path, server) as engine:
        server.next("small", "filtered")
        with pytest.raises(RunFailed, match="ContentRefused"):
            await engine.run(question, "Which city?")
        assert server.counts("middle").calls == 0


async def test_nobody_fits_a_budget_and_nobody_is_asked(tmp_path: Path) -> None:
    async with serve(["small", "middle", "large"]) as server, opened(tmp_path, server) as engine:
        with pytest.raises(RunFailed, match="no model can answer"):
            await engine.run(asks_bounded, "Which city?")
        assert server.counts().calls == 0


async def test_a_long_question_goes_to_a_larger_window(tmp_path: Path) -> None:
    models = {"small": Served(window=300), "middle": Served(), "large": Served()}
    async with serve(models) as server, opened(tmp_path, server, small=100_000) as engine:
        given = await engine.run(question, "Which city? " + "The weather is fine. " * 200)
    assert given == {"model": "middle", "faults": ["context too long", ""]}


async def test_an_answer_on_record_is_not_asked_for_again(tmp_path: Path) -> None:
    async with serve(["small", "middle", "large"], faults=FaultPlan(rates={"overloaded": 0.3}, seed=3)) as server:
        async with opened(tmp_path, server) as engine:
            run = await engine.start(question, "Which city?", id="q")
            first, calls = await run.result(), server.counts().calls
        async with opened(tmp_path, server) as engine:
            fork = await (await engine.get("q")).fork()
            assert await fork.result() == first
        assert server.counts().calls == calls


MENDED = "You said: Which city?\nDo not repeat this mistake: it called 'look_up'; its tools are: none"


@flow
async def says(text: str) -> str:
    return await ask(text, route="cheap", attempts=4)


async def test_a_call_of_a_tool_that_nobody_gave_is_no_answer(tmp_path: Path) -> None:
    models = {
        "small": Served(answer=lambda _: Answer(calls=(Call("look_up", "{}"),))),
        "middle": Served(),
        "large": Served(),
    }
    async with serve(models) as server, opened(tmp_path, server) as engine:
        run = await engine.start(says, "Which city?")
        assert await run.result() == MENDED
        _, attempts = await told(engine, run)
    assert [a.end for a in attempts] == ["rejected", "rejected", "rejected", "answered"]


async def test_retries_of_a_model_that_fails_are_a_third_of_its_calls(tmp_path: Path) -> None:
    never = Rules(breaker=BreakerRule(streak=10**6, share=2.0), concurrency=ConcurrencyRule(bears=1.0))
    async with serve(["small"]) as server, opened(tmp_path, server, only="small", rules=never) as engine:
        server.fail("small", "server-error")
        began = time.monotonic()
        runs = [await engine.start(says, f"City {n}?") for n in range(40)]
        _, waiting = await asyncio.wait([asyncio.ensure_future(run.result()) for run in runs], timeout=3)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        calls = server.counts("small").calls
        credit = 10 + 0.5 * (time.monotonic() - began)
        assert 20 < calls <= 1.5 * (40 + credit) + 1, "half as many again as were asked for, and what a quiet model may"
