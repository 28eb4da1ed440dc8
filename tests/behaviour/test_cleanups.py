"""What a cancellation does to work that cleans up already: each cleanup ends, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

import segue
from segue import flow, gather, sleep, step, testing, timeout
from segue.errors import RunCancelled, RunFailed
from segue.runtime.loop import FlowTask
from tests.behaviour.world import World, keys_of

ran: list[str] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    ran.clear()


@step
async def note(what: str, late_s: float = 0.0) -> str:
    await asyncio.sleep(late_s)
    ran.append(what)
    return what


@pytest.fixture
def timely(world: World) -> World:
    """A world in which time waits for the work: what comes first here is a matter of moments."""
    if not world.virtual:
        pytest.skip("time decides here: on the virtual clock alone")
    return world


# --- branches ---


async def _fails(while_s: float) -> None:
    await sleep(while_s)
    raise LookupError("a branch")


async def _holds(while_s: float) -> None:
    try:
        try:
            await sleep(100 * while_s)
        finally:
            await sleep(50 * while_s)
    finally:
        await note("release", while_s / 2)


async def _gathered(while_s: float) -> None:
    await gather(_fails(while_s), _holds(while_s))


async def _mapped(while_s: float) -> None:
    await segue.map(lambda branch: branch(while_s), [_fails, _holds])


async def _completed(while_s: float) -> None:
    async for _ in segue.as_completed(_fails(while_s), _holds(while_s)):
        pass


FORMS: dict[str, Callable[[float], Awaitable[None]]] = {
    "gather": _gathered, "map": _mapped, "as_completed": _completed
}  # fmt: skip


@flow
async def branches(form: str, while_s: float) -> None:
    await FORMS[form](while_s)


@flow
async def limited(form: str, while_s: float, inner_s: float | None = None) -> str:
    try:
        async with timeout(3 * while_s):
            if inner_s is None:
                await FORMS[form](while_s)
            else:
                async with timeout(inner_s):
                    await FORMS[form](while_s)
    except TimeoutError:
        return await note("next")
    return "no limit"


@pytest.mark.parametrize("form", FORMS)
async def test_a_cancel_while_a_branch_cleans_up_ends_the_cleanup_of_the_branch(timely: World, form: str) -> None:
    async with timely.engine() as engine:
        run = await engine.start(branches, form, timely.while_s)
        await timely.pass_(3)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
        assert ran == ["release"]
        assert len(await keys_of(run)) == 1


@pytest.mark.parametrize("inner", [None, 2, 4])
@pytest.mark.parametrize("form", FORMS)
async def test_a_limit_while_a_branch_cleans_up_waits_for_the_branch(
    timely: World, form: str, inner: float | None
) -> None:
    """What comes after the limit ran beside the branch, which still held what it was to release."""
    async with timely.engine() as engine:
        inner_s = None if inner is None else inner * timely.while_s
        assert await engine.run(limited, form, timely.while_s, inner_s) == "next"
    assert ran == ["release", "next"]


async def test_each_cancel_interrupts_what_a_branch_waits_for(timely: World) -> None:
    """The second one comes while the branch releases: nothing of it is left, and the run ends."""
    async with timely.engine() as engine:
        run = await engine.start(branches, "gather", timely.while_s)
        await timely.pass_(3)
        await run.cancel()
        await timely.pass_(0.2)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
    assert ran == []


def test_a_limit_waits_for_its_branches_wherever_the_process_dies() -> None:
    async def scenario(engine: testing.Engine) -> str:
        return await (await engine.start(limited, "gather", 10.0, id="r")).result()

    def check(found: str, engine: testing.Engine) -> None:
        assert found == "next"
        done = [(e.key or "") for e in engine.history("r") if e.type == "step.completed"]
        assert ["gather#1/1/note" in key for key in done] == [True, False]

    assert testing.crash_everywhere(scenario, check=check, linger_s=0.0) > 10


async def _cancel_once(engine: testing.Engine, run: segue.Run[Any], after_s: float) -> None:
    """Cancel it at this time of its own, and not again after a crash."""
    events = engine.history("r")
    if not any(e.type == "run.cancelling" for e in events):
        await asyncio.sleep(max(0.0, events[0].at + after_s - engine.clock.now()))
        if not engine.journal.query("select 1 from inbox where kind = 'cancel'"):
            await run.cancel()


def test_a_cancel_waits_for_the_branches_wherever_the_process_dies() -> None:
    async def scenario(engine: testing.Engine) -> str:
        run = await engine.start(branches, "gather", 10.0, id="r")
        await _cancel_once(engine, run, 30.0)
        with pytest.raises(RunCancelled):
            await run.result()
        return (await run.status()).state

    def check(state: str, engine: testing.Engine) -> None:
        assert state == "cancelled"
        done = [e for e in engine.history("r") if e.type == "step.completed"]
        assert len(done) == 1

    assert testing.crash_everywhere(scenario, check=check, linger_s=0.0) > 10


# --- segue.cleanup ---


@step
async def hopeless() -> None:
    ran.append("hopeless")
    raise LookupError("hopeless")


@flow
async def two_locks(while_s: float, returns: bool, fails: bool = False) -> str:
    segue.cleanup(note, "lock A")
    if fails:
        segue.cleanup(hopeless)
    segue.cleanup(note, "lock B", 100 * while_s)
    segue.cleanup(note, "lock C")
    if not returns:
        await sleep(1000 * while_s)
    return "done"


@pytest.mark.parametrize("returns", [True, False])
async def test_a_cancel_in_one_cleanup_is_none_of_the_others(world: World, returns: bool) -> None:
    async with world.engine() as engine:
        run = await engine.start(two_locks, world.while_s, returns)
        for _ in range(1 if returns else 2):
            await world.pass_(2)
            await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
    assert ran == ["lock C", "lock A"]


async def test_a_cleanup_that_fails_after_one_that_was_cancelled_fails_the_run(world: World) -> None:
    """As in nested `finally` blocks: that something was not released is not lost behind a cancellation."""
    async with world.engine() as engine:
        run = await engine.start(two_locks, world.while_s, True, True)
        await world.pass_(2)
        await run.cancel()
        with pytest.raises(RunFailed, match="hopeless"):
            await run.result()
    assert (ran[0], ran[-1]) == ("lock C", "lock A")


def test_the_other_cleanups_have_their_turn_wherever_the_process_dies() -> None:
    async def scenario(engine: testing.Engine) -> str:
        run = await engine.start(two_locks, 10.0, True, id="r")
        await _cancel_once(engine, run, 20.0)
        with pytest.raises(RunCancelled):
            await run.result()
        return (await run.status()).state

    def check(state: str, engine: testing.Engine) -> None:
        assert state == "cancelled"
        assert sum(e.type == "step.completed" for e in engine.history("r")) == 2

    assert testing.crash_everywhere(scenario, check=check, linger_s=0.0) > 5


# --- cancellations that were set aside, as those of a cleanup are while an agent runs in it ---


def _aside(how: str) -> None:
    task = cast("FlowTask", asyncio.current_task())
    if how != "never":
        task.set_aside()
    if how == "for a while":
        task.set_aside(task.aside_before)


@flow
async def regroups(how: str, while_s: float) -> str:
    """A child fails, which cancels the task that cleans up; the group takes that back, and the limit comes later."""
    try:
        async with timeout(5 * while_s):
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_fails(while_s))
                    try:
                        await sleep(100 * while_s)
                    finally:
                        _aside(how)
                        await sleep(while_s)
            except* LookupError:
                await note("group")
            await sleep(100 * while_s)
    except TimeoutError:
        return await note("too late")
    return "no limit"


ASIDE = ["never", "for a while", "for good"]


@pytest.mark.parametrize("how", ASIDE)
async def test_a_cancellation_that_was_set_aside_is_taken_back_by_whoever_gave_it(world: World, how: str) -> None:
    async with world.engine() as engine:
        assert await engine.run(regroups, how, world.while_s) == "too late"
    assert ran == ["group", "too late"]


@pytest.mark.parametrize("how", ASIDE)
def test_and_so_it_is_wherever_the_process_dies(how: str) -> None:
    async def scenario(engine: testing.Engine) -> str:
        return await (await engine.start(regroups, how, 10.0, id="r")).result()

    def check(found: str, engine: testing.Engine) -> None:
        assert found == "too late"
        assert sum(e.type == "step.completed" for e in engine.history("r")) == 2

    assert testing.crash_everywhere(scenario, check=check, linger_s=0.0) > 10


@flow
async def counts(how: str) -> None:
    """What a task counts while one of its cancellations is set aside, and after."""
    task = cast("FlowTask", asyncio.current_task())
    try:
        await segue.wait_for("never")
    except asyncio.CancelledError:
        seen = [task.cancelling()]
        task.set_aside()
        before = task.aside_before
        seen.append(task.cancelling())
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sleep(1)
        seen.append(task.cancelling())
        seen += [task.uncancel(), task.cancellations]
        if how == "own":
            seen += [task.uncancel(), task.cancellations]
        task.set_aside(before)
        seen.append(task.cancelling())
        await note(repr(seen))
        raise


@pytest.mark.parametrize(("how", "seen"), [("other", [1, 0, 1, 0, 1, 1]), ("own", [1, 0, 1, 0, 1, 0, 0, 0])])
async def test_what_a_task_counts(world: World, how: str, seen: list[int]) -> None:
    async with world.engine() as engine:
        run = await engine.start(counts, how)
        await world.pass_(1)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
    assert ran == [repr(seen)]


@flow
async def goes_on_after_a_group(while_s: float) -> str:
    """The group's task waits for its children as one fails, and the limit comes later."""
    try:
        async with timeout(5 * while_s):
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_fails(while_s))
                    group.create_task(sleep(50 * while_s))
            except* LookupError:
                await note("group")
            task = asyncio.current_task()
            assert task is not None and not task.cancelling()
            await sleep(100 * while_s)
    except TimeoutError:
        return await note("too late")
    return "no limit"


