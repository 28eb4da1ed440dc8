"""The lines of this process's calls that wait for a place at a model: first come, first served.

Only the first one asks for a place, so a hundred that wait cost as much as one, and nobody who comes later overtakes.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from ..models.health import Place, Standing, Wait

__all__ = ["Elsewhere", "Left", "Lines"]

_LEAST_S, _LOOK_S = 0.005, 0.25
"""How soon, and how late, the first one looks again: another process may have given a place back."""
_ON_ITS_WAY_S = 0.25
"""Who has left for another model is there by then."""


class Left(NamedTuple):
    """The line was left for another model, which is free."""

    model: str


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where else a call may go. It is looked at by who stands first: to find it out takes a while."""

    names: Callable[[], Collection[str]]
    """Other models that may answer it."""
    takes: Callable[[str], bool]
    """Whether one of them takes it now."""
    chosen: Callable[[Collection[str]], str | None]
    """Who of some of them is to answer it; None: nobody."""


class Lines:
    """One for each model."""

    def __init__(self) -> None:
        self._of: dict[str, _Line] = {}
        self._going_until = 0.0
        """Somebody has left a line for another model by then: the next one sees what is still free after that."""

    async def place(
        self, model: str, acquire: Callable[[], Place | Wait], patience_s: float, elsewhere: Elsewhere | None = None,
        waited_s: float = 0.0,
    ) -> tuple[Place | Wait | Left, float]:  # fmt: skip
        """A place at a model, and how long it took to get it; what is in the way where none comes within `patience_s`,
        or for whom it was left. Who has waited elsewhere for `waited_s` stands before those who came since.

        At an open breaker nobody stands in line: it may be long, and somebody else may be free before.
        """
        line = self._of.setdefault(model, _Line())
        leaves = self._leaves(model, elsewhere)
        answer, waited = await line.place(acquire, patience_s, leaves, waited_s)
        if isinstance(answer, Place) and self._going_until:  # perhaps it was that one
            self._going_until = 0.0
            self._look_round(model)
        return answer, waited

    def wake(self, model: str) -> None:
        """A place was given back: the first one looks at once; where none is there, those of other lines do."""
        line = self._of.get(model)
        if line is None or not line.wake():
            self._look_round(model)

    def _look_round(self, model: str) -> None:
        for name, line in self._of.items():
            if name != model:
                line.wake()

    def _leaves(self, model: str, elsewhere: Elsewhere | None) -> Callable[[], Left | None]:
        known: list[str] | None = None

        def leaves() -> Left | None:
            nonlocal known
            now = asyncio.get_running_loop().time()
            if elsewhere is None or now < self._going_until:
                return None
            if known is None:
                known = [name for name in elsewhere.names() if name != model]
            free = [name for name in known if self._is_empty(name) and elsewhere.takes(name)]
            chosen = elsewhere.chosen(free) if free else None
            if chosen is None:
                return None
            self._going_until = now + _ON_ITS_WAY_S
            return Left(chosen)

        return leaves

    def _is_empty(self, model: str) -> bool:
        """Whether nobody waits for a model: what is free there is for those who wait."""
        return model not in self._of or not self._of[model].many


class _Line:
    """Of one model."""

    __slots__ = ("_came", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, asyncio.Event]] = []
        self._came = count()

    @property
    def many(self) -> int:
        return len(self._waiting)

    async def place(
        self, acquire: Callable[[], Place | Wait], patience_s: float, leaves: Callable[[], Left | None], waited_s: float
    ) -> tuple[Place | Wait | Left, float]:
        clock = asyncio.get_running_loop().time
        began = clock()
        turn = (began - waited_s, next(self._came), asyncio.Event())
        insort(self._waiting, turn)
        try:
            while True:
                waited = clock() - began
                if self._waiting[0] is turn:
                    answer = acquire()
                    if isinstance(answer, Place) or answer.seconds > patience_s - waited or _is_broken(answer):
                        return answer, waited
                    if (left := leaves()) is not None:
                        return left, waited
                    pause = max(_LEAST_S, min(answer.seconds, _LOOK_S))
                elif waited < patience_s:
                    pause = patience_s - waited
                else:
                    return Wait(_LOOK_S, "others wait before it"), waited
                await _woken(turn[2], pause)
        finally:
            self._waiting.remove(turn)
            self.wake()

    def wake(self) -> bool:
        """The first one, if there is any, looks at once."""
        if self._waiting:
            self._waiting[0][2].set()
        return bool(self._waiting)


def _is_broken(answer: Wait) -> bool:
    return answer.standing is Standing.BROKEN


async def _woken(turn: asyncio.Event, seconds: float) -> None:
    turn.clear()
    try:
        async with asyncio.timeout(seconds):
            await turn.wait()
    except TimeoutError:
        pass
