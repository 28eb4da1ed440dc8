"""Once-effects of runs that are set aside, or whose code was changed: none is made twice, and none passes for done."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import segue
from segue import Applied, NotApplied, flow, gather, sleep, step, testing
from segue.core.codec import dumps, loads
from segue.journal import Post
from segue.runtime.embedded import attempts
from segue.runtime.scope import StepScope
from tests.behaviour.world import World, events_of, in_state, until

applied: list[Any] = []
seen: list[str] = []
code = {"new": False, "other": False}
"""How the flows' code stands: with a step put in, with other arguments."""


@pytest.fixture(autouse=True)
def _clean() -> None:
    applied.clear()
    seen.clear()
    code.update(new=False, other=False)


@step
async def first(n: int) -> int:
    return n


@step
async def another(n: int) -> int:
    return n


@step
async def hangs() -> None:
    await asyncio.sleep(1e9)


async def look(what: str) -> Applied | NotApplied:
    seen.append(what)
    return NotApplied()


@step(effect="once", reconcile=look)
async def pay(what: str) -> str:
    applied.append(what)
    await asyncio.sleep(1e6 if len(applied) == 1 else 1)
    return what


@flow
async def pays_after_steps() -> str:
    if code["new"]:
        await first(1)
    return await pay("rent")


def changed(flow_: Any, **now: bool) -> None:
    """The code is another one from here."""
    code.update(now)
    flow_.revision = f"{flow_.revision}+"


async def begun(flow_: Any, **options: Any) -> tuple[testing.Engine, str]:
    """A run whose process dies while it pays. Gives its key too."""
    async with testing.Engine(**options) as engine:
        run = await engine.start(flow_, id="r")
        await asyncio.sleep(5)
        (wait,) = [w for w in (await run.status()).waits_on if "pay" in w["key"]]
        engine.kill()
    return engine, wait["key"]


@testing.simulated
async def test_an_effect_after_a_new_step_does_not_pass_for_done() -> None:
    engine, _ = await begun(pays_after_steps)
    changed(pays_after_steps, new=True)
    async with testing.Engine(after=engine) as engine:
        assert await (await engine.get("r")).result() == "rent"
    assert seen == ["rent"], "what came of it was asked"
    assert applied == ["rent", "rent"]


@step(effect="once")
async def pay_blindly() -> int:
    applied.append("blindly")
    await asyncio.sleep(1e6 if len(applied) == 1 else 1)
    return 1


@flow
async def pays_after_either() -> int:
    await (another if code["other"] else first)(1)
    return await pay_blindly()


@testing.simulated
async def test_a_retry_before_the_doubt_is_on_record_settles_none_where_the_flow_cannot_go_on() -> None:
    engine, key = await begun(pays_after_either)
    async with testing.Engine(after=engine, recover=False) as engine:
        await (await engine.get("r")).override(key, retry=True, by="ann")
    code["other"] = True
    async with testing.Engine(after=engine) as engine:
        stuck = await in_state(await engine.get("r"), "stuck")
        assert stuck.reason == "mismatch"
    code["other"] = False
    async with testing.Engine(after=engine) as engine:
        run = await engine.get("r")
        await run.resume(by="ann")
        await until_stuck_by(run, "unknown effect")
        assert applied == ["blindly"], "it was applied twice"
        await run.override(key, retry=True, by="ann")
        assert await run.result() == 1
        assert len(applied) == 2, "the doubt is on record, and the word counts"


@testing.simulated
async def test_a_result_that_is_said_while_the_flow_cannot_go_on_is_kept() -> None:
    engine, key = await begun(pays_after_either)
    code["other"] = True
    async with testing.Engine(after=engine) as engine:
        run = await engine.get("r")
        stuck = await in_state(run, "stuck")
        assert key in (stuck.message or "")
        await run.override(key, 7, by="ann")
        await asyncio.sleep(5)
        assert (await run.status()).reason == "mismatch"
    code["other"] = False
    async with testing.Engine(after=engine) as engine:
        run = await engine.get("r")
        await run.resume(by="ann")
        assert await run.result() == 7
    assert applied == ["blindly"]


@flow
async def pays_after_a_wait() -> str:
    if code["new"]:
        await sleep(100)
    return await pay("rent")


@testing.simulated
async def test_a_result_that_is_said_before_the_changed_code_asks_counts() -> None:
    engine, key = await begun(pays_after_a_wait)
    changed(pays_after_a_wait, new=True)
    async with testing.Engine(after=engine) as engine:
        run = await engine.get("r")
        await asyncio.sleep(5)
        await run.override(key, "by hand", by="ann")
        assert await run.result() == "by hand"
    assert applied == ["rent"]
    assert not seen


async def looks_long(what: str) -> NotApplied:
    await asyncio.sleep(100)
    return NotApplied()


