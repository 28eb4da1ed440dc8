"""What an operator can do: cancel, pause, resume, override."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import segue
from segue import Retry, flow, sleep, step, wait_for
from segue.errors import InputError, RunCancelled, RunFailed
from tests.behaviour.world import World, in_state, keys_of, kinds_of, until

calls: list[Any] = []
behave: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def _clean() -> None:
    calls.clear()
    behave.clear()


@step
async def hopeless() -> None:
    calls.append("hopeless")
    raise LookupError("hopeless")


@step
async def slow() -> None:
    calls.append("slow")
    await asyncio.sleep(1e5)


@flow
async def cleans_up(fails: bool = False) -> str:
    segue.cleanup(mark, "first registered")
    if fails:
        segue.cleanup(hopeless)
    segue.cleanup(mark, "last registered")
    try:
        return await wait_for("never")
    except asyncio.CancelledError:
        await mark("durable cleanup")
        raise


@step
async def mark(what: str) -> None:
    calls.append(what)


async def test_cancel_cleans_up_durably(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(cleans_up)
        await in_state(run, "parked")
        await run.cancel(by="me", why="enough")
        with pytest.raises(RunCancelled):
            await run.result()
        assert calls == ["durable cleanup", "last registered", "first registered"]
        assert (await run.status()).state == "cancelled"
        await asyncio.gather(*(run.cancel() for _ in range(1)), return_exceptions=True)


async def test_a_cleanup_that_fails_does_not_stop_the_others(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(cleans_up, True)
        await in_state(run, "running")
        await run.cancel()
        with pytest.raises((RunFailed, RunCancelled)):
            await run.result()
    assert calls[0] == "durable cleanup"
    assert calls[-1] == "first registered"


async def test_a_cancel_while_a_step_runs(world: World) -> None:
    @flow(name="long_step")
    async def long_step() -> None:
        await slow.using(timeout_s=1e4)()

    async with world.engine() as engine:
        run = await engine.start(long_step)
        await until(lambda: calls)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
        assert "step.cancelled" in await kinds_of(run)


@flow
async def three_steps() -> list[str]:
    out = [await echo("a")]
    await sleep(behave.get("nap_s", 0.0))
    out.append(await echo("b"))
    return [*out, await echo("c")]


@step
async def echo(what: str) -> str:
    calls.append(what)
    return what


async def test_pause_and_resume(world: World) -> None:
    behave["nap_s"] = world.while_s
    async with world.engine() as engine:
        run = await engine.start(three_steps)
        await until(lambda: calls)
        await run.pause(by="me")
        await world.pass_(3)
        assert (await run.status()).paused
        assert calls == ["a"]
        await run.resume()
        assert await run.result() == ["a", "b", "c"]
        assert not (await run.status()).paused


async def test_a_pause_outlives_the_process(world: World) -> None:
    behave["nap_s"] = world.while_s
    async with world.engine() as engine:
        run = await engine.start(three_steps, id="r")
        await until(lambda: calls)
        await run.pause()
        await in_state(run, "running", "parked")
        await world.pass_(0.2)
    async with world.parking() as engine:
        await world.pass_(3)
        run = await engine.get("r")
        assert (await run.status()).paused
        assert calls == ["a"]
        await run.resume()
        assert await run.result() == ["a", "b", "c"]


async def test_a_paused_run_can_be_cancelled(world: World) -> None:
    behave["nap_s"] = world.while_s
    async with world.engine() as engine:
        run = await engine.start(three_steps)
        await until(lambda: calls)
        await run.pause()
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()


async def test_an_open_step_is_overridden(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(long_echo)
        await until(lambda: calls)
        (waits,) = (await run.status()).waits_on
        await run.override(waits["key"], "said so")
        assert await run.result() == "said so"
        assert (await keys_of(run, "operator.acted")) == [waits["key"]]


@flow
async def long_echo() -> str:
    return await late_echo("x")


@step
async def late_echo(what: str) -> str:
    calls.append(what)
    await asyncio.sleep(1e5)
    return what


async def test_an_override_of_a_wrong_type_is_refused_before_it_is_sent(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(long_echo)
        await until(lambda: calls)
        (waits,) = (await run.status()).waits_on
        for wrong in ({"no": "string"}, None):
            with pytest.raises(InputError, match="is no str") as caught:
                await run.override(waits["key"], wrong)
            assert (caught.value.run, caught.value.key) == (run.id, waits["key"])
            assert caught.value.remedy
        with pytest.raises(InputError, match="is no str"):
            await run.override(waits["key"], skip=True)
        await run.override(waits["key"], "a string")
        assert await run.result() == "a string"
        assert len(await keys_of(run, "operator.acted")) == 1


async def test_an_override_of_a_wait_is_held_against_what_it_takes(world: World) -> None:
    @flow(name="takes_a_number")
    async def takes_a_number() -> int:
        return await wait_for("go", returns=int)

    async with world.engine() as engine:
        run = await engine.start(takes_a_number)
        (key,) = [one["key"] for one in (await in_state(run, "parked")).waits_on]
        for wrong in ({"x": 1}, "many"):
            with pytest.raises(InputError, match="is no int"):
                await run.override(key, wrong)
        with pytest.raises(InputError, match="is no int"):
            await run.override(key, skip=True)
        assert "operator.acted" not in await kinds_of(run)
        await run.override(key, 5)
        assert await run.result() == 5


async def test_an_override_of_a_step_that_is_not_open_is_refused(world: World) -> None:
    behave["nap_s"] = world.while_s * 20
    async with world.engine() as engine:
        run = await engine.start(three_steps)
        await until(lambda: calls)
        await world.pass_(0.2)
        (done,) = await keys_of(run, "step.completed") or [""]
        for how in ({"result": 1}, {"retry": True}, {"skip": True}):
            with pytest.raises(InputError, match="no open step 'nokey'") as caught:
                await run.override("nokey", **how)
            assert caught.value.run == run.id
            assert caught.value.remedy
        if done:
            with pytest.raises(InputError, match="outcome already"):
                await run.override(done, "again")
        assert await keys_of(run, "operator.acted") == []
        await run.cancel()


async def test_an_override_is_held_against_the_type_also_where_the_run_is_not(world: World) -> None:
    """Here the run is parked, or at work in another engine."""
    if world.virtual:
        pytest.skip("two engines at a time need a file")
    async with world.engine() as engine, world.engine(recover=False) as other:
        run = await engine.start(long_echo)
        await until(lambda: calls)
        (waits,) = (await run.status()).waits_on
        there = await other.get(run.id)
        with pytest.raises(InputError, match="is no str"):
            await there.override(waits["key"], 5)
        with pytest.raises(InputError, match="no open step"):
            await there.override("late_echo[x]#9", "x")
        await there.override(waits["key"], "from afar")
        assert await run.result() == "from afar"


BEGUN: list[str] = []


@step
async def lasts(n: int) -> int:
    BEGUN.append(f"lasts {n}")
    await asyncio.sleep(60)
    return n


@flow
async def last(n: int) -> int:
    return await lasts(n)


async def _left_in_the_middle(world: World) -> None:
    BEGUN.clear()
    async with world.engine() as engine:
        await engine.start(last, 1, id="left")
        while not BEGUN:
            await asyncio.sleep(0.01)


async def test_a_cancel_that_was_asked_for_meanwhile_comes_before_the_step_begins_anew(world: World) -> None:
    await _left_in_the_middle(world)
    async with world.engine(recover=False) as engine:
        await (await engine.get("left")).cancel()
    async with world.engine() as engine:
        with pytest.raises(RunCancelled):
            await (await engine.get("left")).result()
    assert BEGUN == ["lasts 1"]


async def test_a_pause_that_was_asked_for_meanwhile_comes_before_the_step_begins_anew(world: World) -> None:
    await _left_in_the_middle(world)
    async with world.engine(recover=False) as engine:
        await (await engine.get("left")).pause()
    async with world.engine() as engine:
        run = await engine.get("left")
        for _ in range(100):
            await asyncio.sleep(0.01)
        assert (await run.status()).paused
        assert BEGUN == ["lasts 1"]
        await run.resume()
        while len(BEGUN) < 2:
            await asyncio.sleep(0.01)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()


async def test_a_pause_and_a_resume_that_were_asked_for_meanwhile_leave_the_run_running(world: World) -> None:
    await _left_in_the_middle(world)
    async with world.engine(recover=False) as engine:
        run = await engine.get("left")
        await run.pause()
        await run.resume()
    async with world.engine() as engine:
        run = await engine.get("left")
        while len(BEGUN) < 2:
            await asyncio.sleep(0.01)
        assert not (await run.status()).paused
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()


fails: list[float] = []


@step(retry=Retry(attempts=50, backoff_s=0.3, factor=1.0))
async def fails_often() -> None:
    fails.append(1.0)
    raise ConnectionError("down")


@flow
async def tries() -> None:
    await fails_often()


async def test_a_pause_holds_retries_back(world: World) -> None:
    fails.clear()
    async with world.engine() as engine:
        run = await engine.start(tries, id="t")
        await until(lambda: fails)
        await run.pause()
        await asyncio.sleep(0.05)
        made = len(fails)
        await asyncio.sleep(1.5)
        assert len(fails) == made
        await run.resume()
        await until(lambda: len(fails) > made)
        await run.cancel()


@flow
async def a_child() -> str | None:
    await sleep(1e6)
    return "child"


@flow
async def waits_by(how: str) -> Any:
    got = await a_child() if how == "child" else await sleep(2)
    await mark("after")
    await wait_for("go")
    return got


@pytest.mark.parametrize("how", ["child", "sleep"])
async def test_what_was_overridden_is_stopped_and_the_run_replays(world: World, how: str) -> None:
    """A child is cancelled, a timer does not fire: no second outcome of the call stands in the journal's way."""
    async with world.engine(linger_s=100.0) as engine:
        run = await engine.start(waits_by, how, id="w")
        await until(lambda: engine.host.waits_on(1))
        waits = (await run.status()).waits_on
        await run.override(waits[0]["key"], skip=True, by="ann")
        await until(lambda: "after" in calls)
        if how == "child":
            await in_state(await engine.get(waits[0]["child"]), "cancelled")
            await until(lambda: not engine.journal.items())
        else:
            await world.pass_(50)
    async with world.engine() as engine:
        run = await engine.get("w")
        await run.signal("go")
        assert await run.result() is None
        kinds = await kinds_of(run)
        assert "timer.fired" not in kinds


async def test_the_first_override_of_a_step_counts(world: World) -> None:
    """Nobody carries the run out: the second word is refused, and not taken and dropped."""
    async with world.engine() as engine:
        await engine.start(waits_late, id="l")
        await until(lambda: "slow" in calls)
        await engine.pause()
    async with world.engine(recover=False) as there:
        run = await there.get("l")
        key = (await run.status()).waits_on[0]["key"]
        await run.override(key, retry=True, by="ann")
        await run.override(key, "first", by="ann", why="seen")
        others: list[dict[str, Any]] = [{"result": "second"}, {"skip": True}, {"retry": True}]
        for how in others:
            with pytest.raises(InputError, match=r"ann has overridden the step already \(seen\)"):
                await run.override(key, by="bob", **how)
        await there.resume()
    async with world.engine() as engine:
        assert await (await engine.get("l")).result() == "first"


@flow
async def waits_late() -> str | None:
    return await says()


@step
async def says() -> str | None:
    calls.append("slow")
    await asyncio.sleep(1e5)
    return "itself"
