"""What a candidate leaves running, what it calls by tools that are no steps, and what is kept of it all."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from typing import Any, Literal

import pytest
from pydantic_ai import Agent
from pydantic_ai.toolsets import FunctionToolset

import segue
from segue import delegate, flow, step, timeout, tool
from segue.agent import Delegate, Durable
from segue.agent.delegation.errors import Undelegated
from segue.errors import HandedOn
from segue.testing import Crash, play
from segue.testing import Engine as InMemory
from segue.testing.provider import Served, serve
from tests.agent.served import KEYS, calls, catalogue, in_turn

DID: list[str] = []
RAISED: list[str] = []
LEFT: set[asyncio.Task[Any]] = set()
REQUEST = "Pays an invoice: transfers money."


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    DID.clear()
    RAISED.clear()
    LEFT.clear()
    for name in KEYS:
        monkeypatch.setenv(name, "test")


@tool(effect="once")
async def pay(request: str) -> str:
    """Transfers money: pays an invoice."""
    DID.append(request)
    return "paid"


@step
async def look(n: int, late_s: float = 0.01, ok: bool = True) -> int:
    await asyncio.sleep(late_s)
    if not ok:
        raise ValueError("closed")
    return n


async def branch(request: str) -> str:
    await look(1, 0.03)
    try:
        return await pay(request)
    except HandedOn as error:
        RAISED.append(str(error))
        return "nobody hears of it"


async def gathered(request: str) -> str:
    """asyncio's gather leaves the other branch running."""
    paid, _ = await asyncio.gather(branch(request), look(2, 0.0, False))
    return str(paid)


async def forgets(request: str) -> str:
    LEFT.add(asyncio.get_running_loop().create_task(branch(request)))
    await look(2, 0.0, False)
    return "never"


async def deeper(request: str) -> str:
    """It hands on by itself, and fails: what was left over below is of work that somebody else has."""
    await delegate(request, to=[Delegate(forgets, name="forgets", about=REQUEST)])
    return "never"


async def other(request: str) -> str:
    """Transfers money."""
    return await pay("again")


WAYS: dict[str, Any] = {"gathered": gathered, "forgets": forgets, "deeper": deeper}


async def by(way: str) -> str:
    return await delegate(REQUEST, to=[Delegate(WAYS[way], name="first", about=REQUEST, quality=0.9), other])


@flow
async def desk(way: str) -> str:
    said = await by(way)
    await segue.sleep(0.1)
    return said


@step
async def inside(way: str) -> str:
    said = await by(way)
    await asyncio.sleep(0.05)
    return said


@flow
async def around(way: str) -> str:
    return await inside(way)


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("where", ["in a flow", "in a step", "outside"])
async def test_what_is_left_over_of_one_candidate_pays_no_more_when_another_has_the_work(way: str, where: str) -> None:
    """It paid after the next one had paid."""
    async with InMemory() as engine:
        said = inside(way) if where == "outside" else engine.run(desk if where == "in a flow" else around, way)
        assert await said == "paid"
    assert DID == ["again"]
    assert len(RAISED) == 1 and "handed to somebody else" in RAISED[0]


async def test_so_it_is_wherever_the_process_dies() -> None:
    async def scene(engine: InMemory) -> str:
        return await engine.run(desk, "forgets", id="main")

    _, engine = await play(scene)
    sides: tuple[Literal["before", "after"], ...] = ("before", "after")
    for commit in range(1, engine.commits + 1):
        for when in sides:
            DID.clear()
            try:
                said, _ = await play(scene, [Crash(commit, when)])
            except segue.RunStuck:  # it died in the middle of paying
                said = "stuck"
            assert said in ("paid", "stuck") and set(DID) <= {"again"} and len(DID) <= 1, (commit, when, said, DID)


async def succeeds(request: str) -> str:
    LEFT.add(asyncio.get_running_loop().create_task(branch(request)))
    return "on its way"


@flow
async def kept(x: int) -> str:
    said = await delegate(REQUEST, to=[Delegate(succeeds, about=REQUEST)])
    await asyncio.gather(*LEFT)
    return said


