"""`stream`: one question whose answer is read while it comes, outside of a run; `relayed`: for those who can only be
given text, and told nothing.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import aclosing, suppress
from typing import Any, Generic, TypeVar, cast

from ..core.relay import Relay
from ..core.streams import AttemptId, Ended, StreamEvent
from ..errors import UsageError
from ..models.errors import ModelFailed
from ..models.wrapping import is_object
from ..routing import Policy
from ..runtime.follower import Follower
from ..runtime.live import Live, Said
from ..runtime.scope import FlowScope, StepScope, here, publish_to
from ..runtime.streams import Bell
from .ask import Answer, answer
from .form import form_of
from .gateway import gateway

__all__ = ["Stream", "relay", "relayed", "stream"]

T = TypeVar("T")
_IDLE_S = 60.0
_LAST_WORD_S = 1.0


class Stream(Generic[T]):
    """An answer that comes: iterate over it once, for `Piece`, `Retracted` and, last, `Ended`.

    Leaving the loop early gives the call up. The iteration raises what `ask` raises.
    """

    def __init__(self, make: Callable[[], Coroutine[Any, Any, Answer[T]]]):
        scope = here()
        if isinstance(scope, FlowScope):
            remedy = "use ask(..., stream=True) and follow run.stream(), or call it in a step"
            raise UsageError("a flow cannot read a stream: what comes when is not on record", remedy=remedy)
        self._make, self._answer = make, cast("Answer[T] | None", None)
        self.run = scope.run if isinstance(scope, StepScope) else ""
        self.live = Live()

    @property
    def answer(self) -> Answer[T]:
        """The value, and who gave it: after the iteration. Raises UsageError before."""
        if self._answer is None:
            raise UsageError("the answer is not there yet", remedy="iterate over the stream to its end first")
        return self._answer

    def __aiter__(self) -> AsyncGenerator[StreamEvent, None]:
        return self._events()

    async def _events(self) -> AsyncGenerator[StreamEvent, None]:
        live, bell, follower, ended = self.live, Bell(), Follower(), set[str]()
        context = contextvars.copy_context()
        context.run(publish_to, live)
        task = asyncio.get_running_loop().create_task(self._make(), context=context)
        task.add_done_callback(lambda _: bell.ring())
        try:
            with live.watched(self.run, bell.ring):
                while True:
                    done = task.done()
                    for event in self._news(follower, ended):
                        yield event
                    if done:
                        break
                    await bell.wait(_IDLE_S)
            self._answer = task.result()
            for key, said in live.streams(self.run).items():
                if said.state != "retracted" and key not in ended:
                    yield _end(said)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    def _news(self, follower: Follower, ended: set[str]) -> Generator[StreamEvent]:
        """What has come, call by call, each with its end before what the next one says."""
        streams = self.live.streams(self.run)
        closed = [key for key, said in streams.items() if said.state == "closed" and key not in ended]
        said = list(follower.live(self.live, self.run))
        for key in dict.fromkeys([*streams, *(event.key for event in said)]):
            yield from (event for event in said if event.key == key)
            if key in closed:
                ended.add(key)
                yield _end(streams[key])


def _end(said: Said) -> Ended:
    return Ended(said.key, said.attempt, said.sizes.get("text", 0))


def stream(prompt: str, *parts: object, **options: Any) -> Stream[Any]:
    """As `ask`, read while it comes. It is for notebooks and steps; in a flow: `ask(..., stream=True)`.

        said = stream("Tell me a story.", route="cheap")
        async for event in said: ...
        said.answer.value

    Raises UsageError in a flow.
    """
    asked: Any = {**options, "stream": True}
    return Stream(lambda: answer(prompt, *parts, **asked))


async def relayed(prompt: str, *parts: object, **options: Any) -> AsyncGenerator[str, None]:
    """The text of an answer, as it may go to a consumer that cannot be told to forget: what came stands.

    The route's `hold_ms` and `rescue` hold. What `returns` makes JSON goes out as JSON: an object piece by piece, any
    other value whole. Raises what `ask` raises, also after some text has gone out: then that text is no answer.
    """
    said, policy = stream(prompt, *parts, **options), _policy(options.get("route"))
    schema = form_of(options.get("returns", str)).schema
    whole = schema is not None and not is_object(schema)
    machine = Relay(
        hold_ms=policy.hold_ms, rescue=policy.rescue, plain=schema is None, whole=whole,
        rounds=bool(options.get("tools")),
    )  # fmt: skip

    def may(key: str, attempt: AttemptId, size: int) -> bool:
        return said.live.release(said.run, key, attempt, size)

    async with aclosing(relay(_own(aiter(said)), machine, may)) as texts:
        async for text in texts:
            yield text
    last = said.answer.tried[-1:]
    if not machine.out and last and last[0].text:
        raise ModelFailed("the answer has text, and nothing of it went out", remedy="ask again, or use ask")


async def _own(events: AsyncGenerator[StreamEvent, None]) -> AsyncGenerator[StreamEvent, None]:
    """What the question itself says: not what its tools do."""
    parent: str | None = None
    async with aclosing(events):
        async for event in events:
            above, _, name = event.key.rpartition("/")
            parent = above if parent is None else parent
            if above == parent and name.partition("#")[0] == "ask":
                yield event


def _policy(route: object) -> Policy:
    return route if isinstance(route, Policy) else gateway().router.route(str(route or "default"))


async def relay(
    events: AsyncGenerator[StreamEvent, None],
    machine: Relay,
    may: Callable[[str, AttemptId, int], bool] | None = None,
) -> AsyncGenerator[str, None]:
    """What may go out of a call's stream, and of those after it, when it may. Raises ModelFailed when what went out is
    no answer.

    `may(key, attempt, size)` is asked before the first `size` bytes of an attempt are out; it says no when that
    attempt is void already, though its retraction has not been heard.
    """
    listening, clock = _Listening(events), asyncio.get_running_loop().time
    try:
        while not listening.over:
            event = await listening.until(machine.due)
            if event is not None:
                machine.take(event, clock())
            elif listening.over:
                machine.finish()
            text = machine.ready(clock())
            if text and (may is None or may(machine.key, machine.attempt or (), len((machine.out + text).encode()))):
                machine.sent(text)
                yield text
            if machine.broken is not None:
                await listening.last_word()
                raise ModelFailed(f"the stream broke off: {machine.broken}", remedy="ask again")
    finally:
        await listening.stop()


class _Listening:
    """One event after the other, or the time until which one was waited for."""

    def __init__(self, events: AsyncGenerator[StreamEvent, None]):
        self._events = events
        self._coming: asyncio.Task[StreamEvent | None] | None = None
        self.over = False

    async def until(self, due: float | None) -> StreamEvent | None:
        """The next event; None when it is `due` on the loop's clock, or when all is over. Raises what they raise."""
        if self._coming is None:
            self._coming = asyncio.ensure_future(self._next())
        left_s = None if due is None else max(0.0, due - asyncio.get_running_loop().time())
        await asyncio.wait([self._coming], timeout=left_s)
        if not self._coming.done():
            return None
        event, self._coming = self._coming.result(), None
        self.over = event is None
        return event

    async def _next(self) -> StreamEvent | None:
        return await anext(self._events, None)

    async def last_word(self) -> None:
        """Raises the error that ended it all, if that comes at once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORD_S):
                while not self.over:
                    await self.until(None)

    async def stop(self) -> None:
        """Leave."""
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.wait([self._coming])
        await self._events.aclose()
