"""What a consumer of a stream is told: pieces of text that belong to an attempt, and when to forget one. Pure.

An attempt that fails takes its text with it: `Retracted` comes before the first piece of the attempt that follows, so
that nobody joins the texts of two.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

__all__ = ["AttemptId", "Ended", "Joined", "Kind", "Piece", "Retracted", "StreamEvent"]

AttemptId: TypeAlias = tuple[int, ...]
"""An attempt of a call, as (epoch, n), never used again; later ones are greater. A stream of a step that was called
inside of another step's attempt has its own n behind them."""

Kind: TypeAlias = Literal["text", "thinking", "tool"]
"""Of the answer, of the thinking before it, or of a tool call's arguments."""


class Piece(NamedTuple):
    """Some more text. Pieces of one attempt come in order, and none twice."""

    key: str
    """The call's, as the journal has it."""
    attempt: AttemptId
    offset: int
    """Where it begins in the attempt's text of this kind, in bytes of UTF-8."""
    text: str
    kind: Kind = "text"
    lost: int = 0
    """Bytes right before it that this consumer never gets: it was so slow that they were no longer kept."""


class Retracted(NamedTuple):
    """Forget all that came of this attempt. Another one may follow, or the call fails."""

    key: str
    attempt: AttemptId
    why: str
    """The kind of fault, or `superseded`, `interrupted`, `given up`, `overridden`, `tidied`."""


class Ended(NamedTuple):
    """The call has its outcome, on disk: what came of this attempt is the answer."""

    key: str
    attempt: AttemptId
    bytes_total: int
    """Of its text."""
    finish_reason: str | None = None
    lost: int = 0
    """Bytes at its end that this consumer never gets."""


StreamEvent: TypeAlias = Piece | Retracted | Ended


class Joined:
    """The texts that a consumer has, call by call: pieces added, what was retracted forgotten.

    `add` raises ValueError for what must never come: a piece that does not join the one before it, or one of another
    attempt while the first one stands.
    """

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        """By key: the answer so far. Thinking and tool calls are not part of it."""
        self.ended: set[str] = set()
        self._attempts: dict[str, AttemptId] = {}
        self._sizes: dict[tuple[str, Kind], int] = {}

    def add(self, event: StreamEvent) -> None:
        """Take one event in."""
        key = event.key
        if key in self.ended and not isinstance(event, Retracted):
            raise ValueError(f"{key} has ended, and {event!r} came")
        if self._attempts.setdefault(key, event.attempt) != event.attempt:
            raise ValueError(f"{event!r} came, and attempt {self._attempts[key]} stands")
        match event:
            case Retracted():
                self._forget(key)
            case Ended():
                self.texts.setdefault(key, "")
                self.ended.add(key)
            case Piece():
                self._append(event)

    def _append(self, piece: Piece) -> None:
        at = self._sizes.get((piece.key, piece.kind), 0) + piece.lost
        if piece.offset != at:
            raise ValueError(f"{piece!r} does not begin at {at}")
        self._sizes[piece.key, piece.kind] = at + len(piece.text.encode())
        if piece.kind == "text":
            self.texts[piece.key] = self.texts.get(piece.key, "") + piece.text

    def _forget(self, key: str) -> None:
        self._attempts.pop(key)
        self.texts.pop(key, None)
        self.ended.discard(key)
        self._sizes = {at: size for at, size in self._sizes.items() if at[0] != key}
