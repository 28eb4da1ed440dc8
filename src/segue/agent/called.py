"""One call of one model, from a place under its limits to its judged answer; nothing of it is on record here."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..core.faults import Fault, FaultKind, classify
from ..core.records import Check as Checked
from ..core.records import Decision, Manifest, Usage
from ..core.recovery import Attempt
from ..errors import UsageError
from ..models import Model
from ..models.exchange import Call, Reply
from ..models.health import Place
from ..models.signals import made
from ..models.verdict import judge
from .calling import call_for, ready, send
from .failures import BROKEN, FULL, has_failed, leaves_for
from .form import Check, Form, name_of, told
from .money import Bill
from .pool import Part, part_of
from .request import Question
from .streaming import Floor, Streaming, partial
from .thinking import output_limit
from .window import fitted

if TYPE_CHECKING:
    from ..runtime.scope import StepScope
    from .gateway import Gateway

__all__ = ["Called", "Caller"]

_LEAVES_MAX = 5
"""Lines that a question leaves for another model: who finds that taken each time stays in one."""


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
    bug: Exception | None = None
    """What the caller's own check raised: then the fault is that, and none of the model's."""
    checks: tuple[Checked, ...] = ()
    """How the caller's own check judged it; empty where there is none, or it was not come to."""
    place: Place | None = None
    """Where it was sent."""
    reservation: str | None = None
    """The id of what was set aside for it."""
    partial: Usage | None = None
    """Our own count of a stream that broke off."""

    tools: bool = False
    """Whether it calls tools, in place of an answer."""

    @property
    def good(self) -> bool:
        """Whether its value may be used."""
        return self.fault is None and self.reply is not None

    @property
    def usage(self) -> Usage | None:
        """What it took; None where nobody knows."""
        return self.partial if self.reply is None else self.reply.usage


