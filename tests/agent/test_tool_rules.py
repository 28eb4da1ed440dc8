"""`@tool`: effect classes after a crash, time limits, approval, limits of results, honest words for what goes wrong."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from segue import Applied, ApprovalRule, NotApplied, Retry, ask, flow, step, tool
from segue.agent.tools import Asked as Wanted
from segue.agent.tools import Tools
from segue.core.records import ToolAnswered, ToolOutcome, record_of
from segue.errors import DefinitionError, NotInAFlow, RunFailed
from segue.testing import Crash
from segue.testing import Engine as InMemory
from segue.testing.crash import play
from segue.testing.provider import Answer, Asked, Call, Served, serve
from tests.agent.served import KEYS, calls, catalogue, in_turn, results

SIDES: tuple[Literal["before", "after"], ...] = ("before", "after")
DID: list[str] = []
SHOWN: list[list[str]] = []
HOLD: dict[str, float] = {}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    DID.clear()
    SHOWN.clear()
    HOLD.clear()
    for name in KEYS:
        monkeypatch.setenv(name, "test")


@tool(effect="read", timeout_s=5)
async def look(city: str) -> str:
    """Look at a city."""
    DID.append("look")
    await asyncio.sleep(0)
    return f"{city} is fine"


@tool(timeout_s=5)
async def put(city: str) -> str:
    """Put a city down."""
    DID.append("put")
    await asyncio.sleep(0)
    return f"{city} is put"


async def plain(city: str) -> str:
    """A plain function."""
    DID.append("plain")
    await asyncio.sleep(0)
    return f"{city} is plain"


async def was_it(city: str) -> Applied | NotApplied:
    return Applied(f"{city} was paid") if "pay" in DID else NotApplied()


@tool(effect="once", reconcile=was_it)
async def pay(city: str) -> str:
    """Pay a city."""
    DID.append("pay")
    await asyncio.sleep(0)
    return f"{city} was paid"


@step(retry=Retry(attempts=4, backoff_s=0))
async def retried(city: str) -> str:
    """A step that is retried."""
    DID.append("retried")
    await asyncio.sleep(0)
    return f"{city} is retried"


ALL: dict[str, Callable[..., Any]] = {"look": look, "put": put, "plain": plain, "pay": pay, "retried": retried}


@flow
async def uses(name: str) -> str:
    return await ask("How is Rome?", tools=[ALL[name]], timeout_s=5)


@asynccontextmanager
async def model(*said: Any) -> AsyncGenerator[dict[str, Any]]:
    """A model that says these in turn; what it was shown of results is in SHOWN."""
    speak = in_turn(*said)

    def answer(asked: Asked) -> Any:
        SHOWN.append(results(asked))
        return speak(asked)

    async with serve({"chat": Served(answer=answer)}) as server:
        yield {"catalogue": catalogue(server, "chat")}


def told(engine: InMemory, run: str = "main") -> list[ToolAnswered]:
    return [r for e in engine.history(run) if isinstance(r := record_of(e), ToolAnswered)]


# --- effect classes ---------------------------------------------------------------------------------------------------


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", ["look", "put", "plain", "pay", "retried"])
async def test_nothing_is_repeated_blindly_after_a_crash(name: str) -> None:
    """Killed at every commit. A read is made again; a write, plain or retried, never: the model is told that nobody
    knows; what happens once is reconciled."""
    cut_off = 0
    async with model(calls(name, city="Rome"), "Done.") as resources:

        async def scene(engine: InMemory) -> str:
            return await engine.run(uses, name, id="main")

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
                    assert SHOWN[-1][0].startswith(f"nobody knows whether {name} had its effect")
                    assert record.why == SHOWN[-1][0] and record.effect == "write"
                else:
                    assert SHOWN[-1][0] == whole and record.outcome is ToolOutcome.GIVEN
                assert len(DID) <= (2 if name == "look" else 1)
    assert (cut_off > 0) is (name in {"put", "plain", "retried"})


@tool(effect="read", timeout_s=0.05)
async def slow_read(city: str) -> str:
    """Slow at first."""
    DID.append("slow_read")
    if len(DID) < 2:
        await asyncio.sleep(5)
    return city


@tool(timeout_s=0.05, retry=Retry(attempts=3, backoff_s=0))
async def slow_write(city: str) -> str:
    """Slow."""
    DID.append("slow_write")
    await asyncio.sleep(5)
    return city


@tool(retry=Retry(attempts=3, backoff_s=0))
async def flaky_write(city: str) -> str:
    """Fails for sure, at first."""
    DID.append("flaky_write")
    if len(DID) < 2:
        raise ConnectionRefusedError("nobody is there")
    return city


class ReadTimeout(Exception):
    """As those of http clients, which are no TimeoutError."""


@tool(retry=Retry(attempts=3, backoff_s=0))
def lost_write(city: str) -> str:
    """Loses its connection."""
    DID.append("lost_write")
    raise ReadTimeout("no answer")


@tool(effect="read")
def choosy(city: str) -> str:
    """Refuses."""
    DID.append("choosy")
    raise UnicodeError(f"{city} is no city")


ALL.update({t.name: t for t in (slow_read, slow_write, flaky_write, lost_write, choosy)})


@pytest.mark.parametrize(
    ("name", "made", "outcome", "says"),
    [
        ("slow_read", 2, "given", "Rome"),
        ("slow_write", 1, "unknown", "nobody knows whether slow_write had its effect: TimeoutError"),
        ("flaky_write", 2, "given", "Rome"),
        ("lost_write", 1, "unknown", "nobody knows whether lost_write had its effect: ReadTimeout: no answer"),
        ("choosy", 1, "refused", "Rome is no city"),
    ],
)
async def test_a_write_is_retried_only_where_it_surely_failed(name: str, made: int, outcome: str, says: str) -> None:
    async with model(calls(name, city="Rome"), "Done.") as resources, InMemory(resources=resources) as engine:
        await engine.run(uses, name, id="main")
        assert len(DID) == made
        (record,) = told(engine)
        assert record.outcome.value == outcome
        assert says in SHOWN[-1][0]


# --- approval ---------------------------------------------------------------------------------------------------------

LEAD = ApprovalRule(above={"cents": 10_000}, by="claims-lead", timeout_s=3600)


@tool(approve=LEAD)
async def refund(order: str, cents: int, why: str = "") -> str:
    """Pay an order back."""
    DID.append(f"refund {order} {cents}")
    return f"{cents} paid back"


def abroad(city: str) -> bool:
    return city != "Rome"


@tool(approve=abroad)
async def visit(city: str) -> str:
    """Visit a city."""
    DID.append(f"visit {city}")
    return city


def torn(city: str) -> int:
    return 1 // 0


@tool(approve=torn)
async def doubted(city: str) -> str:
    """Its rule is broken."""
    return city


@flow
async def shop(text: str) -> str:
    return await ask(text, tools=[refund, visit, doubted], timeout_s=5)


async def item_of(engine: InMemory, who: str | None = None) -> Any:
    for _ in range(1000):
        if items := await engine.inbox(who):
            return items[0]
        await asyncio.sleep(0.005)
    raise AssertionError("nobody is asked")


async def test_what_is_under_the_amount_is_called_without_asking() -> None:
    said = calls("refund", order="a", cents=10_000)
    async with model(said, "Done.") as resources, InMemory(resources=resources) as engine:
        await engine.run(shop, "Refund.", id="main")
        assert DID == ["refund a 10000"]
        assert not [e for e in engine.history("main") if e.type == "approval.asked"]


@pytest.mark.parametrize("yes", [True, False])
async def test_a_call_above_the_amount_waits_for_a_person(yes: bool) -> None:
    said = Answer(text="It came broken.", calls=(Call("refund", '{"order": "a", "cents": 10001}'),))
    async with model(said, "Done.") as resources, InMemory(resources=resources) as engine:
        run = await engine.start(shop, "Refund.", id="main")
        item = await item_of(engine, "claims-lead")
        assert (item.action, item.shown) == ("refund", {"order": "a", "cents": 10001, "why": ""})
        assert item.evidence["why it is asked"] == "cents is above 10,000"
        assert item.evidence["what it said"] == "It came broken."
        assert DID == []
        await (item.approve if yes else item.deny)(by="ada", note="seen it")
        assert await run.result() == "Done."
        (record,) = told(engine)
        assert record.approval == item.name
    if yes:
        assert DID == ["refund a 10001"] and SHOWN[-1] == ["10001 paid back"]
        assert record.outcome is ToolOutcome.GIVEN
    else:
        assert DID == [] and SHOWN[-1] == ["refund was not called: ada has denied it: seen it"]
        assert record.outcome is ToolOutcome.DENIED and record.effect == "write"


async def test_a_word_for_other_arguments_approves_nothing() -> None:
    """What was approved of one call is not taken for another one, also of the same tool."""
    two = Answer(
        calls=(Call("refund", '{"order": "a", "cents": 20000}'), Call("refund", '{"order": "b", "cents": 90000}'))
    )
    async with model(two, two, "Done.") as resources, InMemory(resources=resources) as engine:
        run = await engine.start(shop, "Refund.", id="main")
        while len(items := await engine.inbox("claims-lead")) < 2:
            await asyncio.sleep(0.005)
        first, other = sorted(items, key=lambda one: one.shown["order"])
        assert first.bound != other.bound
        with pytest.raises(Exception, match="not what this decision was made on"):
            await engine.decide(other.id, approved=True, by="ada", bound=first.bound)
        await first.approve(by="ada")
        await other.deny(by="ada")
        await run.result()
    assert DID == ["refund a 20000"]
    assert [text.partition(":")[0] for text in SHOWN[-1]] == ["20000 paid back", "refund was not called"]


async def test_a_rule_may_be_a_function_and_one_that_fails_asks() -> None:
    said = Answer(
        calls=(Call("visit", '{"city": "Rome"}'), Call("visit", '{"city": "Oslo"}'), Call("doubted", '{"city": "x"}'))
    )
    async with model(said, "", "", "Done.") as resources, InMemory(resources=resources) as engine:
        run = await engine.start(shop, "Go.", id="main")
        while len(items := await engine.inbox()) < 2:
            await asyncio.sleep(0.005)
        assert {item.action: item.evidence["why it is asked"] for item in items} == {
            "visit": "its rule says so",
            "doubted": "its rule failed: ZeroDivisionError: integer division or modulo by zero",
        }  # fmt: skip
        while not DID:  # what needs nobody's yes does not wait for the others
            await asyncio.sleep(0.005)
        assert DID == ["visit Rome"]
        for item in items:
            await item.approve(by="ada")
        assert await run.result() == "Done."
    assert DID == ["visit Rome", "visit Oslo"]


async def test_what_nobody_approves_in_time_is_not_called() -> None:
    @tool(approve=ApprovalRule(timeout_s=0.05))
    async def never(city: str) -> str:
        """Never."""
        DID.append("never")
        return city

    ALL["never"] = never
    async with model(calls("never", city="Rome"), "Done.") as resources, InMemory(resources=resources) as engine:
        await engine.run(uses, "never", id="main")
    assert DID == [] and SHOWN[-1] == ["never was not called: nobody approved it in time"]


async def test_of_a_quorum_that_was_not_reached_in_time_is_told_how_many_said_yes() -> None:
    @tool(approve=ApprovalRule(by=["ada", "bob", "cy"], quorum=2, timeout_s=0.4))
    async def rarely(city: str) -> str:
        """Rarely."""
        DID.append("rarely")
        return city

    ALL["rarely"] = rarely
    async with model(calls("rarely", city="Rome"), "Done.") as resources, InMemory(resources=resources) as engine:
        run = await engine.start(uses, "rarely", id="main")
        while not (items := await engine.inbox()):
            await asyncio.sleep(0.005)
        await items[0].approve(by="ada")
        await run.result()
    assert DID == [] and SHOWN[-1] == ["rarely was not called: 1 of 2 said yes in time"]


async def test_an_approved_call_survives_a_crash_at_every_commit() -> None:
    """It is asked for once, called once or reported, and never called without the yes."""
    async with model(calls("refund", order="a", cents=20_000), "Done.") as resources:

        async def scene(engine: InMemory) -> str:
            run = await engine.start(shop, "Refund.", id="main")
            for _ in range(2000):
                if (await run.status()).state == "completed":
                    break
                for item in await engine.inbox():
                    assert DID == []
                    await item.approve(by="ada")
                await asyncio.sleep(0.002)
            return await run.result()

        _, engine = await play(scene, resources=resources)
        for commit in range(1, engine.commits + 1):
            for when in SIDES:
                DID.clear()
                got, last = await play(scene, [Crash(commit, when)], resources=resources)
                asked = [e for e in last.history("main") if e.type == "approval.asked"]
                (record,) = told(last)
                assert got == "Done." and len(asked) == 1 and len(DID) <= 1
                assert record.outcome in (ToolOutcome.GIVEN, ToolOutcome.UNKNOWN)


async def test_approval_needs_a_run() -> None:
    with pytest.raises(NotInAFlow, match="approve="):
        await ask("Refund.", tools=[refund])


# --- definitions ------------------------------------------------------------------------------------------------------


@dataclass
class Wrong:
    says: str
    make: Callable[[], object]


def f(cents: int) -> int:
    return cents


async def later(cents: int) -> bool:
    return True


@pytest.mark.parametrize(
    "wrong",
    [
        Wrong("one of 'read', 'write', 'once'", lambda: tool(effect="often")(f)),  # pyright: ignore[reportArgumentType]  users err
        Wrong("which is no parameter", lambda: tool(approve=ApprovalRule(above={"cent": 1}))(f)),
        Wrong("is async", lambda: tool(approve=later)(f)),
        Wrong("a whole number from 400", lambda: tool(limit_chars=10)(f)),
        Wrong("one of 'tell', 'raise'", lambda: tool(on_error="hide")(f)),  # pyright: ignore[reportArgumentType]  users err
        Wrong("a tool already", lambda: tool(approve=True)(tool(f))),
        Wrong("a step says that itself", lambda: tool(effect="read")(step(f))),
        Wrong("True, a function", lambda: tool(approve="always")(f)),  # pyright: ignore[reportArgumentType]  users err
        Wrong("reconcile", lambda: tool(effect="write", reconcile=was_it)(f)),
    ],
    ids=lambda wrong: wrong.says,
)
def test_what_makes_no_sense_is_refused_where_it_is_written(wrong: Wrong) -> None:
    with pytest.raises(DefinitionError, match=re.escape(wrong.says)):
        wrong.make()


async def broken(n: int) -> int:
    """Raises."""
    raise KeyError("gone")


async def test_a_tool_may_fail_the_question() -> None:
    ALL["broken"] = tool(on_error="raise")(broken)
    async with model(calls("broken", n=1), "Done.") as resources, InMemory(resources=resources) as engine:
        with pytest.raises(RunFailed, match="KeyError"):
            await engine.run(uses, "broken", id="main")


async def test_called_by_the_flow_itself_a_tool_is_its_step() -> None:
    assert await refund("a", 99_999) == "99999 paid back"
    assert (await Tools([look]).call(Wanted(id="1", name="look", args='{"city": "Rome"}'))).content == "Rome is fine"
