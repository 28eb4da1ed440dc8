"""A circuit breaker: closed, open, half-open. Pure.

It opens after `streak` failures in a row, or when at least half of the calls of the last half minute failed. Failures
that come faster than answers do say nothing of the calls in flight: in a row are then as many as those. Then
nothing is sent for a pause, which doubles with each opening. After it, one call is let through, the probe: its answer
closes the breaker, its failure opens it again. An outcome counts only for the turn that its call began in, so that
calls from before an opening neither close it nor open it once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from ...core.faults import FaultKind
from .window import Span, Window

RECENT = Span(5.0, 7)
"""Half a minute of answers and failures."""


class Verdict(Enum):
    """What an outcome says about the one who was called."""

    ANSWERED = "answered"
    FAILED = "failed"
    NOTHING = "nothing"


_FAILED = frozenset(
    {
        FaultKind.RATE_LIMITED,
        FaultKind.OVERLOADED,
        FaultKind.TIMED_OUT,
        FaultKind.UNREACHABLE,
        FaultKind.TOOL_FAILED,
    }
)
_NOTHING = frozenset({FaultKind.INTERRUPTED, FaultKind.BUDGET_EXCEEDED, FaultKind.BUG, FaultKind.UNAUTHORISED})


def verdict(kind: FaultKind | None) -> Verdict:
    """What a call's outcome says of its deployment. A refusal or a poor answer is an answer: the server works.

    A refused key is no matter of a breaker: it lasts until somebody acts.
    """
    if kind in _FAILED:
        return Verdict.FAILED
    return Verdict.NOTHING if kind in _NOTHING else Verdict.ANSWERED


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakerRule:
    """When a breaker opens, and for how long."""

    streak: int = 5
    """Failures in a row that open it."""
    calls: int = 20
    """Calls of the last half minute that a share is judged by."""
    share: float = 0.5
    """Share of failures among them that opens it."""
    pause_s: float = 1.0
    """Seconds of the first pause."""
    pause_max_s: float = 60.0
    settled_s: float = 60.0
    """Seconds closed after which an opening counts as the first again."""
    probe_s: float = 120.0
    """Seconds after which a probe that has not come back no longer holds the place."""


class Breaker(NamedTuple):
    """The state of one breaker. Times are the clock's, in seconds."""

    turn: int = 0
    """Counts the changes between open and closed."""
    is_open: bool = False
    until: float = 0.0
    """When open: no call before this time."""
    openings: int = 0
    """Openings in a row."""
    closed_at: float = 0.0
    streak: int = 0
    recent: Window = Window()
    """All calls that said something, and those that failed."""
    prober: str = ""
    """Who has the probe; empty when nobody has."""
    probe_until: float = 0.0

    def wait_s(self, now: float) -> float:
        """Seconds until a call may go, 0 for now. While a probe is under way its end is unknown: asking again helps."""
        if not self.is_open:
            return 0.0
        if now < self.until:
            return self.until - now
        return min(self.probe_until - now, 0.25) if self.probing(now) else 0.0

    def probing(self, now: float) -> bool:
        """Whether somebody has the probe."""
        return self.is_open and bool(self.prober) and now < self.probe_until

    def error_rate(self, now: float) -> float:
        """The share of failures in the last half minute; 1 while it is open."""
        if self.is_open:
            return 1.0
        recent = self.recent.at(now, RECENT)
        return recent.second / recent.first if recent.first else 0.0

    def trust(self, now: float) -> float:
        """How likely the next call is answered, in (0, 1]: as if five more had been, so that one failure is not all."""
        recent = self.recent.at(now, RECENT)
        return 1.0 - recent.second / (recent.first + 5)


def began(breaker: Breaker, caller: str, now: float, rule: BreakerRule) -> Breaker:
    """A call is sent; in an open breaker it is the probe. `wait_s` was 0."""
    if not breaker.is_open:
        return breaker
    return breaker._replace(prober=caller, probe_until=now + rule.probe_s)


def ended(
    breaker: Breaker, turn: int, said: Verdict, now: float, *, luck: float, rule: BreakerRule, pending: int = 0
) -> Breaker:
    """A call that began in `turn` has ended. `luck` in [0, 1) spreads the pauses.

    `pending` calls of this turn may still be answered, where this one failed sooner than an answer comes.
    """
    if turn != breaker.turn:
        return breaker
    if breaker.is_open:
        return _probed(breaker, said, now, luck, rule)
    if said is Verdict.NOTHING:
        return breaker
    failed = said is Verdict.FAILED
    recent = breaker.recent.add(1, int(failed), now, RECENT)
    after = breaker._replace(recent=recent, streak=breaker.streak + 1 if failed else 0)
    trips = after.streak >= max(rule.streak, pending) or (
        recent.first >= rule.calls and recent.second >= rule.share * recent.first
    )
    return opened(after, now, luck, rule) if failed and trips else after


def opened(breaker: Breaker, now: float, luck: float, rule: BreakerRule) -> Breaker:
    """Open from now on, for a pause that doubles from one opening to the next."""
    in_a_row = breaker.is_open or now - breaker.closed_at <= rule.settled_s
    openings = breaker.openings + 1 if in_a_row else 1
    pause = min(rule.pause_s * 2.0 ** min(openings - 1, 30), rule.pause_max_s)
    return Breaker(breaker.turn + 1, True, now + pause * (0.75 + 0.5 * luck), openings, breaker.closed_at)


def forgotten(breaker: Breaker, caller: str) -> Breaker:
    """A caller is gone: the probe it may have had is free again."""
    return breaker._replace(prober="", probe_until=0.0) if breaker.prober == caller else breaker


def _probed(breaker: Breaker, said: Verdict, now: float, luck: float, rule: BreakerRule) -> Breaker:
    if said is Verdict.ANSWERED:
        return Breaker(turn=breaker.turn + 1, openings=breaker.openings, closed_at=now)
    if said is Verdict.FAILED:
        return opened(breaker, now, luck, rule)
    return breaker._replace(prober="", probe_until=0.0)
