"""One consumer of a run's streams: joins what the journal says with what is said live, into events in order. Pure.

The journal says how calls ended, and has the final text; the side channel (`Live`) has what open attempts say. Either
may be ahead of the other: what counts is the attempt.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple, cast

from ..core.codec import loads
from ..core.events import Event, EventType
from ..core.faults import Fault
from ..core.records import StreamEnd, record_of
from ..core.streams import AttemptId, Ended, Piece, Retracted, StreamEvent
from .live import Cursor, Live, Said

__all__ = ["Follower"]

_OVER = 4096
"""Calls that have ended and are remembered as that: what is said live may lag behind."""


class _End(NamedTuple):
    attempt: AttemptId
    record: StreamEnd


@dataclass(slots=True)
class _Begun:
    """An attempt of which the consumer has something."""

    attempt: AttemptId
    turn: int
    cursor: Cursor = field(default_factory=Cursor)
    lost: bool = False
    hash: blake2b = field(default_factory=lambda: blake2b(digest_size=16))
    """Of the text that it has: whether the final text begins with that."""


class Follower:
    """What one consumer has been told. `key` is the only call that it follows, with what is called inside of it;
    `replaced` are the calls whose results a fork was given: what their steps once said is not their text.
    """

    def __init__(self, key: str | None = None, replaced: Collection[str] = ()):
        self._key, self._replaced = key, replaced
        self._begun: dict[str, _Begun] = {}
        self._ends: dict[str, dict[str, _End]] = {}
        """Of calls without an outcome, by their streams."""
        self._over: OrderedDict[str, None] = OrderedDict()
        self._epoch = 0
        """The incarnation of the run: what an earlier one has said is void, also where it comes only now."""

    def wants(self, key: str | None) -> bool:
        """Whether it follows a call."""
        return key is not None and (self._key is None or key == self._key or key.startswith(f"{self._key}/"))

    @property
    def awaits(self) -> bool:
        """Whether an attempt has said all, and its outcome may be on disk any moment."""
        return bool(self._ends)

    def closing(self, live: Live, run: str) -> bool:
        """Whether an attempt that it has begun has said all."""
        streams = live.streams(run)
        return any(k in streams and streams[k].state == "closed" for k in self._begun)

    def prune(self, live: Live, run: str) -> None:
        """Forget what is no longer there: for a consumer that has no journal to tell it of ends."""
        streams = live.streams(run)
        self._begun = {key: begun for key, begun in self._begun.items() if key in streams}

    # what is said live

    def live(self, live: Live, run: str) -> Iterator[StreamEvent]:
        """What has been said since."""
        for key, said in live.streams(run).items():
            if self.wants(key) and key not in self._over:
                yield from self._catch_up(live, said)

    def _catch_up(self, live: Live, said: Said) -> Iterator[StreamEvent]:
        begun = self._begun.get(said.key)
        if said.attempt[0] < self._epoch:
            return
        if begun is not None and (said.attempt, said.turn) < (begun.attempt, begun.turn):
            return
        if said.state == "retracted":
            same = begun is not None and begun.attempt == said.attempt
            yield from self._retract(said.key, said.why if same else "superseded")
            return
        if begun is None or (begun.attempt, begun.turn) != (said.attempt, said.turn):
            yield from self._retract(said.key, said.before)
            begun = self._begun[said.key] = _Begun(said.attempt, said.turn)
        for piece in live.since(said, begun.cursor):
            if piece.kind == "text":
                begun.hash.update(piece.text.encode())
                begun.lost = begun.lost or piece.lost > 0
            yield piece

    def _retract(self, key: str, why: str) -> Iterator[Retracted]:
        begun = self._begun.pop(key, None)
        if begun is not None:
            yield Retracted(key, begun.attempt, why)

    # what the journal says

    def journal(self, event: Event, live: Live, run: str) -> Iterator[StreamEvent]:
        """What an event means for the consumer."""
        key = event.key or ""
        if event.type == EventType.RUN_STARTED:
            self._epoch = event.epoch
            for one in [k for k, b in self._begun.items() if b.attempt[0] < event.epoch]:
                yield from self._retract(one, "interrupted")
        elif not self.wants(key):
            return
        elif event.type == EventType.STREAM_ENDED:
            record = cast("StreamEnd", record_of(event))
            attempt = (event.epoch, event.attempt or 0, record.n) if record.part else (record.epoch, record.n)
            self._ends.setdefault(key, {})[record.part] = _End(attempt, record)
        elif event.type == EventType.ATTEMPT_FAILED:
            yield from self._failed(key, (event.epoch, event.attempt or 0), Fault.read(loads(event.body)["fault"]))
        elif event.type == EventType.STEP_COMPLETED:
            yield from self._completed(event, live, run)
        elif event.type in (EventType.STEP_FAILED, EventType.STEP_CANCELLED):
            why = "given up"
            if event.type == EventType.STEP_FAILED:
                why = Fault.read(loads(event.body)["fault"]).kind.value
            yield from self._gone(key, why)

    def _failed(self, key: str, attempt: AttemptId, fault: Fault) -> Iterator[Retracted]:
        self._ends.pop(key, None)
        for one in self._of(key):
            if self._begun[one].attempt[:2] == attempt:
                yield from self._retract(one, fault.kind.value)

    def _gone(self, key: str, why: str) -> Iterator[Retracted]:
        self._ends.pop(key, None)
        for one in self._of(key):
            yield from self._retract(one, why)
        self._done(key)

    def _of(self, key: str) -> list[str]:
        """The streams of a call of which the consumer has something."""
        return [k for k in self._begun if k == key or k.startswith(f"{key}/")]

    def _completed(self, event: Event, live: Live, run: str) -> Iterator[StreamEvent]:
        key, ends = event.key or "", self._ends.pop(event.key or "", {})
        value = event.value if ends and key not in self._replaced else None
        for part, end in ends.items():
            if value is not None and not end.record.retracted and end.attempt[1] == event.attempt:
                yield from self._ended(f"{key}/{part}" if part else key, end, value, live, run)
        for one in self._of(key):
            yield from self._retract(one, "overridden" if not event.attempt else "superseded")
        self._done(key)

    def _ended(self, key: str, end: _End, value: bytes, live: Live, run: str) -> Iterator[StreamEvent]:
        """The rest of the text, and the end."""
        said = live.streams(run).get(key)
        if said is not None and _same(said.attempt, end.attempt) and said.state != "retracted":
            yield from self._catch_up(live, said)
        begun, attempt = self._begun.get(key), end.attempt
        text = _text_at(value, end.record.text_at)
        if begun is not None and not (_same(begun.attempt, attempt) and _begins(text, begun)):
            yield from self._retract(key, "tidied" if _same(begun.attempt, attempt) else "superseded")
            begun = None
        attempt = attempt if begun is None else begun.attempt
        had = 0 if begun is None else begun.cursor.sizes.get("text", 0)
        if text is not None and had < end.record.bytes_total:
            rest = text.encode()[had:].decode(errors="replace")
            yield Piece(key, attempt, had, rest)
            had += len(rest.encode())
        self._begun.pop(key, None)
        self._done(key)
        record = end.record
        yield Ended(key, attempt, record.bytes_total, record.finish_reason, max(0, record.bytes_total - had))

    def _done(self, key: str) -> None:
        self._over[key] = None
        while len(self._over) > _OVER:
            self._over.popitem(last=False)


def _same(one: AttemptId, other: AttemptId) -> bool:
    """Whether two are one attempt. The record of a stream deep inside of a call does not say what stands between."""
    return one[:2] == other[:2] and one[-1] == other[-1]


def _begins(text: str | None, begun: _Begun) -> bool:
    """Whether the final text begins with what the consumer has; where it is not kept, or something was lost, as far
    as can be told.
    """
    if text is None:
        return True
    had = text.encode()[: begun.cursor.sizes.get("text", 0)]
    return begun.lost or blake2b(had, digest_size=16).digest() == begun.hash.digest()


def _text_at(value: bytes, pointer: str | None) -> str | None:
    """The text at a JSON Pointer (RFC 6901) of a result; None where there is none."""
    if pointer is None:
        return None
    found: Any = json.loads(value)
    for step in pointer.split("/")[1:]:
        try:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found[int(step) if isinstance(cast("object", found), list) else name]
        except (LookupError, TypeError, ValueError):
            return None
    return found if isinstance(found, str) else None
