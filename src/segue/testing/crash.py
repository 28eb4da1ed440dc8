"""Crashes on demand: a scenario is played again and again, with the process killed at each commit in turn."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from .engine import Died, Engine
from .loop import run

T = TypeVar("T")
Scenario = Callable[[Engine], Coroutine[Any, Any, T]]
"""What a test does with an engine. It is called again after each crash, so runs are started by a fixed `id`."""


class Crash(NamedTuple):
    """The process dies at its n-th commit, before or after that commit is on disk."""

    commit: int
    when: Literal["before", "after"] = "after"

    def __str__(self) -> str:
        return f"crash {self.when} commit {self.commit}"


async def play(
    scenario: Scenario[T], crashes: Sequence[Crash] = (), *, seed: object = None, **options: Any
) -> tuple[T, Engine]:
    """Play a scenario on one database, through crash after crash. Gives its result and the last engine, closed."""
    engine: Engine | None = None
    for n, crash in enumerate([*crashes, None]):
        again = None if seed is None else (seed, n)
        async with Engine(after=engine, crash=crash, seed=again, **options) as engine:
            try:
                return await engine.outlive(scenario(engine)), engine
            except Died:
                continue
    raise AssertionError("the last engine has no crash to die of")


def crash_everywhere(
    scenario: Scenario[T],
    *,
    check: Callable[[T, Engine], object] | None = None,
    again: bool = False,
    seed: object = 0,
    **options: Any,
) -> int:
    """Play a scenario once for each commit that it makes and each side of it, and kill the process there.

    `check(result, engine)` is called after each play; `again` kills the process a second time, at its first commit
    after the restart. Gives the number of plays. A failure names the crash and the seed: they play it again.
    """
    result, engine = run(play(scenario, seed=seed, **options))
    _checked(check, result, engine, (), seed)
    plays = 1
    for commit in range(1, engine.commits + 1):
        for when in ("before", "after"):
            crashes = (Crash(commit, when), Crash(1, when)) if again else (Crash(commit, when),)
            try:
                result, engine = run(play(scenario, crashes, seed=seed, **options))
            except BaseException as error:
                _note(error, crashes, seed)
                raise
            _checked(check, result, engine, crashes, seed)
            plays += 1
    return plays


def _checked(
    check: Callable[[T, Engine], object] | None, result: T, engine: Engine, crashes: Sequence[Crash], seed: object
) -> None:
    try:
        if check is not None:
            check(result, engine)
    except BaseException as error:
        _note(error, crashes, seed)
        raise


def _note(error: BaseException, crashes: Sequence[Crash], seed: object) -> None:
    error.add_note(f"to play this again: testing.run(testing.play(scenario, {list(crashes)!r}, seed={seed!r}))")
