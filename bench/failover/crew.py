"""The processes of one client, and the asks that are dealt to them."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

from ..child import ROOT
from .lines import LINE
from .tasks import Ask

_KEY = "SEGUE_BENCH_KEY"
READY_S = 120.0
_READY = "ready"
OPEN = 400
"""Asks under way in a process at most; more wait, and their time runs."""


class Done(NamedTuple):
    """An ask that is over. Times are in seconds from the beginning."""

    ask: Ask
    due: float
    s: float
    said: Mapping[str, Any]


class Worker:
    """One process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._reading: asyncio.Task[None] | None = None
        self.version = ""

    @classmethod
    async def start(cls, command: Sequence[str], setup: Mapping[str, Any]) -> Worker:
        """Start one and wait until it is ready. Raises EOFError when it ends before."""
        env = {
            **os.environ,
            _KEY: "any",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src"))),
        }
        pipe = asyncio.subprocess.PIPE
        made = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=env, stdin=pipe, stdout=pipe, limit=LINE
        )  # fmt: skip
        worker = cls(made)
        worker._tell({**setup, "key_env": _KEY})
        async with asyncio.timeout(READY_S):
            line = await worker._line()
        if "ready" not in line:
            raise EOFError(f"{command[-1]} did not start: its error stands above")
        worker.version = line["ready"]
        worker._reading = asyncio.create_task(worker._read())
        return worker

    async def ask(self, ask: Ask) -> dict[str, Any]:
        """What it says to an ask."""
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[ask.ticket] = answer
        self._tell({"id": ask.ticket, "prompt": ask.prompt, "schema": ask.schema})
        return await answer

    async def set_up(self, setup: Mapping[str, Any] | None) -> None:
        """Have it leave what it has open, and begin anew by another setup; None: only leave."""
        ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[_READY] = ready
        self._tell({"setup": None if setup is None else {**setup, "key_env": _KEY}})
        async with asyncio.timeout(READY_S):
            await ready

    async def close(self) -> None:
        """Let it end; end it when it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(15):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
        if self._reading is not None:
            await self._reading

    def _tell(self, line: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")

    async def _line(self) -> dict[str, Any]:
        """The next line of JSON; what libraries print beside it is left out. Empty at the end."""
        assert self._process.stdout is not None
        while got := await self._process.stdout.readline():
            if got.startswith(b"{"):
                return json.loads(got)
        return {}

    async def _read(self) -> None:
        while line := await self._line():
            self._waiting.pop(line.get("id", _READY)).set_result(line)
        for answer in self._waiting.values():
            answer.set_result({"text": None, "error": "the process ended"})


@asynccontextmanager
async def crew(command: Sequence[str], setup: Mapping[str, Any], processes: int) -> AsyncGenerator[list[Worker], None]:
    """So many processes of one client."""
    async with AsyncExitStack() as stack:
        workers = list[Worker]()
        for _ in range(processes):
            workers.append(await Worker.start(command, setup))
            stack.push_async_callback(workers[-1].close)
        yield workers


async def drive(
    workers: Sequence[Worker], asks: Sequence[Ask], per_s: float, advance: Callable[[int], None]
) -> list[Done]:
    """Deal asks at a steady rate, whoever is late: an ask's time begins when it is due."""
    began, done = time.monotonic(), list[Done]()
    gates = [asyncio.Semaphore(OPEN) for _ in workers]

    async def one(n: int, ask: Ask) -> None:
        due = n / per_s
        async with gates[n % len(workers)]:
            said = await workers[n % len(workers)].ask(ask)
        done.append(Done(ask, due, time.monotonic() - began - due, said))
        advance(len(done))

    async with asyncio.TaskGroup() as group:
        for n, ask in enumerate(asks):
            await asyncio.sleep(max(0.0, began + n / per_s - time.monotonic()))
            group.create_task(one(n, ask))
    return done
