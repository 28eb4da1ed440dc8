"""One call of one model, from a place under its limits to its judged answer; nothing of it is on record here."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.faults import Fault, FaultKind, classify
from ..core.records import Check as Checked
from ..core.records import Usage
from ..models import Model
from ..models.exchange import Reply
from ..models.health import Place
from ..models.signals import made
from ..models.verdict import judge
from .calling import call_for, ready, send
from .form import Check, Form
from .request import Question, bound

if TYPE_CHECKING:
    from .gateway import Gateway
    from .money import Bill
    from .recorded import Recorded

__all__ = ["Called", "Caller"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Called:
    """What came of a call. It is an answer where there is no `fault`."""

    model: Model
    queued_s: float = 0.0
    """Waited for a place."""
    seconds: float = 0.0
    """From sending to the end, or until it was given up."""
    reply: Reply | None = None
    value: Any = None
    fault: Fault | None = None
    checks: tuple[Checked, ...] = ()
    """How the caller's own check judged it; empty where there is none, or it was not come to."""

    reservation: str | None = None
    """The id of what was set aside for it."""

    @property
    def good(self) -> bool:
        """Whether its value may be used."""
        return self.fault is None and self.reply is not None

    @property
    def usage(self) -> Usage | None:
        """What it took; None where nobody knows."""
        return None if self.reply is None else self.reply.usage


class _Call(NamedTuple):
    """Whom a call goes to, who pays for it, and what is set when it is sent."""

    model: Model
    bill: Bill
    sent: asyncio.Event | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Makes the calls of one question: its form and check, and how long one may take."""

    gateway: Gateway
    form: Form
    check: Check[Any] | None
    timeout_s: float

    async def in_line(self, bill: Bill, record: Recorded, sent: asyncio.Event | None = None) -> Called:
        """Set its cost aside, wait for a place, and call; `sent` is set when it is.

        Raises the error of a check that is a bug; all else is the call's fault.
        """
        model, question = record.model, record.question
        try:
            bill.fit(model, question)
            place, queued_s = await self.gateway.place(model, question, self.timeout_s)
            question = await self._paid(bill, record, place)
        except Exception as error:  # noqa: BLE001  no budget has room, no place came in time, a file cannot be read
            return Called(model=model, fault=classify(error))
        return await self._at(question, place, queued_s, _Call(model, bill, sent))

    async def at_once(self, bill: Bill, record: Recorded) -> Called | None:
        """Call if a place and the money for it are free now; None where they are not. Raises as `in_line` does."""
        model, question = record.model, record.question
        place = self.gateway.free_place(model, question)
        if place is None:
            return None
        try:
            question = await self._paid(bill, record, place)
        except Exception:  # noqa: BLE001  no budget has room, or it cannot be reached: it is one call the less
            return None
        return await self._at(question, place, 0.0, _Call(model, bill))

    async def _paid(self, bill: Bill, record: Recorded, place: Place) -> Question:
        """The question as its budgets allow it. The place goes back where they do not."""
        try:
            await ready(call_for(record.question, record.model, place, self.timeout_s))  # no money waits for an import
            return await bill.reserve(record.model, record.question, record.reserves)
        except BaseException:
            fault = made(FaultKind.INTERRUPTED, "it was not sent")
            self._release(place, fault, time.monotonic(), record.question)
            raise

    async def _at(self, question: Question, place: Place, queued_s: float, to: _Call) -> Called:
        """Call, with a place that is given back whatever comes of it, also when the call is cancelled."""
        began = time.monotonic()
        fault: Fault | None = None
        reply: Reply | None = None
        try:
            asked = call_for(question, to.model, place, self.timeout_s)
            if to.sent is not None:
                to.sent.set()
            reply = await send(asked)
            fault = judge(reply, question.schema)
        except Exception as error:  # noqa: BLE001  whatever a call raises is a fault of this call
            fault = classify(error)
        except BaseException:
            self._release(place, made(FaultKind.INTERRUPTED, "the call was given up"), began, question)
            to.bill.given_up()
            raise
        tokens = None if reply is None else reply.usage.tokens_in + reply.usage.tokens_out
        self._release(place, fault, began, question, tokens)
        value, checks = None, ()
        if fault is None and reply is not None:
            value, fault, checks = self._read(reply)
        fault = to.bill.settle(reply, fault)
        return Called(
            model=to.model, queued_s=queued_s, seconds=time.monotonic() - began, reply=reply, value=value, fault=fault,
            checks=checks, reservation=to.bill.reservation,
        )  # fmt: skip

    def _read(self, reply: Reply) -> tuple[Any, Fault | None, tuple[Checked, ...]]:
        """The value, or what is wrong with it, and what the check said. A check that raises anything but ValueError is
        a bug: it is not caught here, and fails the step.
        """
        value, wrong = self.form.read(reply.text)
        if wrong or self.check is None:
            return value, made(FaultKind.BAD_OUTPUT, wrong) if wrong else None, ()
        value, wrong = self.form.read(reply.text, self.check)
        said = Checked(name=_name(self.check), passed=not wrong, why=wrong[:500])
        return value, made(FaultKind.BAD_OUTPUT, wrong) if wrong else None, (said,)

    def _release(
        self, place: Place, fault: Fault | None, began: float, question: Question, tokens: int | None = None
    ) -> None:
        used = bound(question) + question.max_tokens if tokens is None else tokens
        self.gateway.release(place, fault, time.monotonic() - began, used)


def _name(check: Check[Any]) -> str:
    name = getattr(check, "__name__", type(check).__name__)
    return "check" if name == "<lambda>" else str(name)
