"""A step that never waits shares its task with others, and cannot tell."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from segue import flow, step, testing
from segue.errors import RunFailed

_mark: ContextVar[str] = ContextVar("mark", default="none")
tasks: list[asyncio.Task[Any] | None] = []
said: list[Any] = []
cancelled: list[bool] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    tasks.clear()
    said.clear()
    cancelled.clear()


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
async def cancels_and_waits(n: int) -> int:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(1.0)
    return n


@step
async def takes_it_back(n: int) -> int:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    task.uncancel()
    return n


_locals: WeakKeyDictionary[Any, list[int]] = WeakKeyDictionary()


@step
async def local(n: int) -> list[int]:
    found = _locals.setdefault(asyncio.current_task(), [])
    found.append(n)
    return list(found)


@step
async def names_its_task(n: int) -> str:
    task = asyncio.current_task()
    assert task is not None
    before = task.get_name()
    task.set_name("mine")
    return before


@step
async def tells_its_end(n: int) -> int:
    task = asyncio.current_task()
    assert task is not None
    task.add_done_callback(lambda _: said.append(("is over", n)))
    return n


@step
async def fails_after_a_limit(n: int) -> str:
    with suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            await asyncio.sleep(5.0)
    try:
        raise LookupError(f"no {n}")
    except LookupError as error:
        return repr(error.__context__)


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
             "limited": limited, "fails": fails, "cancels and waits": cancels_and_waits, "takes back": takes_it_back,
             "local": local, "names": names_its_task, "tells": tells_its_end,
             "fails late": fails_after_a_limit}  # fmt: skip
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
async def test_a_step_that_lets_its_own_cancellation_out_has_failed() -> None:
    with pytest.raises(RunFailed, match="nobody else had asked for"):
        await asyncio.wait_for(outcome("cancels and waits"), 600)


@testing.simulated
async def test_a_cancellation_that_was_taken_back_hits_no_other_step() -> None:
    assert await outcome("takes back", "waits", "takes back", "quick") == [0, 1, 2, "none"]


@testing.simulated
async def test_what_is_noted_of_a_steps_task_is_of_no_other_step() -> None:
    assert await outcome("local", "local", "local") == [[0], [1], [2]]
    assert "mine" not in await outcome("names", "names")


@testing.simulated
async def test_the_end_of_a_quick_steps_task_is_told_at_once() -> None:
    assert await outcome("tells", "waits") == [0, 1]
    assert said.index(("is over", 0)) < said.index(("ends", 1))


@testing.simulated
async def test_an_error_after_a_time_limit_has_no_context_of_it() -> None:
    assert await outcome("fails late") == ["None"]


@testing.simulated
async def test_steps_whose_tasks_somebody_cancels_are_made_anew() -> None:
    """Also those that had not begun, and whoever comes after them."""
    async with testing.Engine(linger_s=0.0) as engine:
        runs = [await engine.start(all_of, ["quick", "waits", "quick", "waits"], id=str(n)) for n in range(3)]
        for _ in range(200):
            for task in asyncio.all_tasks():
                if "Starter" in repr(task.get_coro()) and len(cancelled) < 3:
                    cancelled.append(task.cancel())
            await asyncio.sleep(0)
        assert len(cancelled) == 3
        for run in runs:
            assert await asyncio.wait_for(run.result(), 600) == ["none", 1, "none", 3]


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
