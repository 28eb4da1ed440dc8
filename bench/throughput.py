"""Steps: one after the other in one run, and two hundred runs at once."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from pathlib import Path
from statistics import mean

from segue import Engine

from . import flows
from .floor import grouped_cpu_us, grouped_rows, single_times_ms
from .measure import Figure, Plan, Sample, beside

STEP_OVER_MS = 0.3
SHARE = 0.26


async def run_steps(path: Path, count: int) -> None:
    async with Engine(str(path)) as engine:
        await engine.run(flows.steps, 3)
        flows.moments.clear()
        await engine.run(flows.steps, count)


async def run_at_once(path: Path, runs: int, rounds: int) -> list[tuple[float, float]]:
    """Wall and CPU seconds of each round, from the first start to the last result."""
    spent: list[tuple[float, float]] = []
    async with Engine(str(path)) as engine:
        for n in range(rounds + 1):
            wall, cpu = time.perf_counter(), time.process_time()
            handles = await asyncio.gather(*(engine.start(flows.ten, n * 10_000 + i * 10) for i in range(runs)))
            await asyncio.gather(*(h.result() for h in handles))
            spent.append((time.perf_counter() - wall, time.process_time() - cpu))
    return spent[1:]  # the first one warms up


def resolves(commits: Sample, ratios: Sample) -> bool:
    """Whether this disk, now, can tell 0.3 ms: a busy one answers in ticks of several, and both fit into one.

    A step that waits for a commit cannot be faster than one: a ratio below 1 says that the floor was not beside it.
    """
    return commits.median <= 1.0 and ratios.median >= 1.0


def step(plan: Plan) -> list[Figure]:
    """A sequential durable step: one commit and at most 0.3 ms.

    Short turns of both, since a shared disk changes its pace within a second.
    """
    count, cpu = plan.size(100, 10), list[float]()
    gaps, commits = list[float](), list[float]()

    def floor() -> float:
        times = single_times_ms(plan, count)
        commits.extend(times)
        return mean(times)

    def measure() -> float:
        with plan.scratch() as folder:
            start = time.process_time()
            asyncio.run(run_steps(folder / "segue.db", count))
            cpu.append((time.process_time() - start) / count * 1e6)
        times = [(b - a) * 1000 for a, b in pairwise(flows.moments)]
        gaps.extend(times)
        return mean(times)

    values, floors, ratios = beside(floor, measure, plan.rounds * 4)
    over = Sample.of([v - f for v, f in zip(values.values, floors.values, strict=True)])
    every, alone = Sample.of(gaps), Sample.of(commits)
    met = over.median <= STEP_OVER_MS if resolves(alone, ratios) else None
    return [
        Figure(
            name="step", what=f"{count} steps, one after the other", unit="ms a step", sample=values,
            goal=f"floor + {STEP_OVER_MS} ms", met=met, floor=floors, floor_unit="ms a commit",
            ratio=ratios.median,
            notes={
                "over the floor, ms": over.median,
                "in quiet moments (first quartile), ms": every.quantile(0.25) - alone.quantile(0.25),
                "p99, ms": every.quantile(0.99), "p99 of the floor, ms": alone.quantile(0.99),
                "CPU with opening and closing, µs a step": Sample.of(cpu).median,
            },
        )
    ]  # fmt: skip


def runs(plan: Plan) -> list[Figure]:
    """200 runs of ten steps at once: 0.26 of the grouped floor, by time and by CPU: a slow disk flatters the first."""
    count, cpu = plan.size(200, 4), list[float]()

    def measure() -> float:
        with plan.scratch() as folder:
            spent = asyncio.run(run_at_once(folder / "segue.db", count, 1))
        cpu.append(spent[0][1] / (count * 10) * 1e6)
        return count * 10 / spent[0][0]

    values, floors, ratios = beside(lambda: grouped_rows(plan), measure, plan.rounds * 2)
    own, bare = Sample.of(cpu).median, grouped_cpu_us(plan)
    return [
        Figure(
            name="runs", what=f"{count} runs of ten steps at once, start to result", unit="steps/s", sample=values,
            goal=f"{SHARE} of the floor", met=ratios.median >= SHARE and bare / own >= SHARE, floor=floors,
            floor_unit="rows/s in 50s", ratio=ratios.median,
            notes={
                "CPU of all threads, µs a step": own, "CPU of the floor, µs a row": bare,
                "ratio by CPU, whatever the disk does": bare / own, "steps/s that one core's CPU allows": 1e6 / own,
            },
        )
    ]  # fmt: skip
