"""An agent's answers while they come: `run.stream()`, its own event handlers, `run_stream` in a flow."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic_ai import Agent, AgentRunResultEvent, RunContext
from pydantic_ai.messages import FunctionToolCallEvent, FunctionToolResultEvent, PartDeltaEvent, PartStartEvent

from segue import Ended, Piece, Retracted, RunFailed, flow
from segue.agent.durable import Durable
from segue.agent.durable.pieces import pieces
from segue.testing import Crash
from segue.testing import Engine as InMemory
from segue.testing.crash import play
from segue.testing.provider import Served, serve
from tests.agent.served import FORMATS, KEYS, calls, catalogue, in_turn, opened

HEARD: list[str] = []
SIDES: tuple[Literal["before", "after"], ...] = ("before", "after")
TEXT = "Once upon a time there was a fox that could fly, and nobody knew why."


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    HEARD.clear()
    for name in KEYS:
        monkeypatch.setenv(name, "test")


async def hear(ctx: RunContext[Any], events: AsyncIterable[Any]) -> None:
    async for event in events:
        if isinstance(event, PartStartEvent) and getattr(event.part, "content", ""):
            HEARD.append(event.part.content)
        elif isinstance(event, PartDeltaEvent) and getattr(event.delta, "content_delta", ""):
            HEARD.append(event.delta.content_delta)
        elif isinstance(event, FunctionToolCallEvent):
            HEARD.append(f"<calls {event.part.tool_name}>")
        elif isinstance(event, FunctionToolResultEvent):
            HEARD.append(f"<{event.part.content}>")


async def look(at: str) -> str:
    """Look at something."""
    return f"a {at}"


teller = Agent(name="teller", tools=[look], capabilities=[Durable(event_stream_handler=hear)])
quiet = Agent(name="quiet", tools=[look], capabilities=[Durable(stream=True)])


@flow
async def tale(text: str) -> str:
    return (await teller.run(text)).output


@flow
async def quietly(text: str) -> str:
    return (await quiet.run(text)).output


@flow
async def piecewise(text: str) -> list[str]:
    async with quiet.run_stream(text) as streamed:
        return [piece async for piece in streamed.stream_text(delta=True, debounce_by=None)]


SCRIPT = in_turn(calls("look", at="fox"), TEXT)


@pytest.mark.parametrize("name", FORMATS)
async def test_a_handler_hears_the_answer_while_it_comes(tmp_path: Path, name: str) -> None:
    async with serve({name: Served(answer=SCRIPT)}) as server, opened(tmp_path, server, name) as engine:
        run = await engine.start(tale, "Tell.")
        assert await run.result() == TEXT
        keys = [e.key or "" async for e in run.events() if e.type == "step.completed"]
    assert HEARD[:2] == ["<calls look>", "<a fox>"]
    assert "".join(HEARD[2:]) == TEXT and len(HEARD) > 4
    assert [key.partition("/")[2].partition("[")[0].partition("#")[0] for key in keys] == [
        "ask", "event", "look", "event", "ask",
    ]  # fmt: skip


async def test_the_run_streams_what_its_agents_say(tmp_path: Path) -> None:
    models = {"claude": Served(answer=SCRIPT, token_s=0.002)}
    async with serve(models) as server, opened(tmp_path, server, "claude") as engine:
        run = await engine.start(quietly, "Tell.")
        texts: dict[str, str] = {}
        pieces = 0
        async for event in run.stream():
            match event:
                case Piece(kind="text"):
                    texts[event.key] = texts.get(event.key, "") + event.text
                    pieces += 1
                case Retracted():
                    texts.pop(event.key, None)
                case Ended():
                    pass
        assert await run.result() == TEXT
    assert list(texts.values())[-1] == TEXT
    assert pieces > 2


async def test_a_stream_that_breaks_off_is_void_and_told_anew(tmp_path: Path) -> None:
    models = {name: Served(answer=lambda asked: TEXT) for name in ("chat", "gpt")}
    async with serve(models) as server, opened(tmp_path, server, *models) as engine:
        server.next("chat", "cut")
        run = await engine.start(tale, "Tell.")
        assert await run.result() == TEXT
        assert server.counts("chat").calls == 1
    assert "".join(HEARD).endswith(TEXT) and "".join(HEARD) != TEXT


async def test_run_stream_in_a_flow_gives_the_answer_in_pieces_that_a_replay_gives_again(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=SCRIPT)}) as server:
        resources = {"catalogue": catalogue(server, "chat")}

        async def scene(engine: InMemory) -> Any:
            return await engine.run(piecewise, "Tell.", id="main")

        wanted, engine = await play(scene, resources=resources)
        assert "".join(wanted) == TEXT and len(wanted) > 2, "a few words at a time"
        for commit in range(1, engine.commits + 1):
            got, _ = await play(scene, [Crash(commit, "after")], resources=resources)
            assert got == wanted


@pytest.mark.parametrize("text", ["a", " a ", "x" * 5_000, "word " * 20_000, "\n\na\n  b\t" * 40, "漢字" * 900, TEXT])
def test_pieces_are_the_text_and_the_same_each_time(text: str) -> None:
    made = list(pieces(text))
    assert "".join(made) == text and all(made) and list(pieces(text)) == made
    assert len(made) <= 801 and (len(text) < 60 or len(made) > 1)


@flow
async def by_handler(text: str) -> list[str]:
    """What is heard in the flow itself, typed answers, tool calls and all."""
    heard: list[str] = []
    async with quiet.run_stream_events(text) as events:
        async for event in events:
            heard.append(type(event).__name__)
            if isinstance(event, AgentRunResultEvent):
                heard.append(str(event.result.output))
    return heard


async def test_events_of_a_run_in_a_flow_come_in_pieces_with_one_beginning_and_one_end(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=SCRIPT)}) as server, opened(tmp_path, server, "chat") as engine:
        heard = await engine.run(by_handler, "Tell.")
    answer = heard[heard.index("FunctionToolResultEvent") + 1 :]
    assert answer[0] == "PartStartEvent" and answer[1] == "FinalResultEvent", answer
    assert answer.count("PartDeltaEvent") >= 2 and answer.count("PartStartEvent") == answer.count("PartEndEvent") == 1
    assert answer[-1] == TEXT


@flow
async def by_the_clock(text: str) -> list[str]:
    async with quiet.run_stream(text) as streamed:
        return [piece async for piece in streamed.stream_text(delta=True)]


async def test_pieces_put_together_by_the_clock_are_refused_with_the_durable_form(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=SCRIPT)}) as server, opened(tmp_path, server, "chat") as engine:
        with pytest.raises(RunFailed) as failed:
            await engine.run(by_the_clock, "Tell.")
        assert "debounce_by=None" in getattr(failed.value.__cause__, "remedy", "")


async def test_outside_of_a_flow_run_stream_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    from segue.agent import Gateway
    from segue.runtime.scope import Surroundings

    async with serve({"gpt": Served(answer=SCRIPT, token_s=0.002)}) as server:
        made = Gateway.of(catalogue(server, "gpt"))
        home = importlib.import_module("segue.agent.gateway")
        monkeypatch.setattr(home, "_own", Surroundings(None, {"gateway": made}))
        async with quiet.run_stream("Tell.") as streamed:
            pieces = [piece async for piece in streamed.stream_text(delta=True, debounce_by=None)]
        assert "".join(pieces) == TEXT and len(pieces) > 2
        await made.close()
    assert json.dumps(pieces)
