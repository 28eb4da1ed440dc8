"""A server that starts slowly, in processes that end meanwhile: listing its tools takes up no tries."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic_ai import Agent, RunContext
from pydantic_ai.toolsets import DynamicToolset, FunctionToolset

from segue import flow
from segue.agent.durable import Durable
from segue.errors import CrashLoop, RunFailed
from segue.testing import Engine
from segue.testing.provider import Served, serve
from tests.agent.served import KEYS, catalogue
from tests.behaviour.world import until

LISTED: list[str] = []
STATE = {"slow": True, "refuses": False}


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    LISTED.clear()
    STATE.update(slow=True, refuses=False)
    for name in KEYS:
        monkeypatch.setenv(name, "test")


async def shop(ctx: RunContext[None]) -> FunctionToolset[None]:
    LISTED.append("asked")
    if STATE["refuses"]:
        raise ConnectionRefusedError("nobody listens")
    await asyncio.sleep(100.0 if STATE["slow"] else 0.0)
    return FunctionToolset()


BUYER = Agent(name="buyer", toolsets=[DynamicToolset(shop, id="shop")], capabilities=[Durable()])


@flow
async def buys(text: str) -> str:
    return (await BUYER.run(text)).output


async def killed(times: int, **resources: Any) -> Engine:
    """A run whose process ends so often while it asks for the tools."""
    last: Engine | None = None
    for n in range(1, times + 1):
        async with Engine(after=last, resources=resources) as engine:
            if n == 1:
                await engine.start(buys, "Buy.", id="r")
            await until(lambda: len(LISTED) == n)  # noqa: B023
            engine.kill()
        last = engine
    assert last is not None
    return last


@pytest.mark.parametrize("kills", [3, 4])
async def test_the_end_of_a_process_does_not_count_as_a_try(kills: int) -> None:
    async with serve({"chat": Served(answer=lambda _: "bought")}) as server:
        resources: dict[str, Any] = {"catalogue": catalogue(server, "chat")}
        last = await killed(kills, **resources)
        STATE["slow"] = False
        async with Engine(after=last, resources=resources) as engine:
            assert await (await engine.get("r")).result() == "bought"


async def test_a_run_that_never_gets_any_further_is_set_aside_and_goes_on_when_it_is_resumed() -> None:
    async with serve({"chat": Served(answer=lambda _: "bought")}) as server:
        resources: dict[str, Any] = {"catalogue": catalogue(server, "chat")}
        last = await killed(5, **resources)
        async with Engine(after=last, resources=resources) as engine:
            run = await engine.get("r")
            with pytest.raises(CrashLoop):
                await run.result()
            STATE["slow"] = False
            await run.resume()
            assert await run.result() == "bought"


async def test_one_that_refuses_has_its_three_tries() -> None:
    STATE["refuses"] = True
    async with serve({"chat": Served(answer=lambda _: "bought")}) as server:
        resources: dict[str, Any] = {"catalogue": catalogue(server, "chat")}
        async with Engine(resources=resources) as engine:
            run = await engine.start(buys, "Buy.")
            with pytest.raises(RunFailed, match="nobody listens"):
                await run.result()
    assert len(LISTED) == 3
