"""Other processes for the measurements: `python -m bench.worker ROLE DATABASE`, told by lines of JSON.

`serve` runs flows; `send` only signals them: it does not import them, so it cannot take one up itself.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from segue import Engine

from .measure import rss_mb

AT_ONCE = 64
Command = dict[str, Any]
Act = Callable[[Engine, Command], Awaitable[Command]]


def say(answer: Command) -> None:
    """One line to the parent."""
    print(json.dumps(answer), flush=True)


async def park(engine: Engine, command: Command) -> Command:
    """Start so many runs, a few at a time, and wait until the journal alone has them."""
    flows, count = importlib.import_module("bench.flows"), int(command["count"])
    numbers = iter(range(count))

    async def some() -> None:
        for n in numbers:
            await engine.start(flows.parks, n, id=f"p-{n}")

    start, cpu = time.perf_counter(), time.process_time()
    starting = asyncio.gather(*(some() for _ in range(AT_ONCE)))
    while (parked := _parked(engine)) < count:
        if not command.get("quiet"):
            say({"progress": parked})
        await asyncio.sleep(0.5 if count > 1000 else 0.05)
    await starting
    return {"s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu, **_memory()}


def _parked(engine: Engine) -> int:
    return int(engine.journal.query("select count(*) from runs where state = 'parked'")[0][0])


def _memory() -> Command:
    return {"rss_mb": rss_mb(), "peak_mb": rss_mb(peak=True)}


async def memory(engine: Engine, command: Command) -> Command:
    """What this process holds."""
    await asyncio.sleep(float(command.get("after_s", 0)))
    return _memory()


async def start(engine: Engine, command: Command) -> Command:
    """Start runs of a flow."""
    flow = getattr(importlib.import_module("bench.flows"), command["flow"])
    for n in range(int(command["count"])):
        await engine.start(flow, command["input"], id=f"{command['flow']}-{n}")
    return {}


async def signal(engine: Engine, command: Command) -> Command:
    """Signal runs one by one. Gives for each the milliseconds until its next step had run."""
    sent: dict[str, float] = {}
    for name in command["ids"]:
        run = await engine.get(name)
        sent[name] = time.monotonic()
        await run.signal("go", 1)
        await asyncio.sleep(command["every_s"])
    waits = [(await _stamp(engine, name) - at) * 1000 for name, at in sent.items()]
    return {"ms": waits}


async def release(engine: Engine, command: Command) -> Command:
    """Signal runs all at once. Gives the seconds until the last one had ended."""
    handles = [await engine.get(name) for name in command["ids"]]
    began, at = time.time(), time.perf_counter()
    await asyncio.gather(*(h.signal("go", 1) for h in handles))
    posted = time.perf_counter() - at
    await asyncio.gather(*(h.result() for h in handles))
    ends = [(await h.status()).updated_at - began for h in handles]
    return {"s": max(ends), "first_s": min(ends), "posted_s": posted}


async def _stamp(engine: Engine, id: str) -> float:
    return float((await (await engine.get(id)).result()).split()[1])


_ROLES: dict[str, tuple[bool, dict[str, Act]]] = {
    "serve": (True, {"park": park, "memory": memory, "start": start}),
    "send": (False, {"signal": signal, "release": release}),
}


async def _commands() -> AsyncIterator[Command]:
    reader = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


async def main(role: str, database: str) -> None:
    """Answer commands until the parent closes the pipe."""
    serves, acts = _ROLES[role]
    if serves:
        importlib.import_module("bench.flows")
    async with Engine(database, recover=serves) as engine:
        say({"ready": True})
        async for command in _commands():
            say({"answer": await acts[command["do"]](engine, command)})


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
