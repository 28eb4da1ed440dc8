"""What happens once below a call, and what is known of it: whoever hands the same work to somebody else looks first."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal

from ..core.codec import loads
from ..core.events import EventType
from ..core.faults import Fault

if TYPE_CHECKING:
    from .drive import Drive, Future

__all__ = ["Known", "Look", "came_of", "note", "noting"]

Known = Literal["open", "done"] | Fault
"""What is known of a call: nothing yet, that it was carried out, or how it failed."""
Look = Callable[[], Known]
"""Tells what is known of one call now."""

_around: ContextVar[tuple[list[Look], ...]] = ContextVar("segue_noting", default=())


@contextmanager
def noting() -> Generator[list[Look]]:
    """The calls of what happens once that begin within the block, in a flow, in a step and outside of both.

    Each is asked for what is known of it now. In a flow that is the same on a replay. What the steps of a flow call
    inside of them is not among them, and no more is what child runs do.
    """
    found: list[Look] = []
    token = _around.set((*_around.get(), found))
    try:
        yield found
    finally:
        _around.reset(token)


def note(look: Look) -> None:
    """A call of what happens once begins here."""
    for found in _around.get():
        found.append(look)


def came_of(drive: Drive, key: str, future: Future) -> Known:
    """What a flow knows of its call by now. One that it gave up may have come to its end since."""
    heard = future.done() and not future.cancelled() and future.exception() is None
    event = future.result() if heard else drive.late.get(drive.claims.recorded(key))
    if event is None:
        return "open"
    return Fault.read(loads(event.body)["fault"]) if event.type == EventType.STEP_FAILED else "done"
