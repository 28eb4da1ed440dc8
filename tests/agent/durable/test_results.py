"""What an agent's loop goes on from: each call's result in its place, with what was said beside it, and on record."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import (
    Agent,
    BinaryContent,
    CallDeferred,
    DeferredToolRequests,
    DeferredToolResults,
    ToolReturn,
)
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.toolsets import FunctionToolset

from segue import agent, ask, flow, tool
from segue.agent.durable import Durable
from segue.cli.showing import show
from segue.core.records import ToolAnswered, ToolOutcome, record_of
from segue.testing import Crash
from segue.testing import Engine as InMemory
from segue.testing.crash import play
from segue.testing.provider import Answer, Asked, Call, Served, serve
from tests.agent.served import FORMATS, KEYS, calls, catalogue, in_turn, opened, ran


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


# --- what a tool says beside its result


async def picture(n: int) -> ToolReturn:
    """Shows a picture."""
    return ToolReturn(
        {"seen": n}, content=["It is blurred.", BinaryContent(b"\x89PNG" + bytes(30), media_type="image/png")]
    )


async def later(n: int) -> str:
    """Is answered later, elsewhere."""
    raise CallDeferred


shower = Agent(
    name="shower", tools=[picture, later], output_type=[str, DeferredToolRequests], capabilities=[Durable()]
)  # fmt: skip


@flow
async def showing(text: str) -> str:
    return str((await shower.run(text)).output)


@flow
async def answered_later(text: str) -> str:
    first = await shower.run(text)
    assert isinstance(first.output, DeferredToolRequests)
    given = DeferredToolResults(calls={one.tool_call_id: "it was there" for one in first.output.calls})
    history = first.all_messages()
    return str((await shower.run("And now?", message_history=history, deferred_tool_results=given)).output)


@pytest.mark.parametrize("name", FORMATS)
async def test_what_a_tool_says_beside_its_result_is_no_new_question(name: str) -> None:
    turns: list[list[tuple[str, str]]] = []
    speak = in_turn(calls("picture", n=7), calls("picture", n=8), "done")

    def said(asked: Asked) -> Any:
        turns.append([(turn.role, turn.text) for turn in asked.turns])
        return speak(asked)

    async with (
        serve({name: Served(answer=said)}) as server,
        InMemory(resources={"catalogue": catalogue(server, name)}) as engine,
    ):
        assert await engine.run(showing, "Look.", id="main") == "done"
        shown = server.log.entries[-1].raw
    assert turns[-1][0] == ("user", "Look.")
    told = " ".join(text for _, text in turns[-1])
    assert "interrupted" not in told and "seen" in told and "It is blurred." in told
    assert shown.count(b"iVBORw") + shown.count(b"iVBO") >= 2 or shown.count(b"image/png") >= 2


async def wordy(n: int) -> ToolReturn:
    """Says much beside its result."""
    return ToolReturn("short", content=["y" * 900_000, "the end"])


talker = Agent(name="talker", tools=[wordy], capabilities=[Durable(limit_chars=1000)])


@flow
async def much(text: str) -> str:
    return (await talker.run(text)).output


async def test_what_is_said_beside_a_result_is_cut_to_its_limit() -> None:
    told: list[str] = []
    speak = in_turn(calls("wordy", n=1), "done")

    def said(asked: Asked) -> Any:
        told.append(" ".join(turn.text for turn in asked.turns))
        return speak(asked)

    assert (await ran(much, said, "Go."))[0] == "done"
    assert len(told[-1]) < 2000 and "recall " in told[-1] and "the end" in told[-1]


async def test_words_that_come_with_results_of_before_are_what_is_asked() -> None:
    turns: list[list[tuple[str, str]]] = []
    speak = in_turn(calls("later", n=1), "done")

    def said(asked: Asked) -> Any:
        turns.append([(turn.role, turn.text) for turn in asked.turns])
        return speak(asked)

    assert (await ran(answered_later, said, "Go."))[0] == "done"
    assert [role for role, _ in turns[-1]] == ["user", "assistant", "tool", "user"]
    assert [text for _, text in turns[-1]][2:] == ["it was there", "And now?"]


# --- each call has a record of its own


@tool(approve=True)
async def grave(n: int) -> str:
    """Needs a yes."""
    return "done"


asks_often = agent("You ask often.", name="asks_often", tools=[agent("You know.", name="knows_all"), grave])


@flow
async def often(way: str) -> str:
    return await (asks_often("Go.") if way == "agent" else ask("Go.", tools=[agent("You.", name="knows_all"), grave]))


@pytest.mark.parametrize("way", ["agent", "ask"])
async def test_equal_calls_have_records_of_their_own(way: str) -> None:
    """Two of an agent, in turns of their own, and two in one turn of which a person denies the first."""
    twice = Answer(calls=(Call("grave", '{"n": 1}'), Call("grave", '{"n": 1}')))
    script = in_turn(calls("knows_all", request="x"), calls("knows_all", request="x"), twice, "done", "done")

    def said(asked: Asked) -> Any:
        return script(asked) if asked.tools else "I know."

    async with (
        serve({"chat": Served(answer=said)}) as server,
        InMemory(resources={"catalogue": catalogue(server, "chat")}) as engine,
    ):
        run = await engine.start(often, way, id="main")
        over, denied = asyncio.ensure_future(run.result()), False
        while not over.done():
            for item in await engine.inbox():
                await (item.approve(by="ada") if denied else item.deny(by="ada"))
                denied = True
            await asyncio.sleep(0.002)
        assert await over == "done"
        events = [e for e in engine.history("main") if e.type == "tool.answered"]
        records = [r for e in events if isinstance(r := record_of(e), ToolAnswered)]
    assert len({e.key for e in events}) == 4
    outcomes = [one.outcome for one in records]
    assert outcomes.count(ToolOutcome.GIVEN) == 3 and outcomes.count(ToolOutcome.DENIED) == 1


shop: FunctionToolset[None] = FunctionToolset(id="shop")


@shop.tool_plain(metadata={"segue": {"effect": "read"}})
async def look(at: str) -> str:
    """Looks."""
    return f"{at} is fine"


@shop.tool_plain(requires_approval=True)
async def sell(n: int) -> str:
    """Sells."""
    return "sold"


teller = Agent(name="teller", toolsets=[shop], retries=5, capabilities=[Durable()])


@flow
async def telling(text: str) -> str:
    return (await teller.run(text)).output


async def test_calls_that_came_to_no_tool_are_on_record_once() -> None:
    """A name that there is not, arguments that the library refuses, a denial; over a crash at every commit."""
    script = in_turn(calls("loook", at="a"), calls("look", to="a"), calls("look", at="a"), calls("sell", n=1), "done")
    async with serve({"chat": Served(answer=script)}) as server:
        resources = {"catalogue": catalogue(server, "chat")}

        async def scene(engine: InMemory) -> str:
            run = await engine.start(telling, "Go.", id="main")
            over = asyncio.ensure_future(run.result())
            while not over.done():
                for item in await engine.inbox():
                    await item.deny(by="ada", note="no")
                await asyncio.sleep(0.002)
            return await over

        _, engine = await play(scene, resources=resources)
        for crashes in ([], *([Crash(commit, "after")] for commit in range(1, engine.commits + 1, 2))):
            got, last = await play(scene, crashes, resources=resources)
            assert got == "done"
            records = [r for e in last.history("main") if isinstance(r := record_of(e), ToolAnswered)]
            assert [(one.tool, one.outcome, one.effect) for one in records] == [
                ("loook", ToolOutcome.MISSING, None), ("look", ToolOutcome.REFUSED, "read"),
                ("look", ToolOutcome.GIVEN, "read"), ("sell", ToolOutcome.DENIED, "write"),
            ]  # fmt: skip
            assert "loook" in records[0].why and "ada denied it: no" in records[3].why


def speaks(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    if len(messages) == 1:
        return ModelResponse(parts=[ToolCallPart("look", {"at": "a"})])
    return ModelResponse(parts=[TextPart("a is fine, I looked.")])


owner = Agent(FunctionModel(speaks), name="owner", toolsets=[shop], capabilities=[Durable()])


@flow
async def owning(text: str) -> str:
    return (await owner.run(text)).output


@pytest.mark.parametrize("made", [telling, owning])
async def test_the_command_line_shows_what_an_agent_called_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], made: Any
) -> None:
    script = in_turn(calls("look", at="a"), "a is fine, I looked.")
    async with serve({"chat": Served(answer=script)}) as server, opened(tmp_path, server, "chat") as engine:
        await engine.run(made, "Go.", id="r-1")
    show(str(tmp_path / "x.db"), "r-1", None, True, False)
    said = capsys.readouterr().out
    assert "calls look" in said and said.count("a is fine, I looked.") == 2  # of the last request, and of the run


@flow
async def child(n: int) -> str:
    """Does it as a run of its own."""
    return f"did {n}"


consulted = agent("You are asked.", name="consulted")
asker = Agent(name="asker", tools=[child, consulted.as_tool], capabilities=[Durable()])


@flow
async def asking(text: str) -> str:
    return (await asker.run(text)).output


async def test_the_command_line_does_not_say_of_what_was_called_in_the_flow_that_it_was_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speak = in_turn(calls("child", n=1), calls("consulted", request="?"), "done")
    models = {"chat": Served(answer=lambda asked: speak(asked) if asked.tools else "an answer")}
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        assert await engine.run(asking, "Go.", id="r-1") == "done"
    show(str(tmp_path / "x.db"), "r-1", None, True, False)
    said = capsys.readouterr().out
    assert "consulted[" in said and "not made" not in said
