"""Calls are named from Python as `segue show` prints them: a short key stands for the whole one, where one fits."""

from __future__ import annotations

import asyncio

import pytest

from segue import approve, flow, gather, step, wait_for
from segue.agent.people import asking
from segue.core.short import short_key
from segue.errors import InputError
from segue.runtime.scope import FlowScope
from tests.behaviour.test_asking_people import waiting
from tests.behaviour.world import World, events_of, in_state, keys_of, kinds_of


@step
async def fetch(name: str) -> str:
    return name.upper()


@flow
async def both(a: str, b: str) -> str:
    one, other = await gather(fetch(a), fetch(b))
    return f"{one} {other} {await wait_for('more', returns=str)}"


async def test_a_short_key_is_enough_where_it_fits_one_call(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(both, "a", "b", id="r")
        await in_state(run, "parked", "running")
        while len(keys := await keys_of(run)) < 2:
            await asyncio.sleep(0.01)
        short = short_key(sorted(keys)[0])
        assert short != sorted(keys)[0]
        with pytest.raises(InputError, match="fits 2 calls: gather/0/fetch"):
            await run.fork(at="fetch")
        fork = await run.fork(at=short, id="f")
        assert [e.key for e in await events_of(fork) if e.type == "run.forked"] == [None]
        given = await run.fork(results={short: "given"}, id="g")
        await given.signal("more", "x")
        assert (await given.result()).split()[-1] == "x" and "given" in await given.result()
        await run.feedback(0.5, key=short)
        while not (noted := [e.key for e in await events_of(run) if e.type == "feedback.given"]):
            await asyncio.sleep(0.01)
        assert noted == [sorted(keys)[0]]
        with pytest.raises(InputError, match="no step 'nope'"):
            await run.fork(at="nope")


@flow
async def asks_within(name: str) -> str:
    (said,) = await gather(approve("Pay?", by="lead", remind_s=10.0, timeout_s=600.0, default=None))
    return f"{said.by} {name}"


async def test_a_question_in_a_branch_is_known_by_its_own_key(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(asks_within, "n", id="r")
        (item,) = await waiting(engine)
        status = await in_state(run, "parked")
        assert item.key.startswith("gather#1/0/approve[")
        assert {w["key"] for w in status.waits_on} == {item.key, f"{item.key}/reminder#1"}
        with pytest.raises(InputError, match="waits for a person's answer"):
            await run.override(item.key, True)


async def test_a_question_whose_timers_an_earlier_version_has_named_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not world.virtual:
        pytest.skip("it waits for a reminder")

    def twice(scope: FlowScope, key: str, request: asking.Request) -> FlowScope:
        return scope.child(key)

    async with world.parking() as engine:
        with monkeypatch.context() as patch:
            patch.setattr(asking, "_below", twice)
            run = await engine.start(asks_within, "n", id="r")
            while "timer.fired" not in await kinds_of(run):
                await asyncio.sleep(1)
            await in_state(run, "parked")
    async with world.parking() as engine:
        run = await engine.get("r")
        await run.signal((await waiting(engine))[0].name, {"word": "approve", "by": "ann"})
        assert await run.result() == "ann n"
        assert len([k for k in await keys_of(run, "timer.fired")]) == 1, "it is reminded of once"


@flow
async def orders() -> list[str]:
    return [await fetch.using(key=number)(number) for number in ("815", "4711", "12345")]


async def test_a_key_of_the_users_own_may_look_like_a_shortened_one(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(orders, id="r")
        await run.result()
        with pytest.raises(InputError, match="fits 3 calls"):
            await run.fork(at="fetch")
        for shown in ("fetch[815]", "fetch[4711]", "fetch[12345]"):
            assert await (await run.fork(results={shown: "given"}, at=3)).result() is not None
            assert (await run.fork(at=shown)).id != run.id
        await run.feedback(1.0, key="fetch[4711]")
        while not (noted := [e.key for e in await events_of(run) if e.type == "feedback.given"]):
            await asyncio.sleep(0.01)
        assert noted == ["fetch[4711]#1"]
