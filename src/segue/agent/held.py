"""Money that calls under way hold is waited for, as a place is: what they do not use is free again when they end.

Whoever waits holds none itself: it has not asked for a place yet, and what its attempt has paid for before is settled.
So each of those that it waits for ends.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from typing import Protocol

from ..core.records import Candidate, Decision, Stage
from .failures import HELD
from .nobody import is_shut, rests

__all__ = ["PATIENCE_S", "STUCK_S", "Holds", "Patience", "Waiting", "affordable", "paced", "still", "time_left_s"]

PATIENCE_S = 30.0
"""How long an attempt waits; then its Recovery says what follows, and the run may be parked."""
STUCK_S = 600.0
"""How long money is waited for that others hold, and settle nothing of: a process may have died over it."""
_LOOK_S, _LOOK_MAX_S = 0.05, 2.0
"""How often it looks: others may hold the money in other processes, and who can be paid depends on more than money."""


class Holds(Protocol):
    """Budgets, of which calls under way may hold a part."""

    @property
    def left(self) -> int | None:
        """Nano-dollars that a call may cost by now; None where no budget has a limit."""
        ...

    @property
    def freed(self) -> int | None:
        """What would be left if the calls under way took nothing of what they hold; None where they hold nothing."""
        ...

    @property
    def mark(self) -> str:
        """What is spent and held: another one when anything was settled or set aside."""
        ...

    async def cleared(self) -> None:
        """Until what the attempt itself has settled is committed."""
        ...


class Patience:
    """How long one attempt waits for money, in all."""

    def __init__(self, bill: Holds):
        self._bill, self._loop = bill, asyncio.get_running_loop()
        self._until = self._loop.time() + PATIENCE_S

    async def wait(self) -> bool:
        """Until it is worth to look again. False when it has waited for long enough."""
        with still():
            return await self._wait()

    async def _wait(self) -> bool:
        seen, look_s, began = self._bill.mark, _LOOK_S, self._loop.time()
        while self._loop.time() < self._until:
            await asyncio.sleep(look_s)
            if self._bill.mark != seen or self._loop.time() - began >= _LOOK_MAX_S:
                return True
            look_s *= 2
        return False


class Waiting:
    """How long a call waits that has no Recovery: as long as anything is settled or set aside every so often."""

    def __init__(self) -> None:
        self._held, self._since = "", 0.0

    async def again(self, bill: Holds, error: Exception | None) -> bool:
        """After an error of a call: whether calls under way hold what it lacks. It is worth to look again then."""
        held, now = str(getattr(error, HELD, "")), asyncio.get_running_loop().time()
        if held != self._held:
            self._held, self._since = held, now
        return bool(held) and now - self._since < STUCK_S and await Patience(bill).wait()


class _Pace:
    """A time limit, and how many within it wait for money: it stands still then, and those around it too."""

    def __init__(self, limit: asyncio.Timeout, around: _Pace | None):
        self._limit, self._around, self._waiting, self._left_s = limit, around, 0, 0.0

    @contextmanager
    def still(self) -> Generator[None]:
        """While one of those waits."""
        clock = asyncio.get_running_loop().time
        with self._around.still() if self._around is not None else nullcontext():
            due = self._limit.when()
            if due is not None and not self._waiting:
                self._left_s = due - clock()
                self._set(None)
            self._waiting += 1
            try:
                yield
            finally:
                self._waiting -= 1
                if not self._waiting:
                    self._set(clock() + self._left_s)

    @property
    def left_s(self) -> float:
        """Seconds until the first of the limits, its own and those around it."""
        due = self._limit.when()
        left_s = self._left_s if self._waiting or due is None else due - asyncio.get_running_loop().time()
        return left_s if self._around is None else min(left_s, self._around.left_s)

    def _set(self, when: float | None) -> None:
        with suppress(RuntimeError):  # it is over, and whoever waits has outlived it
            self._limit.reschedule(when)


_pace: ContextVar[_Pace | None] = ContextVar("segue_pace", default=None)


@contextmanager
def paced(limit: asyncio.Timeout) -> Generator[None]:
    """A time limit, just begun, of which no time passes while what is done in here waits for money."""
    token = _pace.set(_Pace(limit, _pace.get()))
    try:
        yield
    finally:
        _pace.reset(token)


@contextmanager
def still() -> Generator[None]:
    """No time of the limit passes in which this is done."""
    pace = _pace.get()
    with nullcontext() if pace is None else pace.still():
        yield


def time_left_s() -> float:
    """Seconds that are left of the time limit in which this is done."""
    pace = _pace.get()
    return math.inf if pace is None else pace.left_s


async def affordable(bill: Holds, decide: Callable[[int | None], Decision]) -> tuple[Decision, Candidate | None]:
    """Who answers, given what is left; waited for while there would be somebody if less were held, also one that takes
    no calls now. Where nobody came of it, the second one is who that would be.
    """
    await bill.cleared()
    patience = Patience(bill)
    while True:
        seen, decision = bill.mark, decide(bill.left)
        if decision.chosen is not None:
            return decision, None
        rest = bill.freed
        if bill.mark != seen:
            continue  # another process has settled something: what was left and what is held do not go together
        if rest is None:
            return decision, None
        who = _would(decision, decide(rest))
        if who is None or not await patience.wait():
            return decision, who


def _would(decision: Decision, freed: Decision) -> Candidate | None:
    """Who would answer if less were held, now or as soon as it takes calls again."""
    dear = {c.target.name for c in decision.candidates if c.excluded_at is Stage.BUDGET}
    resting = (c for c in freed.candidates if c.target.name in dear and rests(c) and not is_shut(c))
    return freed.chosen or next(resting, None)
