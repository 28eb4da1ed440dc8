"""What a callback of a flow raises is logged and changes nothing, as in asyncio: its run and all others go on."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from segue import Engine, Run, flow, step, testing, wait_for
from segue.journal import Journal
from segue.runtime.check import Finding, check
from tests.behaviour.world import World, in_state, until

heard: list[str] = []


@pytest.fixture(autouse=True)
def nothing_heard() -> None:
    heard.clear()


@step
async def work(n: int) -> int:
    return n * 10


def report(task: asyncio.Task[Any]) -> None:
    """The usual way of telling what became of a background task. It raises CancelledError for a cancelled one."""
    if task.exception() is not None:
        heard.append(repr(task.exception()))


async def crew(before_end: Callable[[], Awaitable[object]]) -> list[int]:
    queue, out = asyncio.Queue[int](), list[int]()

    async def worker() -> None:
        while True:
            out.append(await work(await queue.get()))
            queue.task_done()

    workers = [asyncio.create_task(worker()) for _ in range(2)]
    for one in workers:
        one.add_done_callback(report)
    for n in range(4):
        queue.put_nowait(n)
    await queue.join()
    await before_end()
    for one in workers:
        one.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    await work(5)
    return sorted(out)


@flow
async def with_workers() -> list[int]:
    return await crew(lambda: work(99))


@flow
async def with_workers_that_wait() -> list[int]:
    return await crew(lambda: wait_for("go"))


@flow
async def collects() -> list[int]:
    """Parked, its callbacks see what unwinds the tasks."""
    out = list[int]()
    tasks = [asyncio.create_task(wait_for(name, returns=int)) for name in ("one", "two")]
    for task in tasks:
        task.add_done_callback(lambda done: out.append(done.result()))
    for task in tasks:
        await task
    return out


@flow
async def raises(how: str) -> int:
    def wrong(*_: object) -> None:
        heard.append(how)
        if how == "exit":
            sys.exit("a slip")
        raise ValueError("a slip")

    if how == "call_soon":
        asyncio.get_running_loop().call_soon(wrong)
    task = asyncio.create_task(work(1))
    if how != "call_soon":
        task.add_done_callback(wrong)
    await task
    await wait_for("go")
    return await work(2)


@flow
async def leaves_a_task() -> int:
    """The task is cancelled as the flow has ended."""
    asyncio.create_task(wait_for("never")).add_done_callback(report)
    return await work(1)


@flow
async def counts() -> int:
    return sum([await work(n) for n in range(5)])


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "segue.runtime"]


async def result(run: Run[Any]) -> Any:
    return await asyncio.wait_for(run.result(), 5)


async def test_a_callback_that_raises_ends_no_run_and_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with world.engine() as engine:
        assert await result(await engine.start(with_workers, id="r")) == [0, 10, 20, 30]
    assert said(caplog) == ["run r: exception in the callback report, its flow goes on"] * 2
    record = next(r for r in caplog.records if r.name == "segue.runtime")
    assert record.levelno == logging.ERROR
    assert record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError)


async def test_the_other_runs_of_the_engine_go_on(world: World) -> None:
    async with world.engine() as engine:
        for n in range(8):
            await engine.start(with_workers, id=f"workers{n}")
            await engine.start(counts, id=f"counts{n}")
            await engine.start(leaves_a_task, id=f"leaves{n}")
        for n in range(8):
            assert await result(await engine.get(f"workers{n}")) == [0, 10, 20, 30]
            assert await result(await engine.get(f"counts{n}")) == 100
            assert await result(await engine.get(f"leaves{n}")) == 10


async def test_a_run_parks_whatever_its_callbacks_raise_and_is_woken(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.parking() as engine:
        crewed, collecting = await engine.start(with_workers_that_wait), await engine.start(collects)
        for run in (crewed, collecting):
            await in_state(run, "parked")
        assert said(caplog) == [], "nothing of this has happened: the runs are only put away"
        await crewed.signal("go", 1)
        await collecting.signal("one", 1)
        await collecting.signal("two", 2)
        assert await result(crewed) == [0, 10, 20, 30]
        assert await result(collecting) == [1, 2]


@pytest.mark.parametrize("how", ["done", "call_soon", "exit"])
async def test_an_ordinary_error_of_a_callback_is_logged_once(
    world: World, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.parking() as engine:
        run = await engine.start(raises, how, id="r")
        await in_state(run, "parked")
        await run.signal("go", 1)
        assert await result(run) == 20
        fork = await run.fork()
        await fork.signal("go", 1)
        assert await result(fork) == 20
    assert len(heard) > 1, "it was raised again in the replays"
    assert said(caplog)[:1] == ["run r: exception in the callback raises.<locals>.wrong, its flow goes on"]
    assert len([line for line in said(caplog) if line.startswith("run r:")]) == 1


async def test_a_check_and_a_fork_replay_such_a_run(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with world.parking() as engine:
        runs = [await engine.start(each) for each in (with_workers_that_wait, collects)]
        for run in runs:
            await in_state(run, "parked")
        fork = await runs[0].fork(at="wait[go]#1")
        await fork.signal("go", 1)
        assert await result(fork) == [0, 10, 20, 30]
    if world.path is not None:
        with Journal.open_readonly(str(world.path)) as journal:
            assert [verdict.finding for verdict in check(journal)] == [Finding.OK, Finding.OK]


def test_callbacks_raise_wherever_the_process_dies() -> None:
    async def scenario(engine: testing.Engine) -> list[Any]:
        first, second = (
            await engine.start(with_workers_that_wait, id="a"),
            await engine.start(raises, "done", id="b"),
        )
        for run in (first, second):
            if (await in_state(run, "parked", "completed")).state == "parked":
                await run.signal("go", 1)
        return [await first.result(), await second.result()]

    def same(found: list[Any], _: testing.Engine) -> None:
        assert found == [[0, 10, 20, 30], 20]

    assert testing.crash_everywhere(scenario, check=same, linger_s=0.0) > 10


@flow
async def interrupts_when_put_away() -> str:
    try:
        return await wait_for("go")
    except BaseException as raised:
        if type(raised).__name__ == "Suspended" and not heard:
            heard.append("interrupted")
            raise KeyboardInterrupt from raised
        raise


def test_ctrl_c_as_a_flow_is_put_away_keeps_no_other_run_from_going_on(tmp_path: Any) -> None:
    """Where the loop goes on, as in a notebook."""
    engine = Engine(str(tmp_path / "segue.db"), tick_s=0.02, linger_s=0.0)

    async def start() -> None:
        await engine.start(interrupts_when_put_away, id="r")
        for n in range(5):
            await engine.start(counts, id=str(n))
        await until(lambda: heard)
        await asyncio.sleep(5)

    async def results() -> list[Any]:
        run = await engine.get("r")
        await in_state(run, "parked")
        await run.signal("go", "went")
        return [await result(run), *[await result(await engine.get(str(n))) for n in range(5)]]

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        loop.run_until_complete(engine.__aenter__())
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(start())
        assert loop.run_until_complete(results()) == ["went", 100, 100, 100, 100, 100]
        loop.run_until_complete(engine.close())
