"""What people say in the place of a model's answer: a fork and an override take the answer itself."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field
from pydantic_ai import Agent, NativeOutput, PromptedOutput, ToolOutput
from pydantic_core import to_jsonable_python

from segue import Engine, agent, ask, embed, flow, step
from segue.agent import Durable, answer
from segue.agent.durable import backend
from segue.core.events import EventType
from segue.errors import InputError, RunFailed
from segue.models import BadOutput
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import KEYS, calls, opened, results
from tests.behaviour.world import in_state


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


class Topic(BaseModel):
    topic: Literal["card", "loan"]


class Order(BaseModel):
    order: int


@flow
async def triage(text: str) -> str:
    sorted_ = await ask("Which topic?", text, returns=Topic)
    said = await answer(f"Answer about a {sorted_.topic}.", text)
    return f"{said.value} ({said.model or 'by hand'})"


@step
async def look_up(order: str) -> str:
    """What is known of an order."""
    return "paid"


@flow
async def tooled(text: str) -> str:
    return await ask(text, tools=[look_up])


def says(asked: Asked) -> Any:
    if asked.schema:
        return '{"topic": "loan"}'
    if "order" in asked.prompt and not results(asked):
        return calls("look_up", order="o-7")
    return "about a loan" if "a loan." in str(asked.body) else "about a card"


async def keys_of(run: Any, name: str = "ask[") -> list[str]:
    ends = [e.key or "" async for e in run.events(follow=False) if e.type == EventType.STEP_COMPLETED]
    return [key for key in ends if name in key.rpartition("/")[2]]


async def test_a_fork_takes_the_answer_as_it_is(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=says)}) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(triage, "My card is gone.")
        assert await run.result() == "about a loan (chat)"
        topic, told = await keys_of(run)
        asked_again = await run.fork(results={topic: {"topic": "card"}})
        assert await asked_again.result() == "about a card (chat)"
        assert await (await run.fork(results={told: "It is blocked."})).result() == "It is blocked. (by hand)"
        with pytest.raises(InputError, match=r"is no Topic: topic: Input should be 'card' or 'loan'") as wrong:
            await run.fork(results={topic: {"topic": "cat"}})
        assert wrong.value.key == topic and "the call returns Topic" in str(wrong.value.remedy)
        with pytest.raises(InputError, match="is no text: a text is wanted, not 5"):
            await run.fork(results={told: 5})
        assert len(await engine.runs()) == 3  # a fork that is refused leaves no run
        elsewhere = await run.fork(at=topic, results={"ask[elsewhere]#1": {"any": "type"}})
        assert await elsewhere.result() == "about a loan (chat)"  # a question to come has a type of its own


async def test_a_fork_takes_it_in_the_place_of_a_request_that_calls_tools(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=says)}) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(tooled, "Where is my order?")
        assert (await run.result()).startswith("about")
        first, _ = await keys_of(run)
        (looked,) = await keys_of(run, "look_up")
        fork = await run.fork(looked, results={first: "It is on its way."})
        assert await fork.result() == "It is on its way."
        assert await keys_of(fork, "look_up") == []


async def test_an_override_takes_the_answer_as_it_is(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer="???")}) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(waiting, "My card is gone.")
        status = await in_state(run, "parked")
        await run.override(str(status.waits_on[0]["key"]), {"topic": "card"}, by="ada")
        assert await run.result() == "card"


@flow
async def waiting(text: str) -> str:
    return (await ask("Which topic?", text, returns=Topic, escalate="ada", repairs=0, attempts=1)).topic


class Aliased(BaseModel):
    topic: str = Field(alias="theTopic")


class LeftOut(BaseModel):
    topic: str = Field(default="", alias="theTopic")


class Validated(BaseModel):
    topic: str = Field(validation_alias="theTopic", serialization_alias="its_topic")


class Result(BaseModel):
    result: int


class Response(BaseModel):
    response: str


class Loose(BaseModel):
    note: str = ""


class Card(BaseModel):
    kind: Literal["card"]
    no: str


class Loan(BaseModel):
    kind: Literal["loan"]
    no: str


CardOrLoan = Annotated[Card | Loan, Field(discriminator="kind")]


def counted(count: int) -> int:
    return count


def whose(output: Any) -> Any:
    return agent("You help.", name="helper", returns=output)


HELPERS: dict[str, tuple[Any, Any, Any]] = {
    "text": (agent("You help.", name="helper", tools=[look_up]), "It is blocked.", "It is blocked."),
    "type": (whose(Topic), {"topic": "card"}, Topic(topic="card")),
    "list": (whose(list[int]), [1, 2], [1, 2]),
    "literal": (whose(Literal["a", "b"]), "b", "b"),
    "either": (whose(str | Topic), {"topic": "card"}, Topic(topic="card")),
    "either text": (whose(str | Topic), "Neither.", "Neither."),
    "native": (whose(NativeOutput(Topic)), {"topic": "card"}, Topic(topic="card")),
    "prompted": (whose(PromptedOutput(list[int])), [1, 2], [1, 2]),
    "tool": (whose(ToolOutput(Topic)), {"topic": "card"}, Topic(topic="card")),
    "list by a tool": (whose(ToolOutput(list[int])), [1, 2], [1, 2]),
    "two tools": (whose([ToolOutput(Topic), ToolOutput(Order)]), {"order": 7}, Order(order=7)),
    "text or a tool": (whose([str, ToolOutput(Order)]), "Neither.", "Neither."),
    "two": (whose([Topic, Order]), {"order": 7}, Order(order=7)),
    "by name": (whose(Aliased), {"topic": "card"}, Aliased(theTopic="card")),
    "by alias": (whose(Aliased), {"theTopic": "card"}, Aliased(theTopic="card")),
    "left out, by name": (whose(LeftOut), {"topic": "card"}, LeftOut(theTopic="card")),
    "validated by alias": (whose(Validated), {"topic": "card"}, Validated.model_validate({"theTopic": "card"})),
    "list by name": (whose(list[Aliased]), [{"topic": "card"}], [Aliased(theTopic="card")]),
    "either by name": (whose([Order, Aliased]), {"topic": "card"}, Aliased(theTopic="card")),
    "native by name": (whose(NativeOutput([Order, Aliased])), {"topic": "card"}, Aliased(theTopic="card")),
    "prompted by name": (whose(PromptedOutput(list[Aliased])), [{"topic": "card"}], [Aliased(theTopic="card")]),
    "tool by name": (whose([str, ToolOutput(Aliased)]), {"topic": "card"}, Aliased(theTopic="card")),
    "a field called result": (whose(Order | Result), {"result": 2}, Result(result=2)),
    "a field called response": (whose([Order, Response]), {"response": "a"}, Response(response="a")),
    "as it is on record": (
        whose([Order, Topic]),
        {"result": {"kind": "Topic", "data": {"topic": "card"}}},
        Topic(topic="card"),
    ),
    "the one with its fields": (whose([Loose, Order]), {"order": 7}, Order(order=7)),
    "by a function": (whose(NativeOutput([counted, Order])), {"count": 2}, 2),
    "told apart by a field": (whose(NativeOutput(CardOrLoan)), {"kind": "loan", "no": "9"}, Loan(kind="loan", no="9")),
}
MISFITS: dict[str, tuple[Any, Any, str]] = {
    "type": (whose(Order), {"order": "many"}, "order: Input should be a valid integer"),
    "a name": (whose(Order), {"oder": 7}, "order: Field required"),
    "plain": (whose(int), "seven", "type: it: Input should be a valid integer"),
    "list": (whose(list[int]), [1, "b"], "type: 1: Input should be a valid integer"),
    "two": (whose([Topic, Order]), {"order": "many"}, "topic: Field required; or: order: Input should be"),
    "native": (whose(NativeOutput(int)), "seven", "type: it: Input should be a valid integer"),
    "prompted": (whose(PromptedOutput([Topic, Order])), {"topic": "cat"}, "topic: Input should be 'card' or 'loan'"),
    "tool": (whose([str, ToolOutput(Order)]), {"order": "many"}, "order: Input should be a valid integer"),
    "told apart by a field": (whose(NativeOutput(CardOrLoan)), {"nm": "x"}, "kind: Field required; no: Field required"),
    "no text": (whose(str), "", "type: an empty text is no answer"),
}
HELPERS.update({f"misfit: {name}": one for name, one in MISFITS.items()})


@flow
async def helped(name: str) -> str:
    said = await HELPERS[name][0].run("Which topic?")
    await kept(to_jsonable_python(said.all_messages()))
    return repr(said.output)


@step
async def kept(messages: list[Any]) -> int:
    return len(messages)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", [name for name in HELPERS if not name.startswith("misfit")])
async def test_a_fork_takes_it_in_the_place_of_a_request_of_an_agent(name: str, tmp_path: Path) -> None:
    """A text is what the model says; anything else is what it gives as its output."""
    _, given, wanted = HELPERS[name]
    async with serve({"chat": Served(answer=lambda _: "???")}) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(helped, name)
        with suppress(RunFailed):
            await run.result()
        fork = await run.fork(results={await first_ask(run): given})
        assert await fork.result() == repr(wanted)
        assert await (await fork.fork(await last_key(fork))).result() == repr(wanted), "a replay too"


LOOKS = agent("You help.", name="helper", returns=Card | Loan, tools=[look_up])


@flow
async def looks(text: str) -> str:
    return repr(await LOOKS(text))


@pytest.mark.parametrize("at", [False, True])
async def test_a_fork_takes_it_for_a_request_that_others_had_followed(at: bool, tmp_path: Path) -> None:
    """The fork has those on record too, though it made none of them: it let the model answer in the person's place."""

    def looks_first(asked: Asked) -> Any:
        return calls("final_result_Card", kind="card", no="7") if results(asked) else calls("look_up", order="o-7")

    async with serve({"chat": Served(answer=looks_first)}) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(looks, "Which?")
        assert await run.result() == repr(Card(kind="card", no="7"))
        assert len(server.log) == 2
        first = await first_ask(run)
        fork = await run.fork(first if at else None, results={first: {"kind": "loan", "no": "9"}})
        assert await fork.result() == repr(Loan(kind="loan", no="9"))
        wrong = await run.fork(first if at else None, results={first: {"nm": "x"}})
        with pytest.raises(RunFailed, match="kind: Field required"):
            await wrong.result()
        assert len(server.log) == 2


