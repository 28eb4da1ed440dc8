"""The side channel of one process: what the streams that are open have said so far.

It holds the text of open attempts and nothing per consumer: each consumer has a place in that text (`Cursor`) and takes
what came since, as one piece. So a slow one holds nobody up and costs nothing; it only gets larger pieces, and misses
attempts that came and went meanwhile. Any thread may write.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal, NamedTuple

from ..core.streams import AttemptId, Kind, Piece

__all__ = ["KEPT", "SHELF", "Cursor", "Live", "Said"]

KEPT = 1 << 20
"""Characters of one attempt that are kept; of a longer one the beginning is dropped."""
SHELF = 256
"""Attempts that are over and still kept, for consumers that are a little behind."""
_JOIN = 4096


class _Segment(NamedTuple):
    kind: Kind
    start: int
    """In characters, over all kinds."""
    offset: int
    """In bytes, of its kind."""
    text: str


@dataclass(slots=True)
class Cursor:
    """How far a consumer is in one attempt."""

    chars: int = 0
    sizes: dict[Kind, int] = field(default_factory=dict[Kind, int])
    """Bytes by kind, those included that it has missed."""


@dataclass(slots=True)
class Said:
    """What one attempt has said. `turn` counts how often the same attempt began anew."""

    key: str
    attempt: AttemptId
    turn: int = 0
    state: Literal["open", "closed", "retracted"] = "open"
    why: str = ""
    before: str = "superseded"
    """Why the attempt before this one is void."""
    sizes: dict[Kind, int] = field(default_factory=dict[Kind, int])
    _segments: list[_Segment] = field(default_factory=list[_Segment])
    _chars: int = 0

    def add(self, text: str, kind: Kind, kept: int, lost: int = 0) -> None:
        """More of it, after `lost` bytes that are not here."""
        self.sizes[kind] = self.sizes.get(kind, 0) + lost
        last = self._segments[-1] if self._segments else None
        if last is not None and last.kind == kind and not lost and len(last.text) < _JOIN:
            self._segments[-1] = last._replace(text=last.text + text)
        else:
            self._segments.append(_Segment(kind, self._chars, self.sizes.get(kind, 0), text))
        self._chars += len(text)
        self.sizes[kind] = self.sizes.get(kind, 0) + len(text.encode())
        while len(self._segments) > 1 and self._chars - self._segments[1].start >= kept:
            del self._segments[0]

    def since(self, cursor: Cursor) -> list[Piece]:
        """What has come since, in one piece for each change of kind; the cursor moves on."""
        pieces: list[Piece] = []
        for segment in reversed(self._segments):
            if segment.start + len(segment.text) <= cursor.chars:
                break
            skipped = segment.text[: max(0, cursor.chars - segment.start)]
            offset = segment.offset + len(skipped.encode())
            pieces.append(Piece(self.key, self.attempt, offset, segment.text[len(skipped) :], segment.kind))
        cursor.chars = self._chars
        return [_placed(piece, cursor.sizes) for piece in _merged(pieces[::-1])]

    @property
    def text(self) -> str:
        """The answer so far; "" where its beginning is no longer kept."""
        whole = bool(self._segments) and self._segments[0].start == 0
        return "".join(s.text for s in self._segments if s.kind == "text") if whole else ""

    def clear(self) -> None:
        """Let go of the text."""
        self._segments.clear()


def _placed(piece: Piece, sizes: dict[Kind, int]) -> Piece:
    """With what was lost before it."""
    lost = piece.offset - sizes.get(piece.kind, 0)
    sizes[piece.kind] = piece.offset + len(piece.text.encode())
    return piece._replace(lost=lost) if lost else piece


def _merged(pieces: list[Piece]) -> Iterator[Piece]:
    held: Piece | None = None
    for piece in pieces:
        joins = held is not None and held.kind == piece.kind
        if joins and held is not None and held.offset + len(held.text.encode()) == piece.offset:
            held = held._replace(text=held.text + piece.text)
            continue
        if held is not None:
            yield held
        held = piece
    if held is not None:
        yield held


class Live:
    """The streams of one process, by run and key."""

    def __init__(self, *, kept: int = KEPT, shelf: int = SHELF):
        self._kept, self._shelf_size = kept, shelf
        self._runs: dict[str, dict[str, Said]] = {}
        self._shelf: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._watchers: dict[str, list[Callable[[], None]]] = {}
        self._released: dict[tuple[str, str], int] = {}
        self._lock = Lock()

    def say(self, run: str, key: str, attempt: AttemptId, text: str, kind: Kind = "text", *, lost: int = 0) -> None:
        """Publish a piece. What an older attempt of the call has said is superseded; one that is older is not heard."""
        with self._lock:
            said = self._current(run, key, attempt)
            if said is None:
                return
            said.add(text, kind, self._kept, lost)
        self._tell(run)

    def _current(self, run: str, key: str, attempt: AttemptId) -> Said | None:
        streams = self._runs.setdefault(run, {})
        said = streams.get(key)
        if said is not None and said.attempt == attempt and said.state == "open":
            return said
        if said is not None and attempt < said.attempt:
            return None
        turn = said.turn + 1 if said is not None and said.attempt == attempt else 0
        self._shelf.pop((run, key), None)
        streams[key] = made = Said(key, attempt, turn, before=(said and said.why) or "superseded")
        return made

    def close(self, run: str, key: str, attempt: AttemptId) -> None:
        """The attempt has said all; its outcome is about to be journaled."""
        self._over(run, key, attempt, "closed", "")

    def retract(self, run: str, key: str, attempt: AttemptId, why: str) -> None:
        """What the attempt has said is void."""
        self._over(run, key, attempt, "retracted", why)

    def _over(self, run: str, key: str, attempt: AttemptId, state: Literal["closed", "retracted"], why: str) -> None:
        with self._lock:
            said = self._runs.get(run, {}).get(key)
            if said is None or said.attempt != attempt or said.state == "retracted":
                return
            said.state, said.why = state, why
            if state == "retracted":
                said.clear()
            else:
                self._released.pop((run, key), None)
            self._shelf[run, key] = None
            while len(self._shelf) > self._shelf_size:
                self._remove(*next(iter(self._shelf)))
        self._tell(run)

    def drop(self, run: str, key: str | None = None) -> None:
        """Forget a stream, or all of a run."""
        with self._lock:
            for one in list(self._runs.get(run, ())) if key is None else [key]:
                self._remove(run, one)

    def _remove(self, run: str, key: str) -> None:
        self._shelf.pop((run, key), None)
        self._released.pop((run, key), None)
        streams = self._runs.get(run, {})
        streams.pop(key, None)
        if not streams:
            self._runs.pop(run, None)

    def streams(self, run: str) -> dict[str, Said]:
        """What there is of a run, by key."""
        with self._lock:
            return dict(self._runs.get(run, ()))

    def since(self, said: Said, cursor: Cursor) -> list[Piece]:
        """What one stream has said since."""
        with self._lock:
            return said.since(cursor)

    def text(self, run: str, key: str, attempt: AttemptId) -> str:
        """The answer that an open attempt has given so far; "" where its beginning is no longer kept."""
        with self._lock:
            said = self._runs.get(run, {}).get(key)
            return said.text if said is not None and said.attempt == attempt else ""

    # consumers that cannot be told to forget

    def release(self, run: str, key: str, attempt: AttemptId, size: int) -> bool:
        """So many bytes of a call's text are about to go to a consumer that cannot be told to forget them.

        False where the attempt that said them is void already: then nothing may go.
        """
        with self._lock:
            said = self._runs.get(run, {}).get(key)
            if said is not None and (said.attempt != attempt or said.state == "retracted"):
                return False
            if said is not None and said.state == "open":
                self._released[run, key] = size
            return True

    def released(self, run: str, key: str) -> int:
        """How much has gone to such a consumer; 0 where there is none."""
        return self._released.get((run, key), 0)

    # who follows

    @contextmanager
    def watched(self, run: str, changed: Callable[[], None]) -> Generator[None]:
        """Call `changed` whenever something of the run changes, from the thread that changes it."""
        self._watchers.setdefault(run, []).append(changed)
        try:
            yield
        finally:
            watchers = self._watchers[run]
            watchers.remove(changed)
            if not watchers:
                del self._watchers[run]

    def _tell(self, run: str) -> None:
        for changed in tuple(self._watchers.get(run, ())):
            changed()
