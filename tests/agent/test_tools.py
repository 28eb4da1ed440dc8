"""`ask(..., tools=...)`: calls are steps, mistakes go back to the model, and a crash repeats nothing that is done."""

from __future__ import annotations

import asyncio
import importlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from segue import NotApplied, RunFailed, ask, flow, step
from segue.agent import Gateway, answer
from segue.agent.tools import Asked, Tools, tool
from segue.errors import DefinitionError
from segue.models.errors import ToolsUnending
from segue.runtime.scope import Surroundings
from segue.testing import Crash
from segue.testing import Engine as InMemory
from segue.testing.crash import play
from segue.testing.provider import Answer, Call, Served, serve
from tests.agent.served import FORMATS, KEYS, calls, catalogue, in_turn, opened, results

SAW: list[str] = []
SIDES: tuple[Literal["before", "after"], ...] = ("before", "after")


class Weather(BaseModel):
    city: str
    degrees: int


@tool(effect="read")
async def weather(city: Annotated[str, Field(description="Its name.")], days: int = 1) -> Weather:
    """The weather of a city."""
    SAW.append(f"weather {city} {days}")
    return Weather(city=city, degrees=len(city))


@tool(effect="read")
def picky(n: int) -> int:
    """Takes only even numbers."""
    if n % 2:
        raise ValueError(f"{n} is odd")
    return n


async def was_it_paid(city: str) -> NotApplied:
    return NotApplied()


@step(effect="once", reconcile=was_it_paid)
async def pay(city: str) -> str:
    """Pay a city."""
    SAW.append(f"pay {city}")
    return "paid"


@flow
async def trip(text: str, model: str | None = None) -> dict[str, Any]:
    given = await answer(text, returns=Weather, tools=[weather, pay, picky], model=model, timeout_s=5)
    return {"degrees": given.value.degrees, "models": [one.model for one in given.tried]}


@flow
async def bounded(text: str) -> str:
    return await ask(text, tools=[weather], rounds=3)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    SAW.clear()
    GATE.clear()
    for name in KEYS:
        monkeypatch.setenv(name, "test")


DONE = json.dumps({"city": "Rome", "degrees": 4})
SCRIPT = in_turn(calls("weather", city="Rome", days=2), calls("pay", city="Rome"), DONE)


@pytest.mark.parametrize("name", FORMATS)
async def test_each_request_and_each_call_is_a_step_in_the_scope_of_its_question(tmp_path: Path, name: str) -> None:
    models = {name: Served(answer=SCRIPT, thinking=name != "chat")}
    async with serve(models) as server, opened(tmp_path, server, name) as engine:
        run = await engine.start(trip, "How is Rome?")
        assert await run.result() == {"degrees": 4, "models": [name] * 3}
        events = [event async for event in run.events()]
    keys = [event.key or "" for event in events if event.type == "step.completed"]
    scope = keys[0].rpartition("/")[0]
    assert scope.startswith("ask[") and all(key.startswith(f"{scope}/") for key in keys)
    assert [key.removeprefix(f"{scope}/").partition("[")[0] for key in keys] == ["ask", "weather", "ask", "pay", "ask"]
    assert [e.key for e in events if e.type == "attempt.started" and b'"once"' in (e.body or b"")] == [keys[3]]
    assert SAW == ["weather Rome 2", "pay Rome"]


@flow
async def journey(text: str) -> int:
    return (await trip(text))["degrees"]


async def test_what_a_tool_paid_counts_for_a_fork_that_would_pay_it_again(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=SCRIPT)}) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(journey, "How is Rome?")
        await run.result()
        ends = [event.key or "" async for event in run.events() if event.type == "child.ended"]
        child = await engine.get(f"{run.id}/{ends[0]}")
        keys = [event.key or "" async for event in child.events() if event.type == "step.completed"]
        assert await (await child.fork(at=keys[0])).repeats() == [keys[3]]
        assert await (await child.fork(at=keys[4])).repeats() == []
        assert await (await run.fork(at=ends[0])).repeats() == [f"{ends[0]}/{keys[3]}"]


async def test_what_the_model_got_wrong_goes_back_to_it(tmp_path: Path) -> None:
    said = in_turn(
        calls("wether", city="Rome"), calls("weather", town="Rome"), calls("picky", n=3), calls("picky", n=4), DONE
    )
    seen: list[list[str]] = []
    models = {"chat": Served(answer=lambda asked: (seen.append(results(asked)), said(asked))[1])}
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        await engine.run(trip, "How is Rome?")
    unknown, misfit, odd, fine = seen[-1]
    assert "there is no tool 'wether'; there are: weather, pay, picky" in unknown
    assert "city: Field required" in misfit and "town: Extra inputs are not permitted" in misfit
    assert "3 is odd" in odd
    assert fine == "4"
    assert SAW == []