@step(effect="once", reconcile=looks_long)
async def pay_slowly(what: str) -> str:
    await asyncio.sleep(1e6)
    return what


@step(effect="once")
async def move(n: int) -> int:
    await asyncio.sleep(1e6)
    return n


@flow
async def pays_beside_changes() -> None:
    async def moves() -> None:
        await first(1)
        if code["new"]:
            await another(2)
        await move(2 if code["new"] else 1)

    await gather(pay_slowly("rent"), moves())


@testing.simulated
async def test_a_run_that_is_set_aside_names_an_effect_that_is_being_asked_about() -> None:
    engine, key = await begun(pays_beside_changes)
    changed(pays_beside_changes, new=True)
    async with testing.Engine(after=engine) as engine:
        run = await engine.get("r")
        stuck = await in_state(run, "stuck")
        assert stuck.reason == "mismatch"
        (event,) = [e for e in await events_of(run) if e.type == "run.stuck"]
        assert loads(event.body)["unknown"].get(key) == "the process ended while it was made"
        assert key in (stuck.message or "")


async def until_stuck_by(run: segue.Run[Any], reason: str) -> segue.RunStatus:
    """Wait until it is set aside for that."""
    for _ in range(2000):
        if (status := await run.status()).reason == reason:
            return status
        await asyncio.sleep(0.005)
    raise AssertionError(f"it never was set aside for {reason}")


gate = threading.Event()


async def was_it() -> Applied | NotApplied:
    return Applied("paid") if applied else NotApplied()


@step(effect="once", reconcile=was_it)
def pay_in_a_thread() -> str:
    seen.append("called")
    gate.wait(20)
    applied.append("paid")
    return "paid"


@step(effect="once", reconcile=was_it)
async def pay_for_a_while() -> str:
    seen.append("called")
    while not gate.is_set():
        await asyncio.sleep(0.01)
    applied.append("paid")
    return "paid"


@step(effect="once")
async def moves_at_once(n: int) -> int:
    return n


@flow
async def pays_beside_a_mismatch(threaded: bool) -> str | None:
    async def pays() -> str | None:
        if not code["new"]:
            await hangs()
        return await (pay_in_a_thread if threaded else pay_for_a_while)()

    async def moves() -> None:
        await first(1)
        while code["new"] and not seen:
            await first(3)
        await moves_at_once(2 if code["other"] else 1)

    return (await gather(pays(), moves()))[0]


@pytest.mark.parametrize("threaded", [True, False], ids=["in a thread", "in the loop"])
@pytest.mark.parametrize("then", ["it ends", "the engine closes", "a cancel", "a pause"])
async def test_a_run_is_set_aside_after_its_effects_on_their_way(world: World, threaded: bool, then: str) -> None:
    if world.virtual:
        pytest.skip("threads are not on virtual time")
    gate.clear()
    async with world.engine() as engine:
        run = await engine.start(pays_beside_a_mismatch, threaded, id="r")
        await until(lambda: _has(engine, "moves_at_once", "step.completed"))
    changed(pays_beside_a_mismatch, new=True, other=True)
    async with world.engine() as engine:
        run = await engine.get("r")
        await until(lambda: any(e.drive.stuck is not None and seen for e in engine.host.executions.values()))
        await asyncio.sleep(0.1)
        assert (await run.status()).state == "running", "its effect is on its way"
        closing = None
        if then == "a cancel":
            await run.cancel(by="ann")
        elif then == "a pause":
            await run.pause()
        elif then == "the engine closes":
            closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0.1)
        gate.set()
        if closing is not None:
            await closing
        else:
            await in_state(run, "cancelled" if then == "a cancel" else "stuck")
    async with world.engine(recover=False) as engine:
        events = await events_of(await engine.get("r"))
        kinds = [e.type for e in events if e.type == "run.stuck" or "pay_" in (e.key or "")]
        assert kinds[:3] == ["attempt.started", "step.completed", "run.stuck"]
        (stuck,) = [e for e in events if e.type == "run.stuck"]
        assert "unknown" not in loads(stuck.body), "nothing is in doubt"
    assert (applied, seen) == (["paid"], ["called"])
    if then == "it ends":
        changed(pays_beside_a_mismatch, other=False)
        async with world.engine() as engine:
            run = await engine.get("r")
            await run.resume(by="ann")
            assert await run.result() == "paid"
        assert (applied, seen) == (["paid"], ["called"])


@step(effect="once")
async def pay_for_ever() -> str:
    seen.append("called")
    await asyncio.sleep(1e9)
    return "paid"


@flow
async def pays_for_ever() -> None:
    async def moves() -> None:
        await first(1)
        while code["new"] and not seen:
            await first(3)
        await moves_at_once(2 if code["other"] else 1)

    await gather(pay_for_ever() if code["new"] else hangs(), moves())


