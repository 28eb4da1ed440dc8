"""Calls of one turn: those that may run beside each other, and those that are made alone, in the order they came in."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

__all__ = ["Gate"]


class Gate:
    """Of one run of an agent. It waits for nothing but its own futures, so it may stand in a flow."""

    def __init__(self) -> None:
        self._inside = 0
        self._alone = False
        self._line: deque[tuple[bool, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def held(self, *, alone: bool) -> AsyncGenerator[None]:
        """Within the block a call is made; where `alone`, no other one is."""
        if self._line or not self._free(alone):
            turn = asyncio.get_running_loop().create_future()
            self._line.append((alone, turn))
            try:
                await turn
            except asyncio.CancelledError:
                self._given_up(alone, turn)
                raise
        else:
            self._enter(alone)
        try:
            yield
        finally:
            self._leave(alone)

    def _free(self, alone: bool) -> bool:
        return not self._alone and not (alone and self._inside)

    def _enter(self, alone: bool) -> None:
        self._inside += 1
        self._alone = alone

    def _leave(self, alone: bool) -> None:
        self._inside -= 1
        self._alone = self._alone and not alone
        while self._line and self._free(self._line[0][0]):
            next_alone, turn = self._line.popleft()
            if not turn.done():
                self._enter(next_alone)
                turn.set_result(None)

    def _given_up(self, alone: bool, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():  # its turn had come
            self._leave(alone)
        else:
            self._line = deque(one for one in self._line if one[1] is not turn)
