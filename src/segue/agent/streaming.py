"""A call whose answer is published while it comes: what goes out, when it is void, and what is on record of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from ..core.faults import Fault, FaultKind
from ..core.records import AttemptRef, StreamEnd, StreamFate, Usage
from ..core.recovery import Attempt
from ..models import Capability, Model
from ..models.exchange import Call, Delta, Reply
from ..routing import Policy, Rescue, Router
from ..runtime.outlet import Outlet, digest
from ..runtime.scope import StepScope
from .calling import send
from .failures import HALF
from .onward import Onward, added, adds
from .request import Given, Question, messages
from .tries import before

__all__ = ["Floor", "Streaming", "partial", "routed", "streaming_of"]

SENT_MAX = 200_000
"""Characters of a begun answer that another model is given to go on with."""


_TO_GO_ON = 'ask again; rescue = "continue" on the route lets another model go on from what is out'
_TO_HOLD = "ask again; a larger hold_ms on the route keeps more back until it is sure"


class Floor:
    """Who of the calls of one attempt is heard: whoever says something first, and nobody else."""

    def __init__(self) -> None:
        self.speaker: int | None = None
        self.taken = asyncio.Event()

    def take(self, who: int) -> bool:
        """Whether it is this one's."""
        if self.speaker is None:
            self.speaker = who
            self.taken.set()
        return self.speaker == who


@dataclass(frozen=True, kw_only=True, slots=True)
class Streaming:
    """How the attempts of one question stream."""

    first_token_s: float | None = None
    stall_s: float | None = None
    hold_ms: int = 0
    rescue: Rescue = "fail"
    tap: Callable[[Delta], None] | None = None
    """Told of each piece, too, as it comes."""
    floor: Floor | None = None
    """Where another call of the attempt may be heard in the place of this one."""
    who: int = 0
    """Which one this is there."""

    def on(self, floor: Floor, who: int) -> Streaming:
        """That of one of the calls that race to be heard."""
        return replace(self, floor=floor, who=who)

    def speaks(self, said: object) -> bool:
        """Whether it is heard: once it has `said` something where nobody had; from then on nobody else is."""
        floor = self.floor
        return floor is None or ((bool(said) or floor.speaker is not None) and floor.take(self.who))

    def heard(self, scope: StepScope) -> Outlet | None:
        """The attempt's stream, where it is this call's."""
        return scope.streamed if self.floor is None or self.floor.speaker == self.who else None

    async def send(self, call: Call, scope: StepScope, question: Question) -> Reply:
        """The call, published piece by piece; the reply holds what it goes on from, too. Raises as `models.calls`."""
        outlet = scope.outlet
        limited = replace(call, first_token_s=self.first_token_s, stall_s=self.stall_s)
        streams = call.model.can(Capability.STREAMING)
        reply = await send(limited, _Pour(outlet, question.begun, self) if streams else None)
        if question.begun and not (reply.tool_calls or adds(question.begun, reply.text)):
            return replace(reply, text="")  # it was to go on, and does not: what broke off is no whole answer for that
        if streams and _stopped(reply):
            return reply  # what came of it stands as it came, for whoever goes on from there
        whole = question.begun + added(question.begun, reply.text)
        if not self.speaks(reply.text or reply.tool_calls):
            return reply
        if outlet.hash != digest(whole) or outlet.retracted:
            outlet.again("tidied", whole)
        return replace(reply, text=whole) if question.begun else reply

    def whole(self, scope: StepScope, question: Question, given: Given, reply: Reply) -> StreamEnd:
        """Publish an answer that had to be looked at first, as it may be used; the end of its stream."""
        scope.outlet.say(given.tried[-1].text)
        end, _ = self.ended(scope, question, None, reply, len(given.tried) - 1 - len(before(scope)))
        return replace(end, ttft_s=round(reply.latency_s, 4))

    def ended(
        self, scope: StepScope, question: Question, fault: Fault | None, reply: Reply | None, beside: int = 0,
        *, streamed: bool = False,
    ) -> tuple[StreamEnd, Fault | None]:  # fmt: skip
        """The end of an attempt's stream, and its fault, which knows what others have had of it. A fault voids all.
        With `streamed` its call came piece by piece: it broke off within an answer where there was a piece.

        The text of an answer stands in the step's result, in the last of its calls; `beside` of them were made with it.
        """
        outlet, at = scope.outlet, len(before(scope)) + beside
        if fault is not None:
            fault = _silent(scope, question, fault, reply)
            if streamed and reply is None:
                fault = _broken_off(fault, bool(outlet.chunks))
            fault = self._rescued(outlet, question, fault, reply)
            outlet.retract(fault.kind.value)
        ref = _continued(scope, question.begun) if question.begun else None
        released = outlet.released or self.hold_ms or self.rescue == "continue"
        end = outlet.end(
            _fate(fault, reply, outlet), text_at=f"/tried/{at}/text" if fault is None else None,
            finish_reason=None if reply is None else reply.finish, ttft_s=None if reply is None else reply.ttft_s,
            held_ms=self.hold_ms if released else None,
            rescue=self.rescue if released else None, continues=ref,
            continues_at=None if ref is None else len(question.begun.encode()),
        )  # fmt: skip
        return end, fault

    def _rescued(self, outlet: Outlet, question: Question, fault: Fault, reply: Reply | None) -> Fault:
        """A fault that says how much is out with a consumer that cannot be told, and what another may go on from.

        Never within JSON or a tool call, and not for an answer that came whole and was turned down; one that was empty
        has changed nothing, and one that was stopped midway is not whole.
        """
        if not outlet.released:
            return fault
        state: dict[str, Any] = {**(fault.state or {}), "released": outlet.released}
        said = outlet.text if outlet.bytes_total else question.begun
        broken = reply is None or not reply.text.strip() or _stopped(reply)
        text = question.schema is None and not outlet.tools and broken
        if self.rescue == "continue" and text and said and len(said) <= SENT_MAX:
            state["begun"] = said
            return fault._replace(state=state)
        state["remedy"] = _TO_GO_ON if self.rescue == "fail" and text else _TO_HOLD
        told = f"{fault.message}; nobody else was asked, for some of the answer was out"
        return fault._replace(message=told, args=[told], state=state)