@testing.simulated
async def test_an_effect_that_never_ends_holds_no_close_and_is_named() -> None:
    async with testing.Engine() as engine:
        await engine.start(pays_for_ever, id="r")
        await asyncio.sleep(5)
    changed(pays_for_ever, new=True, other=True)
    async with testing.Engine(after=engine) as engine:
        run = await engine.get("r")
        await asyncio.sleep(50)
        assert (await run.status()).state == "running"
    async with testing.Engine(after=engine, recover=False) as engine:
        run = await engine.get("r")
        assert (await run.status()).state == "stuck"
        (stuck,) = [e for e in await events_of(run) if e.type == "run.stuck"]
        (key,) = loads(stuck.body)["unknown"]
        assert "pay_for_ever" in key


def _has(engine: segue.Engine, key: str, kind: str) -> bool:
    return bool(engine.journal.query("select 1 from events where type = ? and instr(key, ?)", (kind, key)))


@step(effect="once")
def stands_in_line(n: int) -> int:
    gate.wait(20)
    applied.append(n)
    return n


@step
async def says() -> str:
    await asyncio.sleep(1e9)
    return "x"


@flow
async def pays_in_line() -> None:
    await gather(stands_in_line(1), stands_in_line(2), says())


async def test_an_effect_that_stands_in_line_is_not_given_up_by_that(world: World) -> None:
    """The flow has ended by that, and waits for nothing any more; yet it did not give the effect up."""
    if world.virtual:
        pytest.skip("threads are not on virtual time")
    gate.clear()
    async with world.engine(step_threads=1) as engine:
        run = await engine.start(pays_in_line, id="r")
        await until(lambda: len(engine.journal.query("select 1 from events where type = 'attempt.started'")) >= 2)
        (wait,) = [w for w in (await run.status()).waits_on if "says" in w["key"]]
        said = dumps({"act": "result"})  # as of a process that does not know the flow, nor the type
        await engine.journal.post(Post("r", "override", "1", wait["key"], 0.0, b"null", said))
        engine.host.scan_soon()
        await until(lambda: any(e.drive.stuck is not None for e in engine.host.executions.values()))
        gate.set()
        await until_stuck_by(run, "undecodable")
        done = [e for e in await events_of(run) if "stands_in_line" in (e.key or "") and e.type == "step.completed"]
        assert len(done) == 2
    assert applied == [1, 2]


@step(effect="once")
async def meets_a_bug() -> str:
    while len(seen) < 1:
        await asyncio.sleep(0.01)
    return "paid"


@flow
async def pays_with_a_bug() -> None:
    await gather(meets_a_bug(), pay_for_a_while())


async def test_a_bug_in_one_effect_waits_for_the_others_and_leaves_it_in_doubt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.clear()
    found: list[str] = []

    def breaks(scope: StepScope, value: Any) -> None:
        if "meets_a_bug" in scope.key:
            found.append(scope.key)
            raise AssertionError("a bug")

    monkeypatch.setattr(attempts, "close", breaks)
    async with world.engine() as engine:
        run = await engine.start(pays_with_a_bug, id="r")
        await until(lambda: found)
        await asyncio.sleep(0.05)
        assert (await run.status()).state == "running"
        gate.set()
        await until_stuck_by(run, "crashes")
        (stuck,) = [e for e in await events_of(run) if e.type == "run.stuck"]
        assert list(loads(stuck.body)["unknown"]) == found
    assert applied == ["paid"]


@pytest.mark.parametrize("by", ["the run", "its flow"])
async def test_nothing_begins_when_a_pause_ends_before_it_is_set_aside(world: World, by: str) -> None:
    gate.clear()
    async with world.engine() as engine:
        run = await engine.start(pays_beside_a_mismatch, False, id="r")
        await until(lambda: _has(engine, "moves_at_once", "step.completed"))
    changed(pays_beside_a_mismatch, new=True, other=True)
    async with world.engine() as engine:
        run = await engine.get("r")
        await until(lambda: any(e.drive.stuck is not None and seen for e in engine.host.executions.values()))
        await (run.pause(by="ann") if by == "the run" else engine.pause(flow=pays_beside_a_mismatch))
        await asyncio.sleep(0.1)
        await (run.resume(by="ann") if by == "the run" else engine.resume(flow=pays_beside_a_mismatch))
        await asyncio.sleep(0.1)
        assert (await run.status()).state == "running"
        gate.set()
        await in_state(run, "stuck")
        events = await events_of(run)
        assert [e.type for e in events if "pay_" in (e.key or "")][:2] == ["attempt.started", "step.completed"]
    assert (applied, seen) == (["paid"], ["called"])
