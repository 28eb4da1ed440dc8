"""An ask with tools is one row: what all its rounds came to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, ask, flow, tool
from segue.journal import Journal
from segue.models import Capability, Catalogue, Model, Price, Provider
from segue.routing import Cheapest, Pinned
from segue.routing.judge import Measure, judge
from segue.routing.past import Row, logged_rows, rows
from segue.routing.policies import NEVER, Arm, Policy, Shadow, Split
from segue.routing.replayed import Replayed
from segue.routing.traffic import Traffic
from segue.testing.provider import Answer, Call, Served, serve
from segue.testing.provider import Provider as Server

USD = {"small": 1, "large": 20}
PLAIN = Cheapest(explore=NEVER)
HALF = Split(arms=(Arm(name="a", policy=PLAIN, share=1), Arm(name="b", policy=Pinned(model="large"), share=1)))


@tool(effect="read")
async def lookup(what: str) -> str:
    """Look up."""
    return f"{what} is found"


def twice(asked: Any) -> Answer | str:
    if asked.tools and sum(turn.role == "tool" for turn in asked.turns) < 2:
        return Answer(calls=(Call("lookup", json.dumps({"what": "x"})),))
    return "good"


@flow
async def looks(text: str) -> str:
    return await ask(text, tools=[lookup], check=lambda said: None)


def catalogue(server: Server) -> Catalogue:
    return Catalogue.of(*(
        Model(
            name=name, provider=Provider.OPENAI_COMPATIBLE, window=32_000, max_output=2000, url=server.openai_url,
            price=Price.dollars(usd, usd), capabilities=frozenset({Capability.TOOLS}), quality={"any": usd / 40},
        )
        for name, usd in USD.items()
    ))  # fmt: skip


def bill(server: Server, model: str) -> int:
    """Nano-dollars."""
    calls = [entry for entry in server.log if entry.model == model]
    return sum((entry.tokens_in or 0) + (entry.tokens_out or 0) for entry in calls) * USD[model] * 1000


async def asked(path: Path, server: Server, policy: Policy, many: int) -> tuple[list[Row], Catalogue]:
    among = catalogue(server)
    async with Engine(str(path / "x.db"), resources={"catalogue": among, "routes": {"default": policy}}) as engine:
        for n in range(many):
            assert await engine.run(looks, f"Question {n}", id=f"r{n}") == "good"
    traffic = Traffic()
    with Journal.open_readonly(str(path / "x.db")) as reader:
        traffic.read(reader)
    return rows(traffic), among


async def test_what_all_rounds_of_an_ask_with_tools_cost_is_judged(tmp_path: Path) -> None:
    async with serve({name: Served(answer=twice) for name in USD}) as server:
        found, among = await asked(tmp_path, server, HALF, 60)
        await server.idle()
        bills = {name: bill(server, name) for name in USD}
    assert len(found) == 60 and {(row.attempts, row.answered, row.passed) for row in found} == {(3, True, 1.0)}
    target = Replayed(among, {"default": Pinned(model="large")})
    past = logged_rows(found)
    assert not past.left_out
    own = [row for row in found if row.answered_by == "large"]
    assert sum(row.cost_nano or 0 for row in own) == bills["large"]
    told = judge(past.rows, target, onward=target.goes_on, hedged=target.hedged).findings
    cost, reward = told[Measure.COST].best, told[Measure.REWARD].best
    assert cost is not None and cost.value.holds(bills["large"] / len(own) / 1e9)
    assert reward is not None and reward.value.holds(1.0)


async def test_a_shadow_of_one_call_says_nothing_of_an_ask_of_three(tmp_path: Path) -> None:
    async with serve({name: Served(answer=twice) for name in USD}) as server:
        found, _ = await asked(tmp_path, server, Shadow(of=PLAIN, shadows=("large",)), 2)
    assert all(row.attempts == 3 and not row.shadows for row in found)


async def test_asks_that_a_step_makes_beside_each_other_are_rows_of_their_own(tmp_path: Path) -> None:
    """What is asked with tools within a branch has the branch above it, as others there have."""
    from segue import gather

    @flow
    async def both() -> list[str]:
        return list(await gather(ask("one", tools=[lookup]), ask("two", tools=[lookup]), ask("three")))

    async with serve({name: Served(answer=twice) for name in USD}) as server:
        resources = {"catalogue": catalogue(server), "routes": {"default": PLAIN}}
        async with Engine(str(tmp_path / "x.db"), resources=resources) as engine:
            await engine.run(both)
    traffic = Traffic()
    with Journal.open_readonly(str(tmp_path / "x.db")) as reader:
        traffic.read(reader)
    assert sorted(row.attempts for row in rows(traffic)) == [1, 3, 3]


@pytest.mark.parametrize("ended", [False, True])
async def test_an_ask_whose_tool_is_still_at_work_is_not_over(tmp_path: Path, ended: bool) -> None:
    import asyncio

    goes = asyncio.Event()

    @tool(effect="read", name="lookup")
    async def slow(what: str) -> str:
        """Look up."""
        await goes.wait()
        return what

    @flow
    async def waits() -> str:
        return await ask("one", tools=[slow])

    async with serve({name: Served(answer=twice) for name in USD}) as server:
        resources = {"catalogue": catalogue(server), "routes": {"default": PLAIN}}
        async with Engine(str(tmp_path / "x.db"), resources=resources) as engine:
            run = await engine.start(waits)
            while not server.log:
                await asyncio.sleep(0.02)
            await server.idle()
            await asyncio.sleep(0.3)
            if ended:
                goes.set()
                await run.result()
            traffic = Traffic()
            with Journal.open_readonly(str(tmp_path / "x.db")) as reader:
                traffic.read(reader)
            assert [row.attempts for row in rows(traffic)] == ([3] if ended else [])
            goes.set()
            await run.result()