@dataclass(frozen=True, slots=True)
class Caller:
    """Makes the calls of one question: its form and check, and how long one may take."""

    gateway: Gateway
    form: Form
    check: Check[Any] | None
    timeout_s: float
    streaming: Streaming | None = None
    scope: StepScope | None = None
    """The attempt under which the answer is published, where it streams."""
    line: str = ""
    """What the calls have in common of which one goes on from the other: a conversation, the rounds of a question."""
    thread: str | None = None
    detour: bool = False
    """Whether somebody else is free, so that a busy model is not waited for."""
    home: str | None = None
    """The deployment that its conversation was last with."""
    among: Callable[[Mapping[str, str]], Decision] | None = None
    """Whom the route would choose, given who is out, if all others took calls: then it may leave the line for that one.
    """
    waits_s: float | None = None
    """How long it stands in line at most, which is part of the time of its call then. None: the gateway's patience."""

    async def in_line(
        self, question: Question, model: Model, bill: Bill, sent: asyncio.Event | None = None,
        history: Sequence[Attempt] | None = None,
    ) -> Called:  # fmt: skip
        """Wait for a place, and call; `sent` is set when it is. Whatever is wrong is the call's fault. A retry is taken
        from the model's budget before it stands in line, and given back where it was not sent. Its `history` is that of
        its step, unless it is asked on the side and has one of its own.
        """
        sent, retry, history = sent or asyncio.Event(), False, bill.scope.history if history is None else history
        try:
            try:
                question, manifest = self._shown(question, model, bill)
                await bill.room(model, question)
                part = part_of(model, history, lambda name, out: self.gateway.spare(name, out, question))
                again = (part is model or (isinstance(part, Part) and part.again)) and has_failed(model.name, history)
                if again and self.gateway.health.is_failing(model):
                    retry = self.gateway.health.may_retry(model)
                    if not retry:
                        return Called(model=model, fault=_no_more(model))
                await self.warmed(question, model)
                place, queued_s = await self._place(part, question, history)
            except Exception as error:  # noqa: BLE001  no place came in time, or the file of health cannot be read
                return Called(model=model, fault=classify(error))
            at = self if self.waits_s is None else replace(self, timeout_s=self.timeout_s - queued_s)
            return await at._at(question, manifest, model, place, bill, queued_s, sent)
        finally:
            if retry and not sent.is_set():
                self.gateway.health.unretried(model)

    async def at_once(
        self, question: Question, model: Model, bill: Bill, sent: asyncio.Event | None = None
    ) -> Called | None:
        """Call if a place is free now; None where none is. `sent` is set when it is."""
        try:
            question, manifest = self._shown(question, model, bill)
        except UsageError as error:  # it does not fit into this window
            return Called(model=model, fault=classify(error))
        await self.warmed(question, model)
        place = self.gateway.free_place(model, question)
        return None if place is None else await self._at(question, manifest, model, place, bill, sent=sent)

    async def _place(self, part: Model | Part, question: Question, history: Sequence[Attempt]) -> tuple[Place, float]:
        waits_s = math.inf if self.waits_s is None else self.waits_s
        among = self.among if sum(leaves_for(one) is not None for one in history) < _LEAVES_MAX else None
        waited_s = max((one.ended or one.began) - history[0].began for one in history) if history else 0.0
        return await self.gateway.place(
            part, question, self.timeout_s, detour=self.detour, waits_s=waits_s, home=self.home, among=among,
            waited_s=max(waited_s, 0.0),
        )  # fmt: skip

    async def warmed(self, question: Question, model: Model) -> None:
        """What the call takes is imported before it has a place: a limit per minute counts from there."""
        anywhere = Place(model.name, model.pool()[0], 0, 0.0, 0, 0)
        with suppress(Exception):  # then the call says so, at its own deployment
            await ready(call_for(question, model, anywhere, self.timeout_s))

    def _shown(self, question: Question, model: Model, bill: Bill) -> tuple[Question, Manifest]:
        """The question fitted to the model's window, and what is on record of it. Raises ContextOverflow."""
        before = self.gateway.seen.get(self.line) if self.line else None
        question, manifest = fitted(question, model, bill.id, thread=self.thread, before=before)
        if self.line and bill.aside is None:
            self.gateway.seen.put(self.line, manifest)
        return question, manifest

    async def _at(  # noqa: PLR0917  made above
        self, question: Question, manifest: Manifest, model: Model, place: Place, bill: Bill, queued_s: float = 0.0,
        sent: asyncio.Event | None = None,
    ) -> Called:  # fmt: skip
        """Call, with a place that is given back whatever comes of it, also when the call is cancelled. What it may cost
        is set aside before it is sent, and settled with its end.
        """
        began, sent = asyncio.get_running_loop().time(), sent or asyncio.Event()
        fault: Fault | None = None
        reply: Reply | None = None
        try:
            await ready(call_for(question, model, place, self.timeout_s))  # no money waits for an import
            question, _ = await asyncio.gather(bill.reserve(model, question), _noted(manifest, bill))  # one commit
            asked = call_for(question, model, place, self.timeout_s)
            began = asyncio.get_running_loop().time()
            sent.set()
            reply = await self._send(asked, question)
            fault = judge(reply, question.schema, tools=None if question.tools else ())
            if fault is not None and fault.limit == "max tokens" and _full(model, question):
                fault = fault._replace(state={**(fault.state or {}), FULL: True})
        except Exception as error:  # noqa: BLE001  whatever a call raises is a fault of this call
            fault = classify(error)
        except BaseException:
            self._release(place, made(FaultKind.INTERRUPTED, "the call was given up"), began)
            bill.given_up(sent=sent.is_set())
            raise
        tokens = None if reply is None else reply.usage.tokens_in + reply.usage.tokens_out
        self._release(place, fault, began, tokens)
        value, checks, bug = None, (), None
        tools = reply is not None and bool(question.tools and reply.tool_calls)
        if fault is None and reply is not None and not tools:
            value, fault, checks, bug = self.read(reply)
        broken = self._broken(question, model, reply)
        fault = bill.settle(reply, fault, begun=broken is not None)
        seconds = asyncio.get_running_loop().time() - began
        return Called(
            model=model, queued_s=queued_s, seconds=seconds, reply=reply, value=value, fault=fault,
            bug=bug, checks=checks, place=place, reservation=bill.reservation, tools=tools, partial=broken,
        )  # fmt: skip

    def _broken(self, question: Question, model: Model, reply: Reply | None) -> Usage | None:
        """What was streamed took, by our own count where it broke off."""
        if self.streaming is None or self.scope is None:
            return None
        return partial(question, model, self.streaming.heard(self.scope), reply)

    def on(self, floor: Floor, who: int) -> Caller:
        """One of two whose calls race; where they stream, one of them is heard."""
        return self if self.streaming is None else replace(self, streaming=self.streaming.on(floor, who))

    async def _send(self, asked: Call, question: Question) -> Reply:
        if self.streaming is None or self.scope is None:
            return await send(asked)
        return await self.streaming.send(asked, self.scope, question)

    def read(self, reply: Reply) -> tuple[Any, Fault | None, tuple[Checked, ...], Exception | None]:
        """The value, or what is wrong with it; what the check said; and what it raised, if that is a bug."""
        value, wrong = self.form.read(reply.text)
        if wrong or self.check is None:
            return value, made(FaultKind.BAD_OUTPUT, wrong) if wrong else None, (), None
        try:
            wrong = told(self.check, value)
        except Exception as error:  # noqa: BLE001  it is the user's
            return None, classify(error), (), error
        said = Checked(name=name_of(self.check), passed=not wrong, why=wrong[:500])
        return None if wrong else value, made(FaultKind.BAD_OUTPUT, wrong) if wrong else None, (said,), None

    def _release(self, place: Place, fault: Fault | None, began: float, tokens: int | None = None) -> None:
        used = place.tokens if tokens is None else tokens
        self.gateway.release(place, fault, asyncio.get_running_loop().time() - began, used)


def _full(model: Model, question: Question) -> bool:
    """Whether an answer may already be as long as the model can write."""
    return output_limit(question, model) >= model.max_output


async def _noted(manifest: Manifest, bill: Bill) -> None:
    """What a call shows is on record before it is sent; but for what is asked on the side."""
    if bill.aside is None:
        await bill.scope.commit(manifest)


_AGAIN_S = 2.0
"""When to look again for a retry's credit, which time refills."""


def _no_more(model: Model) -> Fault:
    """No retry: what keeps failing is not asked more and more."""
    said = f"{model.name} fails, and a third of its calls are retries already"
    return made(FaultKind.OVERLOADED, said, model=model.name, retry_after_s=_AGAIN_S, unsent=1, **{BROKEN: 1})
