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
_PATIENCE_S, _LOOK_S = 1.0, 0.02
"""How long that may take where a signal has ended a program: somebody sent it, and likely to this process too."""
_SIGNALS = frozenset(one for number in (1, 2, 15) for one in (-number, 128 + number))
"""The codes of a program that SIGHUP, SIGINT or SIGTERM has ended: its own, and those of a shell around it."""


async def heed(execution: Execution, error: BaseException) -> None:
    """After a step has failed. Raises CancelledError, and nothing is on record of it, where its process is stopped."""
    host = execution.host
    if not host.journal.in_memory_only():  # its processes are pretended, and so is their end
        for _ in range(_TURNS):
            if host.stopping:
                break
            await asyncio.sleep(0)
        until = host.loop.time() + _PATIENCE_S
        while not host.stopping and _was_signalled(error) and host.loop.time() < until:  # noqa: ASYNC110  it is a flag
            await asyncio.sleep(_LOOK_S)
    if host.stopping:
        raise asyncio.CancelledError


def _was_signalled(error: BaseException) -> bool:
    """Whether a program that a step has called was ended by a signal, as `subprocess` says it."""
    cause: BaseException | None = error
    while cause is not None:
        if vars(cause).get("returncode") in _SIGNALS:
            return True
        cause = cause.__cause__
    return False
