"""Answers on the side: other models are asked too, nobody is shown what they say, and it is on record to compare.

A shadow never delays or fails the one that it stands beside: it is asked once, only where a place is free at once, and
its record is journaled when it comes, also after its step and its run have ended. At most `at_once` of them are under
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

    Kept = Callable[[Reply | None], Reply | None]

__all__ = ["Shadows"]

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

    def begin(self, caller: Caller, question: Question, record: Recorded, bill: Bill, kept: Kept) -> None:
        """Ask those whom the decision names, if there is a journal that could have it. Returns at once.

        `kept` gives a reply as it may be kept where no guard has looked at it.
        """
        decision, catalogue = record.decision, caller.gateway.catalogue
        if not decision.shadows or not record.scope.lasting:
            return
        for at, place in enumerate(decision.shadows):
            model = catalogue.get(decision.candidates[place].target.name)
            beside = record.another(model, AttemptWhy.SHADOW, 2 + at)  # 1 is the hedge
            if len(self._running) < self.at_once and not self._closing:
                own = bill.named(f"{decision.id}+{beside.beside}", apart=True)
                work = self._asked(caller, question, beside, own, kept)
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
    async def _asked(caller: Caller, question: Question, record: Recorded, bill: Bill, kept: Kept) -> None:
        """Ask one, and keep what came of it: whatever goes wrong here is nobody else's trouble."""
        try:
            called = await caller.at_once(question, record.model, bill)
        except asyncio.CancelledError:
            said = _none(record, "the engine has closed")
        except Exception as error:  # noqa: BLE001  a bug in a check: the attempt itself fails with it
            said = _none(record, f"its check failed: {type(error).__name__}: {error}")
        else:
            said = _none(record, "no place was free") if called is None else _said(record, called, kept)
        await _kept(record, said)


def _said(record: Recorded, called: Called, kept: Kept) -> AttemptRecorded:
    """An answer that was not used, or what was wrong."""
    rejected = AttemptEnd.FAILED if called.reply is None else AttemptEnd.REJECTED
    end = AttemptEnd.SUPERSEDED if called.good else rejected
    reply = kept(called.reply)
    text = {} if reply is None or not reply.text else {"answer": reply.text[:_TEXT]}
    return record.of(called, end, details=text)


def _none(record: Recorded, why: str) -> AttemptRecorded:
    """It was not asked, or not to the end."""
    return record.made(AttemptEnd.CANCELLED, fault=made(FaultKind.INTERRUPTED, f"not asked on the side: {why}"))


async def _kept(record: Recorded, said: AttemptRecorded) -> None:
    try:
        await record.scope.later(said)
    except Exception as error:  # noqa: BLE001  the database is closed, or the run was collected
        log.warning("a shadow of %s is not on record: %s", record.model.name, error)
