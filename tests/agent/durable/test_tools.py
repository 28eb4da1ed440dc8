"""A tool means the same to `ask`, to `agent(...)` and to an agent of Pydantic AI with `Durable()`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import pytest
from pydantic_ai import Agent

from segue import Applied, ApprovalRule, NotApplied, Retry, Secret, agent, ask, flow, step, tool
from segue.agent.durable import Durable
from segue.core.records import ToolAnswered, ToolOutcome, record_of
from segue.errors import DefinitionError, RunFailed
from segue.testing import Crash
from segue.testing import Engine as InMemory
from segue.testing.crash import play
from segue.testing.provider import Answer, Asked, Call, Served, serve
from tests.agent.served import KEYS, calls, catalogue, in_turn, results

SIDES: tuple[Literal["before", "after"], ...] = ("before", "after")
DID: list[str] = []
SHOWN: list[list[str]] = []
WAYS = ("ask", "agent", "durable")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    DID.clear()
    SHOWN.clear()
    for name in KEYS:
        monkeypatch.setenv(name, "test")


@tool(effect="read", timeout_s=5)
async def look(city: str) -> str:
    """Look at a city."""
    DID.append("look")
    await asyncio.sleep(0)
    return f"{city} is fine"


async def plain(city: str) -> str:
    """A plain function."""
    DID.append("plain")
    await asyncio.sleep(0)
    return f"{city} is plain"


@step(retry=Retry(attempts=4, backoff_s=0))
async def retried(city: str) -> str:
    """A step that is retried."""
    DID.append("retried")
    await asyncio.sleep(0)
    return f"{city} is retried"


async def was_it(city: str) -> Applied | NotApplied:
    return Applied(f"{city} was paid") if "pay" in DID else NotApplied()


@tool(effect="once", reconcile=was_it)
async def pay(city: str) -> str:
    """Pay a city."""
    DID.append("pay")
    await asyncio.sleep(0)
    return f"{city} was paid"


@tool
async def strict(city: str, days: int = 1) -> str:
    """Takes few cities."""
    DID.append("strict")
    if city == "Oslo":
        raise ValueError("Oslo is closed")
    if city == "Bern":
        raise KeyError("Bern")
    return "x" * (500 if city == "Rome" else 5)


@tool(on_error="raise")
async def fatal(city: str) -> str:
    """Fails."""
    raise KeyError(city)


@tool(limit_chars=500)
async def long(city: str) -> str:
    """Says much."""
    return "".join(f"{n:04d}" for n in range(400))


@tool(approve=ApprovalRule(above={"cents": 100}, by="lead"))
async def refund(cents: int, why: str = "none") -> str:
    """Pay back."""
    DID.append(f"refund {cents}")
    return f"{cents} back"


@tool
async def odd(city: str) -> Any:
    """Gives what is no JSON."""
    DID.append("odd")
    return object()


@tool
async def sealed(city: str) -> Secret[str]:
    """Gives what nobody may see."""
    DID.append("sealed")
    return Secret("hunter2")


TOOLS: dict[str, Callable[..., Any]] = {
    "sealed": sealed,
    "look": look, "plain": plain, "retried": retried, "pay": pay, "strict": strict, "fatal": fatal, "long": long,
    "refund": refund, "odd": odd,
}  # fmt: skip
AGENTS = {name: agent("You do.", name="a", tools=[one], timeout_s=5) for name, one in TOOLS.items()}
THEIRS = {name: Agent(name="a", tools=[one], capabilities=[Durable(timeout_s=5)]) for name, one in TOOLS.items()}


@flow
async def uses(way: str, name: str) -> str:
    if way == "ask":
        return await ask("How is Rome?", tools=[TOOLS[name]], timeout_s=5)
    if way == "agent":
        return await AGENTS[name]("How is Rome?")
    return (await THEIRS[name].run("How is Rome?")).output


def speaking(*said: Any) -> Served:
    """A model that says these in turn; what it was shown of results is in SHOWN."""
    speak = in_turn(*said)

    def answer(asked: Asked) -> Any:
        SHOWN.append(results(asked))
        return speak(asked)

    return Served(answer=answer)


def told(engine: InMemory, run: str = "main") -> list[ToolAnswered]:
    return [r for e in engine.history(run) if isinstance(r := record_of(e), ToolAnswered)]


async def once(way: str, name: str, *said: Any) -> tuple[str, list[ToolAnswered]]:
    """One run, and what is on record of its calls."""
    async with (
        serve({"chat": speaking(*said)}) as server,
        InMemory(resources={"catalogue": catalogue(server, "chat")}) as engine,
    ):
        given = await engine.run(uses, way, name, id="main")
        return given, told(engine)


@pytest.mark.sampled(12)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["look", "plain", "retried", "pay"])
async def test_nothing_is_repeated_blindly_after_a_crash(way: str, name: str) -> None:
    cut_off = 0
    async with serve({"chat": speaking(calls(name, city="Rome"), "Done.")}) as server:
        resources = {"catalogue": catalogue(server, "chat")}

        async def scene(engine: InMemory) -> str:
            return await engine.run(uses, way, name, id="main")

        _, engine = await play(scene, resources=resources)
        whole = SHOWN[-1][0]
        for commit in range(1, engine.commits + 1):
            for when in SIDES:
                DID.clear()
                got, last = await play(scene, [Crash(commit, when)], resources=resources)
                assert got == "Done."
                (record,) = told(last)
                if record.outcome is ToolOutcome.UNKNOWN:
                    cut_off += 1
                    assert f"nobody knows whether {name} had its effect" in SHOWN[-1][0]
                    assert record.why in SHOWN[-1][0] and record.effect == "write"
                else:
                    assert SHOWN[-1][0] == whole and record.outcome is ToolOutcome.GIVEN
                assert len(DID) <= (2 if name == "look" else 1)
    assert (cut_off > 0) is (name in {"plain", "retried"})


async def test_the_words_and_the_records_are_the_same() -> None:
    said = [calls("strict", city="Rome"), calls("strict", city="Oslo"), calls("strict", city="Bern"),
            calls("strict", town="Rome"), "Done."]  # fmt: skip
    seen: dict[str, Any] = {}
    for way in WAYS:
        SHOWN.clear()
        _, records = await once(way, "strict", *said)
        seen[way] = SHOWN[-1], [(one.outcome, one.effect, one.why) for one in records]
    assert seen["agent"] == seen["durable"]
    assert seen["agent"][1] == seen["ask"][1]
    assert seen["agent"][0] == seen["ask"][0]
    assert [one for one, *_ in seen["ask"][1]] == [
        ToolOutcome.GIVEN, ToolOutcome.REFUSED, ToolOutcome.FAILED, ToolOutcome.REFUSED,
    ]  # fmt: skip


class ReadTimeout(Exception):
    """As those of HTTP clients, which are no TimeoutError."""


async def never_was(city: str) -> NotApplied:
    DID.append("asked")
    return NotApplied()


@tool(effect="once", reconcile=never_was, timeout_s=0.05)
async def hung(city: str) -> str:
    """Takes too long."""
    DID.append("hung")
    await asyncio.sleep(5)
    return city


@tool(effect="once", reconcile=never_was)
async def cut(city: str) -> str:
    """Loses its connection."""
    DID.append("cut")
    raise ConnectionResetError("gone")


@tool(effect="once", reconcile=never_was)
def unheard(city: str) -> str:
    """Loses its connection, as an HTTP client says it."""
    DID.append("unheard")
    raise ReadTimeout("no answer")


@tool(effect="once", reconcile=never_was, retry=Retry(attempts=2, backoff_s=0))
async def cut_twice(city: str) -> str:
    """Loses its connection each time."""
    DID.append("cut_twice")
    raise ConnectionResetError("gone")


@tool(effect="once", reconcile=never_was)
async def full(city: str) -> str:
    """Says itself that it failed."""
    DID.append("full")
    raise KeyError("full")


SETTLED: dict[str, tuple[list[str], str]] = {
    "hung": (["hung", "asked"], "hung was not carried out: TimeoutError: the attempt took longer than timeout_s=0.05"),
    "cut": (["cut", "asked"], "cut was not carried out: ConnectionResetError: gone"),
    "unheard": (["unheard", "asked"], "unheard was not carried out: ReadTimeout: no answer"),
    "cut_twice": (["cut_twice", "asked"] * 2, "cut_twice was not carried out: ConnectionResetError: gone"),
    "full": (["full"], "full failed: KeyError: 'full'"),
}
for one in (hung, cut, unheard, cut_twice, full):
    TOOLS[one.name] = one
    AGENTS[one.name] = agent("You do.", name="a", tools=[one], timeout_s=5)
    THEIRS[one.name] = Agent(name="a", tools=[one], capabilities=[Durable(timeout_s=5)])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SETTLED)
async def test_a_model_is_told_that_a_call_did_not_happen_where_reconcile_says_so(way: str, name: str) -> None:
    """It was told that nobody knows, and to find out first."""
    made, says = SETTLED[name]
    given, (record,) = await once(way, name, calls(name, city="Rome"), "Done.")
    assert given == "Done." and made == DID
    assert record.outcome is ToolOutcome.FAILED and record.why is not None and record.why in SHOWN[-1][0]
    assert record.why == (f"{says}. It may be called again." if "asked" in made else says)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("way", WAYS)
async def test_after_a_crash_a_model_is_told_the_same_of_it(way: str) -> None:
    """Killed at every commit. What reconcile says of the call that the crash cut off has it made again."""
    async with serve({"chat": speaking(calls("cut", city="Rome"), "Done.")}) as server:
        resources = {"catalogue": catalogue(server, "chat")}

        async def scene(engine: InMemory) -> str:
            return await engine.run(uses, way, "cut", id="main")

        _, engine = await play(scene, resources=resources)
        whole, made = SHOWN[-1], set[int]()
        for commit in range(1, engine.commits + 1):
            for when in SIDES:
                DID.clear()
                got, last = await play(scene, [Crash(commit, when)], resources=resources)
                (record,) = told(last)
                assert (got, SHOWN[-1], record.outcome) == ("Done.", whole, ToolOutcome.FAILED)
                made.add(DID.count("cut"))
    assert made == {1, 2}


@step
async def in_a_step(way: str) -> str:
    return await ask("How is Rome?", tools=[TOOLS["cut"]], timeout_s=5)


@flow
async def asks_in_a_step(way: str) -> str:
    return await in_a_step(way)


async def test_inside_of_a_step_nobody_asks_reconcile_and_nobody_knows() -> None:
    async with (
        serve({"chat": speaking(calls("cut", city="Rome"), "Done.")}) as server,
        InMemory(resources={"catalogue": catalogue(server, "chat")}) as engine,
    ):
        await engine.run(asks_in_a_step, "ask")
    assert DID == ["cut"] and "nobody knows whether cut had its effect" in SHOWN[-1][0]


@pytest.mark.parametrize("way", WAYS)
async def test_an_error_that_is_to_be_raised_fails_it(way: str) -> None:
    with pytest.raises(RunFailed, match="Rome"):
        await once(way, "fatal", calls("fatal", city="Rome"), "Done.")


@pytest.mark.parametrize("way", WAYS)
async def test_a_result_over_its_limit_is_had_piece_by_piece(way: str) -> None:
    whole = "".join(f"{n:04d}" for n in range(400))
    got = ""

    def answer(asked: Asked) -> Any:
        nonlocal got
        assert {one.name for one in asked.tools} == {"long", "recall"}
        given = results(asked)
        if not given:
            return calls("long", city="Rome")
        head, _, rest = given[-1].partition("\n[…")
        got += head
        place = rest.partition("recall ")[2].partition(" ")[0]
        return calls("recall", handle=place) if place else "Done."

    async with (
        serve({"chat": Served(answer=answer)}) as server,
        InMemory(resources={"catalogue": catalogue(server, "chat")}) as engine,
    ):
        assert await engine.run(uses, way, "long", id="main") == "Done."
        record = told(engine)[0]
    assert got == whole
    assert record.chars == len(whole) and (record.shown or 0) <= 500 and record.recall


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_above_its_limit_waits_for_a_person(way: str) -> None:
    script = calls("refund", cents=50), calls("refund", cents=500), calls("refund", cents=600), "Done."
    async with (
        serve({"chat": speaking(*script)}) as server,
        InMemory(resources={"catalogue": catalogue(server, "chat")}) as engine,
    ):
        run = await engine.start(uses, way, "refund", id="main")
        for yes in (True, False):
            while not (items := await engine.inbox("lead")):
                await asyncio.sleep(0.01)
            assert items[0].shown == {"cents": 500 if yes else 600, "why": "none"}
            await (items[0].approve(by="ada") if yes else items[0].deny(by="ada", note="too much"))
        assert await run.result() == "Done."
        records = told(engine)
    assert DID == ["refund 50", "refund 500"]
    assert SHOWN[-1][:2] == ["50 back", "500 back"] and "ada has denied it: too much" in SHOWN[-1][2]
    assert [one.outcome for one in records] == [ToolOutcome.GIVEN, ToolOutcome.GIVEN, ToolOutcome.DENIED]
    assert [one.approval is None for one in records] == [True, False, False]


@pytest.mark.parametrize("way", WAYS)
async def test_a_result_that_is_no_json_is_told_as_a_call_that_was_made(way: str) -> None:
    _, (record,) = await once(way, "odd", calls("odd", city="Rome"), "Done.")
    assert DID == ["odd"] and record.outcome is ToolOutcome.FAILED
    assert "odd was carried out, and its result cannot be shown" in SHOWN[-1][0]


@pytest.mark.parametrize("way", WAYS)
async def test_a_secret_is_told_as_a_call_that_was_made(way: str) -> None:
    _, (record,) = await once(way, "sealed", calls("sealed", city="Rome"), "Done.")
    assert DID == ["sealed"] and record.outcome is ToolOutcome.FAILED
    assert "sealed was carried out, and its result cannot be shown" in SHOWN[-1][0] and "hunter2" not in SHOWN[-1][0]


@pytest.mark.parametrize("way", WAYS)
async def test_two_calls_of_one_id_are_both_answered(way: str) -> None:
    both = Answer(calls=tuple(Call("plain", f'{{"city": "{city}"}}', id="c1") for city in ("Rome", "Oslo")))
    given, records = await once(way, "plain", both, "-", "Done.")
    assert given == "Done." and SHOWN[-1] == ["Rome is plain", "Oslo is plain"] and len(records) == 2


# --- tools of others, by their metadata


async def theirs(cents: int) -> str:
    """Pay back."""
    DID.append(f"theirs {cents}")
    return "y" * 1000


async def odd_theirs(cents: int) -> Any:
    """Gives what is no JSON."""
    DID.append("odd")
    return object()


def with_metadata(function: Callable[..., Any] = theirs, **said: Any) -> Agent[None, str]:
    from pydantic_ai.tools import Tool

    return Agent(name="b", tools=[Tool(function, metadata={"segue": said})], capabilities=[Durable(timeout_s=5)])


MARKED = {
    "limit": with_metadata(limit_chars=400), "approve": with_metadata(approve=True), "odd": with_metadata(odd_theirs),
    "raise": with_metadata(strict.step.function, on_error="raise"),
}  # fmt: skip


@flow
async def marked(name: str) -> str:
    return (await MARKED[name].run("Go.")).output


async def ran(name: str, *said: Any) -> list[ToolAnswered]:
    async with (
        serve({"chat": speaking(*said)}) as server,
        InMemory(resources={"catalogue": catalogue(server, "chat")}) as engine,
    ):
        run = await engine.start(marked, name, id="main")
        if name == "approve":
            while not (items := await engine.inbox()):
                await asyncio.sleep(0.01)
            await items[0].deny(by="ada")
        await run.result()
        return told(engine)


async def test_metadata_say_the_same_by_the_same_names() -> None:
    (record,) = await ran("limit", calls("theirs", cents=5), "Done.")
    assert record.chars == 1000 and record.effect == "write" and "characters are left out here" in SHOWN[-1][0]
    DID.clear()
    (record,) = await ran("approve", calls("theirs", cents=5), "Done.")
    assert record.outcome is ToolOutcome.DENIED and not DID
    (record,) = await ran("odd", calls("odd_theirs", cents=5), "Done.")
    assert record.outcome is ToolOutcome.FAILED and "odd_theirs was carried out" in SHOWN[-1][0] and DID == ["odd"]
    with pytest.raises(RunFailed, match="Bern"):
        await ran("raise", calls("strict", city="Bern"), "Done.")


@pytest.mark.parametrize(
    "said",
    [{"result_max": 5}, {"approve": ApprovalRule(above={"euros": 1})}, {"effect": "wrote"}, {"limit_chars": 3},
     {"approve": "yes"}, {"on_error": "x"}],
)  # fmt: skip
def test_metadata_that_say_nothing_are_refused_when_the_agent_is_made(said: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match=r"tool theirs|approve"):
        with_metadata(**said)