OTHERWISE = Agent(name="helper", output_type=NativeOutput(Topic), capabilities=[Durable()])


@flow
async def otherwise(text: str) -> str:
    return repr((await OTHERWISE.run(text, output_type=NativeOutput(Order))).output)


async def test_a_run_of_an_agent_may_want_another_type_than_the_agent(tmp_path: Path) -> None:
    async with (
        serve({"chat": Served(answer=lambda _: '{"order": 1}')}) as server,
        opened(tmp_path, server, "chat") as engine,
    ):
        run = await engine.start(otherwise, "Which?")
        assert await run.result() == repr(Order(order=1))
        fork = await run.fork(results={await first_ask(run): {"order": 7}})
        assert await fork.result() == repr(Order(order=7))
        assert len(server.log) == 1


async def first_ask(run: Any) -> str:
    return [key async for e in run.events(follow=False) if "/ask[" in (key := e.key or "")][0]  # noqa: RUF015


@pytest.mark.parametrize("name", MISFITS)
async def test_what_fits_no_type_of_an_agent_is_refused_and_no_model_is_asked(name: str, tmp_path: Path) -> None:
    _, given, said = MISFITS[name]
    async with serve({"chat": Served(answer=lambda _: "???")}) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(helped, f"misfit: {name}")
        with suppress(RunFailed):
            await run.result()
        asked = len(server.log)
        fork = await run.fork(results={await first_ask(run): given})
        with pytest.raises(RunFailed) as failed:
            await fork.result()
        error = failed.value.__cause__
        assert isinstance(error, BadOutput) and "does not fit today's type" in str(error) and said in str(error)
        assert (error.run, error.key) == (fork.id, "agent[helper]#1/ask") and error.remedy
        assert len(server.log) == asked


