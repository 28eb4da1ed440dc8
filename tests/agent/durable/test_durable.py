"""`Agent(..., capabilities=[Durable()])`: requests and calls are steps, all else is the agent's own."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, ModelRetry, RunContext, ToolOutput, UsageLimitExceeded, UsageLimits
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.toolsets import FunctionToolset

from segue import Applied, NotApplied, RunFailed, ask, flow, step
from segue.agent.durable import Durable
from segue.errors import DefinitionError, InputError
from segue.runtime.scope import StepScope, here
from segue.testing import Crash
from segue.testing import Engine as InMemory
from segue.testing.crash import play
from segue.testing.provider import Answer, Asked, Call, Served, serve
from tests.agent.served import FORMATS, KEYS, calls, catalogue, in_turn, opened, results

SAW: list[str] = []
SIDES: tuple[Literal["before", "after"], ...] = ("before", "after")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    SAW.clear()
    for name in KEYS:
        monkeypatch.setenv(name, "test")


class Weather(BaseModel):
    city: str
    degrees: int


@dataclass
class Desk:
    country: str


DONE = json.dumps({"city": "Rome", "degrees": 4})
SCRIPT = in_turn(calls("weather", city="Rome", days=2), calls("pay", city="Rome"), DONE)


async def was_it_paid(city: str) -> Applied | NotApplied:
    return NotApplied()


desk: FunctionToolset[Desk] = FunctionToolset(id="desk")


@desk.tool(metadata={"segue": {"effect": "read"}})
async def weather(ctx: RunContext[Desk], city: str, days: int = 1) -> str:
    """The weather of a city."""
    where = here()
    key = where.key.partition("[")[0] if isinstance(where, StepScope) else ""
    SAW.append(f"weather {city} {days} {ctx.deps.country} {key}".strip())
    return f"{city}: {days} sunny days"


@desk.tool_plain(metadata={"segue": {"effect": "once", "reconcile": was_it_paid}})
async def pay(city: str) -> str:
    """Pay a city."""
    SAW.append(f"pay {city}")
    return "paid"


@desk.tool_plain
def picky(n: int) -> int:
    """Takes only even numbers."""
    SAW.append(f"picky {n}")
    if n % 2:
        raise ModelRetry(f"{n} is odd")
    return n


clerk = Agent(
    name="clerk", instructions="You are a clerk.", output_type=Weather, deps_type=Desk, toolsets=[desk],
    capabilities=[Durable(timeout_s=5)],
)  # fmt: skip


@flow
async def trip(text: str) -> dict[str, Any]:
    result = await clerk.run(text, deps=Desk("Italy"))
    await keep(result.all_messages_json().decode())
    return {"degrees": result.output.degrees, "requests": result.usage.requests}


@step
async def keep(messages: str) -> int:
    return len(messages)


@pytest.mark.parametrize("name", FORMATS)
async def test_each_request_and_each_call_is_a_step_in_the_agents_scope(tmp_path: Path, name: str) -> None:
    models = {name: Served(answer=SCRIPT, thinking=name != "chat")}
    async with serve(models) as server, opened(tmp_path, server, name) as engine:
        run = await engine.start(trip, "How is Rome?")
        assert await run.result() == {"degrees": 4, "requests": 3}
        events = [event async for event in run.events()]
    keys = [event.key or "" for event in events if event.type == "step.completed"]
    assert [re.sub(r"\[[0-9a-f]{12}\]", "", key) for key in keys] == [
        "agent[clerk]#1/ask#1", "agent[clerk]#1/weather#1", "agent[clerk]#1/ask#1", "agent[clerk]#1/pay#1",
        "agent[clerk]#1/ask#1", "keep#1",
    ]  # fmt: skip
    for kind in ("decision.made", "context.assembled", "attempt.recorded"):
        assert [event.key for event in events if event.type == kind] == [keys[0], keys[2], keys[4]]
    assert [e.key for e in events if e.type == "attempt.started" and b'"once"' in (e.body or b"")] == [keys[3]]
    assert SAW == ["weather Rome 2 Italy agent", "pay Rome"]


@pytest.mark.proof
async def test_a_crash_at_any_commit_repeats_nothing_that_has_an_outcome() -> None:
    async with serve({"chat": Served(answer=SCRIPT)}) as server:
        resources = {"catalogue": catalogue(server, "chat")}

        async def scene(engine: InMemory) -> Any:
            return await engine.run(trip, "How is Rome?", id="main")

        wanted, engine = await play(scene, resources=resources)
        for commit in range(1, engine.commits + 1):
            for when in SIDES:
                SAW.clear()
                asked = server.counts("chat").calls
                got, last = await play(scene, [Crash(commit, when)], resources=resources)
                assert got == wanted
                done = [e.key for e in last.history("main") if e.type == "step.completed"]
                assert len(done) == len(set(done)) == 6
                assert server.counts("chat").calls - asked <= 4
                assert SAW.count("pay Rome") <= 2 and len(SAW) <= 3


async def test_calls_of_one_turn_are_made_at_once_and_what_cannot_be_undone_alone(tmp_path: Path) -> None:
    both = Answer(calls=tuple(Call(name, json.dumps(args)) for name, args in PAIRS))
    async with (
        serve({"chat": Served(answer=in_turn(both, DONE))}) as server,
        opened(tmp_path, server, "chat") as engine,
    ):
        assert await engine.run(together, "How are they?") == 4
    assert SAW == ["begins Rome", "begins Oslo", "ends Oslo", "ends Rome", "pay Rome", "begins Bern", "ends Bern"]


PAIRS: list[tuple[str, dict[str, Any]]] = [
    ("slow", {"city": "Rome", "ticks": 9}), ("slow", {"city": "Oslo", "ticks": 1}), ("pay", {"city": "Rome"}),
    ("slow", {"city": "Bern", "ticks": 1}),
]  # fmt: skip


async def slow(city: str, ticks: int) -> str:
    """Takes a while."""
    SAW.append(f"begins {city}")
    await asyncio.sleep(ticks / 50)
    SAW.append(f"ends {city}")
    return "fine"


several = Agent(
    name="several", output_type=Weather, tools=[slow], toolsets=[desk], capabilities=[Durable()], deps_type=Desk
)


@flow
async def together(text: str) -> int:
    return (await several.run(text, deps=Desk(""))).output.degrees


async def test_what_the_model_got_wrong_goes_back_to_it(tmp_path: Path) -> None:
    said = in_turn(calls("wether", city="Rome"), calls("weather", town="Rome"), calls("picky", n=4), DONE)
    seen: list[list[str]] = []
    models = {"chat": Served(answer=lambda asked: (seen.append(results(asked)), said(asked))[1])}
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        await engine.run(trip, "How is Rome?")
    unknown, misfit, fine = seen[-1]
    assert "wether" in unknown and "weather" in unknown
    assert "Field required" in misfit
    assert fine == "4"
    assert SAW == ["picky 4"]


@flow
async def odd(text: str) -> str:
    return str((await plain.run(text, deps=Desk(""))).output)


plain = Agent(name="plain", toolsets=[desk], deps_type=Desk, capabilities=[Durable()])


async def test_a_model_that_is_told_to_try_again_is_and_not_for_ever(tmp_path: Path) -> None:
    async with (
        serve({"chat": Served(answer=in_turn(calls("picky", n=3), calls("picky", n=2), "two"))}) as server,
        opened(tmp_path, server, "chat") as engine,
    ):
        assert await engine.run(odd, "Pick.") == "two"
    assert SAW == ["picky 3", "picky 2"]
    async with (
        serve({"chat": Served(answer=lambda _: calls("picky", n=3))}) as server,
        opened(tmp_path, server, "chat") as engine,
    ):
        with pytest.raises(RunFailed, match="picky"):
            await engine.run(odd, "Pick.")


@flow
async def bounded(text: str) -> str:
    try:
        return str((await plain.run(text, deps=Desk(""), usage_limits=UsageLimits(request_limit=3))).output)
    except UsageLimitExceeded as error:
        return f"too much: {error}"


async def test_usage_limits_are_the_agents_own(tmp_path: Path) -> None:
    async with (
        serve({"chat": Served(answer=lambda _: calls("picky", n=2))}) as server,
        opened(tmp_path, server, "chat") as engine,
    ):
        assert "request_limit of 3" in await engine.run(bounded, "Pick.")
        assert server.counts("chat").calls == 3


ends = Agent(name="ends", output_type=[ToolOutput(Weather, name="final"), ToolOutput(int, name="number")],
             tools=[slow], capabilities=[Durable()])  # fmt: skip


@ends.output_validator
def warm(ctx: RunContext[None], output: Weather | int) -> Weather | int:
    if isinstance(output, Weather) and output.degrees < 0:
        raise ModelRetry("that is too cold")
    return output


@flow
async def ending(text: str) -> int:
    result = await ends.run(text)
    await keep(result.all_messages_json().decode())
    return result.output if isinstance(result.output, int) else result.output.degrees


@pytest.mark.parametrize("name", FORMATS)
async def test_an_answer_that_is_a_call_of_a_tool(tmp_path: Path, name: str) -> None:
    asked: list[Asked] = []
    said = in_turn(
        calls("slow", city="Rome", ticks=0), calls("final", city="Rome", degrees=-4), calls("number", response=5)
    )  # fmt: skip
    models = {name: Served(answer=lambda one: (asked.append(one), said(one))[1])}
    async with serve(models) as server, opened(tmp_path, server, name) as engine:
        assert await engine.run(ending, "How is Rome?") == 5
    assert len(asked) == 3 and all(one.must_call for one in asked)
    assert {tool.name for tool in asked[0].tools} == {"slow", "final", "number"}
    assert "too cold" in results(asked[2])[1]


async def test_its_last_words_are_the_same_on_a_replay() -> None:
    """A call that ends the loop is answered by the agent itself, after the last request."""
    async with serve({"chat": Served(answer=lambda _: calls("final", city="R", degrees=5))}) as server:
        resources = {"catalogue": catalogue(server, "chat")}

        async def scene(engine: InMemory) -> Any:
            return await engine.run(ending, "How is Rome?", id="main")

        _, engine = await play(scene, resources=resources)
        got, last = await play(scene, [Crash(engine.commits - 1, "after")], resources=resources)
        assert got == 5 and sum(e.type == "step.completed" for e in last.history("main")) == 2


async def test_another_model_goes_on_in_the_middle(tmp_path: Path) -> None:
    """Claude calls a tool, with its thinking signed, and breaks down: another format takes the conversation over."""
    models = {name: Served(answer=SCRIPT, thinking=True) for name in ("claude", "gpt")}
    async with serve(models) as server, opened(tmp_path, server, *models) as engine:
        server.next("claude", None, "overloaded", "overloaded", "overloaded")
        run = await engine.start(trip, "How is Rome?")
        assert (await run.result())["degrees"] == 4
        events = [event async for event in run.events()]
        assert server.counts("claude").calls and server.counts("gpt").calls
    assert sum(event.type == "attempt.recorded" for event in events) > 3
    assert SAW == ["weather Rome 2 Italy agent", "pay Rome"]


async def test_an_answer_that_does_not_fit_its_type_is_mended_by_the_step(tmp_path: Path) -> None:
    broken = in_turn('{"city": "Rome"}')
    fits = in_turn(DONE)
    models = {
        "chat": Served(answer=lambda asked: fits(asked) if "mistake" in asked.prompt else broken(asked)),
    }
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(trip, "How is Rome?")
        assert await run.result() == {"degrees": 4, "requests": 1}
        assert server.counts("chat").calls == 2


# --- whom it asks


def told(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    SAW.append("own model")
    if len(messages) == 1:
        return ModelResponse(parts=[ToolCallPart("picky", {"n": 2})])
    return ModelResponse(parts=[TextPart("own")])


own = Agent(FunctionModel(told), name="own", toolsets=[desk], deps_type=Desk, capabilities=[Durable()])
named = Agent("claude", name="named", capabilities=[Durable()])


@flow
async def owns(text: str) -> str:
    return (await own.run(text, deps=Desk(""))).output


@flow
async def names(text: str, model: str | None = None) -> str:
    return (await named.run(text, model=model)).output


async def test_a_model_of_the_catalogue_is_pinned(tmp_path: Path) -> None:
    models = {name: Served(answer=lambda asked, name=name: name) for name in ("chat", "claude", "gpt")}
    async with serve(models) as server, opened(tmp_path, server, *models) as engine:
        run = await engine.start(names, "Who are you?")
        assert await run.result() == "claude"
        keys = [event.key async for event in run.events() if event.type == "step.completed"]
        assert await engine.run(names, "Who are you?", f"{FORMATS['gpt'].value}:gpt") == "gpt"
        assert await engine.run(names, "Who are you?", "chat") == "chat"
    assert keys[0] and keys[0].startswith("model[")


async def test_a_model_of_its_own_is_asked_in_steps_as_it_was_given(tmp_path: Path) -> None:
    async with serve({"chat": Served()}) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(owns, "Hi.")
        assert await run.result() == "own"
        events = [event async for event in run.events()]
        assert server.counts("chat").calls == 0
    assert SAW == ["own model", "picky 2", "own model"]
    recorded = [json.loads(event.body or b"{}") for event in events if event.type == "attempt.recorded"]
    assert [one["target"]["name"] for one in recorded] == ["function:function:told:"] * 2
    assert all(one["usage"]["tokens_in"] for one in recorded)


async def test_the_options_are_those_of_a_question(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no option 'rout'"):
        Durable(rout="x")  # pyright: ignore[reportCallIssue]
    with pytest.raises(DefinitionError, match="names a model, and Durable"):
        Agent("claude", name="both", capabilities=[Durable(route="default")])


@flow(budget_usd=0.0001)
async def cheap(text: str) -> str:
    return (await plain.run(text, deps=Desk(""))).output


async def test_a_budget_of_the_flow_holds_for_its_agents(tmp_path: Path) -> None:
    async with serve({"gemini": Served()}) as server, opened(tmp_path, server, "gemini") as engine:
        with pytest.raises(RunFailed, match="budget"):
            await engine.run(cheap, "Hello. " * 200)
        assert server.counts("gemini").calls == 0


# --- tools that are more than functions


@step(effect="once", reconcile=was_it_paid)
async def book(city: str) -> str:
    """Book a hotel."""
    SAW.append(f"book {city}")
    return f"booked {city}"


@flow
async def survey(city: str) -> str:
    """Survey a city."""
    return await ask(f"Survey {city}.", model="gpt")


expert = Agent("gpt", name="expert", capabilities=[Durable()])


async def consult(question: str) -> str:
    """Ask an expert."""
    return (await expert.run(question)).output


lead = Agent("chat", name="lead", tools=[book, survey], capabilities=[Durable()])
lead.tool_plain(metadata={"segue": False})(consult)


@flow
async def leading(text: str) -> str:
    return (await lead.run(text)).output


async def test_steps_flows_and_other_agents_as_tools(tmp_path: Path) -> None:
    said = in_turn(calls("book", city="Rome"), calls("survey", city="Rome"), calls("consult", question="Why?"), "done")
    models = {"chat": Served(answer=said), "gpt": Served(answer=lambda asked: f"gpt on {asked.prompt}")}
    async with serve(models) as server, opened(tmp_path, server, *models) as engine:
        run = await engine.start(leading, "Go.")
        assert await run.result() == "done"
        events = [event async for event in run.events()]
    keys = [re.sub(r"\[[0-9a-f]{12}\]", "", e.key or "") for e in events if e.type in ("step.completed", "child.ended")]
    assert "agent[lead]#1/book#1" in keys
    assert "agent[lead]#1/survey#1" in keys
    assert "agent[lead]#1/agent[expert]#1/ask#1" in keys
    assert SAW == ["book Rome"]


shop: FunctionToolset[None] = FunctionToolset(id="shop")


@shop.tool_plain(requires_approval=True)
async def refund(cents: int) -> str:
    """Pay back."""
    SAW.append(f"refund {cents}")
    return "paid back"


seller = Agent(name="seller", toolsets=[shop], capabilities=[Durable(approve_by="lead")])


@flow
async def selling(text: str) -> str:
    return (await seller.run(text)).output


@pytest.mark.parametrize("yes", [True, False])
async def test_a_call_that_requires_approval_waits_for_a_person(tmp_path: Path, yes: bool) -> None:
    said: list[str] = []
    models = {"chat": Served(answer=lambda asked: calls("refund", cents=5) if not results(asked) else "done")}
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(selling, "Refund me.")
        while not (items := await engine.inbox("lead")):
            await asyncio.sleep(0.01)
        assert SAW == []
        assert items[0].shown == {"tool": "refund", "arguments": {"cents": 5}}
        if yes:
            await items[0].approve(by="ada")
        else:
            await items[0].deny(by="ada", note="too much")
        assert await run.result() == "done"
        said += [entry.raw.decode() for entry in server.log.entries]
    assert len(SAW) == yes
    assert ("ada denied it: too much" in said[-1]) is not yes


looks = Agent(name="looks", output_type=int, capabilities=[Durable()])


@flow
async def looking() -> int:
    picture = BinaryContent(b"\x89PNG\r\n\x1a\n" + bytes(64), media_type="image/png")
    return (await looks.run(["How many cats?", picture])).output


async def test_media_are_shown(tmp_path: Path) -> None:
    asked: list[Asked] = []
    models = {"claude": Served(answer=lambda one: (asked.append(one), '{"response": 7}')[1])}
    async with serve(models) as server, opened(tmp_path, server, "claude") as engine:
        assert await engine.run(looking) == 7
        assert b"image/png" in server.log.entries[0].raw


async def test_outside_of_a_run_it_simply_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    from segue.agent import Gateway
    from segue.runtime.scope import Surroundings

    async with serve({"chat": Served(answer=SCRIPT)}) as server:
        made = Gateway.of(catalogue(server, "chat"))
        home = importlib.import_module("segue.agent.gateway")
        monkeypatch.setattr(home, "_own", Surroundings(None, {"gateway": made}))
        assert (await trip.function("How is Rome?"))["degrees"] == 4
        async with clerk.run_stream("How is Rome?", deps=Desk("Italy")) as streamed:
            assert (await streamed.get_output()).degrees == 4
        await made.close()
