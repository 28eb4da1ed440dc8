"""The world outside of the engine: it remembers what was done to it, whatever becomes of the process that did it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from segue import Applied, NotApplied, Retry, step, step_scope
from segue.core.codec import loads
from segue.core.events import Event, EventType
from segue.core.replay import UNDER_WAY
from segue.testing import Engine

_OUTCOMES = (EventType.STEP_COMPLETED, EventType.STEP_FAILED)
_AFTER_STUCK = (EventType.RUN_STARTED, EventType.RUN_CANCELLED)


@dataclass
class Witness:
    """An outside log. It sees each call and each effect, and looks into the journal as they happen."""

    engine: Engine | None = None
    calls: list[tuple[str, str, int]] = field(default_factory=list[tuple[str, str, int]])
    """Run, key and number of each attempt that was begun."""
    effects: list[tuple[str, str, Any]] = field(default_factory=list[tuple[str, str, Any]])
    """Idempotency key, tag and nonces of each effect that was applied."""
    wrong: list[str] = field(default_factory=list[str])
    nonces: int = 0

    @property
    def alive(self) -> bool:
        """Whether the process that runs now can still do something to the world."""
        return self.engine is not None and not self.engine.dead

    def begin(self, *, in_thread: bool = False) -> None:
        """A step's body begins. Raises CancelledError in a process that is dead. A thread that is about to begin cannot
        be stopped by what somebody says of its step meanwhile.
        """
        if not self.alive:
            raise asyncio.CancelledError
        scope = step_scope()
        if self._events(scope.run, scope.key, *_OUTCOMES, but_said=in_thread):
            self.wrong.append(f"{scope.key} of {scope.run} has an outcome and ran again")
        self.calls.append((scope.run, scope.key, scope.attempt))

    def nonce(self) -> int:
        """A number that no other execution gets."""
        self.nonces += 1
        return self.nonces

    def apply(self, tag: str, nonces: Any) -> None:
        """An effect reaches the world. All that it is made of must be in the journal by now."""
        if not self.alive:
            raise asyncio.CancelledError
        scope = step_scope()
        stored = {v for (v,) in self._db.execute("select value from events where type = ?", (_OUTCOMES[0],))}
        for n in nonces if isinstance(nonces, list) else [nonces]:
            if str(n).encode() not in stored:
                self.wrong.append(f"nonce {n} reached {tag} and is not in the journal")
        self.effects.append((scope.idempotency_key, tag, nonces))

    def applied(self, tag: str) -> bool:
        """Whether an effect reached the world."""
        return any(t == tag for _, t, _ in self.effects)

    def check(self, engine: Engine, *, once: str = "once:") -> None:
        """What must hold at the end of any play, however often it was killed."""
        assert self.wrong == []
        reader = engine.reader
        for row in reader.runs("1", limit=1000):
            assert row.state in ("completed", "failed", "cancelled"), f"{row.id} is {row.state}: {row.detail}"
            check_order(row.id, list(reader.events(row)))
        assert reader.items() == []
        by_key: dict[tuple[str, str], set[str]] = {}
        for idem, tag, nonces in self.effects:
            by_key.setdefault((idem, tag), set()).add(repr(nonces))
        for (idem, tag), seen in by_key.items():
            assert len(seen) == 1, f"{idem} applied {tag} with different values: {seen}"
        counts = Counter(tag for _, tag, _ in self.effects if tag.startswith(once))
        assert all(n == 1 for n in counts.values()), f"applied more than once: {counts}"

    @property
    def _db(self) -> sqlite3.Connection:
        assert self.engine is not None
        return self.engine.connection

    def _events(self, run: str, key: str, *types: str, but_said: bool = False) -> bool:
        marks = ", ".join("?" * len(types))
        return bool(
            self._db.execute(
                "select 1 from events where key = ? and run = (select no from runs where id = ?)"
                f" and type in ({marks}) and coalesce(attempt, 1) >= ?",
                (key, run, *types, int(but_said)),
            ).fetchall()
        )


def check_order(run: str, events: list[Event]) -> None:
    """`seq` has no gaps, outcomes come once, nothing but feedback follows the end."""
    assert [e.seq for e in events] == list(range(events[0].seq, events[0].seq + len(events))), run
    ends = [i for i, e in enumerate(events) if e.type in ("run.completed", "run.failed", "run.cancelled")]
    assert ends == [len(events) - 1], f"{run}: {[e.type for e in events]}"
    outcomes = Counter(e.key for e in events if e.type in _OUTCOMES)
    assert all(n == 1 for n in outcomes.values()), f"{run}: two outcomes of one step: {outcomes}"
    tries = Counter((e.key, e.attempt) for e in events if e.type == EventType.ATTEMPT_STARTED)
    assert all(n == 1 for n in tries.values()), f"{run}: an attempt's number was used twice: {tries}"
    check_doubts(run, events)


def check_doubts(run: str, events: list[Event]) -> None:
    """No run is set aside, or ends, without naming its effects in doubt; only a word lets a blind one begin again."""
    begun, told = set[str](), set[str]()
    for event, following in zip(events, [*events[1:], None], strict=True):
        key, body = event.key or "", {} if event.body is None else loads(event.body)
        match event.type:
            case EventType.ATTEMPT_STARTED if body.get("effect") == "once":
                assert key not in begun or "blindly" not in key, f"{run}: {key} began again, and nobody had said it may"
                begun.add(key)
                told.discard(key)
            case EventType.STEP_COMPLETED | EventType.STEP_FAILED:
                begun.discard(key)
            case EventType.STEP_CANCELLED if body.get("applied") is False:
                begun.discard(key)
            case EventType.OPERATOR_ACTED if body.get("act") == "retry" and body.get("details") != UNDER_WAY:
                begun.discard(key)
            case EventType.RUN_STUCK:
                told = set(body.get("unknown", {}))
                assert begun == told, f"{run}: {begun} are in doubt, but it says {body}"
                assert following is None or following.type in _AFTER_STUCK, f"{run}: {following}"
            case _:
                pass
    assert begun <= told, f"{run}: nobody knows what came of {begun - told}"


witness = Witness()


def reset() -> Witness:
    """A new world. The module's one is renewed in place, so that steps find it."""
    witness.__init__()
    return witness


@step
async def draw(tag: str) -> int:
    """A fresh number in each execution: a result that cannot be had twice."""
    witness.begin()
    return witness.nonce()


@step
def draw_in_thread(tag: str) -> int:
    witness.begin()
    return witness.nonce()


@step
async def publish(tag: str, nonces: list[int]) -> int:
    witness.begin()
    witness.apply(tag, nonces)
    return witness.nonce()


@step(retry=Retry(attempts=4, backoff_s=1.0))
async def stumble(tag: str, good_at: int) -> int:
    """Fails until its n-th attempt."""
    witness.begin()
    if step_scope().attempt < good_at:
        raise ConnectionError(tag)
    return witness.nonce()


async def was_it_applied(tag: str, nonce: int) -> Applied | NotApplied:
    """Asks the world."""
    return Applied(nonce) if witness.applied(tag) else NotApplied()


@step(effect="once", reconcile=was_it_applied)
async def pay(tag: str, nonce: int) -> int:
    witness.begin()
    witness.apply(tag, nonce)
    await asyncio.sleep(0.1)
    return nonce


@step(effect="once")
async def pay_blindly(tag: str, nonce: int) -> int:
    witness.begin()
    witness.apply(tag, nonce)
    await asyncio.sleep(0.1)
    return nonce
