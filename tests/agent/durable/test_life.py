"""What a run may do while an agent is in its middle: park, be cancelled, be forked, have several at once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent, RunContext
from pydantic_ai.capabilities.abstract import AbstractCapability
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import ModelMessagesTypeAdapter
from pydantic_ai.run import AgentRunResult
from pydantic_ai.toolsets import DynamicToolset, FunctionToolset, WrapperToolset

from segue import RunCancelled, RunFailed, agent, approve, flow, gather, sleep, step, timeout, tool, wait_for
from segue.agent import Durable
from segue.testing import Engine as InMemory
from segue.testing import simulated
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import KEYS, calls, catalogue, in_turn, opened, results

SAW: list[str] = []


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    SAW.clear()
    for name in KEYS:
        monkeypatch.setenv(name, "test")


async def look(at: str) -> str:
    """Look at something."""
    SAW.append(f"look {at}")
    return f"{at} is fine"


async def wait(what: str) -> str:
    """Wait for something."""
    return await wait_for(what, returns=str)


shop: FunctionToolset[None] = FunctionToolset([look], id="shop")
shop.add_function(wait, metadata={"segue": False})


@shop.tool_plain(requires_approval=True)
async def refund(cents: int) -> str:
    """Pay back."""
    SAW.append(f"refund {cents}")
    return "paid back"


patient = Agent(name="patient", toolsets=[shop], capabilities=[Durable(approve_by="lead", approve_within_s=86_400)])


@flow
async def patiently(text: str) -> str:
    return (await patient.run(text)).output


PATIENT = in_turn(
    calls("look", at="a"), calls("refund", cents=5), calls("wait", what="go"), calls("look", at="b"), "done"
)


async def test_it_parks_for_days_and_goes_on_where_it_was() -> None:
    """In memory on a virtual clock: parked runs are unwound, and replayed when something comes."""
    async with serve({"chat": Served(answer=PATIENT)}) as server:
        async with InMemory(resources={"catalogue": catalogue(server, "chat")}) as engine:
            run = await engine.start(patiently, "Go.", id="main")
            while (await run.status()).state != "parked":
                await asyncio.sleep(0.01)
            (item,) = await engine.inbox("lead")
            assert SAW == ["look a"]
            await item.approve(by="ada")
            while (await run.status()).state != "parked" or len(SAW) < 2:
                await asyncio.sleep(0.01)
            await run.signal("go", "now")
            assert await run.result() == "done"
        assert SAW == ["look a", "refund 5", "look b"]
        assert server.counts("chat").calls == 5


async def test_another_process_goes_on_with_a_parked_agent(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=PATIENT)}) as server:
        async with opened(tmp_path, server, "chat") as engine:
            run = await engine.start(patiently, "Go.", id="main")
            while not await engine.inbox("lead"):
                await asyncio.sleep(0.01)
        async with opened(tmp_path, server, "chat") as engine:
            run = await engine.get("main")
            (item,) = await engine.inbox("lead")
            await item.approve(by="ada")
            await run.signal("go", "now")
            assert await run.result() == "done"
        assert SAW == ["look a", "refund 5", "look b"]
        assert server.counts("chat").calls == 5


@flow
async def cancelled(text: str) -> str:
    try:
        return (await patient.run(text)).output
    finally:
        SAW.append("left")


async def test_a_run_that_is_cancelled_leaves_the_agent(tmp_path: Path) -> None:
    models = {"chat": Served(answer=in_turn(calls("wait", what="never"), "done"))}
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(cancelled, "Go.")
        while server.counts("chat").calls < 1:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
    assert SAW[-1] == "left"


@flow
async def tidied(text: str) -> str:
    try:
        return (await patient.run(text)).output
    finally:
        SAW.append(await twins[0]("Tidy up"))


@flow
async def regrouped(text: str) -> str:
    async def fails() -> None:
        await wait_for("fail")
        raise ValueError("no")

    try:
        async with asyncio.TaskGroup() as group:
            _ = group.create_task(patient.run(text)), group.create_task(fails())
    except* ValueError:
        SAW.append("failed")
    return await twins[0]("Go on")


@pytest.mark.parametrize("made", [tidied, regrouped])
async def test_after_a_cancellation_that_was_caught_an_agent_runs(tmp_path: Path, made: Any) -> None:
    """One in the cleanup of a flow did nothing; one after a TaskGroup that had failed made the run fail."""
    waiting = in_turn(calls("wait", what="never"))
    models = {"chat": Served(answer=lambda asked: waiting(asked) if asked.prompt.strip() == "Go." else "tidy")}
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(made, "Go.")
        while not any(one.get("signal") == "never" for one in (await run.status()).waits_on):
            await asyncio.sleep(0.01)
        if made is tidied:
            await run.cancel()
            with pytest.raises(RunCancelled):
                await run.result()
        else:
            await run.signal("fail")
            assert await run.result() == "tidy"
    assert ["tidy" if made is tidied else "failed"] == SAW


@flow
async def regrouped_in_time(way: str) -> str:
    async def fails() -> None:
        await sleep(1)
        raise ValueError("no")

    said = ""
    try:
        async with timeout(100):
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(fails())
                    try:
                        await sleep(50)
                    finally:
                        said = await tidying(way)
            except* ValueError:
                said += ", failed"
            await sleep(1000)
    except TimeoutError:
        return f"{said}, too late"
    return "no limit"


async def tidying(way: str) -> str:
    """An agent in a cleanup: what its task counts is the same before and after."""
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    if way == "no such model":
        with pytest.raises(UserError):
            await plain.run("Tidy up", model="nobody")
        return "no such model"
    if way == "no tools":
        with pytest.raises(LookupError):
            await closed.run("Tidy up")
        assert task.cancelling() == before > 0
        return way
    if way == "short":
        return (await short.run("Tidy up")).output
    if way == "within":
        async with plain.iter("Tidy up") as going:
            async for _ in going:
                await twins[0]("Tidy up")
        assert going.result is not None
        said = going.result.output
    else:
        said = (await twins[0].run("Tidy up")).output
    assert task.cancelling() == before > 0
    return said


@pytest.mark.parametrize("way", ["agent", "within", "short", "no such model", "no tools"])
@simulated
async def test_a_limit_after_a_cleanup_with_an_agent_is_a_limit(way: str) -> None:
    """A TaskGroup had cancelled the task, and took that back; the limit around it took that for a cancel of the run."""
    async with (
        serve({"chat": Served(answer=lambda _: "tidy")}) as server,
        InMemory(resources={"catalogue": catalogue(server, "chat")}) as engine,
    ):
        said = {"short": "known", "no such model": way, "no tools": way}.get(way, "tidy")
        assert await engine.run(regrouped_in_time, way) == f"{said}, failed, too late"


@step
async def saw(what: str) -> None:
    SAW.append(what)


@flow
async def tidied_in_three_ways() -> None:
    try:
        await wait_for("never")
    finally:
        for way in ("short", "no such model", "within"):
            await saw(await tidying(way))


@simulated
async def test_agents_in_the_cleanup_of_a_cancelled_run_end() -> None:
    async with (
        serve({"chat": Served(answer=lambda _: "tidy")}) as server,
        InMemory(resources={"catalogue": catalogue(server, "chat")}) as engine,
    ):
        run = await engine.start(tidied_in_three_ways)
        await asyncio.sleep(1)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
    assert SAW == ["known", "no such model", "tidy"]


twins = [agent("You look.", name=f"twin{n}", tools=[look]) for n in (1, 2)]


class Known(AbstractCapability[None]):
    """Answers without asking a model."""

    async def wrap_run(self, ctx: RunContext[None], *, handler: Any) -> AgentRunResult[Any]:
        return AgentRunResult("known")


short = Agent(name="short", capabilities=[Known(), Durable()])
plain = Agent(name="plain", capabilities=[Durable()])


class Closed(WrapperToolset[None]):
    """It cannot be had."""

    async def __aenter__(self) -> Closed:
        raise LookupError("no tools today")


closed = Agent(name="closed", toolsets=[Closed(FunctionToolset([], id="closed"))], capabilities=[Durable()])


@flow
async def both(text: str) -> list[str]:
    return await gather(*(twin(f"{text} {n}") for n, twin in enumerate(twins)))


async def test_several_at_once_have_scopes_of_their_own(tmp_path: Path) -> None:
    def said(asked: Asked) -> Any:
        return in_turn(calls("look", at=asked.prompt.strip()[-1]), f"saw {asked.prompt.strip()[-1]}")(asked)

    models = {"chat": Served(answer=said)}
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(both, "Look at")
        answers = await run.result()
        keys = [event.key or "" async for event in run.events() if event.type == "step.completed"]
    assert len(answers) == 2
    assert {key.rpartition("/")[0] for key in keys} == {"gather#1/0/agent[twin1]#1", "gather#1/1/agent[twin2]#1"}


looker = agent("You look.", name="looker", tools=[look])


@flow
async def looking(text: str) -> str:
    return await looker(text)


async def test_a_fork_keeps_what_came_before(tmp_path: Path) -> None:
    models = {"chat": Served(answer=in_turn(calls("look", at="a"), calls("look", at="b"), "done"))}
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(looking, "Look.")
        await run.result()
        keys = [event.key or "" async for event in run.events() if event.type == "step.completed"]
        second = next(key for key in keys if "/look" in key and key != keys[1])
        fork = await run.fork(at=second)
        assert await fork.result() == "done"
        assert SAW == ["look a", "look b", "look b"]
        assert server.counts("chat").calls == 4


@step
async def keep(messages: list[dict[str, Any]]) -> int:
    return len(messages)


@flow
async def conversing(first: str, second: str) -> str:
    one = await looker.run(first)
    said = ModelMessagesTypeAdapter.dump_python(one.all_messages(), mode="json")
    await keep(said)
    return await looker(second, history=one.all_messages())


async def test_a_conversation_goes_on_with_its_history(tmp_path: Path) -> None:
    asked: list[Asked] = []
    models = {"chat": Served(answer=lambda one: (asked.append(one), f"answer {len(asked)}")[1])}
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        assert await engine.run(conversing, "Who?", "And why?") == "answer 2"
    assert [turn.text for turn in asked[1].turns if turn.role != "system"] == ["Who?", "answer 1", "And why?"]


@flow
async def held_by_a_client(messages: list[dict[str, str]], text: str) -> str:
    return await looker(text, history=messages)


async def test_a_conversation_goes_on_with_what_a_client_holds(tmp_path: Path) -> None:
    """As `ask(history=)` takes it: with the question as its last message, or without."""
    asked: list[Asked] = []
    models = {"chat": Served(answer=lambda one: (asked.append(one), f"answer {len(asked)}")[1])}
    held = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ann."}]
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        for messages in (held, [*held, {"role": "user", "content": "And why?"}]):
            run = await engine.start(held_by_a_client, messages, "And why?")
            said = await run.result()
            assert await (await run.fork()).result() == said
        assert await engine.run(held_by_a_client, [], "And why?")
    told = [[(turn.role, turn.text) for turn in one.turns] for one in asked]
    whole = [("user", "Who?"), ("assistant", "Ann."), ("user", "And why?")]
    assert told == [whole, whole, whole[-1:]]


def tools_of(ctx: RunContext[str]) -> FunctionToolset[str]:
    SAW.append(f"tools of {ctx.deps}")
    return FunctionToolset([look])


dynamic = Agent(
    name="dynamic", deps_type=str, toolsets=[DynamicToolset(tools_of, id="user-tools")], capabilities=[Durable()]
)


@flow
async def dynamically(text: str) -> str:
    return (await dynamic.run(text, deps="ann")).output


async def test_a_toolset_that_is_made_for_a_run(tmp_path: Path) -> None:
    models = {"chat": Served(answer=in_turn(calls("look", at="a"), "done"))}
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(dynamically, "Look.")
        assert await run.result() == "done"
        keys = [event.key or "" async for event in run.events() if event.type == "step.completed"]
    assert "look a" in SAW and "tools of ann" in SAW
    assert any("/tools[user-tools]#1" in key for key in keys)


async def broken(at: str) -> str:
    """Fails."""
    raise KeyError(at)


failing = agent("You fail.", name="failing", tools=[tool(on_error="raise")(broken)])


@flow
async def fails(text: str) -> str:
    try:
        return await failing(text)
    except KeyError as error:
        await approve("Go on?", str(error), timeout_s=0.01, default=True)
        return f"lost {error}"


async def test_a_tools_own_error_is_raised_in_the_flow_where_it_says_so(tmp_path: Path) -> None:
    models = {"chat": Served(answer=lambda asked: calls("broken", at="sea") if not results(asked) else "done")}
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        assert await engine.run(fails, "Go.") == "lost 'sea'"


sleepy = Agent(name="sleepy", capabilities=[Durable()])


@sleepy.instructions
async def slowly() -> str:
    await asyncio.sleep(0.01)
    return "Be slow."


@flow
async def sleeping(text: str) -> str:
    return (await sleepy.run(text)).output


async def test_what_a_replay_would_do_otherwise_is_refused_with_the_durable_form(tmp_path: Path) -> None:
    async with serve({"chat": Served()}) as server, opened(tmp_path, server, "chat") as engine:
        with pytest.raises(RunFailed, match=r"asyncio\.sleep, asyncio\.timeout"):
            await engine.run(sleeping, "Go.")
    assert json.dumps(SAW) == "[]"