async def test_what_the_one_whose_result_was_taken_leaves_running_goes_on() -> None:
    async with InMemory() as engine:
        assert await engine.run(kept, 1) == "on its way"
    assert [REQUEST] == DID and not RAISED


# --- delegations within steps ---


async def pays_and_raises(request: str) -> str:
    await pay(request)
    raise ValueError("the printer is on fire")


@step
async def delegates(request: str) -> str:
    return await delegate(request, to=[Delegate(pays_and_raises, name="payer", about=REQUEST)])


@flow
async def outer(x: int) -> str:
    try:
        return await delegate(REQUEST, to=[Delegate(delegates, name="first", about=REQUEST, quality=0.9), other])
    except Undelegated as error:
        return error.remedy or ""


async def test_a_delegation_in_a_step_that_says_what_was_done_is_heeded_by_the_one_around_it() -> None:
    async with InMemory() as engine:
        assert "payer was carried out" in await engine.run(outer, 1)
    assert [REQUEST] == DID


# --- tools that are no steps ---


def wire(request: str) -> str:
    """Transfers money."""
    if request == "refused":
        raise ValueError("no such account")
    DID.append(request)
    if request == "lost":
        raise ConnectionResetError("gone")
    return "paid"


def payer() -> Agent[None, str]:
    tools = FunctionToolset[None](id="wires")
    tools.add_function(wire, metadata={"segue": {"effect": "once"}})
    return Agent(name="payer", toolsets=[tools], capabilities=[Durable()])


@step
async def wired(way: str) -> str:
    first = Delegate(payer(), about=REQUEST, quality=0.9)
    try:
        return await delegate(REQUEST, to=[first, other], check=lambda said: "" if said == "paid" else "no receipt")
    except Undelegated as error:
        return error.remedy or ""


@flow
async def wired_in_step(way: str) -> str:
    return await wired(way)


@pytest.mark.parametrize(
    ("way", "says"), [("x", "payer was carried out"), ("lost", "nobody knows whether payer"), ("refused", "paid")]
)
@pytest.mark.parametrize("where", ["in a step", "outside"])
async def test_what_a_tool_says_of_itself_holds_outside_of_a_flow_too(way: str, says: str, where: str) -> None:
    """A tool that is a step in a flow alone was looked at in a flow alone."""
    said = in_turn(calls("wire", request=way), "all is paid")
    async with (
        serve({"chat": Served(answer=said)}) as server,
        InMemory(resources={"catalogue": catalogue(server, "chat")}) as engine,
    ):
        told = await (wired(way) if where == "outside" else engine.run(wired_in_step, way))
    assert says in told and (["again"] if way == "refused" else [way]) == DID


# --- what is kept ---

SIZE, MANY = 100_000, 40


@step(effect="once")
async def large(n: int, late_s: float = 0.0) -> str:
    await asyncio.sleep(late_s)
    return "x" * SIZE


def held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def all_large(request: str) -> str:
    """Makes many."""
    before = held()
    for n in range(MANY):
        await large(n)
    return str(held() - before)


async def all_given_up(request: str) -> str:
    """Makes many."""
    before = held()
    for n in range(MANY):
        try:
            async with timeout(0.002):
                await large(n, 0.01)
        except TimeoutError:
            await look(n, 0.012)
    return str(held() - before)


@flow
async def makes_many(given_up: bool) -> int:
    return int(await delegate("Makes many.", to=[all_given_up if given_up else all_large]))


@pytest.mark.parametrize("given_up", [False, True])
async def test_no_result_of_what_happened_once_is_kept(given_up: bool) -> None:
    """Each was held as long as the delegation went on, those that were given up as long as the run did."""
    async with InMemory() as engine:
        tracemalloc.start()
        try:
            assert await engine.run(makes_many, given_up) < MANY * SIZE / 4
        finally:
            tracemalloc.stop()


# --- doubts in what a candidate makes of them ---


async def in_a_group(request: str) -> str:
    async with asyncio.TaskGroup() as group:
        group.create_task(delegates(request))
        group.create_task(look(1, 0.0))
    return "never"


async def from_it(request: str) -> str:
    try:
        return await delegates(request)
    except Undelegated as error:
        raise LookupError("it could not be done") from error


