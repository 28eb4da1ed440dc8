"""What a Recovery of one's own may answer: another candidate, other arguments."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import pytest

from segue import flow, step
from segue.core.faults import Fault
from segue.core.recovery import Again, Amend, Answer, AskPerson, Attempt, Fail, Retry, Take, Use
from segue.errors import NotInAFlow, RunFailed, StepFailed
from segue.runtime.scope import step_scope
from tests.behaviour.world import World, until

CALLS: list[tuple[str | None, int, int]] = []


def falls_back(fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
    """The next candidate, then a smaller request, then once more, then nothing."""
    answers = (Use("second"), Amend({"size": 5}), Again(0.0), Use("third"), Fail())
    return answers[len(history) - 1]


@step(retry=falls_back)
async def fetch(size: int, good_from: int) -> str:
    scope = step_scope()
    CALLS.append((scope.candidate, size, scope.attempt))
    if scope.attempt < good_from:
        raise ConnectionError(f"attempt {scope.attempt}")
    return f"{scope.candidate} gave {size}"


@flow
async def fetches(size: int, good_from: int) -> str:
    return await fetch(size, good_from)


@flow
async def fetches_in_a_step(size: int, good_from: int) -> str:
    return await outer(size, good_from)


@step
async def outer(size: int, good_from: int) -> str:
    return await fetch_outside(size, good_from)


@step(retry=falls_back)
async def fetch_outside(size: int, good_from: int) -> str:
    try:
        candidate = step_scope().candidate
    except NotInAFlow:
        candidate = None
    CALLS.append((candidate, size, 0))
    if len(CALLS) < good_from:
        raise ConnectionError
    return f"{candidate} gave {size}"


@pytest.fixture(autouse=True)
def _empty() -> None:
    CALLS.clear()


async def test_another_candidate_and_other_arguments_hold_from_then_on(world: World) -> None:
    async with world.engine() as engine:
        assert await engine.run(fetches, 9, 5) == "third gave 5"
    assert CALLS == [(None, 9, 1), ("second", 9, 2), ("second", 5, 3), ("second", 5, 4), ("third", 5, 5)]


async def test_the_journal_says_what_was_answered(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(fetches, 9, 3)
        assert await run.result() == "second gave 5"
        failed = [e async for e in run.events() if e.type == "attempt.failed"]
    assert [b'"then":"use","to":"second"' in (e.body or b"") for e in failed] == [True, False]
    assert failed[1].value == b'{"size":5}'


async def test_what_was_answered_survives_a_restart(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(slow, 9, id="r")
        for _ in range(400):
            if [e async for e in run.events(follow=False) if e.type == "attempt.failed"]:
                break
            await asyncio.sleep(0.01)
    async with world.engine() as engine:
        assert await (await engine.get("r")).result() == "second gave 5"
    assert CALLS == [(None, 9, 1), ("second", 5, 2)]


@flow
async def slow(size: int) -> str:
    return await slowly(size)


def waits_then_falls_back(fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
    return Amend({"size": 5}, after_s=0.5) if len(history) == 1 else Fail()


@step(retry=waits_then_falls_back)
async def slowly(size: int) -> str:
    scope = step_scope()
    CALLS.append((scope.candidate or ("second" if scope.attempt > 1 else None), size, scope.attempt))
    if scope.attempt == 1:
        raise ConnectionError
    return f"second gave {size}"


async def test_a_change_of_an_argument_that_there_is_not_fails_the_step_with_that_error(world: World) -> None:
    async with world.engine() as engine:
        with pytest.raises(Exception, match="sise"):
            await engine.run(misspells_flow)


def misspells(fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
    return Amend({"sise": 5})


@step(retry=misspells)
async def misspelt(size: int) -> int:
    raise ConnectionError


@flow
async def misspells_flow() -> int:
    return await misspelt(1)


async def test_inside_of_a_step_and_outside_of_a_run_the_same_answers_hold(world: World) -> None:
    async with world.engine() as engine:
        assert await engine.run(fetches_in_a_step, 9, 3) == "second gave 5"
    CALLS.clear()
    assert await fetch_outside(9, 3) == "second gave 5"


MISTAKES: dict[str, Any] = {
    "nothing": None,
    "take": Take("x"),
    "limit": AskPerson("desk", timeout_s=math.inf),
    "before": AskPerson("desk", timeout_s=-1.0),
    "whom": AskPerson(None),  # type: ignore[arg-type]
    "shown": AskPerson("desk", shown={1, 2}),
    "default": AskPerson("desk", timeout_s=0.1, default=Take(7)),
    "no JSON": AskPerson("desk", timeout_s=0.1, default=Take(object())),
    "nested": AskPerson("desk", timeout_s=0.1, default=AskPerson("boss")),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", MISTAKES)
async def test_an_answer_that_is_none_fails_the_step_and_says_so(world: World, name: str) -> None:
    """It is the user's mistake, not a bug in Segue: the run is not set aside."""

    @step(retry=lambda fault, history, luck: MISTAKES[name])
    async def errs() -> str:
        raise ConnectionError

    @flow
    async def err() -> str:
        return await errs()

    async with world.engine() as engine:
        with pytest.raises(RunFailed, match=r"AskPerson|no answer of a Recovery|JSON serializable|default="):
            await asyncio.wait_for((await engine.start(err)).result(), 5)


@step(retry=Retry(attempts=2))
async def hangs() -> str:
    CALLS.append((None, 0, 0))
    await asyncio.sleep(1e9)
    return ""


@flow
async def hangs_in_it() -> str:
    return await hangs()


async def test_a_step_that_two_processes_died_in_says_so_with_its_name_and_what_to_do(world: World) -> None:
    if not world.virtual:
        pytest.skip("processes die in memory here; tests/crash kills real ones")
    for n in (1, 2):
        async with world.engine() as engine:
            if n == 1:
                await engine.start(hangs_in_it, id="r")
            await until(lambda: len(CALLS) == n)  # noqa: B023
            engine.kill()  # type: ignore[attr-defined]
    async with world.engine() as engine:
        with pytest.raises(RunFailed) as failed:
            await (await engine.get("r")).result()
    error = failed.value.__cause__
    assert isinstance(error, StepFailed)
    key = error.key or ""
    assert failed.value.message == f"StepFailed: the process ended while attempt 2 of {key} was running, the last one"
    assert key.startswith("hangs[") and (error.run, error.fault) == ("r", "interrupted")
    assert f"segue fork r --at '{key}'" in str(failed.value)


@step
async def fails() -> str:
    raise ValueError("no")


@step
async def calls_two() -> list[str]:
    await outer(5, 0)
    try:
        await fails()
    except ValueError as error:
        return error.__notes__
    return []


@flow
async def calls_two_in_a_step() -> list[str]:
    return await calls_two()


async def test_each_step_within_a_step_is_counted_by_its_name(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(calls_two_in_a_step)
        (note,) = await run.result()
    assert note.endswith("/fails#1, attempt 1")
