"""Two calls of changed code that have changed places on record: each key there names one call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from segue import Run, flow, testing, wait_for
from segue.core.codec import dumps
from segue.core.events import EventType
from segue.errors import InputError
from segue.journal import Post


@dataclass
class Priced:
    price: float


@flow(name="report", revision="1")
async def report(of: Priced) -> str:
    return await wait_for("end", returns=str)


def deploy(revision: int, *prices: float) -> Any:
    async def main() -> list[str]:
        said = await asyncio.gather(*(report(Priced(price)) for price in prices))
        await wait_for("go")
        return list(said)

    return flow(name="main", revision=str(revision))(main)


@asynccontextmanager
async def swapped() -> AsyncGenerator[tuple[testing.Engine, Run[Any], str, str]]:
    """A run with a child that is on record by the key of today's second, and has ended; the second goes by its key."""
    async with testing.Engine() as engine:
        await engine.start(deploy(1, 5), id="r")
        await asyncio.sleep(50)
        engine.kill()
    deploy(2, 5.0)
    async with testing.Engine(after=engine) as engine:
        await (await engine.get("r")).signal("look")
        await asyncio.sleep(50)
        engine.kill()
    deploy(3, 5.0, 5)
    async with testing.Engine(after=engine) as engine:
        (old,) = keys(engine, EventType.CHILD_STARTED)
        await (await engine.get(f"r/{old}")).signal("end", "first")
        await asyncio.sleep(1)
        yield engine, await engine.get("r"), old, keys(engine, EventType.CHILD_STARTED)[-1]


def keys(engine: testing.Engine, *types: str) -> list[str]:
    return [event.key or "" for event in engine.history("r") if event.type in types]


@testing.simulated
async def test_a_child_ends_once_on_record() -> None:
    async with swapped() as (engine, run, old, new):
        assert keys(engine, EventType.CHILD_STARTED) == [old, new]
        assert keys(engine, EventType.CHILD_ENDED) == [old]
        await (await engine.get(f"r/{new}")).signal("end", "second")
        await run.signal("go")
        assert await run.result() == ["first", "second"]
        assert keys(engine, EventType.CHILD_ENDED) == [old, new]


@pytest.mark.parametrize("parked", [True, False])
@testing.simulated
async def test_what_is_said_of_a_call_that_has_ended_is_refused_and_ends_no_other(parked: bool) -> None:
    async with swapped() as (engine, run, old, new):
        await asyncio.sleep(50)
        if not parked:
            await run.signal("look")
            await asyncio.sleep(0.5)
        assert (engine.host.executions == {}) is parked
        with pytest.raises(InputError, match="the step has an outcome already"):
            await run.override(old, "mine")
        with pytest.raises(InputError, match="nobody is asked about") as refused:
            await run.decide(old, result="mine")
        assert "it has an outcome" in (refused.value.remedy or "")
        assert keys(engine, EventType.OPERATOR_ACTED, EventType.STEP_COMPLETED) == []
        await run.override(new, "mine")
        await run.signal("go")
        assert await run.result() == ["first", "mine"]


@pytest.mark.parametrize("kind", ["override", "decide", "reassign"])
@testing.simulated
async def test_a_word_in_the_inbox_on_a_call_that_has_ended_since_ends_no_other(kind: str) -> None:
    async with swapped() as (engine, run, old, new):
        await asyncio.sleep(50)
        said = dumps({"act": "result", "word": "result", "to": ["bo"], "asked": f"{old}/1"})
        await engine.journal.post(Post("r", kind, f"{kind}\x1f{old}/1", old, engine.clock.now(), b'"mine"', said))
        engine.host.scan_soon()
        await asyncio.sleep(50)
        assert keys(engine, EventType.STEP_COMPLETED) == []
        assert set(keys(engine, EventType.OPERATOR_ACTED, EventType.APPROVAL_DECIDED)) == {old}
        await (await engine.get(f"r/{new}")).signal("end", "second")
        await run.signal("go")
        assert await run.result() == ["first", "second"]


@testing.simulated
async def test_a_fork_gives_a_result_to_the_one_call_of_that_key() -> None:
    async with swapped() as (engine, run, old, new):
        await asyncio.sleep(50)
        fork = await run.fork(results={old: "given"}, id="f")
        await asyncio.sleep(50)
        assert engine.journal.get("f").replaced == {old: '"given"'}
        await (await engine.get(f"f/{new}")).signal("end", "second")
        await fork.signal("go")
        assert await fork.result() == ["given", "second"]
