"""A flow whose step speaks slowly, for a process of its own."""

from __future__ import annotations

import asyncio
import os

from segue import Engine, Retry, flow, step, step_scope

WORDS = [f"word {n} " for n in range(40)]


@step(retry=Retry(attempts=5, backoff_s=0.01))
async def speak() -> str:
    for word in [f"[{os.getpid()}] ", *WORDS]:
        step_scope().emit(word)
        await asyncio.sleep(float(os.environ.get("SEGUE_TEST_PACE_S", "0.02")))
    return "".join([f"[{os.getpid()}] ", *WORDS])


@flow
async def speech() -> str:
    return await speak()


async def main(database: str) -> None:
    async with Engine(database) as engine:
        await (await engine.start(speech, id="s")).result()