async def test_another_model_goes_on_in_the_middle(tmp_path: Path) -> None:
    """Claude calls a tool, with its thinking signed, and breaks down: another format takes the conversation over."""
    models = {name: Served(answer=SCRIPT, thinking=True) for name in ("claude", "gpt")}
    async with serve(models) as server, opened(tmp_path, server, *models) as engine:
        server.next("claude", None, "overloaded", "overloaded", "overloaded")
        run = await engine.run(trip, "How is Rome?")
    assert run["degrees"] == 4
    assert {one for one in run["models"]} == {"claude", "gpt"}
    assert SAW == ["weather Rome 2", "pay Rome"]


async def test_rounds_are_bounded(tmp_path: Path) -> None:
    async with (
        serve({"chat": Served(answer=lambda _: calls("weather", city="Rome"))}) as server,
        opened(tmp_path, server, "chat") as engine,
    ):
        with pytest.raises(RunFailed) as failed:
            await engine.run(bounded, "How is Rome?")
        assert server.counts("chat").calls == 3
    error = failed.value.__cause__
    assert isinstance(error, ToolsUnending)
    assert (error.rounds, "weather" in error.message) == (3, True)


async def test_outside_of_a_run_it_simply_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve({"chat": Served(answer=SCRIPT)}) as server:
        made = Gateway.of(catalogue(server, "chat"))
        home = importlib.import_module("segue.agent.gateway")
        monkeypatch.setattr(home, "_own", Surroundings(None, {"gateway": made}))
        assert await ask("How is Rome?", returns=Weather, tools=[weather, pay]) == Weather(city="Rome", degrees=4)
        await made.close()
    assert SAW == ["weather Rome 2", "pay Rome"]


async def test_a_crash_in_the_loop_repeats_no_finished_call() -> None:
    """Killed at every commit: what has an outcome is not made again, and nothing is lost."""
    async with serve({"chat": Served(answer=SCRIPT)}) as server:
        resources = {"catalogue": catalogue(server, "chat")}

        async def scene(engine: InMemory) -> Any:
            return (await engine.run(trip, "How is Rome?", id="main"))["degrees"]

        wanted, engine = await play(scene, resources=resources)
        for commit in range(1, engine.commits + 1):
            for when in SIDES:
                SAW.clear()
                asked = server.counts("chat").calls
                got, last = await play(scene, [Crash(commit, when)], resources=resources)
                assert got == wanted
                done = [e.key for e in last.history("main") if e.type == "step.completed"]
                assert len(done) == len(set(done)) == 5
                assert server.counts("chat").calls - asked <= 4
                assert len(SAW) <= 3


def turn(*calls: tuple[str, dict[str, Any]]) -> Answer:
    """Several calls at once."""
    return Answer(calls=tuple(Call(name, json.dumps(args)) for name, args in calls))


GATE: dict[str, asyncio.Event] = {}


@tool(effect="read")
async def slow(city: str, after: str = "") -> str:
    """Ends after the other city's call has."""
    SAW.append(f"begins {city}")
    if after in GATE:
        await GATE[after].wait()
    if city in GATE:
        GATE[city].set()
    SAW.append(f"ends {city}")
    return f"{city} is fine"


@tool(on_error="raise")
async def broken(city: str) -> str:
    """Fails."""
    raise KeyError(city)


@flow
async def several(text: str) -> str:
    return await ask(text, tools=[slow, pay, broken, picky], timeout_s=5)


BOTH = turn(("slow", {"city": "Rome", "after": "Oslo"}), ("slow", {"city": "Oslo"}), ("picky", {"n": 3}))


@pytest.mark.parametrize("outside", [False, True])
async def test_calls_of_one_turn_are_made_at_once_and_their_results_keep_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outside: bool
) -> None:
    """The first can only end when the second has: one after the other they would never end."""
    GATE.update(Oslo=asyncio.Event())
    seen: list[list[str]] = []
    said = in_turn(BOTH, "x", "x", "Warm.")
    models = {"chat": Served(answer=lambda asked: (seen.append(results(asked)), said(asked))[1])}
    async with serve(models) as server, asyncio.timeout(10):
        if outside:
            made = Gateway.of(catalogue(server, "chat"))
            home = importlib.import_module("segue.agent.gateway")
            monkeypatch.setattr(home, "_own", Surroundings(None, {"gateway": made}))
            assert await ask("How are they?", tools=[slow, picky]) == "Warm."
            await made.close()
        else:
            async with opened(tmp_path, server, "chat") as engine:
                assert await engine.run(several, "How are they?") == "Warm."
    assert SAW == ["begins Rome", "begins Oslo", "ends Oslo", "ends Rome"]
    rome, oslo, odd = seen[-1]
    assert (rome, oslo) == ("Rome is fine", "Oslo is fine") and "3 is odd" in odd


