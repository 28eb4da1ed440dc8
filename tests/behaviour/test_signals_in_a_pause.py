"""A run that is paused, or whose flow is, hears no signals: they wait in the inbox until it goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import segue
from segue import flow, gather, sleep, step, testing, wait_for
from segue.errors import RunCancelled
from segue.runtime.embedded import inbox
from tests.behaviour.world import World, events_of, in_state, kinds_of, until

calls: list[str] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    calls.clear()


@step
async def note(what: str) -> str:
    calls.append(what)
    return what


@step
async def lasts() -> str:
    calls.append("begun")
    await asyncio.sleep(0.2)
    return "ended"


@flow
async def hears(n: int) -> list[str]:
    return [await wait_for("go", returns=str) for _ in range(n)]


@flow
async def hears_in_time(limit_s: float) -> str:
    try:
        return await wait_for("go", returns=str, timeout_s=limit_s)
    except TimeoutError:
        return "gave up"


@flow
async def asks() -> bool:
    await wait_for("go")
    return bool(await segue.approve("Pay?", by="lead"))


@flow
async def hears_beside_a_step() -> list[str]:
    return list(await gather(lasts(), wait_for("go", returns=str)))


@flow
async def naps(nap_s: float) -> str:
    await sleep(nap_s)
    return "slept"


@flow
async def cleans(name: str) -> str:
    try:
        return await note(await wait_for("go", returns=str))
    finally:
        await note(f"{name} {await wait_for('bye', returns=str)}")


PAUSES = pytest.mark.parametrize("by", ["the run", "its flow", "the engine"])
LINGERS = pytest.mark.parametrize("lingers", [0.0, 100.0], ids=["parked", "in memory"])


async def _pause(engine: segue.Engine, run: segue.Run[Any], by: str) -> None:
    if by == "the run":
        await run.pause(by="ann", why="look")
        await until(lambda: engine.journal.get(run.id).paused)
    else:
        await engine.pause(flow=None if by == "the engine" else engine.journal.get(run.id).flow, by="ann")


async def _resume(engine: segue.Engine, run: segue.Run[Any], by: str) -> None:
    if by == "the run":
        await run.resume()
    else:
        await engine.resume(flow=None if by == "the engine" else engine.journal.get(run.id).flow)


async def _waits(engine: segue.Engine, run: segue.Run[Any], state: str = "parked") -> None:
    """Until it waits: parked, or in memory."""
    await until(
        lambda: engine.journal.get(run.id).state == state or any("signal" in w for w in engine.host.waits_on(1) or ())
    )


@PAUSES
@LINGERS
async def test_signals_wait_in_the_inbox_in_their_order(world: World, by: str, lingers: float) -> None:
    async with world.engine(linger_s=lingers) as engine:
        run = await engine.start(hears, 3, id="r")
        await _waits(engine, run)
        await _pause(engine, run, by)
        await asyncio.sleep(0.3)
        before = (await kinds_of(run)).count("run.started")
        sent = [await run.signal("go", f"{n}", id=f"{n}") for n in (1, 2, 3, 1, 2)]
        assert sent == [True, True, True, False, False]
        await world.pass_(3)
        kinds = await kinds_of(run)
        assert kinds.count("run.started") == before, "it was not even woken"
        assert "signal.received" not in kinds
        assert [item.id for item in engine.journal.items_of(1)] == ["1", "2", "3"]
        await _resume(engine, run, by)
        assert await run.result() == ["1", "2", "3"]


@PAUSES
async def test_they_wait_over_restarts(world: World, by: str) -> None:
    async with world.parking() as engine:
        run = await engine.start(hears, 2, id="r")
        await in_state(run, "parked")
        await _pause(engine, run, by)
        await run.signal("go", "1")
    for n in range(3):
        async with world.parking() as engine:
            await world.pass_(1)
            run = await engine.get("r")
            assert not await run.signal("go", "2", id="two") or n == 0
            await world.pass_(1)
            assert "signal.received" not in await kinds_of(run)
            assert (await run.status()).state == "parked"
    async with world.parking() as engine:
        run = await engine.get("r")
        await _resume(engine, run, by)
        assert await run.result() == ["1", "2"]


async def test_a_pause_that_nobody_has_read_holds_a_signal_that_came_before_it(world: World) -> None:
    """Whoever reads the inbox finds both at once: to whoever has paused the run, it is paused."""
    async with world.parking() as engine:
        run = await engine.start(asks, id="r")
        await in_state(run, "parked")
    async with world.engine(recover=False) as operator:
        operator.host.carries = False
        run = await operator.get("r")
        await run.signal("go")
        await run.pause(by="ann")
        await run.signal("go", "another")
    async with world.parking() as engine:
        run = await engine.get("r")
        await until(lambda: engine.journal.get("r").paused)
        await world.pass_(1)
        assert await kinds_of(run) == [
            "run.accepted", "run.started", "run.parked", "run.started", "run.paused", "run.parked",
        ]  # fmt: skip
        assert await engine.inbox() == []
        await run.resume(by="ann")
        await until(lambda: engine.journal.query("select 1 from events where type = 'approval.asked'"))
        await (await engine.inbox())[0].approve(by="lead")
        assert await run.result() is True


async def test_another_process_sends_it(world: World) -> None:
    if world.virtual:
        pytest.skip("two engines at a time need a file")
    async with world.parking() as engine, world.engine(recover=False) as other:
        run = await engine.start(hears, 1, id="r")
        await in_state(run, "parked")
        await (await other.get("r")).pause()
        await until(lambda: engine.journal.get("r").paused)
        await in_state(run, "parked")
        assert await (await other.get("r")).signal("go", "from afar", id="1")
        await world.pass_(3)
        assert "signal.received" not in await kinds_of(run)
        await (await other.get("r")).resume()
        assert await run.result() == ["from afar"]
        assert not await (await other.get("r")).signal("go", "from afar", id="1")


@PAUSES
@LINGERS
@pytest.mark.parametrize("came", [True, False], ids=["it came", "it did not"])
async def test_a_limit_that_runs_out_meanwhile_takes_nothing_from_a_signal(
    world: World, by: str, lingers: float, came: bool
) -> None:
    limit_s = 60.0 if world.virtual else 0.5
    async with world.engine(linger_s=lingers) as engine:
        run = await engine.start(hears_in_time, limit_s, id="r")
        await _waits(engine, run)
        await _pause(engine, run, by)
        if came:
            await run.signal("go", "in time")
        await asyncio.sleep(2 * limit_s)
        assert not {"timer.fired", "signal.received", "run.completed"} & set(await kinds_of(run))
        await _resume(engine, run, by)
        assert await run.result() == ("in time" if came else "gave up")


@LINGERS
async def test_a_sleep_that_ends_in_a_pause_ends_after_it(world: World, lingers: float) -> None:
    async with world.engine(linger_s=lingers) as engine:
        run = await engine.start(naps, world.while_s, id="r")
        await run.pause()
        await world.pass_(4)
        assert "timer.fired" not in await kinds_of(run)
        await run.resume()
        assert await run.result() == "slept"


@PAUSES
async def test_what_is_under_way_ends(world: World, by: str) -> None:
    async with world.parking() as engine:
        run = await engine.start(hears_beside_a_step, id="r")
        await until(lambda: calls)
        await _pause(engine, run, by)
        await run.signal("go", "heard")
        await until(lambda: engine.journal.query("select 1 from events where type = 'step.completed'"))
        await world.pass_(2)
        assert "signal.received" not in await kinds_of(run)
        await _resume(engine, run, by)
        assert await run.result() == ["ended", "heard"]


@PAUSES
@LINGERS
async def test_a_cancel_comes_before_what_a_pause_holds_back(world: World, by: str, lingers: float) -> None:
    """The flow would begin with its work, and only then be asked to end. Its cleanup hears what is there for it."""
    async with world.engine(linger_s=lingers) as engine:
        run = await engine.start(cleans, "r", id="r")
        await _waits(engine, run)
        await _pause(engine, run, by)
        await run.signal("go", "work")
        await run.signal("bye", "cleaned up")
        await asyncio.sleep(0.2)
        await run.cancel(by="ann")
        with pytest.raises(RunCancelled):
            await run.result()
        assert calls == ["r cleaned up"]


async def test_a_persons_word_waits_too_and_nobody_else_is_asked(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(asks, id="r")
        await run.signal("go")
        await until(lambda: engine.journal.query("select 1 from events where type = 'approval.asked'"))
        await in_state(run, "parked")
        await run.pause()
        await until(lambda: engine.journal.get("r").paused)
        await in_state(run, "parked")
        (item,) = await engine.inbox()
        await item.reassign("ben", by="ann")
        (item,) = await engine.inbox()
        assert item.to == ("ben",)
        await item.approve(by="ben")
        with pytest.raises(segue.errors.AlreadyDecided, match="the run has not taken it up yet"):
            await engine.decide(item.id, approved=False, by="eve")
        await world.pass_(2)
        assert await engine.inbox() == []
        assert (await run.status()).state == "parked"
        await run.resume()
        assert await run.result() is True


async def test_a_journal_in_which_a_paused_run_has_heard_a_signal_is_read_as_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As earlier versions wrote it."""

    def took(execution: Any, item: Any) -> bool:
        return item.no not in execution.taken and execution.begun and not execution.closed

    with monkeypatch.context() as earlier:
        earlier.setattr(inbox, "takes", took)
        async with world.engine(linger_s=100.0) as engine:
            run = await engine.start(hears, 2, id="r")
            await _waits(engine, run)
            await run.pause()
            await run.signal("go", "1")
            await until(lambda: engine.journal.query("select 1 from events where type = 'signal.received'"))
    async with world.parking() as engine:
        run = await engine.get("r")
        await run.signal("go", "2")
        await world.pass_(2)
        assert [e.value for e in await events_of(run) if e.type == "signal.received"] == [b'"1"']
        await run.resume()
        assert await run.result() == ["1", "2"]


async def _paused_and_heard(engine: testing.Engine) -> list[str]:
    run = await engine.start(hears, 2, id="r")
    row = engine.journal.get("r")
    if not engine.journal.query("select 1 from inbox where kind = 'resume'"):
        if not engine.journal.query("select 1 from inbox where kind = 'pause'"):
            await run.pause()
        await until(lambda: engine.journal.get("r").paused)
        await run.signal("go", "1", id="1")
        await run.signal("go", "2", id="2")
        await asyncio.sleep(30)
        assert row.state not in ("completed", "failed")
        assert "signal.received" not in await kinds_of(run)
        await run.resume()
    return await run.result()


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_wherever_the_process_dies(again: bool) -> None:
    def check(result: list[str], engine: testing.Engine) -> None:
        assert result == ["1", "2"]
        assert [e.type for e in engine.history("r")].count("signal.received") == 2

    assert testing.crash_everywhere(_paused_and_heard, check=check, again=again) > 10