async def test_a_group_whose_child_fails_while_it_waits_leaves_no_cancellation_behind(world: World) -> None:
    """Python takes it back from 3.13 on; before that the limit around it let out a cancellation."""
    async with world.engine() as engine:
        assert await engine.run(goes_on_after_a_group, world.while_s) == "too late"
    assert ran == ["group", "too late"]


@flow
async def cancelled_in_a_group(while_s: float) -> str:
    """The limit comes first, as the group waits: its children are cancelled, and the limit is one."""
    try:
        async with timeout(while_s), asyncio.TaskGroup() as group:
            group.create_task(sleep(50 * while_s))
    except TimeoutError:
        return "too late"
    return "no limit"


async def test_a_limit_while_a_group_waits_is_a_limit_and_a_cancel_is_a_cancel(world: World) -> None:
    async with world.engine() as engine:
        assert await engine.run(cancelled_in_a_group, world.while_s) == "too late"
        run = await engine.start(goes_on_after_a_group, 20.0)
        await asyncio.sleep(0)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
    assert ran == []


@flow
async def awaits_its_cleanup() -> str:
    await segue.cleanup(note, "awaited")
    segue.cleanup(note, "not awaited")
    await note("body")
    return "done"


async def test_a_cleanup_may_be_awaited_like_the_calls_beside_it(world: World) -> None:
    async with world.engine() as engine:
        assert await engine.run(awaits_its_cleanup) == "done"
        assert ran == ["body", "not awaited", "awaited"]
