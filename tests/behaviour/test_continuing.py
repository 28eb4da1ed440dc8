"""`continue_as_new`: a run goes on as new under its id, with what it is given and the signals that nobody has taken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import segue
from segue import cleanup, continue_as_new, flow, gather, sleep, step, wait_for
from segue.core.events import EventType
from segue.errors import InputError, NotInAFlow, RunCancelled, RunFailed
from tests.behaviour.world import World, events_of, in_state, keys_of, kinds_of, until

ran: list[str] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    ran.clear()


@step
async def note(what: str) -> str:
    ran.append(what)
    return what


@flow
async def counts(upto: int, n: int = 0) -> str:
    await note("same call")
    if n < upto:
        continue_as_new(upto, n=n + 1)
    return f"counted to {n}"


async def test_a_run_goes_on_as_new_under_its_id(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(counts, 3, id="c")
        assert await run.result() == "counted to 3"
        assert await keys_of(run) == [
            f"{part}note[{(await keys_of(run))[0][5:]}" for part in ("", "continued#1/", "continued#2/", "continued#3/")
        ]
        assert (await kinds_of(run)).count(EventType.RUN_CONTINUED) == 3
        assert ran == ["same call"] * 4
        assert await (await engine.start(counts, 3, id="c")).result() == "counted to 3", "the same id is the same run"
        assert len(ran) == 4


async def test_a_later_engine_replays_the_present_part_alone(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(serves, [], id="s")
        for i in range(3):
            await run.signal("item", f"i{i}")
            await in_state(run, "parked")
        await until(lambda: len(ran) == 3)
        await in_state(run, "parked")
    async with world.engine() as engine:
        run = await engine.get("s")
        before = list(ran)
        await run.signal("item", "last")
        assert await run.result() == ["i0", "i1", "i2", "last"]
        assert ran == [*before, "last"], "no step of an earlier part was made again"
        row = engine.journal.get("s")
        replayed = list(engine.journal.past(row))
        assert replayed[0].type == EventType.RUN_CONTINUED
        assert len(replayed) < len(await events_of(run)) / 2


@flow
async def serves(done: list[str]) -> list[str]:
    item = await wait_for("item", returns=str)
    done = [*done, await note(item)]
    if item != "last":
        continue_as_new(done)
    return done


async def test_signals_that_nobody_has_taken_go_along_in_their_order(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(serves_late, [], id="s")
        for item in ("a", "b", "c", "d", "last"):
            await run.signal("item", item, id=item)
        await run.signal("go")
        assert await run.result() == ["a", "b", "c", "d", "last"]


@flow
async def serves_late(done: list[str]) -> list[str]:
    if not done:
        await wait_for("go")
    return await serves_one(done)


async def serves_one(done: list[str]) -> list[str]:
    item = await wait_for("item", returns=str)
    await sleep(1 if item == "b" else 0)
    if item != "last":
        continue_as_new([*done, item])
    return [*done, item]


@flow
async def misuses(how: str) -> str:
    if how == "branch":

        async def branch() -> None:
            continue_as_new("plain")

        await gather(branch())
    if how == "type":
        continue_as_new(7)
    if how == "many":
        continue_as_new("a", "b", "c")
    if how == "swallowed":
        try:
            continue_as_new("plain")
        except Exception:  # noqa: BLE001  what users write
            return "swallowed"
    return how


@pytest.mark.parametrize(("how", "says"), [("branch", "in a branch"), ("type", "how"), ("many", "too many")])
async def test_misuse_is_an_error_that_says_how(world: World, how: str, says: str) -> None:
    async with world.engine() as engine:
        run = await engine.start(misuses, how)
        with pytest.raises(RunFailed, match=says) as failed:
            await run.result()
        assert isinstance(failed.value.__cause__, InputError)


async def test_except_exception_does_not_swallow_it(world: World) -> None:
    async with world.engine() as engine:
        assert await (await engine.start(misuses, "swallowed")).result() == "plain"


async def test_outside_of_a_run_it_needs_one() -> None:
    with pytest.raises(NotInAFlow):
        continue_as_new(1)


@flow
async def cleans(n: int) -> int:
    cleanup(note, f"cleanup {n}")
    child = asyncio.ensure_future(waits_for_ever())
    try:
        await note(f"body {n}")
        if n < 2:
            continue_as_new(n + 1)
        await sleep(0)
        return n
    finally:
        ran.append(f"finally {n}")
        child.cancel()


@flow
async def waits_for_ever() -> None:
    await wait_for("never")


async def test_cleanup_runs_and_awaited_children_end_with_each_part(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(cleans, 0)
        assert await run.result() == 2
        assert ran == [f"{what} {n}" for n in range(3) for what in ("body", "finally", "cleanup")]
        await until(lambda: not engine.journal.runs("state not in ('completed', 'cancelled')"))


async def test_a_parent_waits_for_the_last_part_of_its_child(world: World) -> None:
    async with world.engine() as engine:
        assert await (await engine.start(has_a_child)).result() == "child: counted to 2"


@flow
async def has_a_child() -> str:
    return f"child: {await counts(2)}"


async def test_cancel_and_pause_hold_over_it(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(loops, 0, id="loop")
        await until(lambda: len(ran) > 5)
        await run.pause()
        await until(lambda: engine.journal.get("loop").paused)
        await world.pass_(2)
        seen = len(ran)
        await world.pass_(2)
        assert len(ran) == seen
        await run.resume()
        await until(lambda: len(ran) > seen + 3)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()


@flow
async def loops(n: int) -> None:
    await note(f"{n}")
    await sleep(0.01)
    continue_as_new(n + 1)


@flow
async def draws(n: int, had: list[Any]) -> list[Any]:
    had = [*had, segue.random(), segue.now().timestamp()]
    await sleep(1.5)
    if n:
        continue_as_new(n - 1, had)
    return had


async def test_each_part_has_random_values_and_a_time_of_its_own(world: World) -> None:
    async with world.engine() as engine:
        had = await (await engine.start(draws, 2, [])).result()
        assert len(set(had[::2])) == 3
        assert had[1] + 1 < had[3] < had[5]


async def test_forks_begin_in_the_part_of_their_step(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(grows, "", id="g")
        assert await run.result() == "abc"
        keys = await keys_of(run)
        assert [k.partition("note")[0] for k in keys] == ["", "continued#1/", "continued#2/"]
        for key, again in zip(keys, (["a", "b", "c"], ["b", "c"], ["c"]), strict=True):
            ran.clear()
            fork = await run.fork(at=key)
            assert await fork.result() == "abc"
            assert ran == again
        fork = await run.fork(at=keys[1], input={"had": "Z"})
        assert await fork.result() == "Zbc"
        ran.clear()
        again = await fork.fork(at=keys[1])
        assert await again.result() == "Zbc", "a fork of a fork keeps its other input"
        first = await fork.fork(at=keys[0])
        assert await first.result() == "abc", "and not in the part before"
        replaced = await run.fork(at=keys[1], results={keys[1]: "B"})
        assert await replaced.result() == "aBc"


@flow
async def grows(had: str) -> str:
    had += await note("abc"[len(had)])
    if len(had) < 3:
        continue_as_new(had)
    return had


async def test_it_moves_to_a_newer_version_that_declares_migrate(world: World) -> None:
    @flow(name="moving", version=1, revision="1")
    async def old(n: int) -> str:
        await wait_for("go")
        continue_as_new(n + 1)

    async with world.engine() as engine:
        run = await engine.start(old, 1, id="m")
        await in_state(run, "running", "parked")

        @flow(name="moving", version=2, migrate=lambda given: {"count": given["n"]}, revision="2")
        async def new(count: int) -> str:
            if count < 4:
                continue_as_new(count + 1)
            return f"new {count}"

        assert new.version == 2
        await run.signal("go")
        assert await run.result() == "new 4"
        assert engine.journal.get("m").version == 2


@flow
async def keeps_asking(left: int) -> int:
    try:
        await wait_for("tick", timeout_s=0.01)
    except TimeoutError:
        if left:
            continue_as_new(left - 1)
    return left


async def test_timers_of_a_part_end_with_it(world: World) -> None:
    async with world.parking() as engine:
        assert await (await engine.start(keeps_asking, 5)).result() == 0


@flow
async def asks_twice(part: int) -> bool:
    question = asyncio.ensure_future(segue.approve(f"Question {part}?", by="lead"))
    await wait_for(f"part {part}")
    if part == 0:
        continue_as_new(1)
    return (await question).approved


async def test_what_an_older_part_asked_is_withdrawn(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(asks_twice, 0)
        assert await asked(engine, "Question 0?")
        await run.signal("part 0")
        item = await asked(engine, "Question 1?")
        await engine.decide(item, approved=True, by="ada")
        await run.signal("part 1")
        assert await run.result() is True


async def asked(engine: segue.Engine, question: str) -> str:
    """Wait until this is the one question that is open; its ID."""
    for _ in range(2000):
        open_ = await engine.inbox()
        if [item.question for item in open_] == [question]:
            return open_[0].id
        await asyncio.sleep(0.005)
    raise AssertionError(f"open: {await engine.inbox()}")


@flow
async def collects(had: list[int]) -> list[int]:
    had = [*had, await wait_for("n", returns=int)]
    await note("between")
    if had[-1] < 60:
        continue_as_new(had)
    return had


async def test_no_signal_is_lost_between_two_parts(world: World) -> None:
    """They arrive while parts end: in one commit with what ends a part, too."""
    async with world.engine() as engine:
        run = await engine.start(collects, [])
        for n in range(61):
            await run.signal("n", n)
        assert await run.result() == list(range(61))


@flow
async def groups(n: int) -> str:
    async with asyncio.TaskGroup() as outer:
        waits = outer.create_task(waits_for_ever.function())
        async with asyncio.TaskGroup() as inner:
            inner.create_task(note(f"beside {n}"))
            await note(f"body {n}")
            if n < 2:
                continue_as_new(n + 1)
            waits.cancel()
    return f"went on {n} times"


async def test_a_task_group_around_it_keeps_no_run_from_going_on(world: World) -> None:
    async with world.engine() as engine:
        assert await (await engine.start(groups, 0)).result() == "went on 2 times"


@step
async def number(n: int) -> int:
    return n


@flow
async def rounds(part: int, n: int) -> int:
    said = await number(n)
    if part < 2:
        continue_as_new(part + 1, said + 1)
    return said


async def test_a_result_for_a_call_of_an_earlier_part_is_refused_before_the_fork_is_made(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(rounds, 0, 1)
        assert await run.result() == 3
        first, second, third = await keys_of(run)
        for gone in (first, second):
            with pytest.raises(InputError, match="an earlier part of the run") as refused:
                await run.fork(results={gone: 50})
            assert f"at={gone!r}" in (refused.value.remedy or "")
        assert await (await run.fork(results={third: 50})).result() == 50
        assert await (await run.fork(at=second, results={second: 20})).result() == 21
        assert await (await run.fork(at=first, results={third: 7})).result() == 7, "one that is still to come"
