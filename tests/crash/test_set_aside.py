"""Crashes at every write of runs whose code has changed: set aside after effects on their way, cancelled in doubt."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import pytest

from segue import testing
from segue.core.codec import loads
from segue.testing import Crash, Engine
from segue.testing.engine import Died
from tests.crash.changed import STORIES, Phase, deploy
from tests.crash.witness import Witness, reset

SIDES: tuple[Literal["before", "after"], ...] = ("before", "after")


async def story(name: str, at: int, crashes: Sequence[Crash], seed: object, *, skip: bool, pace_s: float) -> list[int]:
    """Play it, with crashes in the phase `at`. Gives the commits of each phase.

    `skip`: who comes after the crash is the next phase, with its code; else the phase is played again.
    """
    world, engine, commits = reset(), None, list[int]()
    phases = STORIES[name].phases
    for n, phase in enumerate(phases):
        deploy(phase.code)
        for k, crash in enumerate([*crashes, None] if n == at else [None]):
            engine, died = await process(world, phase, engine, crash, seed=(seed, n, k), pace_s=pace_s)
            if not died or (skip and phase.recover and 0 < n < len(phases) - 1):
                break
        commits.append(engine.commits)
    check(name, world, engine)
    return commits


async def process(
    world: Witness, phase: Phase, after: Engine | None, crash: Crash | None, **options: Any
) -> tuple[Engine, bool]:
    """One process. True when it died of its crash; one that dies on purpose has played its phase."""
    engine = Engine(after=after, crash=crash, crash_limit=50, recover=phase.recover, **options)
    engine.carries = phase.carries
    async with engine:
        world.engine = engine
        try:
            await engine.outlive(phase.act(engine))
        except Died:
            return engine, crash is not None and engine.commits >= crash.commit
    return engine, False


def check(name: str, world: Witness, engine: Engine) -> None:
    """What must hold at the end, wherever a process died."""
    row, history, told = engine.reader.get("main"), engine.history("main"), STORIES[name]
    assert row.state == told.end, f"{row.state}: {row.detail}"
    moved = {t for _, t, _ in world.effects if t.startswith("once:moved")}
    assert len(moved) <= 1 or name == "another effect", "an effect was applied that nobody let through"
    if told.end == "completed":
        assert loads(history[-1].value) == told.result
        made = {f"main/{e.key}" for e in history if e.type == "attempt.started" and b'"once"' in (e.body or b"")}
        made &= {f"main/{e.key}" for e in history if e.type == "step.completed"}
        assert made <= {idem for idem, _, _ in world.effects}, "an effect is taken for made that was not"
    world.check(engine)
    counted = Counter(call for call in world.calls if any(kind in call[1] for kind in ("pays", "moves", "writes")))
    assert all(n == 1 for n in counted.values()), f"the body of an attempt ran twice: {counted}"


def played(
    name: str, at: int = -1, crashes: Sequence[Crash] = (), seed: object = 0, *, skip: bool = False, pace_s: float = 1.0
) -> list[int]:
    """A play on virtual time; a failure says how to play it again."""
    try:
        return testing.run(story(name, at, crashes, seed, skip=skip, pace_s=pace_s))
    except BaseException as error:
        error.add_note(
            f"again: tests.crash.test_set_aside.played({name!r}, {at}, {crashes!r}, {seed!r}, {skip=}, {pace_s=})"
        )
        raise


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("of", [pytest.param(1, marks=pytest.mark.soak), 3], ids=["all", "some"])
def test_a_crash_at_every_write_of_a_run_whose_code_changes(name: str, of: int) -> None:
    for at, commits in enumerate(played(name)):
        if at or first_with(STORIES[name].phases[0]) == name:
            for crash in [Crash(n, when) for n in range(1, commits + 1) for when in SIDES][at % of :: of]:
                played(name, at, [crash])


@pytest.mark.parametrize("name", ["put right", "changed back"])
def test_the_next_code_is_there_after_the_crash(name: str) -> None:
    """It was changed, or put right, while no process was there."""
    for commit in range(1, played(name)[1] + 1):
        for when in ("before", "after"):
            played(name, 1, [Crash(commit, when)], skip=True)


@pytest.mark.parametrize("name", STORIES)
def test_random_crashes_of_a_run_whose_code_changes(name: str) -> None:
    for n in range(2):
        random_trial(name, n)


@pytest.mark.soak
@pytest.mark.parametrize("name", STORIES)
def test_random_crashes_of_a_run_whose_code_changes_for_long(name: str) -> None:
    for n in range(2, 1000):
        random_trial(name, n)


def first_with(phase: Phase) -> str:
    """The first story that begins with this phase: its crashes are played in that one."""
    return next(name for name, story in STORIES.items() if story.phases[0] is phase)


def random_trial(name: str, n: int) -> None:
    """In one phase up to three crashes, all from one number."""
    luck = random.Random(f"{name} {n}")
    at = luck.randrange(len(STORIES[name].phases))
    crashes = [Crash(luck.randint(1, 15), luck.choice(["before", "after"])) for _ in range(luck.randint(1, 3))]
    played(name, at, crashes, n, skip=luck.random() < 0.3, pace_s=luck.choice([0.0, 0.1, 1.0, 5.0]))
