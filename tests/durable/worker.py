"""A process with an engine, for the tests of several on one file. Run as a program: DATABASE TASK [ARGUMENT ...].

It says `open` when its engine is, and at the end what it has found as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from segue import Engine
from tests.durable.flows import bulky, paces
from tests.forked import Forked

HEARTBEAT_S = 1.0


def say(what: Any) -> None:
    """One line of JSON to the test."""
    print(json.dumps(what), flush=True)


async def run_paces(engine: Engine, folder: str, count: str, steps: str, pause_s: str) -> Any:
    """Runs `p0`, `p1` ... : an effect, a pause, and again."""
    runs = [await engine.start(paces, folder, int(steps), float(pause_s), id=f"p{i}") for i in range(int(count))]
    say("started")
    return [await run.result() for run in runs]


async def write_commits(engine: Engine, name: str, seconds: str) -> Any:
    """One commit after the other, as fast as they come: how long each took."""
    took: list[float] = []
    await at_once(engine)
    until = time.perf_counter() + float(seconds)
    while (began := time.perf_counter()) < until:
        await engine.journal.ask(
            lambda c: c.execute("insert into switches values (?, 0, '', '')", (f"{name}-{len(took)}",))
        )
        took.append(time.perf_counter() - began)
    return took


async def run_same(engine: Engine, count: str) -> Any:
    """The same ids as everybody else."""
    await at_once(engine)
    runs = await asyncio.gather(*(engine.start(bulky, 3, 10 + i, id=f"s{i}") for i in range(int(count))))
    return [await run.result() for run in runs]


async def serve(engine: Engine, seconds: str) -> Any:
    """Take up whatever there is, for a while."""
    await asyncio.sleep(float(seconds))


async def at_once(engine: Engine) -> None:
    """Begin when the test says so."""
    say("ready")
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


TASKS: dict[str, Callable[..., Awaitable[Any]]] = {
    "paces": run_paces,
    "commits": write_commits,
    "same": run_same,
    "serve": serve,
}


async def main(database: str, task: str, *args: str) -> None:
    """Open, do the task, close."""
    async with Engine(database, heartbeat_s=HEARTBEAT_S) as engine:
        say("open")
        say(await TASKS[task](engine, *args))


class Worker:
    """Such a process, seen from the test."""

    def __init__(self, database: Path, task: str, *args: object):
        self.process = Forked("module", "tests.durable.worker", database, task, *args, stderr="pipe")
        self.pid = self.process.pid
        assert self.hear() == "open"

    def hear(self) -> Any:
        """The next line that it says."""
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return json.loads(line)

    def tell(self) -> None:
        """Let it begin."""
        self.process.tell("\n")

    def end(self) -> str:
        """Wait for its end: what it logged."""
        return self.process.communicate(timeout=30)[1]

    def kill(self) -> None:
        """As a crash would."""
        self.process.kill()
        self.process.communicate()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
