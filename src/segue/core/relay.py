"""What of a stream may go to a consumer that cannot be told to forget: a state machine. Pure.

    relay.take(event, now)              # for each event of one call
    text = relay.ready(now)             # what may go out now; at `relay.due` there may be more
    relay.sent(text)                    # it went out
    relay.broken, relay.ended           # why no more will come; that all has come

The first bytes are held back for a while, so that an early failure is not seen. What has gone out stands: text of
another attempt goes out only if it begins with exactly what went out, as that of an attempt does which was given it to
go on from.

Calls that follow each other, as the rounds of a question with tools do, are heard one after the other: what one has
said stands once it has ended.
"""

from __future__ import annotations

from typing import Literal

from .closing import Closing
from .streams import AttemptId, Ended, Piece, Retracted, StreamEvent

__all__ = ["Relay"]


class Relay:
    """The stream of a call, and of those after it. `now` is in seconds, on any clock.

    With `rescue="continue"` it waits for an attempt that goes on from what went out, with `fail` it is broken when the
    attempt is that it was from. `plain` says that the answer is text: within JSON, and within a tool call, it is always
    `fail`. Nothing of a `whole` answer goes out before its end, nor of JSON that does not begin as an object, nor what
    follows an object: that may be a wrapping, a code fence or words, which are no part of it, and are gone by the end.
    With `rounds` other calls may follow, of which the last one gives the JSON: what would wait for the end of its call
    waits for `finish`, and is dropped where another call begins. An object that was out by then breaks it.
    """

    def __init__(
        self, *, hold_ms: int = 0, rescue: Literal["fail", "continue"] = "fail", plain: bool = True,
        whole: bool = False, rounds: bool = False,
    ):  # fmt: skip
        self._hold_s, self._continues = hold_ms / 1000, rescue == "continue" and plain
        self._plain, self._whole, self._more = plain, whole, rounds and not plain
        self.broken: str | None = None
        """Why what has gone out will never be an answer."""
        self.key = ""
        """The call that is heard now."""
        self.ended = False
        """Whether all of it has come."""
        self.attempt: AttemptId | None = None
        """Its attempt that is heard now."""
        self.out = ""
        """What of it has gone out."""
        self._begin()

    @property
    def due(self) -> float | None:
        """When what is held may go out; None where nothing is held, or all of it to the end."""
        held = self._since is not None and not self.out and not self._over and not self._waits
        return self._since + self._hold_s if held and self._since is not None else None

    def take(self, event: StreamEvent, now: float) -> None:
        """Hear one event. Nothing is heard of a call after its end, of another one before that, and once broken."""
        over = self.ended or not (self._heard or self.out)
        if event.key != self.key and over and not isinstance(event, Retracted):
            if self.out and not self._plain:
                return self._break("another call followed, and what went out was not the answer")
            self.key, self.ended, self.attempt, self.out = event.key, False, None, ""
            self._begin()
        if self.broken is not None or self.ended or event.key != self.key:
            return None
        match event:
            case Piece():
                return self._hear(event, now)
            case Retracted():
                return self._forget(event)
            case Ended():
                return self._end(event)

    def finish(self) -> None:
        """No other call follows."""
        self._more = False

    def ready(self, now: float) -> str:
        """What may go out now."""
        due = self.due
        held = self._waits if due is None else now < due
        if self.broken is not None or self._since is None or held:
            return ""
        upto = None if self._plain or self.ended else self._object.at
        return self._heard[len(self.out) : upto] if self._heard.startswith(self.out) else ""

    def sent(self, text: str) -> None:
        """So much of what was ready has gone out."""
        self.out += text

    @property
    def _over(self) -> bool:
        return self.ended or self.broken is not None

    @property
    def _waits(self) -> bool:
        """Whether nothing may go out before the end, of its call or of all."""
        if self.broken is not None or (self.ended and not self._more):
            return False
        return self._whole or not (self._plain or self._heard.startswith("{"))

    def _hear(self, piece: Piece, now: float) -> None:
        if piece.attempt != self.attempt:
            self.attempt = piece.attempt
            self._begin()
        self._tools = self._tools or piece.kind == "tool"
        if piece.kind != "text":
            return
        if piece.offset != self._size or piece.lost:
            return self._break("some of it was lost")
        self._since = now if self._since is None else self._since
        said = piece.text if self._plain or self._heard else piece.text.lstrip()
        self._heard += said
        if self._heard.startswith("{"):
            self._object.hear(said)
        self._size += len(piece.text.encode())
        if not (self._heard.startswith(self.out) or self.out.startswith(self._heard)):
            return self._break("the attempt that followed gave another answer")
        return None

    def _forget(self, event: Retracted) -> None:
        tools, tidied = self._tools, event.why == "tidied"
        if event.attempt == self.attempt:
            self._begin()
            self._tools = tools and tidied  # its text comes anew, its calls do not
        if self.out and (tools or not self._continues) and not tidied:
            self._break(event.why)

    def _begin(self) -> None:
        self._heard, self._object, self._size, self._tools = "", Closing(), 0, False
        self._since: float | None = None

    def _end(self, event: Ended) -> None:
        if event.lost or event.bytes_total != self._size or not self._heard.startswith(self.out):
            return self._break("some of it was lost")
        self.ended = True
        return None

    def _break(self, why: str) -> None:
        self.broken = why
