"""What counts as an answer when past asks are judged: not a call of tools, and not what a person had to say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, ask, flow, step, tool
from segue.errors import RunFailed
from segue.journal import Journal
from segue.models import Catalogue
from segue.routing import Cheapest
from segue.routing.lessons import lessons
from segue.routing.past import Row, rows
from segue.routing.policies import NEVER
from segue.routing.traffic import Traffic
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import FORMATS, KEYS, calls, model, results
from tests.routing.test_judge_rounds import USD, asked, catalogue

PLAIN = Cheapest(explore=NEVER)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


def traffic_of(path: Path) -> Traffic:
    found = Traffic()
    with Journal.open_readonly(str(path / "x.db")) as reader:
        found.read(reader)
    return found


def past(path: Path) -> list[Row]:
    return rows(traffic_of(path))


@tool(effect="read")
async def lookup(what: str) -> str:
    """Look up."""
    return f"{what} is found"


@tool(effect="read", on_error="raise", name="lookup")
async def breaks(what: str) -> str:
    """Look up."""
    raise LookupError(what)


def looks_on(asked: Asked) -> Any:
    return calls("lookup", what="x")


def once(asked: Asked) -> Any:
    return "good" if results(asked) else calls("lookup", what="x")


@flow
async def unending(text: str) -> str:
    return await ask(text, tools=[lookup], rounds=2, check=lambda said: None)


@flow
async def looks(text: str) -> str:
    return await ask(text, tools=[lookup])


@flow
async def broken(text: str) -> str:
    return await ask(text, tools=[breaks])


@step
async def looks_within(text: str) -> str:
    return await ask(text, tools=[lookup], rounds=3)


@flow
async def by_step(text: str) -> str:
    return await looks_within(text) + await looks_within(f"{text}, again")


@pytest.mark.parametrize(("made", "attempts"), [(unending, 2), (broken, 1)])
async def test_an_ask_whose_tools_came_to_nothing_was_not_answered(tmp_path: Path, made: Any, attempts: int) -> None:
    async with serve({name: Served(answer=looks_on) for name in USD}) as server:
        resources = {"catalogue": catalogue(server), "routes": {"default": PLAIN}}
        async with Engine(str(tmp_path / "x.db"), resources=resources) as engine:
            with pytest.raises(RunFailed):
                await engine.run(made, "Question")
    (row,) = past(tmp_path)
    assert (row.answered, row.answered_by, row.reward, row.attempts) == (False, None, None, attempts)
    assert row.cost_nano is not None and row.cost_nano > 0


@pytest.mark.parametrize("name", FORMATS)
async def test_while_a_tool_is_at_work_there_is_no_answer_in_any_format(tmp_path: Path, name: str) -> None:
    """Some formats have no word of their own for the end of a turn that calls tools."""
    begun, goes = asyncio.Event(), asyncio.Event()

    @tool(effect="read", name="lookup")
    async def slow(what: str) -> str:
        """Look up."""
        begun.set()
        await goes.wait()
        return what

    @flow
    async def waits() -> str:
        return await ask("one", tools=[slow])

    async with serve({name: Served(answer=once)}) as server:
        resources = {"catalogue": Catalogue.of(model(server, name)), "routes": {"default": PLAIN}}
        async with Engine(str(tmp_path / "x.db"), resources=resources) as engine:
            run = await engine.start(waits)
            await begun.wait()
            assert not past(tmp_path)
            goes.set()
            assert await run.result() == "good"
    assert [(row.attempts, row.answered) for row in past(tmp_path)] == [(2, True)]


@pytest.mark.parametrize(("answer", "answered"), [(once, True), (looks_on, False)])
async def test_rounds_within_a_step_are_one_ask_too(tmp_path: Path, answer: Any, answered: bool) -> None:
    async with serve({name: Served(answer=answer) for name in USD}) as server:
        resources = {"catalogue": catalogue(server), "routes": {"default": PLAIN}}
        async with Engine(str(tmp_path / "x.db"), resources=resources) as engine:
            run = await engine.start(by_step, "Question")
            if answered:
                assert await run.result() == "goodgood"
            else:
                with pytest.raises(RunFailed, match="still calls tools"):
                    await run.result()
    rounds = [(row.attempts, row.answered) for row in past(tmp_path)]
    assert rounds == ([(2, True), (2, True)] if answered else [(3, False)])


@flow
async def escalates(text: str) -> str:
    return await ask(text, check=lambda said: None if said == "good" else "it is poor", repairs=0, escalate="lead")


def poor(asked: Asked) -> str:
    return "poor"


async def answered_by_person(engine: Engine) -> None:
    run = await engine.start(escalates, "Question", id="r")
    while not (items := await engine.inbox()):
        await asyncio.sleep(0.02)
    await run.decide(items[0].key, result="good", by="ann")
    assert await run.result() == "good"
    await run.feedback(score=1.0)


async def test_what_a_person_had_to_say_is_no_answer_of_the_route_and_costs_what_the_models_took(
    tmp_path: Path,
) -> None:
    """Else the dearest asks would have no cost, and a route that leaves all to people would look best."""
    async with serve({name: Served(answer=poor) for name in USD}) as server:
        resources = {"catalogue": catalogue(server), "routes": {"default": PLAIN}}
        async with Engine(str(tmp_path / "x.db"), resources=resources) as engine:
            await answered_by_person(engine)
        await server.idle()
        bill = sum(((one.tokens_in or 0) + (one.tokens_out or 0)) * USD[one.model or ""] for one in server.log) * 1000
    (row,) = past(tmp_path)
    assert (row.answered, row.answered_by, row.reward) == (False, None, 0.0)
    assert row.cost_nano == bill > 0
    assert all(move.next in USD for move in row.moves) and {call.asked for call in row.calls} <= set(USD)
    assert all(set(lesson.scores) <= set(USD) for lesson in lessons(traffic_of(tmp_path)))


async def test_what_is_read_beside_live_traffic_is_of_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an ask whose last round is committed while it is read counts as over, without that."""
    close: Callable[..., None] = Traffic._close  # pyright: ignore[reportPrivateUsage]
    async with serve({name: Served(answer=once, first_token_s=0.5) for name in USD}) as server:
        resources = {"catalogue": catalogue(server), "routes": {"default": PLAIN}}
        async with Engine(str(tmp_path / "x.db"), resources=resources) as engine:
            run = await engine.start(looks, "Question")
            while [e.type async for e in run.events(follow=False)].count("decision.made") < 2:
                await asyncio.sleep(0.01)
            loop = asyncio.get_running_loop()

            def ends(self: Traffic, reader: Any) -> None:
                asyncio.run_coroutine_threadsafe(run.result(), loop).result(10)
                close(self, reader)

            monkeypatch.setattr(Traffic, "_close", ends)
            assert not await asyncio.to_thread(past, tmp_path)
            monkeypatch.undo()
            assert [(row.attempts, row.answered) for row in past(tmp_path)] == [(2, True)]


async def test_all_of_it_is_as_it_was_where_a_model_answers(tmp_path: Path) -> None:
    async with serve({name: Served(answer=once) for name in USD}) as server:
        found, _ = await asked(tmp_path, server, PLAIN, 3)
    assert [(row.attempts, row.answered, row.answered_by, row.passed) for row in found] == [(2, True, "small", 1.0)] * 3
