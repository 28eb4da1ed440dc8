"""How long a provider may take with a batch: who has the turn holds it meanwhile, for all processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

__all__ = ["LOOK_S", "RESULTS_S", "Hangs", "send_s", "steadily", "within"]

T = TypeVar("T")

LOOK_S = 60.0
"""To say where a batch is, or which there are."""
RESULTS_S = 120.0
"""Until the first result, or the next one."""
_SEND_S, _BYTES_PER_S = 60.0, 250_000.0


def send_s(size: int) -> float:
    """To take a batch of so many bytes."""
    return _SEND_S + size / _BYTES_PER_S


class Hangs(TimeoutError):
    """A provider has not answered in its time."""


@asynccontextmanager
async def within(seconds: float) -> AsyncGenerator[None]:
    """Raises Hangs, in words, where what is done takes longer."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise Hangs(f"the batch API did not answer in {seconds:.0f} s") from None


async def steadily(items: AsyncIterator[T], seconds: float) -> AsyncIterator[T]:
    """The same, if none takes longer than that to come. Raises Hangs, in words."""
    while True:
        async with within(seconds):
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
        yield item
