"""Crashes at every write of runs whose code has changed: set aside after effects on their way, cancelled in doubt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from segue import testing
from segue.testing import Crash, Engine
from segue.testing.engine import Died
from tests.crash.changed import STORIES, Phase, deploy
from tests.crash.witness import Witness, reset

async def story(name: str, at: int, crashes: Sequence[Crash], seed: object, *, skip: bool) -> list[int]:
    """Play it, with crashes in the phase `at`. Gives the commits of each phase.

    `skip`: who comes after the crash is the next phase, with its code; else the phase is played again.
    """
    world, engine, commits = reset(), None, list[int]()
    phases = STORIES[name].phases
    for n, phase in enumerate(phases):
        deploy(phase.code)
        for k, crash in enumerate([*crashes, None] if n == at else [None]):
            engine, died = await process(world, phase, engine, crash, (seed, n, k))
            if not died or (skip and phase.recover and 0 < n < len(phases) - 1):
                break
        commits.append(engine.commits)
    check(name, world, engine)
    return commits


async def process(
    world: Witness, phase: Phase, after: Engine | None, crash: Crash | None, seed: object
) -> tuple[Engine, bool]:
    """One process. True when it died of its crash; one that dies on purpose has played its phase."""
    options: dict[str, Any] = {"crash_limit": 50, "recover": phase.recover}
    async with Engine(after=after, crash=crash, seed=seed, **options) as engine:
        world.engine = engine
        try:
            await engine.outlive(phase.act(engine))
        except Died:
            return engine, crash is not None and engine.crash == crash and engine.commits >= crash.commit
    return engine, False


def check(name: str, world: Witness, engine: Engine) -> None:
    """What must hold at the end, wherever a process died."""
    row = engine.reader.get("main")
    assert row.state == STORIES[name].end, f"{row.state}: {row.detail}"
    world.check(engine)
    counted = Counter(call for call in world.calls if any(kind in call[1] for kind in ("pays", "moves", "writes")))
    assert all(n == 1 for n in counted.values()), f"the body of an attempt ran twice: {counted}"


def played(name: str, at: int = -1, crashes: Sequence[Crash] = (), seed: object = 0, *, skip: bool = False) -> list[int]:
    """A play on virtual time; a failure says how to play it again."""
    try:
        return testing.run(story(name, at, crashes, seed, skip=skip))
    except BaseException as error:
        error.add_note(f"again: tests.crash.test_set_aside.played({name!r}, {at}, {crashes!r}, {seed!r}, {skip=})")
        raise


@pytest.mark.parametrize("how", ["played again", "next", "twice"])
@pytest.mark.parametrize("name", STORIES)
def test_a_crash_at_every_write_of_a_run_whose_code_changes(name: str, how: str) -> None:
    for at, commits in enumerate(played(name)):
        for commit in range(1, commits + 1):
            for when in ("before", "after"):
                crash = Crash(commit, when)
                played(name, at, [crash, Crash(2, when)] if how == "twice" else [crash], skip=how == "next")