@flow
async def asks_twice(text: str) -> str:
    return repr((await LOOKING.run(text)).output)


LOOKING = Agent(name="looking", output_type=Order, tools=[look_up], capabilities=[Durable()])


def looks_first(asked: Asked) -> Any:
    return calls("final_result", order=1) if results(asked) else calls("look_up", order="1")


@pytest.mark.parametrize("at", [None, 0, -1], ids=["whole", "at the first", "at the last"])
async def test_in_a_fork_of_a_fork_it_is_refused_too(at: int | None, tmp_path: Path) -> None:
    """What the fork between them had asked was taken for what came of it."""
    async with serve({"chat": Served(answer=looks_first)}) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(asks_twice, "Which order?")
        await run.result()
        keys = await keys_of(run, "ask[")
        fork = await run.fork(None if at is None else keys[at])
        assert await fork.result() == repr(Order(order=1))
        asked = len(server.log)
        for of in (run, fork, await fork.fork()):
            for key in await keys_of(of, "ask["):
                misfit = await of.fork(results={key: {"order": "many"}})
                with pytest.raises(RunFailed, match="does not fit today's type"):
                    await misfit.result()
                with pytest.raises(RunFailed, match="does not fit today's type"):
                    await (await misfit.fork()).result()
        assert len(server.log) == asked


