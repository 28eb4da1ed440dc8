"""The stream of one attempt, from its own side: it publishes pieces, counts them, and ends on record."""

from __future__ import annotations

import json
import time
from hashlib import blake2b
from typing import TYPE_CHECKING

from ..core.faults import classify
from ..core.records import AttemptRef, StreamEnd, StreamFate
from ..core.streams import AttemptId, Kind
from .live import Live

if TYPE_CHECKING:
    from .scope import StepScope

__all__ = ["Outlet", "close", "digest", "void"]


class Outlet:
    """Publishes what one attempt says, under its key and attempt. Counts are of `text`, in bytes of UTF-8."""

    def __init__(self, live: Live, scope: StepScope):
        self._live, self.run, self.part = live, scope.run, scope.part
        self.key = f"{scope.key}/{scope.part}" if scope.part else scope.key
        self.attempt: AttemptId = scope.path
        self._ref = AttemptRef(epoch=scope.epoch, n=scope.attempt)
        self.bytes_total = self.chunks = 0
        self.retracted = self.recorded = False
        self.began = time.monotonic()
        self.ttft_s: float | None = None
        self._last, self._gap = self.began, 0.0
        self._hash = blake2b(digest_size=16)
        self.tools = False
        """Whether arguments of a tool were published."""

    def say(self, text: str, kind: Kind = "text") -> None:
        """Publish a piece."""
        if not text:
            return
        now = time.monotonic()
        if self.ttft_s is None:
            self.ttft_s = now - self.began
        else:
            self._gap = max(self._gap, now - self._last)
        self._last = now
        self.chunks += 1
        self.retracted = False
        self.tools = self.tools or kind == "tool"
        if kind == "text":
            data = text.encode()
            self.bytes_total += len(data)
            self._hash.update(data)
        self._live.say(self.run, self.key, self.attempt, text, kind)

    def retract(self, why: str) -> None:
        """Tell all consumers to forget it. What is said after it begins anew."""
        if self.chunks and not self.retracted:
            self._live.retract(self.run, self.key, self.attempt, why)
        self.retracted = self.chunks > 0

    def again(self, why: str, text: str) -> None:
        """Say another text in the place of what was said."""
        self.retract(why)
        self.bytes_total, self._hash = 0, blake2b(digest_size=16)
        self.say(text)

    def close(self) -> None:
        """All is said: the outcome is about to be journaled."""
        self._live.close(self.run, self.key, self.attempt)

    @property
    def hash(self) -> str:
        """Of its text."""
        return self._hash.hexdigest()

    @property
    def text(self) -> str:
        """What it has said so far, while it is open and as far as it is kept."""
        return self._live.text(self.run, self.key, self.attempt)

    @property
    def released(self) -> int:
        """How much of the call's text has gone to a consumer that cannot be told to forget it."""
        return self._live.released(self.run, self.key)

    def end(
        self, fate: StreamFate, *, text_at: str | None = None, finish_reason: str | None = None,
        ttft_s: float | None = None, held_ms: int | None = None, rescue: str | None = None,
        continues: AttemptRef | None = None, continues_at: int | None = None,
    ) -> StreamEnd:  # fmt: skip
        """Its end, for the record. Without a consumer that had to be held back, all of it counts as released."""
        self.recorded = True
        held, ttft_s = rescue is not None, self.ttft_s if ttft_s is None else ttft_s
        return StreamEnd(
            epoch=self._ref.epoch, n=self._ref.n, bytes_total=self.bytes_total, end=fate, chunks=self.chunks,
            finish_reason=finish_reason, ttft_s=None if ttft_s is None else round(ttft_s, 4),
            longest_gap_s=round(self._gap, 4) if self.chunks > 1 else None,
            bytes_released=min(self.released, self.bytes_total) if held else self.bytes_total, held_ms=held_ms,
            retracted=self.retracted, rescue=rescue, continues=continues, continues_at=continues_at, hash=self.hash,
            part=self.part, text_at=text_at,
        )  # fmt: skip


def close(scope: StepScope, value: bytes) -> None:
    """The attempt has its result: its streams end, on record. A text that is the result itself is kept as that."""
    for outlet in scope.outlets or ():
        if not outlet.recorded:
            same = not outlet.part and not outlet.retracted and value[:1] == b'"' and outlet.hash == _hash_of(value)
            scope.record(outlet.end(StreamFate.COMPLETE, text_at="" if same else None))
        outlet.close()


def void(scope: StepScope, raised: BaseException) -> None:
    """What a scope's attempt has published is void, with what was called inside of it: it failed, or was given up."""
    if not scope.outlets:
        return
    why = classify(raised).kind.value if isinstance(raised, Exception) else "given up"
    for outlet in scope.outlets:
        inside = not scope.part or outlet.part == scope.part or outlet.part.startswith(f"{scope.part}/")
        if inside and outlet.attempt[: len(scope.path)] == scope.path:
            outlet.retract(why)
            if not outlet.recorded:
                scope.record(outlet.end(StreamFate.ERROR))


def digest(text: str) -> str:
    """The hash of a text, as an outlet has it of its own."""
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _hash_of(value: bytes) -> str:
    return digest(json.loads(value))
