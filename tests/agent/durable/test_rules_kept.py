"""What is said of a tool holds, wherever an agent has the tool from, and whatever else is said of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic_ai import Agent, ModelRetry
from pydantic_ai.capabilities import SetToolMetadata
from pydantic_ai.messages import TextContent, ToolReturn
from pydantic_ai.tools import Tool as Theirs
from pydantic_ai.toolsets import DynamicToolset, FunctionToolset

from segue import Applied, Media, RunFailed, Secret, agent, approve, ask, flow, step, tool
from segue.agent.durable import Durable
from segue.core.records import ToolAnswered, ToolOutcome, record_of
from segue.errors import DefinitionError
from segue.testing import Engine as InMemory
from segue.testing.provider import Answer, Asked, Call, Served, serve
from tests.agent.served import KEYS, calls, catalogue, in_turn, ran, results

DID: list[str] = []


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    DID.clear()
    for name in KEYS:
        monkeypatch.setenv(name, "test")


@step(effect="once")
async def settle(n: int) -> str:
    """Settles."""
    DID.append("settle")
    return "settled"


@tool(approve=True)
async def grave(n: int) -> str:
    """Cannot be taken back."""
    DID.append("grave")
    return "done for good"


async def was_it(n: int) -> Applied:
    return Applied("paid")


@tool(effect="once", reconcile=was_it)
async def pay(n: int) -> str:
    """Pays."""
    DID.append("pay")
    return "paid"


@flow
async def errand(n: int) -> str:
    """Runs an errand."""
    DID.append("errand")
    return "run"


async def secret(n: int) -> Secret[str]:
    """Gives what nobody may see."""
    DID.append("secret")
    return Secret("hunter2")


def dynamic(tools: list[Any]) -> DynamicToolset[None]:
    return DynamicToolset(lambda _: FunctionToolset(tools), id="more")


def made(*tools: Any, beside: Any = None, **more: Any) -> Agent[None, str]:
    return Agent(name="a", tools=tools, capabilities=[Durable(), *([beside] if beside else [])], **more)


AGENTS: dict[str, Agent[None, str]] = {
    "asked": made(Theirs(settle, requires_approval=True, description="Pays it off.", metadata={"by": "us"})),
    "false": made(Theirs(grave, metadata={"segue": False})),
    "set false": made(grave, beside=SetToolMetadata(segue=False)),
    "set once": made(grave, beside=SetToolMetadata(segue={"effect": "once"})),
    "dynamic": made(toolsets=[dynamic([settle])]),
    "dynamic pay": made(toolsets=[dynamic([pay])]),
    "secret": made(Theirs(secret, metadata={"segue": False})),
}


@flow
async def uses(name: str) -> str:
    return (await AGENTS[name].run("Go.")).output


async def test_a_step_that_requires_approval_waits_for_a_person() -> None:
    """A step or a tool of ours, given as a tool of Pydantic AI, was called and nobody was asked."""
    seen: list[Asked] = []
    speak = in_turn(calls("settle", n=1), "done")
    async with (
        serve({"chat": Served(answer=lambda asked: (seen.append(asked), speak(asked))[1])}) as server,
        InMemory(resources={"catalogue": catalogue(server, "chat")}) as engine,
    ):
        run = await engine.start(uses, "asked", id="main")
        while not (items := await engine.inbox()):
            await asyncio.sleep(0.002)
        assert items[0].shown == {"tool": "settle", "arguments": {"n": 1}}
        await items[0].deny(by="ada")
        assert await run.result() == "done"
        records = [r for e in engine.history("main") if isinstance(r := record_of(e), ToolAnswered)]
    assert not DID and [(one.outcome, one.effect) for one in records] == [(ToolOutcome.DENIED, "once")]
    assert "Pays it off." in str(seen[0].body["tools"])


@pytest.mark.parametrize("name", ["false", "set false", "set once"])
async def test_metadata_take_no_rule_away(name: str) -> None:
    with pytest.raises(RunFailed, match="its approve= is not seen"):
        await ran(uses, in_turn(calls("grave", n=1), "done"), name)
    assert not DID


async def test_a_step_in_a_toolset_that_is_made_for_a_run_keeps_its_class() -> None:
    _, (record,) = await ran(uses, in_turn(calls("settle", n=1), "done"), "dynamic")
    assert record.effect == "once" and DID == ["settle"]
    with pytest.raises(RunFailed, match="its reconcile= is not known"):
        await ran(uses, in_turn(calls("pay", n=1), "done"), "dynamic pay")
    assert DID == ["settle"]


def test_what_would_not_be_held_is_refused_where_the_agent_is_made() -> None:
    with pytest.raises(DefinitionError, match="it is a flow"):
        made(Theirs(errand, metadata={"segue": {"approve": True}}))
    with pytest.raises(DefinitionError, match="timeout=5"):
        made(Theirs(settle, timeout=5))
    made(Theirs(errand, metadata={"segue": False}))


async def test_a_secret_of_a_tool_in_the_flow_fails_it_by_the_tools_name() -> None:
    with pytest.raises(RunFailed, match="UnserialisableResult: secret: "):
        await ran(uses, in_turn(calls("secret", n=1), "done"), "secret")
    with pytest.raises(RunFailed, match="UnserialisableResult: hidden: "):
        await ran(hides, in_turn(calls("hidden", n=1), "done"), "")


@flow
async def hidden(n: int) -> Secret[str]:
    """Gives what nobody may see."""
    return Secret("hunter2")


@flow
async def hides(text: str) -> str:
    return await ask("Go.", tools=[hidden])


@flow
async def asks(n: int) -> str:
    """Asks a person."""
    return f"yes: {bool(await approve('May I?', n))}"


payer = agent("You settle.", name="payer", tools=[settle])
AGENTS["dynamic flow"] = made(toolsets=[dynamic([asks])])
AGENTS["dynamic agent"] = made(toolsets=[dynamic([Theirs(payer.as_tool, name="payer")])])


async def test_flows_and_agents_in_a_toolset_that_is_made_for_a_run_are_called_in_the_flow() -> None:
    """They were called within one step, without a wait, and with no class of what they do."""
    seen: list[list[str]] = []

    def answer(asked: Asked) -> Any:
        seen.append([one.name for one in asked.tools])
        said = results(asked)
        if "settle" in seen[-1]:
            return "settled by it" if said else calls("settle", n=1)
        if said:
            return said[-1]
        return calls("payer", request="Settle.") if "payer" in seen[-1] else calls("asks", n=1)

    async with (
        serve({"chat": Served(answer=answer)}) as server,
        InMemory(resources={"catalogue": catalogue(server, "chat")}) as engine,
    ):
        run = await engine.start(uses, "dynamic flow", id="flow")
        while not (items := await engine.inbox()):
            await asyncio.sleep(0.002)
        await items[0].approve(by="ada")
        assert await run.result() == "yes: True"
        assert await engine.run(uses, "dynamic agent", id="main") == "settled by it"
        keys = [event.key or "" for event in engine.history("main") if event.type == "step.completed"]
    assert DID == ["settle"] and any("/agent[payer]#1/settle[" in key for key in keys)


@tool(name="wire", effect="read")
async def pays(n: int) -> str:
    """Named."""
    return "paid"


@step(name="close")
async def closes(n: int) -> str:
    """Named."""
    return "closed"


@flow(name="walk")
async def walks(n: int) -> str:
    """Named."""
    return "walked"


NAMED: list[Any] = [pays, closes, walks, Theirs(closes, name="shut")]
HOW: dict[str, Any] = {
    "agent": agent("You.", name="named", tools=[*NAMED, payer]),
    "their": made(*NAMED, payer.as_tool).run,
    "dynamic": made(toolsets=[dynamic([*NAMED, payer.as_tool])]).run,
}


@flow
async def named(how: str) -> str:
    if how == "ask":
        return await ask("Go.", tools=[*NAMED[:-1], payer])
    return str(await HOW[how]("Go."))


@pytest.mark.parametrize("how", ["ask", *HOW])
async def test_a_tool_is_called_alike_wherever_it_is_given(how: str) -> None:
    seen: list[str] = []
    await ran(named, lambda asked: (seen.extend(one.name for one in asked.tools), "done")[1], how)
    assert set(seen) - {"shut", "recall"} == {"wire", "close", "walk", "payer"}
    assert ("shut" in seen) is (how != "ask")


# --- results


@tool(limit_chars=400)
async def album(n: int) -> list[str | Media]:
    """Shows pictures."""
    return ["x" * 3000, Media(b"\x89PNG\r\n\x1a\n", "image/png"), "y" * 2000]


async def chatty(n: int) -> ToolReturn[str]:
    """Says much beside its result."""
    return ToolReturn("fine", content=[TextContent("a" * 3000), "b" * 3000])


async def picky(n: int) -> str:
    """Wants other arguments, at length."""
    raise ModelRetry("no " * 3000)


viewer = agent("You look.", name="viewer", tools=[album])
talker = Agent(name="talker", tools=[chatty, picky], capabilities=[Durable(limit_chars=400)])


@flow
async def looks(way: str) -> str:
    if way == "ask":
        return await ask("Go.", tools=[album])
    return await viewer("Go.") if way == "agent" else (await talker.run("Go.")).output


@pytest.mark.parametrize("way", ["ask", "agent"])
async def test_texts_beside_pictures_are_cut_to_the_limit_and_had_again(way: str) -> None:
    seen: list[Asked] = []

    def answer(asked: Asked) -> Any:
        seen.append(asked)
        if len(seen) == 2:
            place = results(asked)[0].partition("recall ")[2].partition(" ")[0]
            return calls("recall", handle=place)
        return "done" if results(asked) else calls("album", n=1)

    given, records = await ran(looks, answer, way)
    assert given == "done"
    first = next(turn for turn in seen[1].turns if turn.role == "tool")
    assert len(first.text) < 500 and "image" in str(seen[1].body["messages"])
    assert (records[0].chars, records[0].outcome) == (5001, ToolOutcome.GIVEN) and (records[0].shown or 0) <= 400
    assert results(seen[2])[1].startswith("xxx")


@pytest.mark.parametrize("name", ["chatty", "picky"])
async def test_what_is_said_in_another_form_is_cut_too(name: str) -> None:
    seen: list[Asked] = []
    speak = in_turn(calls(name, n=1), "done")
    given, _ = await ran(looks, lambda asked: (seen.append(asked), speak(asked))[1], "talker")
    assert given == "done" and sum(len(turn.text) for turn in seen[-1].turns) < 700


# --- calls


async def plain(n: int) -> str:
    """Plain."""
    DID.append(f"plain {n}")
    return f"plain {n}"


doer = agent("You do.", name="doer", tools=[plain])


@flow
async def does(text: str) -> str:
    return await doer(text)


async def test_calls_of_one_id_are_told_apart_from_all_others() -> None:
    four = [Call("plain", f'{{"n": {n}}}', id=name) for n, name in enumerate(["a", "a", "a", "a-1"])]
    given, records = await ran(does, in_turn(Answer(calls=tuple(four)), "-", "-", "-", "done"), "Go.")
    assert given == "done" and sorted(DID) == [f"plain {n}" for n in range(4)]
    assert len({one.call for one in records}) == 4


async def test_a_call_that_comes_to_no_tool_is_on_record_though_its_id_was_there_before() -> None:
    """Some servers number the calls of each answer from the beginning."""
    one, none = Answer(calls=(Call("plain", '{"n": 1}', id="c"),)), Answer(calls=(Call("nobody", "{}", id="c"),))
    _, records = await ran(does, in_turn(one, none, one, none, "done"), "Go.")
    given, missing = ToolOutcome.GIVEN, ToolOutcome.MISSING
    assert [record.outcome for record in records] == [given, missing, given, missing]


@tool(limit_chars=400)
async def long(n: int) -> str:
    """Says much."""
    return "x" * 1000


reader = agent("You read.", name="reader", tools=[long])


@flow
async def reads(way: str) -> str:
    return await (reader("Go.") if way == "agent" else ask("Go.", tools=[long]))


@pytest.mark.parametrize("way", ["agent", "ask"])
async def test_a_handle_of_nothing_is_no_result(way: str) -> None:
    _, records = await ran(reads, in_turn(calls("recall", handle="0" * 12), calls("recall", at=1), "done"), way)
    assert [record.outcome for record in records] == [ToolOutcome.MISSING, ToolOutcome.REFUSED]


# --- settings


cool = Agent(name="cool", model_settings={"temperature": None, "seed": 7}, capabilities=[Durable()])  # pyright: ignore[reportArgumentType]
hot = Agent(name="hot", model_settings={"temprature": 0.1}, capabilities=[Durable()])  # pyright: ignore[reportArgumentType]


@flow
async def heated(text: str) -> str:
    return (await hot.run(text)).output


@flow
async def cooled(way: str) -> str:
    said: Any = {"temperature": None, "seed": 7}
    return await ask("Go.", settings=said) if way == "ask" else (await cool.run("Go.")).output


@pytest.mark.parametrize("way", ["ask", "agent"])
async def test_a_setting_that_is_none_says_nothing(way: str) -> None:
    seen: list[Asked] = []
    await ran(cooled, lambda asked: (seen.append(asked), "done")[1], way)
    assert "temperature" not in seen[0].body and seen[0].body["seed"] == 7


async def test_a_setting_that_nobody_knows_is_refused_by_its_name() -> None:
    with pytest.raises(RunFailed, match=r"model_settings.temprature: .* did you mean temperature"):
        await ran(heated, in_turn("done"), "Go.")
