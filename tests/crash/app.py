"""Flows for real processes: their steps write to a log outside of the database, line by line."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from segue import Applied, Engine, NotApplied, Retry, flow, gather, sleep, step, step_scope, timeout

LOG = Path(os.environ.get("SEGUE_TEST_LOG", os.devnull))
PACE_S = 0.02  # long enough that a kill finds work in flight


def log(what: str, **more: Any) -> None:
    """One line, in one write: several processes append to the file."""
    scope = step_scope()
    line = {"what": what, "run": scope.run, "key": scope.key, "n": scope.attempt, "pid": os.getpid(), **more}
    descriptor = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (json.dumps(line) + "\n").encode())
    os.close(descriptor)


def lines() -> list[dict[str, Any]]:
    """What the world has seen so far."""
    return [json.loads(line) for line in LOG.read_text().splitlines()] if LOG.exists() else []


@step
async def draw(tag: str) -> str:
    nonce = os.urandom(8).hex()
    log("draw", nonce=nonce)
    await asyncio.sleep(PACE_S)
    return nonce


@step
def draw_in_thread(tag: str) -> str:
    nonce = os.urandom(8).hex()
    log("draw", nonce=nonce)
    time.sleep(PACE_S)
    return nonce


@step
async def publish(tag: str, nonces: list[str]) -> str:
    log("publish", tag=tag, nonces=nonces)
    return os.urandom(8).hex()


@step(retry=Retry(attempts=4, backoff_s=0.001, backoff_max_s=0.002))
async def stumble(tag: str) -> str:
    log("stumble")
    await asyncio.sleep(0.001)
    if step_scope().attempt < 3:
        raise ConnectionError(tag)
    return os.urandom(8).hex()


async def was_it_paid(tag: str, nonce: str) -> Applied | NotApplied:
    paid = [line for line in lines() if line["what"] == "pay" and line["tag"] == tag]
    return Applied(nonce) if paid else NotApplied()


@step(effect="once", reconcile=was_it_paid)
async def pay(tag: str, nonce: str) -> str:
    await asyncio.sleep(0.001)
    log("pay", tag=tag, nonces=[nonce])
    await asyncio.sleep(0.001)
    return nonce


@flow
async def small(name: str) -> str:
    nonce = await draw(name)
    await sleep(0.01)
    return await publish(f"child {name}", [nonce])


@flow
async def everything(name: str) -> list[str]:
    shared: list[str] = []

    async def branch(i: int) -> str:
        shared.append(await draw("same"))
        pair = await gather(draw("pair"), draw_in_thread("pair"))
        await publish(f"{name} slot {i}", pair)
        return pair[0]

    tops = await asyncio.gather(*(branch(i) for i in range(3)))
    await publish(f"{name} shared", list(shared))
    for future in asyncio.as_completed([draw("racer") for _ in range(3)]):
        shared.append(await future)
    await publish(f"{name} raced", list(shared))
    try:
        async with timeout(0.01):
            await sleep(60)
    except TimeoutError:
        shared.append(await draw("late"))
    try:
        shared.append(await stumble(name))
    except Exception:  # noqa: BLE001  its attempts may have gone down with their processes
        shared.append(await draw("stumbled"))
    children = await gather(small(f"{name} a"), small(f"{name} b"))
    paid = await gather(*(pay(f"once {name} {i}", n) for i, n in enumerate(tops)))
    return [*shared, *children, *paid]


async def main(database: str, names: list[str]) -> None:
    async with Engine(database, linger_s=0.005, tick_s=0.02, crash_limit=200) as engine:
        runs = [await engine.start(everything, n, id=n) for n in names]
        await asyncio.gather(*(r.result() for r in runs))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
