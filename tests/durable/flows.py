"""Flows for the tests of what the disk, the file and other processes may do."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

from segue import flow, step, wait_for


@step
async def noise(i: int, size: int) -> str:
    """Text that does not compress below a half, and is another one for each `i`."""
    return random.Random(i).randbytes(size // 2).hex()


@step
async def write_down(folder: str, line: str) -> int:
    """An effect outside: who made it, one line each."""
    with (Path(folder) / "effects").open("a") as file:
        file.write(f"{os.getpid()} {line}\n")
    return os.getpid()


@step
async def rest(seconds: float) -> None:
    """Take a while."""
    await asyncio.sleep(seconds)


@flow
async def bulky(steps: int, size: int = 1000) -> int:
    """Many results, one after the other."""
    return sum([len(await noise(i, size)) for i in range(steps)])


@flow
async def waits(steps: int = 3, size: int = 1000) -> str:
    """Some results, and then a signal."""
    for i in range(steps):
        await noise(i, size)
    return await wait_for("word", returns=str)


@flow
async def paces(folder: str, steps: int, pause_s: float) -> list[int]:
    """An effect, a while, and again: gives who made each."""
    made: list[int] = []
    for i in range(steps):
        made.append(await write_down(folder, str(i)))
        await rest(pause_s)
    return made
