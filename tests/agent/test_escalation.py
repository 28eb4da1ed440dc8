"""A question that no model answers well goes to a person, with its story, and their answer is judged like a model's."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, Run, RunFailed, flow
from segue.agent import answer, ask
from segue.agent.escalation import escalating, told_in
from segue.agent.request import Question
from segue.core.codec import loads
from segue.core.faults import INTERRUPTED, FaultKind
from segue.core.recovery import Again, Answer, AskPerson, Attempt, Fail, Told, Use
from segue.errors import InputError, WrongAnswer
from segue.models import Catalogue, ModelError
from segue.models.signals import made
from segue.routing import Cheapest
from segue.testing.provider import Served, serve
from tests.agent.test_ask_faults import City, catalogue, keys, opened

__all__ = ["keys"]
MODELS = ["small", "middle", "large"]


def is_a_capital(city: City) -> str | None:
    return None if city.people > 1000 else "it is too small"


@flow
async def escalates(text: str) -> dict[str, Any]:
    given = await answer(
        text, returns=City, check=is_a_capital, route="cheap", attempts=2, repairs=0, escalate="team-lead"
    )
    return {"city": given.value.name, "by": given.model, "faults": [t.fault for t in given.tried]}


@flow
async def escalates_for_a_moment(text: str) -> str:
    return await ask(text, route="cheap", attempts=1, escalate="team-lead", escalate_s=0.2)


async def asked(run: Run[Any], nth: int = 1) -> Any:
    """The body of the n-th question."""
    for _ in range(2000):
        found = [e async for e in run.events(follow=False) if e.type == "approval.asked"]
        if len(found) >= nth:
            return found[nth - 1].key, loads(found[nth - 1].body)
        await asyncio.sleep(0.01)
    raise AssertionError((await run.status(), [e async for e in run.events(follow=False)][-3:]))


async def started(engine: Engine, server: Any, trouble: str = "wrong-schema") -> tuple[Run[Any], str, dict[str, Any]]:
    for name in MODELS:
        server.fail(name, trouble)
    run = await engine.start(escalates, "Which city?", id="r")
    return run, *(await asked(run))


async def unheld(self: Run[Any], asked: Any, value: bytes) -> bytes:
    """As where the flow is not known to the sender."""
    return value


async def test_a_person_answers_and_is_asked_again_until_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(MODELS) as server, opened(tmp_path, server) as engine:
        run, key, question = await started(engine, server)
        assert (question["kind"], question["by"]) == ("escalation", ["team-lead"])
        assert question["shown"]["prompt"] == "Which city?"
        assert [t["model"] for t in question["shown"]["tried"]] == ["small", "middle"]
        assert all(t["fault"] == "bad output" and t["error"] and t["text"] for t in question["shown"]["tried"])
        assert set(question["form"]["properties"]) == {"name", "people"}
        calls = server.counts().calls
        for says in (run.decide(key, result={"name": 5}, by="ann"), engine.decide("r", answer={"name": 5}, by="ann")):
            with pytest.raises(WrongAnswer, match=r"is no City: name: .*; people: Field required"):
                await says
        monkeypatch.setattr(Run, "_held", unheld)
        await run.decide(key, result={"name": 5}, by="ann")
        _, again = await asked(run, 2)
        assert "people" in again["question"] and again["shown"]["tried"][-1]["model"] == "person:ann"
        monkeypatch.undo()
        await run.decide(key, result={"name": "Ghent", "people": 3}, by="ann")
        _, again = await asked(run, 3)
        assert "it is too small" in again["question"]
        await run.decide(key, result={"name": "Ghent", "people": 265_000}, by="bob")
        given = await run.result()
        assert (given["city"], given["by"]) == ("Ghent", "person:bob")
        assert given["faults"] == ["bad output"] * 4 + [""]
        assert server.counts().calls == calls


async def test_the_question_waits_for_another_process(tmp_path: Path) -> None:
    async with serve(MODELS) as server:
        async with opened(tmp_path, server) as engine:
            _, key, _ = await started(engine, server, "overloaded")
        async with opened(tmp_path, server) as engine:
            run = await engine.get("r")
            await run.decide(key, result={"name": "Ghent", "people": 265_000})
            assert (await run.result())["by"] == "person:somebody"


async def test_a_person_may_name_a_model_or_try_again(tmp_path: Path) -> None:
    async with serve(MODELS) as server, opened(tmp_path, server) as engine:
        run, key, _ = await started(engine, server)
        await run.decide(key, retry=True)
        await asked(run, 2)
        server.heal()
        await run.decide(key, use="large")
        _, again = await asked(run, 3)  # the check turns its answer down too: they hear of that
        assert again["shown"]["tried"][-1]["model"] == "large"


@flow
async def asks_once(text: str, attempts: int, model: str | None) -> str:
    return await ask(
        text, route="cheap", model=model, attempts=attempts, repairs=0, escalate="lead",
        check=lambda said: None if "fine" in said else "poor",
    )  # fmt: skip


@pytest.mark.parametrize(("attempts", "model"), [(1, None), (2, None), (1, "small")])
async def test_to_try_again_asks_the_only_model_again(tmp_path: Path, attempts: int, model: str | None) -> None:
    said = ["poor"]
    async with (
        serve({name: Served(answer=lambda _: said[-1]) for name in MODELS}) as server,
        opened(tmp_path, server, only="small") as engine,
    ):
        run = await engine.start(asks_once, "Which city?", attempts, model, id="r")
        key, _ = await asked(run)
        said.append("fine")
        calls = server.counts().calls
        assert await run.decide(key, retry=True)
        assert await run.result() == "fine"
        assert server.counts().calls == calls + 1


async def cut_off(tmp_path: Path, server: Any, n: int, **word: Any) -> str:
    """The process is stopped n times in the midst of what a person has asked for. Gives how the run goes on."""
    async with opened(tmp_path, server) as engine:
        run = await engine.start(asks_once, "Which city?", 2, None, id="r")
        key, _ = await asked(run)
        for name in MODELS:
            server.fail(name, "silent")
        assert await run.decide(key, **word)
        await under_way(server, 3)
    for crash in range(1, n):
        async with opened(tmp_path, server):
            await under_way(server, 3 + crash)
    server.heal()
    async with opened(tmp_path, server) as engine:
        run = await engine.get("r")
        if n == CRASHES:
            _, again = await asked(run, 2)
            return again["question"]
        return await run.result()


async def under_way(server: Any, calls: int) -> None:
    async with asyncio.timeout(20):
        while server.counts().calls < calls:
            await asyncio.sleep(0.01)


CRASHES = 5
"""As often a person's word may be cut off in a row, until they are asked again."""


