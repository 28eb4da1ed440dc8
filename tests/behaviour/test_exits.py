"""Steps and flows that leave by another door than an Exception."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, Retry, Run, RunFailed, flow, step
from segue.errors import EngineClosed, StepFailed
from tests.behaviour.world import World


@step
async def exits() -> int:
    sys.exit(3)


@step
def exits_in_a_thread() -> int:
    sys.exit("enough")


@step
def interrupts_in_a_thread() -> int:
    raise KeyboardInterrupt


@step
async def leaks() -> int:
    inner = asyncio.ensure_future(asyncio.sleep(60))
    asyncio.get_running_loop().call_soon(inner.cancel)
    return await inner or 1


class Stop(BaseException):
    """As pytest.fail raises one."""


@step
async def stops() -> int:
    raise Stop("enough")


made: list[str] = []


@step
async def closes_itself() -> int:
    made.append("once")
    raise GeneratorExit("enough")


@step(retry=Retry(attempts=2, backoff_s=0.01))
async def closes_itself_later() -> int:
    made.append("again")
    await asyncio.sleep(0.01)
    raise GeneratorExit("enough")


@step
def closes_itself_in_a_thread() -> int:
    raise GeneratorExit("enough")


@step(retry=Retry(attempts=2, backoff_s=0.01), timeout_s=5)
def looks_for_none() -> int:
    return next(iter([]))


_CALLS = {
    "exits": exits, "thread": exits_in_a_thread, "ctrl-c": interrupts_in_a_thread, "leaks": leaks, "stops": stops,
    "closes": closes_itself, "closes later": closes_itself_later, "closes in a thread": closes_itself_in_a_thread,
    "no next": looks_for_none,
}  # fmt: skip


@flow
async def one(which: str) -> int:
    return await _CALLS[which]()


@flow
async def catches(which: str) -> str:
    try:
        await one.function(which)
    except StepFailed as error:
        return str(error)
    return ""


@flow
async def exits_itself() -> int:
    sys.exit(4)


_SAYS = r"sys\.exit|KeyboardInterrupt|CancelledError|Stop: enough|GeneratorExit: enough|StopIteration"


@pytest.mark.parametrize("which", _CALLS)
async def test_a_step_that_leaves_by_another_door_has_failed(world: World, which: str) -> None:
    if which in ("thread", "ctrl-c") and world.virtual:
        pytest.skip("virtual time has no threads")
    made.clear()
    async with world.engine() as engine:
        with pytest.raises(RunFailed, match=_SAYS):
            await asyncio.wait_for(engine.run(one, which), 5)
    assert made in ([], ["once"], ["again", "again"])


async def test_outside_of_a_run_too() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(looks_for_none(), 2)


@pytest.mark.parametrize("which", ["exits", "leaks"])
async def test_a_flow_may_catch_it(world: World, which: str) -> None:
    async with world.engine() as engine:
        assert "the step" in await engine.run(catches, which)


async def test_a_flow_that_exits_has_failed(world: World) -> None:
    async with world.engine() as engine:
        with pytest.raises(RunFailed, match="SystemExit"):
            await asyncio.wait_for(engine.run(exits_itself), 5)


interrupts: list[int] = []


@step
async def number(n: int) -> int:
    return n


@flow
async def is_interrupted() -> int:
    await number(1)
    interrupts.append(1)
    if len(interrupts) == 1:
        raise KeyboardInterrupt
    return await number(2)


@flow
async def counts() -> int:
    return sum([await number(n) for n in range(8)])


def test_ctrl_c_in_a_flow_costs_no_run_an_outcome(tmp_path: Path) -> None:
    """Where the loop goes on, as in a notebook, all runs do."""
    interrupts.clear()
    engine = Engine(str(tmp_path / "segue.db"), tick_s=0.02)

    async def start() -> list[Run[int]]:
        flows = [counts, counts, is_interrupted, counts, counts]
        runs = [await engine.start(flow, id=str(n)) for n, flow in enumerate(flows)]
        return runs

    async def results() -> list[int]:
        return [await asyncio.wait_for((await engine.get(str(n))).result(), 5) for n in range(5)]

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        loop.run_until_complete(engine.__aenter__())
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(start())
            loop.run_until_complete(asyncio.sleep(5))
        assert loop.run_until_complete(results()) == [28, 28, 2, 28, 28]
        loop.run_until_complete(engine.close())


engines: list[Engine] = []


@step
async def closes_its_engine() -> int:
    for engine in engines:
        await engine.close()
    return 1


@flow
async def closes() -> int:
    return await closes_its_engine()


async def test_who_waits_is_told_when_a_step_closes_its_engine(world: World) -> None:
    engines.clear()
    async with world.engine() as engine:
        engines.append(engine)
        run = await engine.start(closes, id="c")
        with pytest.raises(EngineClosed):
            await asyncio.wait_for(run.result(), 5)
    engines.clear()
    async with world.engine() as engine:
        assert await asyncio.wait_for((await engine.get("c")).result(), 5) == 1


class Odd(Exception):
    """What may be asked of an error raises too."""

    @property
    def fault_kind(self) -> str:
        raise LookupError


class Mute(BaseException):
    def __str__(self) -> str:
        raise LookupError


@step
async def raises(which: str) -> None:
    raise {"odd": Odd, "mute": Mute}[which]("odd")


@flow
async def raises_in_a_step(which: str) -> None:
    await raises(which)


@flow
async def raises_itself(which: str) -> None:
    raise {"odd": Odd, "mute": Mute}[which]("odd")


@pytest.mark.parametrize("which", ["odd", "mute"])
@pytest.mark.parametrize("made", [raises_in_a_step, raises_itself])
async def test_an_error_that_cannot_be_asked_fails_its_run_alone(world: World, made: Any, which: str) -> None:
    async with world.engine() as engine:
        with pytest.raises(RunFailed):
            await asyncio.wait_for(engine.run(made, which), 5)
