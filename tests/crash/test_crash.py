"""Crashes at every write, and in a thousand random places: nothing runs twice, nothing is lost, nothing hangs."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from segue import testing
from segue.testing import Crash, Engine
from tests.crash import asked, decided, overridden, told
from tests.crash.witness import Witness, reset

SCENES = told.SCENES | asked.SCENES | decided.SCENES | overridden.SCENES
ROOM = {"overridden": 3, "loops_left_early": 3, "continued_out_of_groups": 3}
"""Runs that must be in memory at once: with less room a child that hangs may keep out the one that would end it."""
TRIALS = 1000
SOAK_TRIALS = 20_000


def scenario(name: str, world: Witness) -> Any:
    """A scene in a world that knows which process is alive."""

    async def play(engine: Engine) -> Any:
        world.engine = engine
        result = await SCENES[name](engine)
        for _ in range(100):  # children may outlive their parents for a while
            if not engine.journal.runs("state not in ('completed', 'failed', 'cancelled')"):
                break
            await asyncio.sleep(60)
        return result

    return play


async def trial(name: str, crashes: list[Crash], seed: object, options: dict[str, Any]) -> Any:
    """One play, checked."""
    world = reset()
    result, engine = await testing.play(scenario(name, world), crashes, seed=seed, crash_limit=50, **options)
    world.check(engine)
    return result, engine


def played(name: str, crashes: list[Crash], seed: object, **options: Any) -> Engine:
    """A play on virtual time; a failure says how to play it again."""
    options = {"linger_s": 0.0 if name == "parked" else 1.0} | options
    try:
        return testing.run(trial(name, crashes, seed, options))[1]
    except BaseException as error:
        error.add_note(f"again: tests.crash.test_crash.played({name!r}, {crashes!r}, {seed!r}, **{options!r})")
        raise


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", sorted(SCENES))
def test_a_crash_at_every_write(name: str) -> None:
    for crash in points(name):
        played(name, [crash], 0)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", sorted(SCENES))
@pytest.mark.parametrize("of", [pytest.param(1, marks=pytest.mark.soak), 4], ids=["all", "some"])
def test_a_crash_at_every_write_and_another_soon_after(name: str, of: int) -> None:
    """The first crash is at each of the points where it soaks, else at every fourth."""
    for crash in points(name)[::of]:
        played(name, [crash, Crash(2, crash.when)], 0)


def points(name: str) -> list[Crash]:
    """Before and after each commit of a play without crashes."""
    commits = played(name, [], 0).commits
    return [Crash(commit, when) for when in ("before", "after") for commit in range(1, commits + 1)]


@pytest.mark.sampled(10)
@pytest.mark.parametrize("part", range(10))
def test_random_crashes(part: int) -> None:
    for n in range(part, TRIALS, 10):
        random_trial(n)


def test_a_run_that_has_just_moved_is_not_parked_by_another_one() -> None:
    """Two runs move in one commit, and the first of them makes room for itself among those that rest."""
    played("parked", [Crash(5, "before")], 6126, linger_s=1.0, capacity=2, resident=1)


@pytest.mark.soak
def test_random_crashes_for_long() -> None:
    for n in range(TRIALS, TRIALS + SOAK_TRIALS):
        random_trial(n)


def random_trial(n: int) -> None:
    """A scene, a schedule and up to four crashes, all from one number."""
    luck = random.Random(n)
    name = luck.choice(sorted(SCENES))
    crashes = [Crash(luck.randint(1, 25), luck.choice(["before", "after"])) for _ in range(luck.randint(1, 4))]
    options = {
        "linger_s": luck.choice([0.0, 0.0, 1.0, 100.0]), "capacity": luck.choice([1, 2, 1000]),
        "resident": luck.choice([0, 1, 256]), "pace_s": luck.choice([0.0, 0.1, 1.0, 60.0]),
    }  # fmt: skip
    options["capacity"] = max(options["capacity"], ROOM.get(name, 1))
    played(name, crashes, n, **options)
