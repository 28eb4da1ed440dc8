"""The flows that are measured. Other processes find them here by name."""

from __future__ import annotations

import asyncio
import os
import time

from segue import flow, step, wait_for

HELD = 64 * 1024
TURN = 8 * 1024
moments: list[float] = []
"""When each `mark` of this process ran."""
texts: list[str] = []
"""What the turns of a conversation return, in order."""


@step
async def tick(n: int) -> int:
    return n


@step
async def mark(n: int) -> int:
    moments.append(time.perf_counter())
    return n


@step
async def stamp(n: int) -> str:
    """Which process ran it, and when."""
    return f"{os.getpid()} {time.monotonic()}"


@step
async def stride(n: int) -> str:
    await asyncio.sleep(0.005)
    return f"{os.getpid()} {time.monotonic()}"


@step
async def turn(n: int, before: str) -> str:
    return texts[n]


@step
async def fail(n: int) -> int:
    raise LookupError(f"no page {n}")


@step
def fail_in_a_thread(n: int) -> int:
    raise LookupError(f"no page {n}")


@flow
async def steps(count: int) -> int:
    for n in range(count):
        await mark(n)
    return count


@flow
async def ten(first: int) -> int:
    for n in range(first, first + 10):
        await tick(n)
    return first


@flow
async def parks(number: int) -> str:
    """Ten steps, 64 KB of locals, a wait, and a step after it."""
    held = bytearray(b"%8d" % number) * (HELD // 8)
    for n in range(10):
        await tick(n)
    n: int = await wait_for("go", returns=int)
    return await stamp(n + held[0] * 0)


@flow
async def long(count: int) -> int:
    """Many steps, and then a wait and a step, for ever."""
    for n in range(count):
        await tick(n)
    while True:
        await stamp(await wait_for("go", returns=int))


@flow
async def march(count: int) -> int:
    for n in range(count):
        await stride(n)
    return count


@flow
async def conversation(count: int) -> int:
    """Each turn is given what the last one said."""
    said = ""
    for n in range(count):
        said = await turn(n, said)
    return len(said)


@flow
async def fails(in_a_thread: bool) -> int:
    return await (fail_in_a_thread if in_a_thread else fail)(1)
