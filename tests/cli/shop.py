"""The flows that the tests of the command line run. Steps note in calls.log that they were made."""

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel

from segue import Retry, cleanup, detach, flow, gather, sleep, step, timeout, wait_for


def note(word: str) -> None:
    with Path("calls.log").open("a") as log:
        log.write(f"{word}\n")


class Order(BaseModel):
    item: str
    cents: int = 100


@step
async def price(item: str) -> int:
    note(f"price-{item}")
    print("a step prints")
    return len(item) * 100


@step(retry=Retry(attempts=3, backoff_s=0.01))
async def flaky(item: str) -> str:
    note(f"flaky-{item}")
    if len(Path("calls.log").read_text().split("flaky")) < 3:
        raise ConnectionError("not \x1b[31myet")
    return "at last"


@step
async def gate(name: str) -> str:
    """Works until the file `name` is there."""
    note(f"gate-{name}")
    while not Path(name).exists():
        await asyncio.sleep(0.01)
    return f"{name} is open"


@step
def slow(seconds: float) -> str:
    note("slow")
    time.sleep(seconds)
    return "slow"


@step(effect="once")
async def pay(cents: int) -> str:
    note("pay")
    if Path("die").exists():
        os.kill(os.getpid(), 9)
    return f"paid {cents}"


@step
async def tidy() -> None:
    note("tidy")


@flow
async def total(items: list[str]) -> int:
    return sum(await gather(*(price(item) for item in items)))


@flow
async def buy(order: Order) -> str:
    return f"{order.item} for {order.cents}"


@flow
async def patient(item: str) -> str:
    return f"{await price(item)} {await flaky(item)}"


@flow
async def broken(item: str) -> int:
    await price(item)
    return int(_oops(item))


def _oops(item: str) -> str:
    raise LookupError(f"no {item} here")


@flow
async def guarded(name: str) -> str:
    cost = await price(name)
    return f"{cost} {await gate(name)}"


@flow
async def opens(name: str) -> int:
    await gate(name)
    return await price(name)


@flow
async def asks(question: str) -> str:
    cleanup(tidy)
    await price(question)
    answer = await wait_for("answer", returns=str)
    return f"{question} {answer}"


@flow
async def pays(cents: int) -> str:
    await price("x")
    receipt = await pay(cents)
    return f"{receipt}, {await wait_for('thanks')}" if cents > 100 else receipt


@flow
async def orders(item: str) -> str:
    return await pays(await price(item))


@flow
async def child(name: str) -> str:
    return await gate(name)


@flow
async def parent(name: str) -> str:
    return f"child said: {await child(name)}"


@flow
async def grandparent(name: str) -> str:
    return f"grandchild: {await parent(name)}"


@flow
async def naps(seconds: float) -> str:
    await sleep(seconds)
    return "rested"


@flow
async def sleepy(seconds: float) -> str:
    return await slow(seconds)


@flow
async def nothing() -> None:
    return None


@step
async def tick(n: int) -> int:
    return n


@flow
async def hurries(n: int) -> int:
    """Commits all the time."""
    for at in range(n):
        await tick(at)
    return n


@flow
async def counts(n: int) -> int:
    """Adds what it is told."""
    return n + await wait_for("go", returns=int)


@flow
async def kept(name: str) -> str:
    """Waits, and cleans up until the file `name` is there."""
    try:
        return await wait_for("k", returns=str)
    finally:
        await gate(name)
        await tidy()


@flow
async def keeps(name: str) -> str:
    return await kept(name)


@flow
async def hasty(name: str) -> str:
    with suppress(TimeoutError):
        async with timeout(0.5):  # the child parks at that moment
            await kept(name)
    return "in time"


@flow
async def mails(name: str) -> str:
    await detach(child, name)
    return "sent"
