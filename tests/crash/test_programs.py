"""Random programs give the same result however often the process dies; so do forks of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from segue import testing
from segue.testing import Crash, Engine
from tests.crash import programs
from tests.crash.witness import reset

PROGRAMS = 80
SOAK_PROGRAMS = 2000


async def play(
    number: int, crashes: Sequence[Crash], seed: object, *, operator: object = None, **options: Any
) -> tuple[list[Any], Engine]:
    """One program, checked."""
    world, parts = reset(), programs.program(number)

    async def scenario(engine: Engine) -> list[Any]:
        world.engine = engine
        found = await programs.plays(engine, number, parts, operator)
        for _ in range(100):  # what is detached may outlive its parent
            if not engine.journal.runs("state not in ('completed', 'failed', 'cancelled')"):
                break
            await asyncio.sleep(60)
        return found

    found, engine = await testing.play(scenario, crashes, seed=seed, crash_limit=50, **options)
    world.check(engine)
    return found, engine


async def cancelled(number: int, crashes: Sequence[Crash], seed: object, **options: Any) -> None:
    """One program that somebody cancels, checked: what was begun has an end, and no effect is applied twice."""
    world, parts = reset(), programs.program(number)

    async def scenario(engine: Engine) -> str:
        world.engine = engine
        state = await programs.is_cancelled(engine, number, parts, seed)
        for _ in range(100):
            if not engine.journal.runs("state not in ('completed', 'failed', 'cancelled')"):
                break
            await asyncio.sleep(60)
        return state

    state, engine = await testing.play(scenario, crashes, seed=seed, crash_limit=50, **options)
    assert state in ("completed", "cancelled"), state
    world.check(engine)


def options_of(luck: random.Random) -> dict[str, Any]:
    """How much room there is, how long runs stay, and how late steps begin."""
    return {
        "linger_s": luck.choice([0.0, 0.0, 1.0, 100.0]), "capacity": luck.choice([1, 2, 1000]),
        "resident": luck.choice([0, 1, 256]), "pace_s": luck.choice([0.0, 0.1, 1.0, 60.0]),
    }  # fmt: skip


def cancel_trial(number: int) -> None:
    """A program that is cancelled, with up to four crashes."""
    luck = random.Random(f"cancel trial {number}")
    options = options_of(luck)
    crashes = [Crash(luck.randint(1, 30), luck.choice(["before", "after"])) for _ in range(luck.randint(0, 4))]
    try:
        testing.run(cancelled(number, crashes, number, **options))
    except BaseException as error:
        error.add_note(f"again: testing.run(cancelled({number}, {crashes!r}, {number}, **{options!r}))")
        raise


def trial(number: int, *, operated: bool = False) -> None:
    """A program without a crash, and twice with up to four: all from one number."""
    luck = random.Random(f"trial {number}")
    options = options_of(luck)
    (first, *forks), engine = testing.run(play(number, [], number, linger_s=100.0, pace_s=0.0))
    for n in range(2):
        most = max(2, engine.commits)
        crashes = [Crash(luck.randint(1, most), luck.choice(["before", "after"])) for _ in range(luck.randint(0, 4))]
        operator = (number, n) if operated else None
        try:
            found, _ = testing.run(play(number, crashes, (number, n), operator=operator, **options))
            assert [*found, *forks] == [first] * (len(found) + len(forks))
        except BaseException as error:
            how = f"{number}, {crashes!r}, {(number, n)!r}, operator={operator!r}, **{options!r}"
            error.add_note(f"again: testing.run(play({how}))")
            raise


@pytest.mark.sampled(4)
@pytest.mark.parametrize("part", range(4))
def test_programs_end_the_same_after_crashes(part: int) -> None:
    for number in range(part, PROGRAMS, 4):
        trial(number)


@pytest.mark.parametrize("number", [574])
def test_a_fork_of_a_run_in_the_middle_of_its_attempts(number: int) -> None:
    """It makes them anew, and numbers on: one journal has no attempt twice."""
    trial(number)


@pytest.mark.proof
@pytest.mark.parametrize("part", range(4))
def test_programs_end_the_same_whatever_an_operator_does(part: int) -> None:
    for number in range(part, PROGRAMS, 4):
        trial(number, operated=True)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("part", range(4))
def test_programs_end_when_they_are_cancelled(part: int) -> None:
    for number in range(part, PROGRAMS, 4):
        cancel_trial(number)


@pytest.mark.soak
def test_programs_for_long() -> None:
    for number in range(PROGRAMS, SOAK_PROGRAMS):
        trial(number)
        trial(number, operated=True)
        cancel_trial(number)
