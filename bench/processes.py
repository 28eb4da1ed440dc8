"""What takes several processes: parked runs that are woken from elsewhere, and a takeover after kill -9."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Any

from segue import Engine

from .child import Child
from .measure import Figure, Plan, Sample

MEMORY_MB = 250
WAKE_MS = 20
RELEASE_S = 1.0
TAKEOVER_S = 0.5


def parked(plan: Plan) -> list[Figure]:
    """100,000 parked runs under 250 MB, woken within 20 ms, a thousand released within a second."""
    count, wakes, burst = plan.size(10_000, 40, 100_000), plan.size(300, 5), plan.size(1000, 10)
    ids = [f"p-{n * 7919 % count}" for n in range(wakes * 2 + burst)]  # 7919: spread over all of them, each once
    first, fresh, many = ids[:wakes], ids[wakes : wakes * 2], ids[wakes * 2 :]
    with plan.scratch() as folder:
        path = folder / "segue.db"
        with Child("serve", path) as server, Child("send", path) as sender:
            show = partial(plan.progress, total=count, what="parking")
            made = server.ask("park", count=count, timeout_s=1800, progress=show)
            woken = _wake(sender, first)
            released = sender.ask("release", ids=many, timeout_s=120)
            server.kill()
        with Child("serve", path) as server, Child("send", path) as sender:
            again = server.ask("memory", after_s=0.2 if plan.quick else 2)
            rewoken = _wake(sender, fresh)
        size = path.stat().st_size
    notes = {
        "parked in, s": made["s"], "CPU, ms a run": made["cpu_s"] / count * 1000, "file, KB a run": size / count / 1024
    }  # fmt: skip
    return [
        _memory(f"{count:,} parked runs, the process that parked them", made, notes),
        _memory(f"{count:,} parked runs, a fresh process after kill -9", again, {}),
        _wakes("wake", "from a signal of another process to the next step: p99", woken),
        _wakes("wake", "the same in the fresh process: p99", rewoken),
        Figure(
            name="release", what=f"{burst:,} runs signalled at once: all ended", unit="s",
            sample=Sample.of([released["s"]]),
            goal=f"{RELEASE_S:g} s", met=released["s"] <= RELEASE_S,
            notes={"first ended, s": released["first_s"], "signals posted, s": released["posted_s"]},
        ),
    ]  # fmt: skip


def _wake(sender: Child, ids: list[str]) -> Sample:
    return Sample.of(sender.ask("signal", ids=ids, every_s=0.01, timeout_s=120)["ms"])


def _memory(what: str, answer: dict[str, Any], notes: dict[str, Any]) -> Figure:
    rss = answer["rss_mb"]
    return Figure(
        name="parked", what=what, unit="MB RSS", sample=Sample.of([rss]), goal=f"{MEMORY_MB} MB",
        met=rss <= MEMORY_MB, notes={"peak, MB": answer["peak_mb"], **notes},
    )  # fmt: skip


def _wakes(name: str, what: str, sample: Sample) -> Figure:
    p99 = sample.quantile(0.99)
    return Figure(
        name=name, what=what, unit="ms", sample=Sample.of([p99]), goal=f"{WAKE_MS} ms", met=p99 <= WAKE_MS,
        notes={"median, ms": sample.median, "most, ms": sample.most, "signals": len(sample.values)},
    )  # fmt: skip


def takeover(plan: Plan) -> list[Figure]:
    """After kill -9 another process goes on within half a second."""
    firsts, lasts = list[float](), list[float]()
    for _ in range(plan.rounds):
        with plan.scratch() as folder:
            times = _kill_one(folder / "segue.db", plan.size(20, 3))
        firsts.append(min(times))
        lasts.append(max(times))
    sample = Sample.of(lasts)
    return [
        Figure(
            name="takeover", what=f"kill -9 of one process: the last of {plan.size(20, 3)} runs goes on in another",
            unit="s", sample=sample, goal=f"{TAKEOVER_S} s", met=sample.median <= TAKEOVER_S,
            notes={"the first goes on, s": Sample.of(firsts).median},
        )
    ]  # fmt: skip


def _kill_one(path: Path, runs: int) -> list[float]:
    """Seconds from the kill to the next step of each run."""
    with Child("serve", path) as dies:
        dies.ask("start", flow="march", count=runs, input=100_000)
        with Child("serve", path) as lives:
            time.sleep(0.3)
            killed = dies.kill()
            time.sleep(1.0)
            return asyncio.run(_resumed(path, runs, lives.pid, killed))


async def _resumed(path: Path, runs: int, pid: int, killed: float) -> list[float]:
    async with asyncio.timeout(30), Engine(str(path), recover=False) as engine:
        return [await _first_step(engine, f"march-{n}", pid) - killed for n in range(runs)]


async def _first_step(engine: Engine, id: str, pid: int) -> float:
    """When this process first ran a step of the run."""
    run = await engine.get(id)
    async for event in run.events():
        if event.type == "step.completed":
            by, at = (event.value or b"").decode().strip('"').split()
            if int(by) == pid:
                return float(at)
    raise AssertionError("the run ended before it was taken over")
