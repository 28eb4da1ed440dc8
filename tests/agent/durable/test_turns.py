"""A turn of an agent: what may run beside what, results that had to give way, budgets that run out in its middle."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from pydantic_ai import (
    Agent,
    RunContext,
)
from pydantic_ai.capabilities import SetToolMetadata
from pydantic_ai.toolsets import DynamicToolset, FunctionToolset

from segue import Applied, ApprovalRule, NotApplied, RunFailed, agent, ask, flow, step, tool
from segue.agent.durable import Durable
from segue.agent.durable.gate import Gate
from segue.core.records import ToolAnswered, ToolOutcome, record_of
from segue.errors import BudgetExceeded, NotInAFlow
from segue.testing import Crash
from segue.testing import Engine as InMemory
from segue.testing.crash import play
from segue.testing.provider import Answer, Asked, Call, Served, serve
from tests.agent.served import KEYS, calls, catalogue, in_turn, ran, results

DID: list[str] = []


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    DID.clear()
    for name in KEYS:
        monkeypatch.setenv(name, "test")


# --- beside and alone


async def slow(n: int) -> str:
    """Takes a while."""
    DID.append(f"begins {n}")
    await asyncio.sleep(0.02)
    DID.append(f"ends {n}")
    return "fine"


async def buy(n: int) -> str:
    """Buys."""
    DID.append(f"buys {n}")
    await asyncio.sleep(0.02)
    DID.append(f"bought {n}")
    return "fine"


marked = Agent(
    name="marked", tools=[slow, buy],
    capabilities=[SetToolMetadata(tools=["buy"], segue={"effect": "once"}), Durable()],
)  # fmt: skip


@flow
async def buying(text: str) -> str:
    return (await marked.run(text)).output


async def test_a_tool_of_others_that_is_said_to_happen_once_is_called_alone() -> None:
    both = Answer(calls=tuple(Call(name, f'{{"n": {n}}}') for n, name in enumerate(["slow", "slow", "buy", "slow"])))
    await ran(buying, in_turn(both, "done"), "Go.")
    assert DID == ["begins 0", "begins 1", "ends 0", "ends 1", "buys 2", "bought 2", "begins 3", "ends 3"]


async def test_one_that_gives_its_place_up_holds_nobody() -> None:
    gate, order = Gate(), list[str]()

    async def pass_through(name: str, alone: bool) -> None:
        async with gate.held(alone=alone):
            order.append(name)
            await asyncio.sleep(0)

    async with gate.held(alone=True):
        tasks = [asyncio.create_task(pass_through(name, name == "b")) for name in "abc"]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.sleep(0)
    tasks[0].cancel()  # its turn has just come
    await asyncio.wait(tasks)
    await pass_through("d", alone=True)
    assert order == ["c", "d"]


# --- results that had to give way


async def page(n: int) -> str:
    """A page of a book."""
    return f"Page {n} begins. " + f"word{n} " * 3000 + f"It ends with secret{n}."


reader = agent("You read.", name="reader", tools=[page], max_tokens=500)


@flow
async def reading(text: str) -> str:
    return await reader(text)


async def test_a_result_that_had_to_give_way_can_be_had_again() -> None:
    offered: list[bool] = []

    def said(asked: Asked) -> Any:
        given = results(asked)
        offered.append("recall" in {one.name for one in asked.tools})
        cleared = next((found for one in given if (found := re.search(r"cleared; recall (\w+)", one))), None)
        if cleared is not None and not DID:
            DID.append("asked")
            return calls("recall", handle=cleared[1])
        return given[-1][-9:] if DID else calls("page", n=len(given))

    given, records = await ran(reading, said, "Read it all.")
    assert given == "secret0."[-9:] or "secret0" in given
    assert not offered[0] and offered[-1]
    assert records[-1].tool == "recall" and records[-1].outcome is ToolOutcome.GIVEN


# --- budgets, and calls within calls


@tool
async def wonder(text: str) -> str:
    """Asks a model itself."""
    return await ask(text + " word" * 3000)


inner = agent("You wonder.", name="inner", tools=[wonder], max_tokens=300)
outer = agent("You hand on.", name="outer", tools=[inner], max_tokens=300)


@flow(budget_usd=0.0012)
async def spending(way: str) -> str:
    if way == "ask":
        return await ask("Go.", tools=[wonder], max_tokens=300)
    return await (inner if way == "agent" else outer)("Go.")


@pytest.mark.parametrize("way", ["ask", "agent", "agent in agent"])
async def test_a_budget_that_runs_out_in_a_tool_ends_it(way: str) -> None:
    def said(asked: Asked) -> Any:
        names = {one.name for one in asked.tools}
        return calls("inner", request="x") if "inner" in names else calls("wonder", text="x") if names else "fine"

    with pytest.raises(RunFailed) as failed:
        await ran(spending, said, way)
    assert isinstance(failed.value.__cause__, BudgetExceeded)


@tool(approve=True)
async def grave(n: int) -> str:
    """Needs a yes."""
    DID.append("grave")
    return "done"


solemn = agent("You.", name="solemn", tools=[grave])


@step
async def within() -> str:
    return await solemn("Go.")


@flow
async def stepping() -> str:
    return await within()


async def test_where_nobody_can_be_asked_nothing_is_called() -> None:
    with pytest.raises(RunFailed) as failed:
        await ran(stepping, in_turn(calls("grave", n=1), "done"))
    assert isinstance(failed.value.__cause__, NotInAFlow) and not DID


# --- tools of many kinds


def nothing(n: int) -> None:
    """Gives nothing."""
    DID.append(f"nothing {n}")


async def knows(ctx: RunContext[None], n: int) -> str:
    """Knows the run."""
    return f"round {ctx.run_step}, {n}"


async def recall(handle: str) -> str:
    """A tool of the agent's own that is called so."""
    return f"my {handle}"


