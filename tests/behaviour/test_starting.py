"""A step that never waits shares its task with others, and cannot tell."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from segue import flow, step, testing
from segue.errors import RunFailed

_mark: ContextVar[str] = ContextVar("mark", default="none")
tasks: list[asyncio.Task[Any] | None] = []
said: list[Any] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    tasks.clear()
    said.clear()


@step
async def quick(n: int) -> str:
    before, _ = _mark.get(), _mark.set(f"set by {n}")
    return before


@step
async def waits(n: int) -> int:
    said.append(("begins", n))
    await asyncio.sleep(0)
    _mark.set(f"set by {n}")
    await asyncio.sleep(1.0)
    said.append(("ends", n))
    return n if _mark.get() == f"set by {n}" else -1


@step
async def keeps(n: int) -> int:
    tasks.append(asyncio.current_task())
    return n


@step
async def keeps_and_waits(n: int) -> int:
    task = asyncio.current_task()
    tasks.append(task)
    await asyncio.sleep(0.5)
    return n if asyncio.current_task() is task else -1


@step
async def cancels_itself(n: int) -> int:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    return n


@step
async def limited(n: int) -> str:
    try:
        async with asyncio.timeout(0.1):
            await asyncio.sleep(5.0)
    except TimeoutError:
        return f"{n} was late"
    return "was not limited"


@step
async def fails(n: int) -> int:
    raise LookupError(f"no {n}")


@flow
async def all_of(names: list[str]) -> list[Any]:
    calls = {"quick": quick, "waits": waits, "keeps": keeps, "both": keeps_and_waits, "cancels": cancels_itself,
             "limited": limited, "fails": fails}  # fmt: skip
    return await asyncio.gather(*(calls[name](n) for n, name in enumerate(names)))


async def outcome(*names: str) -> list[Any]:
    async with testing.Engine() as engine:
        return await engine.run(all_of, list(names))


@testing.simulated
async def test_each_step_has_context_variables_of_its_own() -> None:
    assert await outcome("quick", "quick", "waits", "quick") == ["none", "none", 2, "none"]


@testing.simulated
async def test_those_behind_one_that_waits_begin_before_it_ends() -> None:
    assert await outcome("waits", "quick", "waits", "waits") == [0, "none", 2, 3]
    assert said == [("begins", n) for n in (0, 2, 3)] + [("ends", n) for n in (0, 2, 3)]


@testing.simulated
async def test_a_task_that_somebody_keeps_is_no_other_steps() -> None:
    """Who cancels it later must not hit another step."""
    assert await outcome("keeps", "both", "keeps", "both") == [0, 1, 2, 3]
    assert len({id(task) for task in tasks}) == 4
    assert all(task is not None and task.done() for task in tasks)


@testing.simulated
async def test_a_step_that_cancels_its_own_task_cancels_no_other() -> None:
    assert await outcome("cancels", "quick", "cancels", "waits") == [0, "none", 2, 3]


@testing.simulated
async def test_a_time_limit_in_a_steps_body_is_its_own() -> None:
    assert await outcome("quick", "limited", "quick", "limited") == ["none", "1 was late", "none", "3 was late"]


@testing.simulated
async def test_one_that_fails_keeps_none_from_beginning() -> None:
    with pytest.raises(RunFailed, match="no 1"):
        await outcome("quick", "fails", "waits")
    assert said[0] == ("begins", 2)


@step
async def never_made() -> None:
    said.append("made")


@flow
async def gives_up_before_it_begins() -> str:
    call = asyncio.create_task(never_made())
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    await quick(1)
    return "gave up" if call.cancelled() else "too late"


@flow
async def gives_up() -> str:
    call = asyncio.create_task(waits(1))
    await quick(1)
    call.cancel()
    await asyncio.wait([call])
    await quick(2)
    return "gave up" if call.cancelled() else "too late"


@testing.simulated
async def test_a_step_is_cancelled_where_it_waits() -> None:
    async with testing.Engine() as engine:
        assert await engine.run(gives_up) == "gave up"
    assert said == [("begins", 1)]


@testing.simulated
async def test_a_step_that_is_given_up_before_it_begins_never_does() -> None:
    async with testing.Engine() as engine:
        assert await engine.run(gives_up_before_it_begins) == "gave up"
    assert not said
