"""Long runs: how fast they replay, and what a fork costs early and late in them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segue import Engine, Run

from . import flows
from .floor import single_ms
from .measure import Figure, Plan, Sample

REPLAY_S = 1.0
SAME = 1.2
"""As much as two samples of a shared disk differ by themselves."""
_ID = "long"


async def make_long(path: Path, count: int) -> float:
    """A run of so many steps that then waits. Gives the seconds it took."""
    start = time.perf_counter()
    async with Engine(str(path)) as engine:
        run = await engine.start(flows.long, count, id=_ID)
        while not _waits(await run.status()):  # noqa: ASYNC110  a status can only be asked for
            await asyncio.sleep(0.01)
    return time.perf_counter() - start


def _waits(status: Any) -> bool:
    return any("signal" in w for w in status.waits_on)


async def wake(path: Path, after: int) -> tuple[float, int]:
    """Seconds from a signal, in an engine that has just opened, to the step after the wait; and that step's `seq`."""
    async with asyncio.timeout(60), Engine(str(path)) as engine:
        run = await engine.get(_ID)
        sent = time.monotonic()
        await run.signal("go", 1)
        async for event in run.events(after):
            if event.type == "step.completed":
                return float((event.value or b"").decode().strip('"').split()[1]) - sent, event.seq
    raise AssertionError("the run ended")


def wakes(path: Path, after: int, rounds: int) -> list[float]:
    """`wake` again and again, each time in an engine that has to replay it all."""
    spent: list[float] = []
    for _ in range(rounds):
        seconds, after = asyncio.run(wake(path, after))
        spent.append(seconds)
    return spent


def replay(plan: Plan) -> list[Figure]:
    """A run of 10,000 steps goes on within a second."""
    count = plan.size(10_000, 30)
    with plan.scratch() as folder:
        path = folder / "segue.db"
        made = asyncio.run(make_long(path, count))
        before = single_ms(plan)
        values = wakes(path, count + 3, plan.rounds)
        floor = Sample.of([before, single_ms(plan)])
    sample = Sample.of(values)
    return [
        Figure(
            name="replay", what=f"a run of {count:,} steps, from a signal to its next step", unit="s", sample=sample,
            goal=f"{REPLAY_S:g} s", met=sample.median <= REPLAY_S, floor=floor, floor_unit="ms a commit",
            notes={"µs an event": sample.median / count * 1e6, "steps made in, s": made},
        )
    ]  # fmt: skip


async def fork_times(path: Path, places: Sequence[int], rounds: int) -> tuple[list[list[float]], float]:
    """Milliseconds of forks at the keys of some steps, in turns, and of one at the last one's event. Nobody takes
    the forks up.
    """
    spent: list[list[float]] = [[] for _ in places]
    by_event: list[float] = []
    engine = Engine(str(path), recover=False)
    engine.carries = False
    async with engine:
        run = await engine.get(_ID)
        steps = [e async for e in run.events(follow=False) if e.type == "step.completed"]
        for _ in range(rounds + 1):
            for place, times in zip(places, spent, strict=True):
                times.append(await _fork_ms(run, steps[place - 1].key))
            by_event.append(await _fork_ms(run, steps[places[-1] - 1].seq))
    return [times[1:] for times in spent], Sample.of(by_event[1:]).median


async def _fork_ms(run: Run[Any], at: str | int | None) -> float:
    start = time.perf_counter()
    await run.fork(at)
    return (time.perf_counter() - start) * 1000


def fork(plan: Plan) -> list[Figure]:
    """A fork costs the same wherever it is."""
    early, late, rounds = 10, plan.size(10_000, 30), plan.size(25, 3)
    with plan.scratch() as folder:
        path = folder / "segue.db"
        asyncio.run(make_long(path, late))
        before = single_ms(plan)
        (first, last), by_event = asyncio.run(fork_times(path, (early, late), rounds))
        floor = Sample.of([before, single_ms(plan)])
    at_early, at_late = Sample.of(first), Sample.of(last)
    share = at_late.median / at_early.median
    return [
        Figure(
            name="fork", what=f"a fork at step {late:,}, up to its acceptance", unit="ms", sample=at_late,
            goal=f"{SAME} × step {early}'s", met=share <= SAME, floor=floor, floor_unit="ms a commit",
            ratio=at_late.median / floor.median,
            notes={f"at step {early}, ms": at_early.median, "late / early": share, "late by its event, ms": by_event},
        )
    ]  # fmt: skip