kinds = agent("You.", name="kinds", tools=[nothing, knows, recall])


@flow
async def kind_of(text: str) -> str:
    return await kinds(text)


async def test_a_tool_may_give_nothing_know_the_run_or_be_called_recall() -> None:
    seen: list[list[str]] = []
    speak = in_turn(calls("nothing", n=1), calls("knows", n=2), calls("recall", handle="h"), "done")
    given, records = await ran(kind_of, lambda asked: (seen.append(results(asked)), speak(asked))[1], "Go.")
    assert given == "done" and DID == ["nothing 1"]
    assert seen[-1][1:] == ["round 2, 2", "my h"]
    assert [one.outcome for one in records] == [ToolOutcome.GIVEN] * 3


late = Agent(
    name="late", toolsets=[DynamicToolset(lambda _: FunctionToolset([grave]), id="late")], capabilities=[Durable()]
)


@flow
async def lately(text: str) -> str:
    return (await late.run(text)).output


async def test_a_rule_that_an_agent_cannot_see_is_not_passed_over() -> None:
    with pytest.raises(RunFailed, match="its approve= is not seen"):
        await ran(lately, in_turn(calls("grave", n=1), "done"), "Go.")
    assert not DID


renamed = Agent(
    name="renamed", toolsets=[DynamicToolset(lambda _: FunctionToolset([grave]).prefixed("very"), id="renamed")],
    capabilities=[Durable()],
)  # fmt: skip


@flow
async def lately_renamed(text: str) -> str:
    return (await renamed.run(text)).output


async def test_a_rule_is_not_passed_over_by_another_name() -> None:
    with pytest.raises(RunFailed, match="its approve= is not seen"):
        await ran(lately_renamed, in_turn(calls("very_grave", n=1), "done"), "Go.")
    assert not DID


given_later = Agent(name="given_later", capabilities=[Durable()])


@flow
async def at_run_time(text: str) -> str:
    return (await given_later.run(text, toolsets=[FunctionToolset([buy, grave], id="more")])).output


async def test_tools_that_are_given_to_a_run_are_refused() -> None:
    """They would run in the flow itself, again on each replay, and nobody would be asked."""
    with pytest.raises(RunFailed, match="when the agent is constructed"):
        await ran(at_run_time, in_turn(calls("grave", n=1), calls("buy", n=1), "done"), "Go.")
    assert not DID


added = Agent(name="added", capabilities=[Durable()])


@added.tool_plain  # pyright: ignore[reportArgumentType]
@step(effect="once")
async def settle(n: int) -> str:
    """Settles."""
    DID.append("settle")
    return "settled"


added.tool_plain(grave)


@flow
async def adding(text: str) -> str:
    return (await added.run(text)).output


async def test_tools_that_were_added_later_keep_their_class_and_their_rule() -> None:
    async with (
        serve({"chat": Served(answer=in_turn(calls("settle", n=1), calls("grave", n=1), "done"))}) as server,
        InMemory(resources={"catalogue": catalogue(server, "chat")}) as engine,
    ):
        run = await engine.start(adding, "Go.", id="main")
        while not (items := await engine.inbox()):
            await asyncio.sleep(0.002)
        await items[0].deny(by="ada")
        assert await run.result() == "done"
        records = [r for e in engine.history("main") if isinstance(r := record_of(e), ToolAnswered)]
    assert DID == ["settle"]
    assert [(one.tool, one.effect) for one in records] == [("settle", "once"), ("grave", "write")]
    assert records[1].outcome is ToolOutcome.DENIED


# --- approval, crashes and cancellation


async def was_it(cents: int) -> Applied | NotApplied:
    return Applied(f"paid {cents}") if f"pay {cents}" in DID else NotApplied()


@tool(effect="once", reconcile=was_it, approve=ApprovalRule(above={"cents": 100}, by="lead", timeout_s=60))
async def pay(cents: int) -> str:
    """Pays."""
    DID.append(f"pay {cents}")
    return f"paid {cents}"


async def look_up(n: int) -> str:
    """Looks up."""
    return "fine"


payer = agent("You pay.", name="payer", tools=[pay, look_up])


@flow
async def paying(text: str) -> str:
    return await payer(text)


async def test_a_yes_holds_over_crashes_and_what_is_approved_is_called_once() -> None:
    both = Answer(calls=(Call("look_up", '{"n": 1}'), Call("pay", '{"cents": 500}'), Call("pay", '{"cents": 5}')))
    async with serve({"chat": Served(answer=in_turn(both, "done"))}) as server:
        resources = {"catalogue": catalogue(server, "chat")}

        async def scene(engine: InMemory) -> str:
            run = await engine.start(paying, "Go.", id="main")
            over = asyncio.ensure_future(run.result())
            while not over.done():
                for item in await engine.inbox("lead"):
                    await item.approve(by="ada")
                await asyncio.sleep(0.002)
            return await over

        _, engine = await play(scene, resources=resources)
        for commit in range(1, engine.commits + 1):
            DID.clear()
            got, last = await play(scene, [Crash(commit, "after")], resources=resources)
            assert got == "done"
            assert DID.count("pay 500") == 1 and DID.count("pay 5") == 1, commit
            asked = [e for e in last.history("main") if e.type == "approval.asked"]
            assert len(asked) == 1