class _Pour:
    """Makes a call as a stream, and publishes what comes."""

    def __init__(self, outlet: Outlet, begun: str, how: Streaming):
        self._outlet, self._begun, self._how = outlet, begun, how
        self._onward = Onward(begun)
        self._held: list[Delta] = []

    async def __call__(self, call: Call) -> Reply:
        from ..models.calls import stream  # noqa: PLC0415  heavy, and only who asks needs it

        async with aclosing(stream(call)) as items:
            async for item in items:
                if isinstance(item, Reply):
                    if self._how.speaks(item.tool_calls):
                        self._tell()
                        self._outlet.say(self._onward.rest())
                    return item
                self._held.append(item)
                if not self._how.speaks(item.text):
                    continue  # a part that has only begun says nothing yet; or another call is heard
                self._tell()
                if item.text and not self._outlet.chunks:
                    self._outlet.say(self._begun)
                if item.kind == "text":
                    self._outlet.say(self._onward.take(item.text))
                else:
                    self._outlet.say(item.text, "text" if item.answers else item.kind)
        raise AssertionError("a stream ends with its reply or raises")

    def _tell(self) -> None:
        held, self._held = self._held, []
        if self._how.tap is not None:
            for item in held:
                self._how.tap(item)


def partial(question: Question, model: Model, outlet: Outlet | None, reply: Reply | None) -> Usage | None:
    """What a call took: by its reply, or our own estimate for one that broke off after some of its answer."""
    if reply is not None:
        return reply.usage
    if outlet is None or not outlet.chunks:
        return None
    from ..models.usage import spent  # noqa: PLC0415  heavy, and only who asks needs it

    return spent(model, messages(question), outlet.text)


def streaming_of(said: Mapping[str, Any]) -> Streaming | None:
    """From the options of `ask`."""
    if not said["stream"]:
        return None
    return Streaming(first_token_s=said["first_token_s"], stall_s=said["stall_s"])


def routed(streaming: Streaming | None, question: Question, policy: Policy | None, router: Router) -> Streaming | None:
    """With what the question's route says of streams. Raises UnknownRoute."""
    if streaming is None:
        return None
    policy = policy or router.route(question.route or "default")
    return replace(streaming, hold_ms=policy.hold_ms, rescue=policy.rescue)


def _stopped(reply: Reply) -> bool:
    """Whether the provider's filter has stopped an answer midway."""
    return reply.finish == "content_filter" and not reply.refusal


def _broken_off(fault: Fault, said: bool) -> Fault:
    """The fault of a stream: half of an answer was there if it had `said` something, however it ended then."""
    state = {name: value for name, value in (fault.state or {}).items() if name != HALF}
    return fault._replace(state={**state, HALF: 1} if said else state)


def _silent(scope: StepScope, question: Question, fault: Fault, reply: Reply | None) -> Fault:
    """The fault of one that was to go on and said nothing: it tells what was to be gone on from."""
    broken = _broken(scope, question.begun) if question.begun and fault.kind is FaultKind.BAD_OUTPUT else None
    if broken is None or broken.fault is None or reply is None or reply.text.strip() or reply.tool_calls:
        return fault
    said = f"the answer broke off, and nothing was added to it: {broken.fault.message}"
    return fault._replace(message=said, args=[said])


def _continued(scope: StepScope, begun: str) -> AttemptRef | None:
    """The attempt that an answer goes on from: the one that broke off with this text."""
    broken = _broken(scope, begun)
    return None if broken is None else AttemptRef(epoch=broken.epoch, n=broken.n)


def _broken(scope: StepScope, begun: str) -> Attempt | None:
    broken = (a for a in scope.history if a.fault is not None and (a.fault.state or {}).get("begun") == begun)
    return next(broken, None)


def _fate(fault: Fault | None, reply: Reply | None, outlet: Outlet) -> StreamFate:
    """How the stream itself ended. One that came whole is complete, also if its answer is turned down."""
    if reply is not None or fault is None:
        return StreamFate.COMPLETE
    if fault.kind is FaultKind.TIMED_OUT:
        return StreamFate.STALLED
    if fault.kind is FaultKind.UNREACHABLE:
        malformed = any(word in fault.message.lower() for word in ("json", "decode", "expecting"))
        return StreamFate.MALFORMED if malformed and outlet.chunks else StreamFate.CUT
    return StreamFate.ERROR
