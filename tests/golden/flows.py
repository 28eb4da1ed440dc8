"""The flows whose journals are kept. Their code never changes; new ones come with the journals of their version."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from segue import (
    NotApplied,
    Retry,
    continue_as_new,
    flow,
    gather,
    random,
    sleep,
    step,
    step_scope,
    timeout,
    uuid,
    wait_for,
)  # fmt: skip
from segue.core.faults import Fault
from segue.core.recovery import Answer, AskPerson, Attempt, Take

made: list[str] = []
"""What was executed in this process: steps that have an outcome in the journal must not be here."""


@dataclass
class Order:
    """A typed argument."""

    id: str
    lines: list[int]


@step
async def price(order: Order) -> int:
    """A quick step."""
    made.append(f"price {order.id}")
    await asyncio.sleep(0.1)
    return sum(order.lines)


@step(retry=Retry(attempts=4, backoff_s=0.2))
async def reserve(line: int) -> str:
    """A guarded step: its first two attempts fail."""
    made.append(f"reserve {line}")
    await asyncio.sleep(0.05 * line)
    if sum(m == f"reserve {line}" for m in made) < 2:
        raise OSError("busy")
    return f"r{line}"


async def never_applied(order: Order, cents: int) -> NotApplied:
    """Nothing outside is real here."""
    return NotApplied()


@step(effect="once", reconcile=never_applied)
async def pay(order: Order, cents: int) -> str:
    """An effect."""
    made.append(f"pay {order.id}")
    await asyncio.sleep(0.1)
    return f"paid {cents}"


@flow(revision="golden-1")
async def shipment(order: Order) -> str:
    """A child."""
    await sleep(60)
    return f"shipped {await price(order)}"


@flow(revision="golden-1")
async def sale(order: Order) -> list[str]:
    """Branches, retries, a timer, a signal, an effect, a child, drawn values."""
    total = await price(order)
    reserved = await gather(*(reserve(line) for line in order.lines), limit=2)
    drawn = [f"{random():.6f}", str(uuid())]
    try:
        async with timeout(5):
            await wait_for("never")
    except TimeoutError:
        reserved.append("timed out")
    approved = await wait_for("approved", returns=bool)
    paid = await pay(order, total) if approved else "not paid"
    return [*reserved, *drawn, paid, await shipment(order)]


@flow(revision="golden-1")
async def workers(jobs: list[int]) -> list[int]:
    """Plain asyncio: workers on a queue, and a step over what they did in which order."""
    queue: asyncio.Queue[int] = asyncio.Queue()
    for job in jobs:
        queue.put_nowait(job)
    done: list[int] = []

    async def worker() -> None:
        while not queue.empty():
            job = queue.get_nowait()
            await price(Order(f"job-{job}", [job]))
            done.append(job)

    await asyncio.gather(worker(), worker(), worker())
    return [*done, await price(Order("all", done))]


def asks(fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
    """A Recovery that hands it to a person."""
    return AskPerson("ann", "which archive?")


def asks_for_a_minute(fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
    """One that goes on without them."""
    return AskPerson("ann", timeout_s=60.0, default=Take("not appraised"))


@step(retry=asks)
async def look_up(order: Order) -> str:
    """Only in the archive that a person names."""
    candidate = step_scope().candidate
    made.append(f"look up {candidate}")
    if candidate is None:
        raise OSError("not here")
    return f"{candidate} has it"


@step(retry=asks_for_a_minute)
async def appraise(order: Order) -> str:
    """Never."""
    raise OSError("nobody can")


@flow(revision="golden-1")
async def claim(order: Order) -> list[str]:
    """Two questions to a person: one is answered, one runs out."""
    return [*(await gather(look_up(order), appraise(order))), f"{await price(order)}"]


@flow(revision="golden-1")
async def tally(order: Order, had: list[str]) -> list[str]:
    """Goes on as new after each word; words that come early go along."""
    word = await wait_for("word", returns=str)
    had = [*had, f"{word} {await price(order)}"]
    await sleep(30)
    if len(had) < 3:
        continue_as_new(order, had)
    return had