@pytest.mark.parametrize(("word", "model"), [({"use": "large"}, "large"), ({"retry": True}, "middle")])
async def test_a_word_is_carried_out_though_the_process_is_stopped(
    tmp_path: Path, word: dict[str, Any], model: str
) -> None:
    said = ["poor", "poor", "fine"]
    async with serve({name: Served(answer=lambda _: said.pop(0)) for name in MODELS}) as server:
        assert await cut_off(tmp_path, server, CRASHES - 1, **word) == "fine"
        assert [entry.model for entry in server.log][3:] == [model] * (CRASHES - 1)


async def test_a_word_that_takes_the_process_down_each_time_comes_back(tmp_path: Path) -> None:
    async with serve({name: Served(answer=lambda _: "poor") for name in MODELS}) as server:
        assert "the process ended" in await cut_off(tmp_path, server, CRASHES, use="large")
        calls = server.counts().calls
        async with opened(tmp_path, server) as engine:  # what they say then is carried out in its turn
            run = await engine.get("r")
            (item,) = await engine.inbox("lead")
            await run.decide(item.key, use="middle")
            await asked(run, 3)
        assert [entry.model for entry in server.log][calls:] == ["middle"]


@pytest.mark.parametrize("word", [Again(0.0), Use("small"), Told("Ghent")])
def test_crashes_in_a_row_are_counted_from_the_last_word(word: Answer) -> None:
    question = Question(prompt="Which city?")
    says = escalating(lambda fault, history, luck: Fail(), question, "lead", None)
    history = [Attempt(1, 1, 0.0, made(FaultKind.BAD_OUTPUT, "poor", model="small"), word, decided=True)]
    for turn in range(2):
        for crash in range(1, CRASHES + 1):
            history.append(Attempt(1 + crash, 1 + len(history), 0.0, INTERRUPTED))
            answer = says(INTERRUPTED, history, 0.5)
            assert isinstance(answer, Again if crash < CRASHES else AskPerson), (turn, crash)
            history[-1] = history[-1]._replace(answer=answer)
        history[-1] = history[-1]._replace(answer=word, decided=True)
    history[-1] = history[-1]._replace(answer=Again(0.0), decided=True)
    assert told_in(history) is None, "whoever then lets it be tried again has taken their answer back"


