"""Sleeps, timeouts, signals, children: what a run waits for."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from pydantic import BaseModel

import segue
from segue import flow, gather, sleep, step, timeout, wait_for
from segue.errors import RunCancelled, RunEnded, RunFailed, UnknownRun
from segue.runtime.loop import FlowTask
from tests.behaviour.world import World, events_of, in_state, kinds_of, until

ran: list[Any] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    ran.clear()


@step
async def note(what: str, late_s: float = 0.0) -> str:
    ran.append(what)
    await asyncio.sleep(late_s)
    return what


@flow
async def sleeper(seconds: float) -> float:
    began = segue.now()
    await sleep(seconds)
    return (segue.now() - began).total_seconds()


async def test_sleep(world: World) -> None:
    async with world.engine() as engine:
        assert world.while_s <= await engine.run(sleeper, world.while_s) < world.while_s + 5


async def test_sleep_goes_on_over_a_restart(world: World) -> None:
    async with world.engine() as engine:
        await in_state(await engine.start(sleeper, 4 * world.while_s, id="r"), "running")
        await world.pass_(1)
    await world.pass_(1)
    async with world.engine() as engine:
        assert await (await engine.get("r")).result() < 4 * world.while_s + 1


@flow
async def limited(limit_s: float, work_s: float) -> str:
    try:
        async with timeout(limit_s):
            return await note("work", work_s)
    except TimeoutError:
        return await note("too late")


async def test_timeout(world: World) -> None:
    async with world.engine() as engine:
        assert await engine.run(limited, 10 * world.while_s, 0.0) == "work"
        assert await engine.run(limited, world.while_s, 1000 * world.while_s) == "too late"


@flow
async def two_timeouts(outer_s: float, inner_s: float) -> list[str]:
    log: list[str] = []
    try:
        async with timeout(outer_s):
            try:
                async with timeout(inner_s):
                    await note("work", 1e6)
            except TimeoutError:
                log.append("inner")
            await note("more", 1e6)
    except TimeoutError:
        log.append("outer")
    return log


async def test_nested_timeouts(world: World) -> None:
    w = world.while_s
    async with world.engine() as engine:
        assert await engine.run(two_timeouts, 4 * w, w) == ["inner", "outer"]
        assert await engine.run(two_timeouts, w, 4 * w) == ["outer"]
        assert await engine.run(two_timeouts, w, w) in (["inner", "outer"], ["outer"])


class Verdict(BaseModel):
    yes: bool
    why: str = ""


@flow
async def asks(timeout_s: float | None = None) -> str:
    try:
        verdict = await wait_for("verdict", returns=Verdict, timeout_s=timeout_s)
    except TimeoutError:
        return "nobody said"
    return f"{verdict.yes} {verdict.why}"


@flow
async def tidying(limit_s: float) -> str:
    try:
        async with timeout(limit_s):
            try:
                await sleep(limit_s * 9)
            finally:
                cast("FlowTask", asyncio.current_task()).set_aside()  # as an agent does that runs in a cleanup
                await sleep(limit_s * 2)
    except TimeoutError:
        return await note("too late")
    return "done"


async def test_a_limit_that_comes_in_the_cleanup_of_a_cancelled_run_is_no_error_to_go_on_from(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(tidying, world.while_s * 4)
        await world.pass_(1)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
    assert ran == []


@flow
async def waiting_for_a_branch(limit_s: float, aside: bool) -> None:
    async def branch() -> str:
        try:
            async with timeout(limit_s):
                try:
                    await sleep(limit_s * 9)
                finally:
                    if aside:
                        cast("FlowTask", asyncio.current_task()).set_aside()
        except TimeoutError:
            return await note("too late")
        return "done"

    task = asyncio.create_task(branch())
    try:
        await sleep(limit_s * 9)
    finally:
        await task
        await note("tidy")


@pytest.mark.parametrize("aside", [False, True])
async def test_a_branch_that_nobody_cancelled_has_its_limit_while_its_run_is_cancelled(
    world: World, aside: bool
) -> None:
    async with world.engine() as engine:
        run = await engine.start(waiting_for_a_branch, world.while_s * 4, aside)
        await world.pass_(1)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
    assert ran == ["too late", "tidy"]


async def test_a_signal_before_and_after_the_wait(world: World) -> None:
    async with world.engine() as engine:
        early = await engine.start(asks)
        assert await early.signal("verdict", {"yes": True})
        assert await early.result() == "True "
        late = await engine.start(asks)
        await in_state(late, "running")
        await world.pass_(0.2)
        assert await late.signal("verdict", {"yes": False, "why": "no"})
        assert await late.result() == "False no"


async def test_a_signal_wakes_a_parked_run(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(asks)
        await in_state(run, "parked")
        await run.signal("verdict", {"yes": True})
        assert await run.result() == "True "
        assert "run.parked" in await kinds_of(run)


async def test_a_signal_that_does_not_come(world: World) -> None:
    async with world.parking() as engine:
        assert await engine.run(asks, world.while_s) == "nobody said"


async def test_a_wrong_payload_is_rejected_and_the_wait_goes_on(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(asks)
        await run.signal("verdict", {"maybe": 1})
        await run.signal("verdict", "yes")
        await run.signal("verdict", {"yes": True, "why": "third"})
        assert await run.result() == "True third"
        assert (await kinds_of(run)).count("signal.rejected") == 2
        assert await (await run.fork()).result() == "True third"


@flow
async def collects(n: int) -> list[Any]:
    return [await wait_for("item") for _ in range(n)]


async def test_signals_come_in_order_and_once(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(collects, 3)
        assert await run.signal("item", 1, id="a")
        assert not await run.signal("item", 1, id="a")
        assert not await run.signal("item", 99, id="a")
        await run.signal("item", 2)
        await run.signal("item", 2)
        assert await run.result() == [1, 2, 2]
        with pytest.raises(RunEnded, match="fork"):
            await run.signal("item", 3)


@flow
async def two_waits() -> list[Any]:
    return await gather(wait_for("a"), wait_for("b"), wait_for("a"))


async def test_waits_of_branches_take_one_signal_each(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(two_waits)
        for name, value in (("b", 1), ("a", 2), ("a", 3)):
            await run.signal(name, value)
        assert await run.result() == [2, 1, 3]


@flow
async def child(name: str, fail: bool = False) -> str:
    await note(f"child {name}")
    if fail:
        raise LookupError(name)
    return f"done {name}"


@flow
async def parent() -> list[str]:
    first = await child("a")
    try:
        await child("b", True)
    except LookupError as error:
        second = repr(error)
    more = await gather(child("c"), child("c"))
    return [first, second, *more]


async def test_children_are_runs_and_their_results_and_errors_come_back(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(parent, id="p")
        assert await run.result() == ["done a", "LookupError('b')", "done c", "done c"]
        children = [s for s in await engine.runs() if s.parent == "p"]
        assert sorted(s.state for s in children) == ["completed", "completed", "completed", "failed"]
        assert await (await run.fork()).result() == await run.result()
        assert ran.count("child a") == 1


@flow
async def detaches(name: str) -> str:
    return await segue.detach(child, name)


async def test_a_detached_child_lives_on_its_own(world: World) -> None:
    async with world.engine() as engine:
        id_ = await engine.run(detaches, "x", id="p")
        assert await (await engine.get(id_)).result() == "done x"


@flow
async def night(day: int, last: int) -> int:
    """A loop that starts its successor: `docs/flows.md` shows it."""
    await note(f"night {day}")
    if day < last:
        assert await segue.detach(night, day + 1, last, id=f"nightly-{day + 1}") == f"nightly-{day + 1}"
    return day


async def test_a_detached_child_is_named_as_it_is_told(world: World) -> None:
    async with world.engine() as engine:
        first = await engine.start(night, 1, last=3, id="nightly-1")
        assert await first.result() == 1
        for day in (2, 3):
            await until(lambda day=day: engine.journal.find(f"nightly-{day}"))
            assert await (await engine.get(f"nightly-{day}")).result() == day
        assert await (await first.fork(at=1)).result() == 1, "the same id is the same run"
        await engine.settled()
        assert ran == ["night 1", "night 2", "night 3", "night 1"]


@flow
async def named(id: str) -> str:
    return f"done {id}"


@flow
async def detaches_what_has_an_id(how: str) -> str:
    if how == "by name":
        return await segue.detach(named, id="own")
    if how == "by position":
        return await segue.detach(named, "own", id="child-9")
    return await segue.detach(named, "own", id=" bad ")


async def test_a_flows_own_parameter_id_goes_first(world: World) -> None:
    async with world.engine() as engine:
        own = await engine.run(detaches_what_has_an_id, "by name", id="p")
        assert own.startswith("p/")
        assert await (await engine.get(own)).result() == "done own"
        assert await engine.run(detaches_what_has_an_id, "by position") == "child-9"
        assert await (await engine.get("child-9")).result() == "done own"
        with pytest.raises(RunFailed, match="run id ' bad '"):
            await engine.run(detaches_what_has_an_id, "")


@flow
async def waiting_child() -> str:
    try:
        return await wait_for("never")
    finally:
        segue.cleanup(note, "cleaned")


@flow
async def gives_up_its_child(limit_s: float) -> str:
    try:
        async with timeout(limit_s):
            return await waiting_child()
    except TimeoutError:
        return "gave up"


async def test_a_child_that_is_given_up_is_cancelled(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(gives_up_its_child, world.while_s, id="p")
        assert await run.result() == "gave up"
        (status,) = [s for s in await engine.runs() if s.parent == "p"]
        with pytest.raises(RunCancelled):
            await (await engine.get(status.id)).result()
    async with world.engine() as engine:
        items = engine.journal.items()
        assert items == [], "a message to a run that has ended waits for ever"


async def test_a_child_of_a_cancelled_parent_is_cancelled(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(gives_up_its_child, 1e6, id="p")
        await in_state(run, "parked")
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
        (status,) = [s for s in await engine.runs() if s.parent == "p"]
        with pytest.raises(RunCancelled):
            await (await engine.get(status.id)).result()


@flow
async def rolls() -> list[str]:
    first = [str(segue.uuid()), str(segue.random()), segue.now().isoformat()]
    await note("between")
    return [*first, str(segue.uuid()), str(segue.random()), segue.now().isoformat()]


async def test_now_random_and_uuid_are_the_same_on_replay(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(rolls)
        result = await run.result()
        assert len(set(result)) >= 5
        (key,) = [e.key for e in await events_of(run) if e.key]
        fork = await (await run.fork(at=key)).result()
        assert fork[:3] == result[:3], "what came before the fork is the parent's"
        assert fork[3:5] != result[3:5], "what comes after it is its own"
        whole = await (await run.fork()).result()
        assert whole[:3] == result[:3]
        assert await engine.run(rolls) != result


@flow
async def finally_at_park() -> str:
    try:
        await wait_for("go")
    finally:
        ran.append("finally")
        try:
            await note("durable in finally")
        except BaseException as error:
            ran.append(type(error).__name__)
            raise
    return "gone"


async def test_what_a_finally_does_at_a_park_is_discarded(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(finally_at_park)
        await in_state(run, "parked")
        await until(lambda: ran)
        assert ran == ["finally", "Suspended"]
        await run.signal("go")
        assert await run.result() == "gone"
        assert ran == ["finally", "Suspended", "finally", "durable in finally"]


@flow
async def swallows_the_park() -> str:
    while True:
        try:
            return await wait_for("go")
        except BaseException:  # noqa: BLE001  the worst that a flow can do
            ran.append("swallowed")
            if len(ran) > 20:
                return "wrong"


async def test_a_flow_that_swallows_its_park_still_parks(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(swallows_the_park)
        await in_state(run, "parked")
        await run.signal("go", "right")
        assert await run.result() == "right"


@step
async def inner(n: int) -> int:
    return n + 1


@step
async def calls_a_step(n: int) -> int:
    return await inner(n) + sum(await gather(inner(1), inner(2)))


@step
async def waits_inside() -> None:
    await wait_for("x")


@flow
async def uses_steps_in_steps(n: int) -> int:
    return await calls_a_step(n)


@flow
async def waits_in_a_step() -> str:
    try:
        await waits_inside()
    except segue.SegueError as error:
        return f"{error.code}: {error}"
    return "no error"


async def test_a_durable_call_in_a_step_runs_inline_and_a_wait_is_refused(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(uses_steps_in_steps, 1)
        assert await run.result() == 7
        assert (await kinds_of(run)).count("step.completed") == 1
        said = await engine.run(waits_in_a_step)
    assert said.startswith("not-in-a-flow: segue.wait_for")
    assert "waits_inside[" in said


async def test_an_unknown_run(world: World) -> None:
    async with world.engine() as engine:
        with pytest.raises(UnknownRun, match="segue runs"):
            await engine.get("nobody")


@flow
async def fails() -> None:
    await note("x")
    raise ValueError("wrong")


async def test_a_flow_that_raises(world: World) -> None:
    async with world.engine() as engine:
        with pytest.raises(RunFailed, match="ValueError: wrong") as caught:
            await engine.run(fails, id="r")
        assert repr(caught.value.__cause__) == "ValueError('wrong')"
    async with world.engine() as engine:
        with pytest.raises(RunFailed) as caught:
            await (await engine.get("r")).result()
        assert repr(caught.value.__cause__) == "ValueError('wrong')"
