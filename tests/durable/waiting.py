"""Waiting for what another process or thread does, and how long it took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def until(condition: Callable[[], bool], within_s: float = 15.0) -> float:
    """Wait for it: gives how long it took."""
    began = time.perf_counter()
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)
    return time.perf_counter() - began
