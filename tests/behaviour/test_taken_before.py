"""What a run has taken and gone on from is not taken back when its type changes: the run is set aside."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from segue import ask_human, flow, step, wait_for
from segue.errors import Undecodable
from tests.behaviour.world import World, in_state, kinds_of

ran: list[str] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    ran.clear()


@dataclass
class Before:
    ok: bool


@dataclass
class After:
    ok: bool
    reason: str


@step(effect="once")
async def pay(ok: bool) -> str:
    ran.append("paid")
    return "paid"


def deploy(asks: Callable[[Any], Awaitable[Any]], type_: type, revision: str, *, then_pays: bool = True) -> Any:
    """The flow, with this type of what it waits for."""

    async def main() -> str:
        said = await asks(type_)
        if then_pays:
            await pay(said.ok)
        await wait_for("end")
        return "done"

    return flow(name="main", revision=revision)(main)


async def by_signal(type_: type) -> Any:
    return await wait_for("go", returns=type_)


async def in_time(type_: type) -> Any:
    return await wait_for("go", returns=type_, timeout_s=1000.0)


async def by_a_person(type_: type) -> Any:
    return await ask_human("ok?", returns=type_, by="ann")


ASKS = {"signal": (by_signal, "wait[go]#1"), "in time": (in_time, "wait[go]#1"), "person": (by_a_person, "ask_human[")}


async def answer(engine: Any, run: Any, value: Any, by: str = "ann") -> None:
    items = [item for item in await engine.inbox() if item.run == run.id]
    if items:
        await items[0].answer(value, by=by)
    else:
        await run.signal("go", value)


@pytest.mark.parametrize("then_pays", [True, False], ids=["pays", "waits"])
@pytest.mark.parametrize("how", ASKS)
async def test_it_is_set_aside_until_the_type_reads_it_again(world: World, how: str, then_pays: bool) -> None:
    """It was rejected in the replay: the run waited for it again, behind a payment that was made."""
    asks, key = ASKS[how]
    async with world.parking() as engine:
        run = await engine.start(deploy(asks, Before, "1", then_pays=then_pays), id="r")
        await in_state(run, "parked")
        await answer(engine, run, {"ok": True})
        await until_it_waits(run, "end")
    deploy(asks, After, "2", then_pays=then_pays)
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.signal("end")
        status = await in_state(run, "stuck")
        assert status.reason == "undecodable" and (status.key or "").startswith(key)
        assert key in (status.message or "") and "reason: Field required" in (status.message or "")
        assert "put the type back" in (status.remedy or "")
        with pytest.raises(Undecodable):
            await run.result()
        assert "signal.rejected" not in await kinds_of(run)
    deploy(asks, Before, "1", then_pays=then_pays)
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.resume()
        assert await run.result() == "done"
    assert ran == (["paid"] if then_pays else [])


async def until_it_waits(run: Any, name: str) -> None:
    for _ in range(2000):
        status = await run.status()
        if status.state == "parked" and [wait.get("signal") for wait in status.waits_on] == [name]:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"it never waited for {name}: {await run.status()}")


@pytest.mark.parametrize("how", ASKS)
async def test_what_nobody_had_taken_is_refused_as_ever(world: World, how: str) -> None:
    asks, _ = ASKS[how]
    async with world.parking() as engine:
        run = await engine.start(deploy(asks, Before, "1"), id="r")
        await in_state(run, "parked")
        await run.signal("go", {"ok": "perhaps"})
        if how != "person":
            await until_rejected(run)
    deploy(asks, After, "2")
    async with world.engine() as engine:
        run = await engine.get("r")
        await in_state(run, "parked")
        await answer(engine, run, {"ok": True, "reason": "why not"})
        await run.signal("end")
        assert await run.result() == "done"


async def until_rejected(run: Any) -> None:
    for _ in range(2000):
        if "signal.rejected" in await kinds_of(run):
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never rejected the signal")


async def test_one_that_came_while_nobody_carried_the_run_out_is_refused(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(deploy(by_signal, Before, "1"), id="r")
        await in_state(run, "parked")
        await run.pause()
        await in_state(run, "parked")
        await run.signal("go", {"ok": True})
    deploy(by_signal, After, "2")
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.resume()
        await until_rejected(run)
        await run.signal("go", {"ok": True, "reason": "now it does"})
        await run.signal("end")
        assert await run.result() == "done"


@dataclass
class Strict:
    ok: bool
    reason: str


@dataclass
class Lenient:
    ok: bool
    reason: str = ""


@pytest.mark.parametrize("how", ["signal", "in time"])
async def test_what_was_refused_stays_so_when_the_type_reads_more(world: World, how: str) -> None:
    """The next one was taken in its place, and decides: the refused one was read in the replay, and paid."""
    asks, _ = ASKS[how]
    async with world.parking() as engine:
        run = await engine.start(refuses(asks, Strict, "1"), id="r")
        await in_state(run, "parked")
        await run.signal("go", {"ok": True})
        await until_it_was_refused(run)
        await answer(engine, run, {"ok": False, "reason": "fraud"})
        await until_it_waits(run, "end")
    refuses(asks, Lenient, "2")
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.signal("end")
        assert await run.result() == "refused"
    assert ran == []


async def until_it_was_refused(run: Any) -> None:
    for _ in range(2000):
        if "signal.rejected" in await kinds_of(run):
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it was not refused")


def refuses(asks: Callable[[Any], Awaitable[Any]], type_: type, revision: str) -> Any:
    async def main() -> str:
        given = await asks(type_)
        result = await pay(given.ok) if given.ok else "refused"
        await wait_for("end")
        return result

    return flow(name="main", revision=revision)(main)
