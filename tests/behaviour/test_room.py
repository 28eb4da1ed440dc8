"""The room for users' tests: time that jumps, outside work that holds it back, crashes that can be played again."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

import segue
from segue import flow, gather, sleep, step, testing
from segue.errors import UnknownRun

DAY_S = 86_400.0


@step
async def tick(n: int) -> int:
    await asyncio.sleep(DAY_S)
    return n


@step
def thread(n: int) -> int:
    time.sleep(0.05)
    return n


@flow
async def long_work(n: int) -> list[int]:
    await sleep(400 * DAY_S)
    return [*await gather(*(tick(i) for i in range(n))), await thread(n)]


def test_years_take_no_time() -> None:
    async def main() -> float:
        async with testing.Engine() as engine:
            assert await engine.run(long_work, 3) == [0, 1, 2, 3]
        return asyncio.get_running_loop().time()

    began = time.perf_counter()
    assert 401 * DAY_S <= testing.run(main()) < 402 * DAY_S
    assert time.perf_counter() - began < 5


@testing.simulated
async def test_threads_and_holds_keep_time_back() -> None:
    loop = asyncio.get_running_loop()
    alarm = asyncio.ensure_future(asyncio.sleep(1.0))
    await asyncio.to_thread(time.sleep, 0.05)
    assert loop.time() == 0
    with testing.hold():
        woken = loop.create_future()
        asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.05).add_done_callback(woken.set_result)
        await woken
        assert not alarm.done()
    await alarm
    assert loop.time() == pytest.approx(1.0)


@testing.simulated
async def test_sockets_get_a_moment() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        async with asyncio.timeout(3600):
            assert await reader.read() == b"hello"
        writer.close()


def test_a_program_that_would_wait_for_ever_is_told() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(testing.Stalled, match="for ever"):
        testing.run(main())


async def test_on_a_real_loop_the_clock_is_real() -> None:
    async with testing.Engine() as engine:
        assert abs(engine.clock.now() - time.time()) < 1
        with testing.hold():
            assert await engine.run(short, 1) == 1


@step
async def quick(n: int) -> int:
    return n


@flow
async def short(n: int) -> int:
    return await quick(n)


@testing.simulated
async def test_a_dead_engine_writes_nothing_and_the_next_one_goes_on() -> None:
    async with testing.Engine() as first:
        await first.start(long_work, 2, id="r")
        await asyncio.sleep(10)
        before = len(first.history("r"))
        first.kill()
        await asyncio.sleep(1000 * DAY_S)
        assert len(first.history("r")) == before
    async with testing.Engine(after=first) as second:
        assert await (await second.get("r")).result() == [0, 1, 2]
        assert second.history("r")[-1].type == "run.completed"
        with pytest.raises(UnknownRun):
            second.history("x")


def order_of(seed: object) -> tuple[list[int], list[str]]:
    """In which order steps end, and what is random, under a seed."""

    @flow(name="ordered")
    async def ordered() -> list[Any]:
        out = [n async for n in segue.as_completed(*(quick(i) for i in range(8)))]
        return [out, [str(segue.uuid())]]

    async def main() -> Any:
        async with testing.Engine(seed=seed) as engine:
            return await engine.run(ordered)

    return tuple(testing.run(main()))


def test_a_seed_gives_one_schedule() -> None:
    assert order_of(1) == order_of(1)
    assert len({tuple(order_of(seed)[0]) for seed in range(5)}) > 1


def test_a_failure_says_how_to_play_it_again() -> None:
    def check(result: int, engine: testing.Engine) -> None:
        assert result == 1
        assert [e.type for e in engine.history("r")].count("run.started") == 1, "it was restarted"

    async def scenario(engine: testing.Engine) -> int:
        return await engine.run(short, 1, id="r")

    assert testing.crash_everywhere(scenario) > 4
    with pytest.raises(AssertionError) as caught:
        testing.crash_everywhere(scenario, check=check)
    (note,) = caught.value.__notes__
    assert "testing.play(scenario, [Crash(commit=1, when='after')], seed=0)" in note