async def test_a_turn_with_an_effect_that_happens_once_is_made_in_its_order(tmp_path: Path) -> None:
    said = in_turn(
        turn(("slow", {"city": "Rome"}), ("pay", {"city": "Rome"}), ("slow", {"city": "Oslo"})), "", "", "Ok."
    )
    async with serve({"chat": Served(answer=said)}) as server, opened(tmp_path, server, "chat") as engine:
        assert await engine.run(several, "Pay.") == "Ok."
    assert SAW == ["begins Rome", "ends Rome", "pay Rome", "begins Oslo", "ends Oslo"]


async def test_when_one_fails_the_others_are_given_up(tmp_path: Path) -> None:
    GATE.update(Oslo=asyncio.Event())
    said = turn(("slow", {"city": "Rome", "after": "Oslo"}), ("broken", {"city": "Rome"}))
    async with (
        serve({"chat": Served(answer=lambda _: said)}) as server,
        opened(tmp_path, server, "chat") as engine,
        asyncio.timeout(10),
    ):
        run = await engine.start(several, "How is it?")
        with pytest.raises(RunFailed, match="KeyError"):
            await run.result()
        kinds = {(e.key or "").rpartition("/")[2].partition("[")[0]: e.type async for e in run.events(follow=False)}
    assert (kinds["slow"], kinds["broken"]) == ("step.cancelled", "step.failed")
    assert SAW == ["begins Rome"]


async def test_a_crash_while_calls_are_made_at_once_repeats_none_that_is_done() -> None:
    """Killed at every commit; two of the calls are equal, and are told apart by their order."""
    GATE.clear()
    alike = turn(*(("slow", {"city": city}) for city in ("Rome", "Rome", "Oslo")), ("picky", {"n": 3}))
    seen: list[list[str]] = []
    said = in_turn(alike, "", "", "", "Warm.")
    models = {"chat": Served(answer=lambda asked: (seen.append(results(asked)), said(asked))[1])}
    async with serve(models) as server:
        resources = {"catalogue": catalogue(server, "chat")}

        async def scene(engine: InMemory) -> Any:
            return await engine.run(several, "How are they?", id="main")

        wanted, engine = await play(scene, resources=resources)
        for commit in range(1, engine.commits + 1):
            for when in SIDES:
                SAW.clear()
                got, last = await play(scene, [Crash(commit, when)], resources=resources)
                assert got == wanted == "Warm."
                ended = [e.key or "" for e in last.history("main") if e.type in ("step.completed", "step.failed")]
                names = [key.rpartition("/")[2].partition("[")[0] for key in ended]
                assert sorted(names) == ["ask", "ask", "picky", "slow", "slow", "slow"] and len(set(ended)) == 6
                assert 3 <= SAW.count("begins Rome") + SAW.count("begins Oslo") <= 6
                assert seen[-1][:3] == ["Rome is fine", "Rome is fine", "Oslo is fine"] and "3 is odd" in seen[-1][3]


def test_a_tool_is_told_by_its_signature() -> None:
    told = Tools([weather]).definitions[0]
    assert (told["name"], told["description"]) == ("weather", "The weather of a city.")
    schema = told["parameters_json_schema"]
    assert (schema["required"], schema["additionalProperties"]) == (["city"], False)
    assert schema["properties"]["city"]["description"] == "Its name."
    assert schema["properties"]["days"]["default"] == 1


def test_what_cannot_be_a_tool_is_refused() -> None:
    with pytest.raises(DefinitionError, match="two tools are called 'weather'"):
        Tools([weather, weather])
    with pytest.raises(DefinitionError, match="no name for a tool"):
        Tools([lambda: 1])


async def test_the_model_is_told_what_a_tool_raises_unless_the_tool_says_otherwise() -> None:
    async def torn() -> None:
        raise KeyError("gone")

    said = await Tools([torn]).call(Asked(id="1", name="torn", args="{}"))
    assert said.content == "torn failed: KeyError: 'gone'"
    with pytest.raises(KeyError):
        await Tools([tool(on_error="raise")(torn)]).call(Asked(id="1", name="torn", args="{}"))
