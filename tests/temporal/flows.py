"""Flows that know nothing of the runtime which carries them out."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from segue import Retry, approve, ask_human, flow, gather, now, random, sleep, step, step_scope, timeout, uuid, wait_for
from segue import map as fan_out

running, peak = set[str](), dict[str, int]()
"""Attempts of `crowded` in this process, and the most that a run has had at once."""


@dataclass
class Answer:
    yes: bool
    by: str


@step
async def square(n: int) -> int:
    await asyncio.sleep(0.01 * (5 - n % 5))
    return n * n


@step
async def crowded(n: int) -> int:
    """`square` in a crowd: nobody leaves before three have been there at once, however slow the machine is."""
    key, run = step_scope().key, step_scope().run
    running.add(f"{run} {key}")
    peak[run] = max(peak.get(run, 0), sum(r.startswith(f"{run} ") for r in running))
    async with asyncio.timeout(20.0):
        while peak[run] < 3:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.01 * (5 - n % 5))
    running.discard(f"{run} {key}")
    return n * n


@step
def shout(text: str) -> str:
    """A plain function: it runs in a thread."""
    return f"{text.upper()} ß"


@step(retry=Retry(attempts=4, backoff_s=0.01))
async def flaky(fails: int) -> int:
    """Fails as often as it is told, then says which attempt went well."""
    if step_scope().attempt <= fails:
        raise ConnectionError(f"down, attempt {step_scope().attempt}")
    return step_scope().attempt


@step(timeout_s=0.05)
async def hangs() -> None:
    await asyncio.sleep(30)


@flow
async def fan(n: int) -> tuple[list[int], list[str]]:
    squares = await gather(*(crowded(i) for i in range(n)), limit=3)
    shouts = await fan_out(shout, ["a", "b"], key=str)
    again = await crowded(2)  # the same call once more: another scope, another key
    return [*squares, again], shouts


@flow
async def people() -> list[Any]:
    said = await approve("Pay?", {"cents": 5}, by="lead", timeout_s=60.0, remind_s=0.1)
    return [bool(said), said.by, await ask_human("How many?", returns=int, timeout_s=0.2, default=7)]


@flow
async def signals() -> list[Any]:
    early = await wait_for("early", returns=Answer)
    said = await shout(early.by)
    late = await wait_for("late", returns=Answer)  # what does not fit is rejected, and the wait goes on
    return [early, said, late.by, await wait_for("early")]


@flow
async def timers() -> list[str]:
    seen = [f"began {now().isoformat()}"[:5]]
    await sleep(0.05)
    seen.append("slept")
    try:
        async with timeout(0.05):
            await wait_for("never")
    except TimeoutError:
        seen.append("gave up")
    async with timeout(60):
        seen.append(await shout("in time"))
    return seen


@flow
async def retries() -> list[Any]:
    seen: list[Any] = [await flaky(2)]
    for call in (flaky(4), hangs()):
        try:
            await call
        except (ConnectionError, TimeoutError) as error:
            seen.append(f"{type(error).__name__}: {error}")
    return seen


@flow
async def part(n: int) -> int:
    if n < 0:
        raise ValueError(f"{n} is too small")
    return await square(n)


@flow
async def family() -> list[Any]:
    seen: list[Any] = await gather(part(3), part(4))
    try:
        await part(-1)
    except ValueError as error:
        seen.append(str(error))
    return seen


@flow
async def doomed() -> int:
    await square(1)
    raise LookupError("no such claim", 7)


@flow
async def cancelled() -> None:
    try:
        await wait_for("never")
    finally:
        await shout("cleaned up")


@flow
async def siblings() -> list[int]:
    """One branch of a task group fails: the others are cancelled, and each has something to clean up."""
    order: list[int] = []
    try:
        async with asyncio.TaskGroup() as group:
            for i in range(12):
                group.create_task(naps(i, order))
            group.create_task(fails())
    except ExceptionGroup:
        return order
    return []


async def naps(i: int, order: list[int]) -> None:
    try:
        await sleep(60)
    finally:
        order.append(await square(i))


async def fails() -> None:
    await square(1)
    raise ValueError("one branch failed")


# --- a worker is lost in the middle -----------------------------------------------------------------------------------

MARKS = "SEGUE_TEST_MARKS"
"""The environment variable that names the folder in which steps leave a mark of each attempt."""


def marks(name: str) -> dict[int, str]:
    """Which process has made this step, and what came of it."""
    return {int(p.suffix[1:]): p.read_text() for p in Path(os.environ[MARKS]).glob(f"{name}.*")}


@step
async def nonce(name: str) -> str:
    made = uuid4().hex
    (Path(os.environ[MARKS]) / f"{name}.{os.getpid()}").write_text(made)
    return made


@step
async def slow(name: str) -> str:
    """Hangs in the first worker that takes it, and is quick in the next one."""
    first = not marks(name)
    made = await nonce(name)
    if first:
        await asyncio.sleep(600)
    return made


@flow
async def relay() -> dict[str, str]:
    names = ["fan0", "fan1", "fan2", "fan3"]
    seen = dict(zip(names, await gather(*(nonce(name) for name in names), limit=2), strict=True))
    seen["chance"] = await shout(f"{uuid()} {random()}")  # a replay that draws otherwise asks for another step
    seen["slow"], seen["beside"] = await gather(slow("slow"), nonce("beside"))
    await sleep(0.05)
    return {**seen, "said": await wait_for("go"), "last": await nonce("last")}