async def after_it(request: str) -> str:
    try:
        return await delegates(request)
    except Undelegated:
        raise LookupError("it could not be done") from None


WRAPS: dict[str, Any] = {"group": in_a_group, "from": from_it, "after": after_it}


async def by_wrapped(way: str) -> str:
    first = Delegate(WRAPS[way], name="first", about=REQUEST, quality=0.9)
    try:
        return await delegate(REQUEST, to=[first, other])
    except Undelegated as error:
        return error.doubt


@flow
async def wrapped(way: str) -> str:
    return await by_wrapped(way)


@pytest.mark.parametrize("way", list(WRAPS))
@pytest.mark.parametrize("where", ["in a flow", "outside"])
async def test_a_doubt_within_another_error_is_heeded(way: str, where: str) -> None:
    """The error alone was looked at, so the next one paid a second time."""
    async with InMemory() as engine:
        said = await (by_wrapped(way) if where == "outside" else engine.run(wrapped, way))
    assert ("first" if where == "outside" else "payer") + " was carried out" in said
    assert [REQUEST] == DID


@pytest.mark.parametrize("way", list(WRAPS))
async def test_it_is_heeded_on_a_replay_too(way: str) -> None:
    async def scene(engine: InMemory) -> str:
        return await engine.run(wrapped, way, id="main")

    live, engine = await play(scene)
    for commit in range(1, engine.commits + 1):
        DID.clear()
        said, _ = await play(scene, [Crash(commit, "after")])
        assert said == live and "again" not in DID and set(DID) == {REQUEST}, commit


async def breaks(request: str) -> str:
    raise ConnectionRefusedError("no mail today")


async def tells(request: str) -> str:
    """Tells somebody."""
    return "told"


@flow
async def tells_of_it(x: int) -> str:
    try:
        return await delegate(REQUEST, to=[Delegate(pays_and_raises, about=REQUEST)])
    except Undelegated:
        about = "Tells somebody of it."
        return await delegate(about, to=[Delegate(breaks, about=about, quality=0.9), Delegate(tells, about=about)])


async def test_a_doubt_that_the_caller_is_busy_with_stops_nobody_else() -> None:
    async with InMemory() as engine:
        assert await engine.run(tells_of_it, 1) == "told"
    assert [REQUEST] == DID


# --- what is left over when nobody has it ---


async def pays_itself(attempts: int) -> str:
    try:
        return await delegate(REQUEST, to=[Delegate(forgets, name="first", about=REQUEST)], attempts=attempts)
    except Undelegated:
        return await pay("the caller")


@flow
async def nobody(attempts: int) -> str:
    said = await pays_itself(attempts)
    await segue.sleep(0.1)
    return said


@pytest.mark.parametrize("attempts", [1, 3])
@pytest.mark.parametrize("where", ["in a flow", "outside"])
async def test_what_is_left_over_when_nobody_is_left_pays_no_more(attempts: int, where: str) -> None:
    """With the last attempt it paid after its caller had; else it was told of somebody who was not there."""
    if where == "outside":
        assert await pays_itself(attempts) == "paid"
        await asyncio.sleep(0.05)
    else:
        async with InMemory() as engine:
            assert await engine.run(nobody, attempts) == "paid"
    assert DID == ["the caller"]
    assert len(RAISED) == 1 and "has ended" in RAISED[0]


# --- an engine that a candidate opens ---


@step
async def pays_in_step(request: str) -> str:
    return await pay(request)


@flow
async def order(request: str) -> str:
    return await pays_in_step(request)


async def test_an_engine_that_a_failed_candidate_opened_is_no_part_of_its_work() -> None:
    """No step of its runs could do what happens once, for as long as it was open."""
    opened: list[InMemory] = []

    async def opens(request: str) -> str:
        opened.append(await InMemory().__aenter__())
        raise ValueError("closed")

    async def looks(request: str) -> str:
        """Transfers money."""
        return "looked"

    try:
        assert await delegate(REQUEST, to=[Delegate(opens, about=REQUEST, quality=0.9), looks]) == "looked"
        assert await opened[0].run(order, "later") == "paid"
    finally:
        await opened[0].__aexit__(None, None, None)
    assert DID == ["later"]