async def test_a_name_that_nobody_has_is_refused_and_the_question_waits_on(tmp_path: Path) -> None:
    async with serve(MODELS) as server, opened(tmp_path, server) as engine:
        run, key, _ = await started(engine, server)
        with pytest.raises(
            InputError, match="lage cannot be asked: there is none of that name; there are: large"
        ) as no:
            await run.decide(key, use="lage")
        assert f"segue show r {key}" in str(no.value.remedy).replace("'", "")
        server.heal()
        assert await run.decide(key, use="large")


async def test_a_tag_that_the_route_requires_holds_for_whom_a_person_names(tmp_path: Path) -> None:
    inside = Cheapest(require={"tier": "inside"})
    async with serve(MODELS) as server:
        within = [m if m.name == "large" else replace(m, tags={"tier": "inside"}) for m in catalogue(server)]
        given = {"catalogue": Catalogue.of(*within), "routes": {"cheap": inside}}
        async with Engine(str(tmp_path / "x.db"), resources=given) as engine:
            run, key, _ = await started(engine, server)
            with pytest.raises(InputError, match="large cannot be asked: it has no tag tier; wanted is inside"):
                await run.decide(key, use="large")


async def test_without_an_answer_in_time_it_fails_as_it_would_have(tmp_path: Path) -> None:
    async with serve(MODELS) as server, opened(tmp_path, server) as engine:
        server.fail("small", "overloaded")
        with pytest.raises(RunFailed, match="Overloaded"):
            await engine.run(escalates_for_a_moment, "Which city?")


async def test_outside_of_a_run_it_fails_as_ever() -> None:
    with pytest.raises((ModelError, InputError)):
        await ask("Which city?", model="nobody-has-this", escalate="team-lead")


async def test_a_time_without_a_person_is_refused() -> None:
    with pytest.raises(InputError, match="goes with escalate"):
        await ask("Which city?", escalate_s=5.0)


async def test_an_answer_of_another_type_is_refused_and_the_question_waits_on(tmp_path: Path) -> None:
    async with serve(MODELS) as server:
        async with opened(tmp_path, server) as engine:
            await started(engine, server)
        async with opened(tmp_path, server) as engine:
            (item,) = await engine.inbox("team-lead")
            with pytest.raises(WrongAnswer, match="people: Input should be a valid integer") as wrong:
                await item.answer({"name": "Ghent", "people": "many"}, by="ann")
            assert (wrong.value.run, wrong.value.key) == ("r", item.key)
            (same,) = await engine.inbox("team-lead")
            assert same.id == item.id and same.pending is None
            await same.answer({"name": "Ghent", "people": 265_000}, by="ann")
            assert (await (await engine.get("r")).result())["by"] == "person:ann"
