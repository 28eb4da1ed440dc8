"""A process that starts turns of one thread and carries out whatever it finds: `talker DATABASE NAME COUNT`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from segue import Engine, Thread, flow, sleep, step


@step
async def noted(log: str, word: str) -> str:
    with Path(log).open("a") as file:
        file.write(f"{word}\n")
    return word


@flow
async def turn(log: str, name: str) -> str:
    await noted(log, f"{name} begins")
    await sleep(0.01)
    await noted(log, f"{name} ends")
    return name


async def main(path: str, name: str, count: int) -> None:
    async with Engine(path) as engine:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        thread, runs = Thread("t", engine), []
        for n in range(count):
            runs.append(await thread.start(turn, f"{path}.log", f"{name}{n}", id=f"{name}{n}"))
            await asyncio.sleep(0.005)
        print("started", flush=True)
        for run in runs:
            await run.result()
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
