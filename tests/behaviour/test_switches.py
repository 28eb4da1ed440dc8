"""An operator pauses a flow, or the whole engine: for the runs that are there and for those to come."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from segue import flow, gather, sleep, step, wait_for
from segue.errors import InputError, RunCancelled, UnknownFlow
from segue.runtime.clock import Clock
from tests.behaviour.world import World, events_of, in_state, kinds_of, until

calls: list[str] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    calls.clear()


@step
async def note(what: str) -> str:
    calls.append(what)
    return what


@flow
async def held(name: str, nap_s: float = 0.0) -> str:
    await note(f"{name} begins")
    if nap_s:
        await sleep(nap_s)
    return await note(f"{name} ends")


@flow
async def other(name: str) -> str:
    return await note(f"{name} ends")


@flow
async def listens(name: str) -> str:
    return await note(f"{name} {await wait_for('word')}")


@flow
async def cleans(name: str) -> str:
    try:
        return await wait_for("never")
    finally:
        await note(f"{name} cleans up")


@flow
async def has_child(name: str) -> str:
    await note(f"{name} begins")
    return await held(name)


@flow
async def has_two(name: str) -> list[str]:
    """One child at once, one later, and one below another flow."""
    return [*await gather(held(f"{name}1"), has_child(f"{name}2")), await other(name), await held(f"{name}3")]


async def test_a_paused_flow_starts_nothing_and_goes_on_when_it_is_resumed(world: World) -> None:
    async with world.engine() as engine:
        await engine.pause(flow=held, by="ann", why="an incident")
        run, free = await engine.start(held, "a"), await engine.start(other, "b")
        assert await free.result() == "b ends"
        await world.pass_(3)
        assert calls == ["b ends"]
        (switch,) = await engine.switches()
        assert (switch.flow, switch.by, switch.why) == (held.name, "ann", "an incident")
        assert await engine.resume(flow=held, by="bob")
        assert await run.result() == "a ends"
        assert await engine.switches() == []
        assert [(a.act, a.by) for a in await engine.acts()] == [("resume", "bob"), ("pause", "ann")]


async def test_a_run_in_the_middle_starts_no_new_work_and_says_why(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(held, "a", nap_s=world.while_s)
        await until(lambda: calls)
        await engine.pause(by="ann", why="look first")
        await world.pass_(3)
        assert calls == ["a begins"]
        await engine.resume()
        assert await run.result() == "a ends"
        acts = [e.body for e in await events_of(run) if e.type == "operator.acted"]
        assert b'"pause"' in (acts[0] or b"")
        assert b'"why":"look first"' in (acts[0] or b"") and b'"target":"engine"' in (acts[0] or b"")


async def test_a_pause_by_the_flows_short_name_outlives_the_process(world: World) -> None:
    async with world.engine() as engine:
        assert await engine.pause(flow="held")
        assert not await engine.pause(flow="held", by="twice")
        await engine.start(held, "a", id="a")
    async with world.parking() as engine:
        await world.pass_(3)
        assert calls == []
        assert (await (await engine.get("a")).status()).state == "queued"
        assert not await engine.resume(flow="other")
        assert await engine.resume(flow="held")
        assert await (await engine.get("a")).result() == "a ends"


async def test_a_parked_run_that_is_woken_waits_for_the_switch(world: World) -> None:
    async with world.parking() as engine:
        signalled, sleeps = await engine.start(listens, "a"), await engine.start(held, "b", nap_s=world.while_s)
        await in_state(signalled, "parked")
        await in_state(sleeps, "parked")
        await engine.pause()
        await signalled.signal("word", "heard")
        await world.pass_(3)
        assert calls == ["b begins"]
        await engine.resume()
        assert await signalled.result() == "a heard"
        assert await sleeps.result() == "b ends"


async def test_a_run_is_resumed_or_cancelled_by_name_while_the_engine_is_paused(world: World) -> None:
    async with world.parking() as engine:
        goes, stays, ends = [await engine.start(f, n) for f, n in ((has_child, "a"), (cleans, "b"), (cleans, "c"))]
        await until(lambda: "a begins" in calls)
        await in_state(ends, "parked")
    calls.clear()
    async with world.parking(paused=True) as engine:
        assert [s.by for s in await engine.switches()] == ["Engine(paused=True)"]
        late = await engine.start(has_child, "d")
        goes, stays, ends = [await engine.get(r.id) for r in (goes, stays, ends)]
        await ends.cancel(by="ann")
        with pytest.raises(RunCancelled):
            await ends.result()
        assert calls == ["c cleans up"] or "a ends" in calls
        await late.resume(by="ann")
        assert await late.result() == "d ends"
        await world.pass_(2)
        assert (await stays.status()).state == "parked"
        await engine.pause(flow=has_child)
        last = await engine.start(has_child, "e")
        await engine.resume()
        await world.pass_(2)
        assert "e begins" not in calls
        await engine.resume(flow=has_child)
        assert await last.result() == "e ends"


async def test_a_run_that_is_let_go_by_name_takes_children_of_a_paused_flow_along(world: World) -> None:
    async with world.parking() as engine:
        await engine.pause(flow=held)
        first, second = await engine.start(has_two, "a", id="a"), await engine.start(has_two, "b")
        await world.pass_(2)
        assert set(calls) == {"a2 begins", "b2 begins"}
        calls.clear()
        await first.resume(by="ann")
    async with world.parking() as engine:  # it holds after a restart, too
        first, second = await engine.get(first.id), await engine.get(second.id)
        assert await first.result() == ["a1 ends", "a2 ends", "a ends", "a3 ends"]
        await world.pass_(2)
        assert not any(said.startswith("b") for said in calls)
        await second.cancel(by="ann")
        with pytest.raises(RunCancelled):
            await second.result()


async def test_a_child_that_is_paused_by_name_stays_where_its_parent_is_let_go(world: World) -> None:
    async with world.parking() as engine:
        await engine.pause(flow=held)
        run = await engine.start(has_two, "a", id="a")
        await world.pass_(2)
        (id_,) = [
            id_ for (id_,) in engine.journal.query("select id from runs where parent = 'a' and id like '%/held%'")
        ]
        child = await engine.get(id_)
        await child.pause()
        await run.resume()
        await world.pass_(3)
        assert "a2 ends" in calls and "a1 begins" not in calls
        await child.resume()
        assert (await run.result())[0] == "a1 ends"


async def test_a_pause_of_one_run_outlasts_the_engines(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(listens, "a")
        await in_state(run, "parked")
        await run.pause()
        await until(lambda: engine.journal.get(run.id).paused)
        await engine.pause()
        await engine.resume()
        await run.signal("word", "x")
        await world.pass_(3)
        assert calls == []
        await run.resume()
        assert await run.result() == "a x"


async def test_a_pause_holds_in_all_processes_on_the_file(world: World) -> None:
    if world.virtual:
        pytest.skip("two engines at a time need a file")
    async with world.engine() as engine, world.engine() as operator:
        run = await engine.start(held, "a", nap_s=1.0)
        await until(lambda: calls)
        await operator.pause(flow="held")
        await asyncio.sleep(1.5)
        assert calls == ["a begins"]
        async with world.engine() as third:
            await third.start(held, "b", id="b")
            await asyncio.sleep(0.1)
        assert calls == ["a begins"]
        await operator.resume(flow="held")
        assert await run.result() == "a ends"
        assert await (await engine.get("b")).result() == "b ends"


async def test_the_name_of_an_unknown_flow_is_refused(world: World) -> None:
    async with world.engine() as engine:
        with pytest.raises(UnknownFlow, match=r"no flow 'hled' is known.*near it: .*held"):
            await engine.pause(flow="hled", by="ann")
        with pytest.raises(UnknownFlow, match=r"tests\.behaviour\.test_switches:held"):
            await engine.pause(flow="tests.behaviour.test_switches:hold")
        assert await engine.switches() == []
        assert await engine.pause(flow="held")
        assert not await engine.resume(flow="hled"), "what is not paused is not resumed"


@pytest.mark.parametrize("name", ["", " ", 5])
async def test_a_flow_without_a_name_is_refused(world: World, name: Any) -> None:
    async with world.engine() as engine:
        with pytest.raises(InputError, match="no name of a flow"):
            await engine.pause(flow=name)


async def test_a_cancel_of_a_run_that_is_held_in_memory_cleans_up(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(cleans, "a")
        await in_state(run, "running")
        await engine.pause()
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
        assert calls == ["a cleans up"]
        assert "run.cancelling" in await kinds_of(run)


class SetBack(Clock):
    """A clock that is set back by an hour at each look."""

    def __init__(self) -> None:
        self._at = time.time()

    def now(self) -> float:
        self._at -= 3600.0
        return self._at


async def test_acts_count_in_their_order_whatever_the_clock_says(world: World) -> None:
    if world.virtual:
        pytest.skip("its clock is its own")
    async with world.engine(clock=SetBack()) as engine:
        run = await engine.start(listens, "a")
        await engine.pause()
        await run.resume()
        await run.signal("word", "one")
        assert await asyncio.wait_for(run.result(), 5) == "a one"


async def test_a_pause_holds_a_run_that_was_let_go_before_it(world: World) -> None:
    """On the virtual clock, in the same instant."""
    async with world.engine() as engine:
        run = await engine.start(listens, "a")
        await engine.pause()
        await run.resume()
        await engine.pause(flow=listens)
        await run.signal("word", "one")
        await world.pass_(2)
        assert calls == []
        await engine.resume(flow=listens)
        assert await run.result() == "a one"
