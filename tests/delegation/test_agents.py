"""Agents and tools among those who are delegated to, in patterns and in hand-offs."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent

import segue
from segue import NotApplied, Retry, RunFailed, agent, ask, delegate, flow, tool
from segue.agent import Delegate, Role, converse, delegated
from segue.agent.delegation.errors import Undelegated
from segue.agent.durable import Durable
from segue.agent.patterns import plan_and_work
from segue.agent.tools import Tool
from segue.errors import InputError
from segue.testing import Crash
from segue.testing import Engine as InMemory
from segue.testing.crash import play
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import KEYS, calls, catalogue, in_turn, opened, results

DID: list[str] = []


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    DID.clear()
    for name in KEYS:
        monkeypatch.setenv(name, "test")


@tool(effect="read")
async def forecast(city: str) -> str:
    """The weather forecast of a city: rain, sun, temperature."""
    DID.append(f"forecast {city}")
    return f"{city} is sunny"


poet = agent("You write poems, songs and verses.", name="poet", tools=[forecast])
cook = Agent(name="cook", description="Cooks meals, recipes.", capabilities=[Durable()])  # pyright: ignore[reportCallIssue]


@flow
async def desk(request: str) -> dict[str, str]:
    made = await delegated(request, to=[poet, forecast, cook])
    return {"by": made.by, "kind": made.kind, "value": made.value}


async def test_an_agent_and_a_tool_are_delegated_to(tmp_path: Path) -> None:
    said = in_turn(calls("forecast", city="Rome"), "O Rome")
    models = {"chat": Served(answer=said)}
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(desk, "A poem, a song with verses, please.")
        assert await run.result() == {"by": "poet", "kind": "agent", "value": "O Rome"}
        keys = [re.sub(r"\[[0-9a-f]{12}\]", "", e.key or "") async for e in run.events() if e.type == "step.completed"]
        assert "delegate#1/to[poet]#1/agent[poet]#1/forecast#1" in keys
        made = await engine.run(desk, "The weather forecast: sun, rain, temperature?")
        assert made["by"] == "forecast" and made["kind"] == "tool"


@tool(approve=True)
async def refund(order: str) -> str:
    """Pays back."""
    DID.append("refund")
    return "paid"


@flow
async def careless(request: str) -> str:
    return await delegate(request, to=[refund])


async def test_a_tool_that_must_be_approved_is_not_called_without(tmp_path: Path) -> None:
    async with serve({"chat": Served()}) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(careless, "Refund o-7, pay it back.")
        with pytest.raises(Exception, match="approve="):
            await run.result()
    assert not DID


@pytest.mark.parametrize("options", [{"attempts": "3"}, {"depth": None}, {"close": "near"}])
async def test_an_option_of_the_wrong_type_is_said(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="wrong type"):
        await delegated("x", to=[forecast], **options)


@flow
async def planned(goal: str) -> Any:
    made = await plan_and_work(goal, workers=[poet, forecast])
    return {"value": made.value, "by": [one.by for one in made.done]}


async def test_an_agent_works_in_a_plan(tmp_path: Path) -> None:
    def said(asked: Asked) -> Any:
        if "The workers:" in str(asked.body):
            assert "poet: You write poems" in str(asked.body)
            return json.dumps({"tasks": [{"id": "t1", "what": "Write a poem, a song with verses"}]})
        if "A poem" in asked.prompt or "Write a poem" in asked.prompt:
            return "O Rome"
        return "All done."

    async with serve({"chat": Served(answer=said)}) as server, opened(tmp_path, server, "chat") as engine:
        made = await engine.run(planned, "A poem about Rome")
    assert made["by"] == ["poet"]


@flow
async def talks(said: str) -> str:
    return (await converse(said, [Role("triage", "You sort.", tools=[poet, forecast])], thread="user-1")).value


@flow
async def asks(said: str) -> str:
    return await ask(said, tools=[poet])


async def test_an_agent_is_a_tool_of_a_role_and_of_a_question(tmp_path: Path) -> None:
    def said(asked: Asked) -> Any:
        tools = {one.name for one in asked.tools}
        if "poet" in tools and not results(asked):
            return calls("poet", request="A verse")
        if "poet" in tools:
            return json.dumps({"say": results(asked)[-1]}) if "forecast" in tools else results(asked)[-1]
        return in_turn(calls("forecast", city="Rome"), "O Rome")(asked)

    async with serve({"chat": Served(answer=said)}) as server, opened(tmp_path, server, "chat") as engine:
        assert await engine.run(talks, "A verse, please.") == "O Rome"
        run = await engine.start(asks, "A verse, please.")
        assert await run.result() == "O Rome"
        keys = [re.sub(r"\[[0-9a-f]{12}\]", "", e.key or "") async for e in run.events() if e.type == "step.completed"]
    assert "ask#1/agent[poet]#1/forecast#1" in keys
    assert DID == ["forecast Rome"] * 2


@flow
async def report(city: str) -> str:
    """Reports on a city."""
    return await forecast(city)


@flow
async def nested(text: str) -> str:
    return await ask(text, tools=[poet, report])


def ended(engine: InMemory) -> list[str]:
    """What has an outcome. A request's fingerprint is of the provider's ids too, which are new each time."""
    ends = {"step.completed", "child.ended"}
    keys = [e.key or "" for e in engine.history("main") if e.type in ends]
    assert len(keys) == len(set(keys))
    return sorted(re.sub(r"ask\[[0-9a-f]*\]", "ask", key) for key in keys)


@pytest.mark.proof
async def test_agents_and_flows_in_a_question_repeat_nothing_after_a_crash() -> None:
    def said(asked: Asked) -> Any:
        if "poet" in {one.name for one in asked.tools}:
            return in_turn(calls("poet", request="A verse"), calls("report", city="Oslo"), "done")(asked)
        return in_turn(calls("forecast", city="Rome"), "O Rome")(asked)

    async with serve({"chat": Served(answer=said)}) as server:
        resources = {"catalogue": catalogue(server, "chat")}

        async def scene(engine: InMemory) -> str:
            return await engine.run(nested, "Go.", id="main")

        _, engine = await play(scene, resources=resources)
        wanted = ended(engine)
        assert any("report" in key for key in wanted)
        for commit in range(1, engine.commits + 1):
            asked = server.counts("chat").calls
            got, last = await play(scene, [Crash(commit, "after")], resources=resources)
            assert got == "done"
            assert ended(last) == wanted
            assert server.counts("chat").calls - asked <= 6


async def pass_on(request: str) -> str:
    """Hands poems and verses on."""
    return await delegate(request, to=[circular])


circular = agent("You hand on poems and verses.", name="circular", tools=[Tool.inside(pass_on, "pass_on", pass_on)])


@flow
async def circling(request: str) -> str:
    return await delegate(request, to=[circular], attempts=1)


async def test_an_agent_that_hands_a_request_back_to_itself_is_stopped(tmp_path: Path) -> None:
    said = in_turn(calls("pass_on", request="poems and verses"), "done")
    async with serve({"chat": Served(answer=said)}) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(circling, "poems and verses")
        with pytest.raises(RunFailed, match="it has the request already: circular"):
            await run.result()
        assert server.counts("chat").calls == 1


# --- a call that nobody knows the end of


@tool
async def transfer(request: str) -> str:
    """Transfers money: pays an invoice."""
    DID.append("transfer")
    raise ConnectionResetError("gone")


@tool(effect="read", retry=Retry(attempts=1))
async def balance(request: str) -> str:
    """Transfers money: pays an invoice. Looks up what is left."""
    DID.append("balance")
    raise ConnectionResetError("gone")


async def teller(request: str) -> str:
    """Transfers money."""
    DID.append("teller")
    return "transferred"


@flow
async def counter(way: str) -> str:
    first = {"write": transfer, "read": balance}[way]
    return await delegate("Pays an invoice: transfers money.", to=[Delegate(first, quality=0.9), teller])


async def test_what_may_have_been_done_is_handed_to_nobody_else() -> None:
    async with InMemory() as engine:
        assert await engine.run(counter, "read", id="r") == "transferred"
        assert DID == ["balance", "teller"]
        DID.clear()
        with pytest.raises(RunFailed) as failed:
            await engine.run(counter, "write", id="w")
    assert DID == ["transfer"]
    assert isinstance(failed.value.__cause__, Undelegated)
    assert "nobody knows whether transfer had its effect" in (failed.value.__cause__.remedy or "")


@tool
async def paying(request: str) -> str:
    """Transfers money: pays an invoice."""
    DID.append("paying")
    return "paid"


@tool
async def odd(request: str) -> Any:
    """Transfers money: pays an invoice."""
    DID.append("odd")
    return object()


@tool(effect="once")
async def once(request: str) -> str:
    """Transfers money: pays an invoice."""
    DID.append("once")
    return "paid"


@tool(effect="read")
async def looks(request: str) -> str:
    """Transfers money: pays an invoice. Only looks."""
    DID.append("looks")
    return "seen"


def by_hand(request: str) -> str:
    """Transfers money: pays an invoice."""
    DID.append("by_hand")
    raise ConnectionResetError("gone")


WAYS: dict[str, Any] = {"paying": paying, "odd": odd, "once": once, "looks": looks, "by_hand": by_hand}


async def clerk(request: str) -> str:
    """Transfers money."""
    DID.append("clerk")
    return "5"


@flow
async def cashier(way: str) -> int:
    first = Delegate(WAYS[way], quality=0.9)
    return await delegate("Pays an invoice: transfers money.", to=[first, clerk], returns=int)


@pytest.mark.parametrize("way", ["paying", "odd", "once", "by_hand"])
async def test_what_was_done_is_not_done_again_for_the_sake_of_its_result(way: str) -> None:
    """A result that does not fit, or cannot be kept, was handed to the next one, who paid a second time."""
    async with InMemory() as engine:
        with pytest.raises(RunFailed) as failed:
            await engine.run(cashier, way)
    assert [way] == DID and isinstance(failed.value.__cause__, Undelegated)
    assert "somebody else does it" in (failed.value.__cause__.remedy or "")


@tool(effect="once")
async def slow(request: str) -> str:
    """Transfers money: pays an invoice."""
    await asyncio.sleep(0.05)
    DID.append("slow")
    return "paid"


async def window(request: str) -> str:
    """Transfers money: pays an invoice."""
    return await slow(request)


async def counters(request: str) -> str:
    """Transfers money: pays an invoice."""

    async def fails() -> None:
        await segue.sleep(0)
        raise ValueError("closed")

    await asyncio.gather(slow(request), fails())
    return "paid"


@flow
async def hurried(way: str) -> str:
    """Whoever is first has no time, or fails beside what it does."""
    target = {"below": window, "beside": counters}.get(way, slow)
    first = Delegate(target, name="slow", quality=0.9, timeout_s=None if way == "beside" else 0.01)
    return await delegate("Pays an invoice: transfers money.", to=[first, clerk])


@pytest.mark.parametrize("way", ["inside", "below", "beside", "outside"])
async def test_what_happens_once_and_has_no_time_left_is_handed_to_nobody_else(way: str) -> None:
    """It was given up, went on to its end, and the next one paid a second time."""
    async with InMemory() as engine:
        with pytest.raises(Undelegated if way == "outside" else RunFailed) as failed:
            await (hurried.function(way) if way == "outside" else engine.run(hurried, way))
    error = failed.value if way == "outside" else failed.value.__cause__
    assert "clerk" not in DID and isinstance(error, Undelegated)
    assert "nobody knows whether slow had its effect" in (error.remedy or "")


async def was_it(request: str) -> NotApplied:
    return NotApplied()


@tool(effect="once", reconcile=was_it)
async def broken(request: str) -> str:
    """Transfers money: pays an invoice."""
    DID.append("broken")
    raise ConnectionResetError("gone")


WAYS["broken"] = broken


async def test_what_surely_did_not_happen_is_followed_by_the_next_one() -> None:
    async with InMemory() as engine:
        assert await engine.run(cashier, "broken") == 5
    assert DID == ["broken", "clerk"]


async def test_what_only_reads_is_followed_by_the_next_one() -> None:
    async with InMemory() as engine:
        assert await engine.run(cashier, "looks") == 5
    assert DID == ["looks", "clerk"]


async def test_a_plain_function_is_not_made_again_after_a_crash() -> None:
    async def scene(engine: InMemory) -> str:
        try:
            return str(await engine.run(cashier, "by_hand", id="main"))
        except RunFailed as error:
            return type(error.__cause__).__name__

    _, engine = await play(scene)
    for commit in range(1, engine.commits + 1):
        DID.clear()
        got, _ = await play(scene, [Crash(commit, "after")])
        assert got == "Undelegated" and DID in (["by_hand"], []), commit
