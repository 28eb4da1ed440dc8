"""Once-effects in threads: a thread cannot be stopped, so nothing is decided before its end."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from segue import Applied, Engine, NotApplied, Retry, RunCancelled, flow, gather, step
from tests.behaviour.world import World

applied: Counter[str] = Counter()
asked: list[str] = []
gate = threading.Event()


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path) -> None:
    applied.clear()
    asked.clear()
    gate.clear()


async def was_it(name: str) -> Applied | NotApplied:
    asked.append(name)
    return Applied(name) if applied[name] else NotApplied()


@step(effect="once", reconcile=was_it, timeout_s=0.05, retry=Retry(attempts=3, backoff_s=0.0))
def pay(name: str) -> str:
    gate.wait(20)
    applied[name] += 1
    return name


@step(effect="once", reconcile=was_it)
async def pay_slowly(name: str) -> str:
    await asyncio.sleep(0.3)
    applied[name] += 1
    return name


@flow
async def pays(name: str) -> str:
    return await pay(name)


@flow
async def pays_slowly(name: str) -> str:
    return await pay_slowly(name)


@pytest.fixture
def on_file(world: World) -> World:
    if world.virtual:
        pytest.skip("threads are not on virtual time")
    return world


async def test_a_time_limit_does_not_repeat_what_a_thread_still_does(on_file: World) -> None:
    async with on_file.engine() as engine:
        run = await engine.start(pays, "rent", id="rent")
        await asyncio.sleep(0.3)  # well past the limit
        assert (dict(applied), asked) == ({}, []), "nobody may be asked while the thread is at work"
        gate.set()
        assert await run.result() == "rent"
    assert applied == {"rent": 1}


async def test_an_engine_that_closes_waits_for_an_effect_in_a_thread(on_file: World) -> None:
    async with on_file.engine() as engine:
        await engine.start(pays, "rent", id="rent")
        await asyncio.sleep(0.1)
        asyncio.get_running_loop().call_later(0.3, gate.set)
    assert applied == {"rent": 1}
    async with on_file.engine() as engine:
        assert await (await engine.get("rent")).result() == "rent"
    assert applied == {"rent": 1}


async def test_an_override_leaves_an_effect_on_its_way_to_end(on_file: World) -> None:
    async with on_file.engine() as engine:
        run = await engine.start(pays_slowly, "rent", id="rent")
        await asyncio.sleep(0.1)
        key = (await run.status()).waits_on[0]["key"]
        await run.override(key, "by hand", by="ada")
        assert await run.result() == "by hand"
    assert applied == {"rent": 1}


@step
def queued(n: int) -> int:
    gate.wait(20)
    applied[str(n)] += 1
    return n


@flow
async def fans_out() -> list[int]:
    return await gather(*(queued(n) for n in range(4)))


async def test_a_call_that_stood_in_line_is_not_made_for_another_process_run(on_file: World) -> None:
    """As after a SIGSTOP: the run was taken over while calls stood in the thread pool's line."""
    path = str(on_file.path)
    async with Engine(path, recover=False) as other, Engine(path, step_threads=1, tick_s=0.05) as engine:
        await engine.start(fans_out, id="fan")
        await asyncio.sleep(0.3)
        owner = other.journal.owner
        await engine.journal.ask(lambda c: c.execute("update runs set owner = ?, epoch = epoch + 1", (owner,)))
        gate.set()
        await asyncio.sleep(0.5)
        assert sum(applied.values()) == 1, "only the call that was on its way"


@step(effect="once")
def pay_in_line(name: str) -> str:
    applied[name] += 1
    return name


@flow
async def pays_in_line(name: str) -> list[Any]:
    return await gather(queued(1), pay_in_line(name))


async def test_an_override_keeps_an_effect_that_stands_in_line_from_being_made(on_file: World) -> None:
    """Somebody has paid by hand: the effect must not come on top of that."""
    async with on_file.engine(step_threads=1) as engine:
        run = await engine.start(pays_in_line, "rent", id="rent")
        await asyncio.sleep(0.2)
        key = next(w["key"] for w in (await run.status()).waits_on if "pay_in_line" in w["key"])
        await run.override(key, "by hand", by="ada")
        await asyncio.sleep(0.1)
        gate.set()
        assert await run.result() == [1, "by hand"]
    assert applied == {"1": 1}


async def test_a_cancel_keeps_an_effect_that_stands_in_line_from_being_made(on_file: World) -> None:
    async with on_file.engine(step_threads=1) as engine:
        run = await engine.start(pays_in_line, "rent", id="rent")
        await asyncio.sleep(0.2)
        await run.cancel()
        await asyncio.sleep(0.1)
        gate.set()
        with pytest.raises(RunCancelled):
            await run.result()
    assert applied == {"1": 1}