async def test_a_run_that_had_gone_on_from_a_misfit_does_so_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older version had the model mend it; what is on record since then is replayed."""
    served = Served(answer=lambda _: '{"theTopic": "loan"}')
    async with serve({"chat": served}) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(helped, "by alias")
        assert await run.result() == repr(Aliased(theTopic="loan"))
        with monkeypatch.context() as before:
            before.setattr(backend, "_went_on", lambda key: True)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
            older = await run.fork(results={await first_ask(run): {"topic": "card"}})
            assert await older.result() == repr(Aliased(theTopic="loan"))
        asked = len(server.log)
        again = await older.fork(await last_key(older))
        assert await again.result() == repr(Aliased(theTopic="loan")) and len(server.log) == asked


async def last_key(run: Any) -> str:
    return (await keys_of(run, "kept["))[-1]


@flow
async def embeds(texts: list[str]) -> list[list[float]]:
    return await embed(texts, model="hashed")


async def test_a_fork_takes_vectors_as_they_are(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "x.db")) as engine:
        one, two = await engine.start(embeds, ["a"]), await engine.start(embeds, ["a", "b"])
        assert len((await one.result())[0]) == len((await two.result())[1]) > 3
        (of_one,), (of_two,) = await keys_of(one, "embed["), await keys_of(two, "embed[")
        assert await (await one.fork(results={of_one: [1.0, 2.5]})).result() == [[1.0, 2.5]]
        both = [[1, 2.5], [0.0, 1.0]]
        assert await (await two.fork(results={of_two: both})).result() == both
        with pytest.raises(InputError, match="is no list with one vector for each text: 1 given for 2 texts"):
            await two.fork(results={of_two: [1.0, 2.5]})
        for bad in ([[1.0], [1.0, 2.0]], ["x"], [], "x"):
            with pytest.raises(InputError):
                await two.fork(results={of_two: bad})
