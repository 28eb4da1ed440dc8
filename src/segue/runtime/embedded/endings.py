"""What is on its way when an engine closes: effects get a moment to end, runs that were just claimed are given back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .host import Host

log = logging.getLogger("segue")


async def let_end(host: Host) -> None:
    """Wait for the claims of a host, and for its once-effects: those in threads to their end, since they cannot be
    stopped.
    """
    if claims := list(host.claiming.values()):
        await asyncio.wait(claims, timeout=0.5)  # the writer answers each of them, unless it is dead
    if busy := _under_way(host):
        await asyncio.wait(busy, timeout=5.0)
    if threads := [call for e in host.executions.values() for call in e.in_thread.values()]:
        log.warning("waiting for %d effects in threads, which cannot be stopped", len(threads))
        await asyncio.wait(threads)
        if busy := _under_way(host):
            await asyncio.wait(busy, timeout=1.0)


def each(calls: Iterable[Callable[[], None]]) -> None:
    """Call all of them. What one raises, as Ctrl-C in the code of a flow does, is raised after the others' turn."""
    with ExitStack() as turns:
        for call in reversed(list(calls)):
            turns.callback(call)


def _under_way(host: Host) -> list[asyncio.Task[None]]:
    begun = [m.task for e in host.executions.values() for k, m in e.steps.items() if k in e.once]
    return [task for task in begun if task is not None]
