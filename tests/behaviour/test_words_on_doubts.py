"""An operator's word on an effect in doubt answers what was on record when it was said, and a replay reads the same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import segue
from segue import flow, gather, step, testing
from segue.core.codec import loads
from segue.errors import InputError
from tests.behaviour.world import events_of, in_state

applied: list[str] = []
code = {"new": False, "other": False}
"""How the flows' code stands: with a step put in, with other arguments."""
KEY = "pay[b4b8bf78e9ad]#1"


@pytest.fixture(autouse=True)
def _clean() -> None:
    applied.clear()
    code.update(new=False, other=False)


def changed(flow_: Any, **now: bool) -> None:
    """The code is another one from here."""
    code.update(now)
    flow_.revision = f"{flow_.revision}+"


@step
async def first(n: int) -> int:
    return n


@step
async def another(n: int) -> int:
    return n


@step
async def takes_long() -> None:
    await asyncio.sleep(100)


@step
async def hangs() -> None:
    await asyncio.sleep(1e9)


@step(effect="once")
async def pay() -> int:
    applied.append("paid")
    await asyncio.sleep(1e6 if len(applied) == 1 else 1)
    return len(applied)


@step(effect="once")
async def loses_its_line() -> int:
    applied.append("paid")
    await asyncio.sleep(60)
    raise ConnectionResetError("the answer was lost")


@step(effect="once")
async def move(n: int) -> int:
    return n


@flow
async def pays() -> int:
    if code["new"]:
        await takes_long()
    await (another if code["other"] else first)(1)
    return await pay()


@flow
async def pays_beside(line: bool) -> None:
    async def one() -> None:
        if not code["new"]:
            await hangs()
        await (loses_its_line if line else pay)()

    async def other() -> None:
        await first(1)
        while code["new"] and not applied:
            await first(3)
        await move(2 if code["other"] else 1)

    await gather(one(), other())


async def retries(run: segue.Run[Any]) -> list[bool]:
    """Of each word `retry` that was taken: whether it counts."""
    acts = [loads(e.body) for e in await events_of(run) if e.type == "operator.acted"]
    assert not any("said_after" in act for act in acts)
    return ["details" not in act for act in acts if act["act"] == "retry"]


@pytest.mark.parametrize("line", [False, True], ids=["the engine closes", "its call fails"])
@testing.simulated
async def test_a_retry_that_was_said_before_the_doubt_is_none_on_the_doubt(line: bool) -> None:
    async with testing.Engine() as before:
        await before.start(pays_beside, line, id="r")
        await asyncio.sleep(5)
    changed(pays_beside, new=True, other=True)
    async with testing.Engine(after=before) as engine:
        run = await engine.get("r")
        await asyncio.sleep(20)
        status = await run.status()
        assert status.state == "running" and applied == ["paid"]  # it waits for the payment, and is set aside then
        (key,) = [w["key"] for w in status.waits_on if "pay" in w["key"] or "line" in w["key"]]
        await run.override(key, retry=True, by="ann")
        await asyncio.sleep(100)
    changed(pays_beside, other=False)
    async with testing.Engine(after=engine) as after:
        run = await after.get("r")
        await run.resume(by="bob")
        await asyncio.sleep(100)
        status = await in_state(run, "stuck")
        assert (status.reason, applied) == ("unknown effect", ["paid"])
        assert await retries(run) == [False]
        await run.override(key, retry=True, by="ann")  # now she has been told
        await asyncio.sleep(100)
        assert applied == ["paid", "paid"]
        assert await retries(run) == [False, True]


@pytest.mark.parametrize("killed", [False, True])
@testing.simulated
async def test_a_retry_counts_before_the_flow_asks_for_the_effect(killed: bool) -> None:
    async with testing.Engine() as before:
        await before.start(pays, id="r")
        await asyncio.sleep(5)
        before.kill()
    async with testing.Engine(after=before) as told:
        await in_state(await told.get("r"), "stuck")
    changed(pays, new=True)
    async with testing.Engine(after=told) as engine:
        run = await engine.get("r")
        await run.resume(by="ann")
        await asyncio.sleep(5)
        assert [w["key"].partition("[")[0] for w in (await run.status()).waits_on] == ["takes_long"]
        await run.override(KEY, retry=True, by="ann")
        await asyncio.sleep(5)
        if killed:
            engine.kill()
        else:
            assert await run.result() == 2
    async with testing.Engine(after=engine) as after:
        run = await after.get("r")
        assert await run.result() == 2
        assert applied == ["paid", "paid"]
        assert [e.attempt for e in await events_of(run) if e.type == "attempt.started"] == [1, 2]


@testing.simulated
async def test_who_knows_better_may_say_so_until_it_is_made_again() -> None:
    async with testing.Engine() as before:
        await before.start(pays, id="r")
        await asyncio.sleep(5)
        before.kill()
    code.update(other=True)  # and nobody says that it is other code
    async with testing.Engine(after=before) as engine:
        run = await engine.get("r")
        assert "nobody knows whether pay" in ((await in_state(run, "stuck")).message or "")
        await run.override(KEY, retry=True, by="ann")
        await asyncio.sleep(5)
        stuck = [e for e in await events_of(run) if e.type == "run.stuck"][-1]
        assert "unknown" not in loads(stuck.body)  # she has said what is to be done
        await run.override(KEY, 7, by="bob", why="the bank has it")
        await asyncio.sleep(5)
        with pytest.raises(InputError, match="the step has an outcome already"):
            await run.override(KEY, 8, by="cid")
    code.update(other=False)
    async with testing.Engine(after=engine) as after:
        run = await after.get("r")
        await run.resume()
        assert await run.result() == 7
        assert applied == ["paid"]


@testing.simulated
async def test_a_better_word_counts_in_the_same_process_too() -> None:
    async with testing.Engine() as before:
        await before.start(pays, id="r")
        await asyncio.sleep(5)
        before.kill()
    async with testing.Engine(after=before) as told:
        await in_state(await told.get("r"), "stuck")
    changed(pays, new=True)
    async with testing.Engine(after=told) as engine:
        run = await engine.get("r")
        await run.resume()
        await asyncio.sleep(5)
        await run.override(KEY, retry=True, by="ann")
        await asyncio.sleep(5)
        await run.override(KEY, 7, by="bob")
        assert await run.result() == 7
    assert applied == ["paid"]
