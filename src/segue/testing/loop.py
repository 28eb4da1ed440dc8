"""An event loop whose time is virtual: when nothing is ready it jumps to the next timer."""

from __future__ import annotations

import asyncio
import contextvars
import math
import selectors
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

START = datetime(2030, 1, 1, tzinfo=UTC).timestamp()
"""The wall-clock time at which each virtual loop begins."""
GRACE_S = 0.02
"""Real seconds that open sockets and pipes get before time jumps over what they might bring."""


class Stalled(AssertionError):
    """Nothing is ready, no timer is set and no outside work is on its way: the program would wait for ever."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop on which a day takes no time.

    Calls in threads (`run_in_executor`, `to_thread`, steps that are plain functions) hold time back until they return.
    So does `hold()`, for other outside work. Sockets and pipes get a moment of real time before each jump.
    """

    def __init__(self) -> None:
        self._virtual_s = 0.0
        self._holds = 0
        super().__init__(_Jumping(self))
        self._clock_resolution = (
            1e-6  # asyncio's own would be lost in the rounding of a large time: no timer would fire
        )

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual_s

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Call back then. A time to come is so far off that time passes until then.

        The loop calls what is due within its resolution at once. The wall clock is coarser than that: whoever waits
        for its next tick would be called, and wait, for ever.
        """
        if when > self._virtual_s:
            when = max(when, self._virtual_s + 2 * self._clock_resolution)
        return super().call_at(when, callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Call in a thread; time stands still meanwhile."""
        future = super().run_in_executor(executor, func, *args)
        self._holds += 1
        future.add_done_callback(self._returned)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  asyncio's own
        """Wait for the threads, in real time."""
        with self.holding():
            await super().shutdown_default_executor()

    @contextmanager
    def holding(self) -> Generator[None]:
        """Time stands still inside."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1

    @property
    def held(self) -> bool:
        """Whether outside work holds time back."""
        return self._holds > 0

    def jump(self, seconds: float) -> None:
        """Let time pass at once."""
        self._virtual_s = max(self._virtual_s + seconds, math.nextafter(self._virtual_s, math.inf))

    def _returned(self, _: asyncio.Future[Any]) -> None:
        self._holds -= 1


class _Jumping(selectors.BaseSelector):
    """A selector that never waits for time to pass: it tells its loop to jump instead."""

    def __init__(self, loop: VirtualLoop):
        self._loop, self._real = loop, selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Real readiness first; then a jump by `timeout`. Raises Stalled when there is nothing to jump to."""
        ready = self._real.select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self._loop.held:
            return self._real.select(None)
        outside = len(self._real.get_map()) > 1  # one is the loop's own, by which threads wake it
        if timeout is None and not outside:
            raise Stalled("nothing is ready, no timer is set and no thread is at work: this would wait for ever")
        if outside:
            ready = self._real.select(None if timeout is None else GRACE_S)
        if not ready and timeout is not None:
            self._loop.jump(timeout)
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualClock:
    """The wall clock of a virtual loop: it begins in 2030 and runs as fast as the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        return START + self._loop.time()


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def simulated(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Make an async test a plain one that runs on virtual time."""

    @wraps(test)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return run(test(*args, **kwargs))

    return call


@contextmanager
def hold() -> Generator[None]:
    """Hold virtual time back while outside work is on its way: `with testing.hold(): await client.get(...)`.

    On a real loop it does nothing.
    """
    loop = asyncio.get_running_loop()
    if isinstance(loop, VirtualLoop):
        with loop.holding():
            yield
    else:
        yield
