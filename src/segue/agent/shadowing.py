"""Answers on the side: other models are asked too, nobody is shown what they say, and it is on record to compare.

A shadow never delays or fails the one that it stands beside: it is asked once, after that one has its money set aside,
only where a place is free at once, and its record is journaled when it comes, also after its step and its run have
ended. It never takes of the question's own budget, and leaves half of every other. At most `at_once` of them are under
way in a process; what cannot be asked, and what the engine's end cuts off, is on record as cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..core.faults import FaultKind
from ..core.records import AttemptEnd, AttemptRecorded, AttemptWhy
from ..models.signals import made
from .money import Bill
from .recorded import Recorded
from .request import Question

if TYPE_CHECKING:
    from ..models.exchange import Reply
    from .called import Called, Caller

__all__ = ["Shadows"]

Keep = Callable[["Reply | None"], "Reply | None"]
"""A reply as it may be kept."""

log = logging.getLogger(__name__)
_TEXT = 2000
"""Characters that are kept of an answer."""


@dataclass(slots=True)
class Shadows:
    """Those under way in one process."""

    at_once: int = 16
    grace_s: float = 2.0
    """How long the engine's end waits for them."""
    _running: set[asyncio.Task[None]] = field(default_factory=set["asyncio.Task[None]"], init=False)
    _closing: bool = field(default=False, init=False)
    _paying: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def begin(self, caller: Caller, question: Question, record: Recorded, bill: Bill, keep: Keep) -> None:
        """Ask those whom the decision names, if there is a journal that could have it. Returns at once.

        The question is as guards have let it pass, `bill` that of the call beside them: they wait until it is ready.
        `keep` says what of an answer may be on record.
        """
        decision, catalogue = record.decision, caller.gateway.catalogue
        if not decision.shadows or not record.scope.lasting:
            return
        for at, place in enumerate(decision.shadows):
            model = catalogue.get(decision.candidates[place].target.name)
            beside = record.another(model, AttemptWhy.SHADOW, 2 + at)  # 1 is the hedge
            if len(self._running) < self.at_once and not self._closing:
                own = bill.beside(self._paying).named(f"{decision.id}+{beside.beside}")
                work = self._asked(caller, question, beside, own, bill.ready, keep)
            else:
                work = _kept(beside, _none(beside, "no room"))
            task = asyncio.create_task(work)
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Wait a little, then cut off what is left; its record says so."""
        self._closing = True
        if self._running:
            await asyncio.wait(set(self._running), timeout=self.grace_s)
        left = list(self._running)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    @staticmethod
    async def _asked(  # noqa: PLR0917  made above
        caller: Caller, question: Question, record: Recorded, bill: Bill, after: asyncio.Event, keep: Keep
    ) -> None:
        """Ask one, and keep what came of it: whatever goes wrong here is nobody else's trouble."""
        try:
            await after.wait()
            called = await caller.at_once(question, record.model, bill)
        except asyncio.CancelledError:
            said = _none(record, "the engine has closed, or its run had ended")
        except Exception as error:  # noqa: BLE001  what is asked on the side harms nothing
            said = _none(record, f"{type(error).__name__}: {error}")
        else:
            said = _none(record, "no place was free") if called is None else _said(record, called, keep)
        await _kept(record, said)


def _said(record: Recorded, called: Called, keep: Keep) -> AttemptRecorded:
    """An answer that was not used, or what was wrong."""
    if called.reply is None and called.fault is not None and called.fault.kind is FaultKind.BUDGET_EXCEEDED:
        return _none(record, called.fault.message)
    rejected = AttemptEnd.FAILED if called.reply is None else AttemptEnd.REJECTED
    end = AttemptEnd.SUPERSEDED if called.good else rejected
    kept = keep(called.reply)
    text = {} if kept is None or not kept.text else {"answer": kept.text[:_TEXT]}
    return record.of(called, end, details=text)


def _none(record: Recorded, why: str) -> AttemptRecorded:
    """It was not asked, or not to the end."""
    return record.made(AttemptEnd.CANCELLED, fault=made(FaultKind.INTERRUPTED, f"not asked on the side: {why}"))


async def _kept(record: Recorded, said: AttemptRecorded) -> None:
    try:
        await record.scope.later(said)
    except Exception as error:  # noqa: BLE001  the database is closed, or the run was collected
        log.warning("a shadow of %s is not on record: %s", record.model.name, error)
