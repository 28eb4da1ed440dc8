"""Where the loop's thread spends its time: cProfile around a benchmark's body."""

from __future__ import annotations

import asyncio
import cProfile
import io
import pstats
from collections.abc import Callable, Sequence
from pathlib import Path

from segue import Engine

from . import flows, history, throughput, worker
from .measure import Plan

LINES = 30


async def _park(path: Path, count: int) -> None:
    async with Engine(str(path)) as engine:
        await worker.park(engine, {"count": count, "quiet": True})


def _replay(path: Path, plan: Plan) -> Callable[[], object]:
    count = plan.size(10_000, 30)
    asyncio.run(history.make_long(path, count))
    return lambda: asyncio.run(history.wake(path, count + 3))


def _body(name: str, path: Path, plan: Plan) -> Callable[[], object]:
    match name:
        case "step":
            return lambda: asyncio.run(throughput.run_steps(path, plan.size(1000, 10)))
        case "runs":
            return lambda: asyncio.run(throughput.run_at_once(path, plan.size(200, 4), plan.size(5, 1)))
        case "parked":
            return lambda: asyncio.run(_park(path, plan.size(2000, 20)))
        case "replay":
            return _replay(path, plan)
        case _:
            raise SystemExit(f"no profile of {name}: there are step, runs, parked and replay")


def top(names: Sequence[str], plan: Plan) -> str:
    """The functions that cost most themselves, and those that cost most with all they call."""
    out = io.StringIO()
    for name in names:
        with plan.scratch() as folder:
            body, profile = _body(name, folder / "segue.db", plan), cProfile.Profile()
            profile.runcall(body)
        for order in ("tottime", "cumulative"):
            out.write(f"\n{name}, by {order}\n")
            pstats.Stats(profile, stream=out).strip_dirs().sort_stats(order).print_stats(LINES)
    flows.moments.clear()
    return out.getvalue()
