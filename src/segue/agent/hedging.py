"""The second request: sent where no answer has come within what 95% of the calls take; the first good answer wins.

Where the answer is streamed, whoever says something first is heard, and its end is that of the attempt.

It never waits for a place, so that it adds nothing to a crowd. Whoever is overtaken is cancelled, which closes its
connection and gives its place back; what it took is on record as an estimate, since nobody says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from ..core.records import AttemptEnd, Usage
from ..models import Model
from .called import Called
from .recorded import Recorded
from .request import Tried
from .streaming import Floor
from .tries import beside

__all__ = ["Race", "lose", "race"]

First = Callable[[asyncio.Event], Coroutine[Any, Any, Called]]
"""It sets the event when it is sent: the time before it, in line or connecting, does not count."""
Second = Callable[[asyncio.Event], Coroutine[Any, Any, Called | None]]


class Race(NamedTuple):
    """What came of one or two calls."""

    first: Called | None
    """None: it was overtaken, and given up."""
    second: Called | None = None
    """None: there was none, or it was given up."""
    begun: bool = False
    """Whether a second call was made: one that was given up before it was sent was none."""
    seconds: tuple[float, float] = (0.0, 0.0)
    """How long each of them lasted."""
    speaker: int | None = None
    """Who was heard while it came, if anybody: 0 or 1."""

    @property
    def taken(self) -> Called:
        """The one whose answer or fault is that of the attempt: who was heard; else an answer where there is one, and
        rather the first.
        """
        heard = None if self.speaker is None else (self.first, self.second)[self.speaker]
        both = [one for one in (self.first, self.second) if one is not None]
        return heard or next((one for one in both if one.good), both[0])


async def race(first: First, second: Second, after_s: float, floor: Floor) -> Race:
    """Call; where nothing has come `after_s` seconds after it was sent, call `second` too, and take the first good
    answer, or whoever takes the floor before: the other one is given up then.

    One that failed waits for the other; a second that gives None could not be made. Raises what a call raises. Whatever
    ends it, nothing is left running.
    """
    sent, sent_too, clock = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop().time
    one = asyncio.create_task(first(sent))
    sending, heard = asyncio.create_task(sent.wait()), asyncio.create_task(floor.taken.wait())
    two: asyncio.Task[Called | None] | None = None
    try:
        await asyncio.wait({one, sending}, return_when=asyncio.FIRST_COMPLETED)
        began = clock()
        await asyncio.wait({one, heard}, timeout=after_s, return_when=asyncio.FIRST_COMPLETED)
        if one.done() or floor.speaker is not None:
            return Race(await one)
        later = clock()
        two = asyncio.create_task(second(sent_too))
        await _first_good(heard, one, two)
        now = clock()
        made = two.result() is not None if two.done() else sent_too.is_set()
        lost = None if floor.speaker is None else (two, one)[floor.speaker]
        results = [None if task is lost and not task.done() else task for task in (one, two)]
        await _stopped(lost)
        if floor.speaker is not None:
            await asyncio.wait({(one, two)[floor.speaker]})
        came = [task.result() if task is not None and task.done() else None for task in results]
        return Race(*came, begun=made, seconds=(now - began, now - later), speaker=floor.speaker)
    finally:
        await _stopped(one, two, sending, heard)


async def _first_good(heard: asyncio.Task[Any], *tasks: asyncio.Task[Called] | asyncio.Task[Called | None]) -> None:
    """Wait until one is heard, or has a good answer, or all have ended. Raises what one raised."""
    open_ = set[asyncio.Task[Any]](tasks)
    while open_ and not heard.done():
        done, _ = await asyncio.wait({*open_, heard}, return_when=asyncio.FIRST_COMPLETED)
        if any(said is not None and said.good for said in [task.result() for task in done - {heard}]):
            return
        open_ -= done


async def _stopped(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel what still runs, and wait until it has: its connection is closed then, and its place given back."""
    left = [task for task in tasks if task is not None and not task.done()]
    for task in left:
        task.cancel()
    if left:
        await asyncio.gather(*left, return_exceptions=True)


def lose(ran: Race, won: Recorded, lost: Recorded) -> Tried:
    """Put the one that lost on record, before the one that won: it failed, or came second, or was given up."""
    other, lasted = (ran.second, ran.seconds[1]) if lost.beside else (ran.first, ran.seconds[0])
    by = won.ref if ran.taken.good or ran.speaker is not None else None
    first = f"{won.model.name} {'answered' if ran.speaker is None else 'was heard'} first"
    if other is None:
        usage = _overtaken(lost.model, ran.taken)
        lost.ended(AttemptEnd.CANCELLED, usage=usage, latency_s=lasted, superseded_by=by)
        return beside(lost.model, first, usage, lasted)
    failed = AttemptEnd.FAILED if other.reply is None else AttemptEnd.REJECTED
    lost.ended(AttemptEnd.SUPERSEDED if other.good else failed, other, superseded_by=by)
    why = first if other.fault is None else other.fault.message
    return beside(lost.model, why, other.usage, other.seconds, other.fault)


def _overtaken(model: Model, winner: Called) -> Usage | None:
    """What a call that was given up is taken to have used: as much as the answer that overtook it.

    It errs on the dear side: the provider had all of the input, and how much it had written is not known.
    """
    if winner.usage is None:
        return None
    usage = Usage(tokens_in=winner.usage.tokens_in, tokens_out=winner.usage.tokens_out, estimated=True)
    return usage if model.price is None else model.price.charged(usage)
