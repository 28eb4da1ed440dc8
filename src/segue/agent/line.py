"""The line of this process's calls that wait for a place at one model: first come, first served.

Only the first one asks for a place, so a hundred that wait cost as much as one, and nobody who comes later overtakes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ..models.health import Place, Standing, Wait

__all__ = ["Line"]

_LEAST_S, _LOOK_S = 0.005, 0.25
"""How soon, and how late, the first one looks again: another process may have given a place back."""


class Line:
    """Of one model."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Event] = deque()

    async def place(self, acquire: Callable[[], Place | Wait], patience_s: float) -> tuple[Place | Wait, float]:
        """A place, and how long it took to get it; what is in the way where none comes within `patience_s`. At an open
        breaker nobody stands in line: it may be long, and somebody else may be free before.
        """
        clock, turn = asyncio.get_running_loop().time, asyncio.Event()
        began = clock()
        self._waiting.append(turn)
        try:
            while True:
                waited = clock() - began
                if self._waiting[0] is turn:
                    answer = acquire()
                    if isinstance(answer, Place) or answer.seconds > patience_s - waited or _is_broken(answer):
                        return answer, waited
                    pause = max(_LEAST_S, min(answer.seconds, _LOOK_S))
                elif waited < patience_s:
                    pause = patience_s - waited
                else:
                    return Wait(_LOOK_S, "others wait before it"), waited
                await _woken(turn, pause)
        finally:
            self._waiting.remove(turn)
            self.wake()

    def wake(self) -> None:
        """A place was given back: the first one looks at once."""
        if self._waiting:
            self._waiting[0].set()


def _is_broken(answer: Wait) -> bool:
    return answer.standing is Standing.BROKEN


async def _woken(turn: asyncio.Event, seconds: float) -> None:
    turn.clear()
    try:
        async with asyncio.timeout(seconds):
            await turn.wait()
    except TimeoutError:
        pass
