"""What happens once below a call, and what is known of it: whoever hands the same work to somebody else looks first."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Literal

from ..core.codec import loads
from ..core.events import Event, EventType
from ..core.faults import Fault, classify
from ..errors import HandedOn

if TYPE_CHECKING:
    from .drive import Drive, Future

__all__ = ["ENDED", "HANDED", "Call", "Known", "Noting", "apart", "came_of", "may_begin", "note", "noted", "noting"]

Known = Literal["open", "done"] | Fault
"""What is known of a call: nothing yet, that it was carried out, or how it failed."""
HANDED = "this work was handed to somebody else"
"""Why nothing begins any more where the next one has the work, or a person."""
ENDED = "the delegation that this work belongs to has ended"
"""Why nothing begins any more where nobody has it."""


class Noting:
    """The calls of what happens once that begin below one call.

    Only those of which nothing is known yet are kept. In a flow all of it is the same on a replay.
    """

    __slots__ = ("_known", "_open", "closed")

    def __init__(self) -> None:
        self.closed = ""
        """Why nothing that happens once begins below any more; empty: it may."""
        self._open: set[Call] = set()
        self._known: set[Known] = set()

    def begins(self, call: Call) -> None:
        """A call begins."""
        self._open.add(call)

    def ends(self, call: Call, known: Known) -> None:
        """What came of a call."""
        self._open.discard(call)
        self._known.add(known)

    def known(self) -> set[Known]:
        """What is known of them by now: `open` among it, where there is one of which nothing is known."""
        for call in list(self._open):
            call.look()
        found = set(self._known)
        if self._open:
            found.add("open")
        return found

    def close(self, why: str = HANDED) -> None:
        """The work goes to somebody else, or nobody has it: nothing that happens once begins below any more."""
        self.closed = why


_around: ContextVar[tuple[Noting, ...]] = ContextVar("segue_noting", default=())


class Call:
    """One call of what happens once, from its beginning."""

    __slots__ = ("_around", "_flow")

    def __init__(self, around: tuple[Noting, ...]):
        self._around = around
        self._flow: tuple[Drive, str, Future | None] | None = None
        for noting in around:
            noting.begins(self)

    def of(self, drive: Drive, key: str, future: Future) -> None:
        """It is one of a flow: the event that tells its outcome is not kept."""
        self._flow = drive, key, future
        drive.late = {} if drive.late is None else drive.late
        future.add_done_callback(self._heard)

    def came(self, known: Known) -> None:
        """It has come to its end."""
        for noting in self._around:
            noting.ends(self, known)

    def look(self) -> None:
        """Hear what came of it. One that its flow gave up may have come to its end since."""
        if self._flow is None:
            return
        drive, key, future = self._flow
        if future is not None and future.done():
            self._heard(future)
        elif future is None and drive.late is not None and (late := drive.late.get(drive.claims.recorded(key))):
            self.came(late)

    def _heard(self, future: Future) -> None:
        if self._flow is None or self._flow[2] is None:
            return
        self._flow = (*self._flow[:2], None)
        if not future.cancelled() and future.exception() is None:
            self.came(came_of(future.result()))


@contextmanager
def noting() -> Generator[Noting]:
    """The calls of what happens once that begin within the block, in a flow, in a step and outside of both.

    What the steps of a flow call inside of them is not among them, and no more is what child runs do.
    """
    found = Noting()
    token = _around.set((*_around.get(), found))
    try:
        yield found
    finally:
        _around.reset(token)


def apart() -> Context:
    """A copy of the context for what outlives the block that it is made in: no call in it is one of the block's."""
    context = copy_context()
    context.run(_around.set, ())
    return context


def may_begin() -> None:
    """Raises HandedOn, before a call of what happens once, where its work is not its own any more."""
    why = next((one.closed for one in _around.get() if one.closed), "")
    if why:
        raise HandedOn(
            f"{why}: what happens once does not begin any more",
            remedy="end what works on it with its caller: segue.gather instead of asyncio's, no task that is left over",
        )


def note() -> Call | None:
    """A call of what happens once begins here; None: nobody wants to know. After `may_begin`."""
    around = _around.get()
    return Call(around) if around else None


@contextmanager
def noted() -> Generator[None]:
    """The block is one call of what happens once, outside of a flow. Raises HandedOn, and what the block raises."""
    may_begin()
    call = note()
    try:
        yield
    except Exception as error:
        if call is not None:
            call.came(_short(classify(error)))
        raise
    if call is not None:
        call.came("done")


def came_of(event: Event) -> Known:
    """What the event that ends a step tells of it."""
    return _short(Fault.read(loads(event.body)["fault"])) if event.type == EventType.STEP_FAILED else "done"


def _short(fault: Fault) -> Fault:
    return Fault(fault.kind, fault.error)
