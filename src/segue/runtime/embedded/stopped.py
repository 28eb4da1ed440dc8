"""A process that is being stopped: what fails in it from then on may have failed for that.

Ctrl-C reaches every process of a terminal, and a service's stop all of its group: a program that a step has called
dies with it, and the step says that it failed. Such a step is left as the end of a process leaves it: it is made again,
and a once-effect is in doubt.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .execution import Execution

_TURNS = 10
"""Of the loop: in these whoever was interrupted comes to close the engine."""


async def heed(execution: Execution) -> None:
    """After a step has failed. Raises CancelledError, and nothing is on record of it, where its process is stopped."""
    host = execution.host
    if not host.journal.in_memory_only():  # its processes are pretended, and so is their end
        for _ in range(_TURNS):
            if host.stopping:
                break
            await asyncio.sleep(0)
    if host.stopping:
        raise asyncio.CancelledError
