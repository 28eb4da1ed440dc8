"""How many calls at a time a deployment takes: additive increase, multiplicative decrease. Pure.

Nothing is assumed to begin with: the catalogue's limit holds, or none. Pushbacks (429, overloaded, timed out) halve
the calls that were in flight when they are more than a share of the last calls: a provider that refuses one in twelve,
however few it is sent, would else be held at two or three for ever. A rise of latency takes a little. Both cut once a
round: what began before the last cut says nothing about the limit since. Answers raise it, by one a call below the
threshold (slow start, after a breaker has closed: no herd), by one a round above it. The latency rule is that of
Netflix's gradient limit: a fast mean against a slow one, and never without load.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, kw_only=True, slots=True)
class ConcurrencyRule:
    """How fast the limit moves."""

    cut: float = 0.5
    """What pushbacks leave of the calls in flight."""
    bears: float = 0.2
    """The share of calls that may be pushed back without a cut: four in a row are more."""
    memory: int = 16
    """Calls that the share is a mean of, the last ones weighing most."""
    slow_cut: float = 0.85
    """What a rise of latency leaves."""
    slower: float = 3.0
    """The rise that counts: recent latency over the usual one."""
    samples: int = 30
    """Answers before latency is judged."""
    slow_floor: int = 4
    """Latency alone never takes it below this: answers are of different lengths."""
    most: int = 1000
    """A limit that has grown to this is none."""
    silence: float = 4.0
    """Stalled: calls in flight, and nothing back for this many times the 95th percentile of latency."""
    silence_min_s: float = 1.0
    silence_calls: int = 3
    """Calls in flight from which on silence says something."""


class Adaptive(NamedTuple):
    """What a deployment is believed to take."""

    limit: float = math.inf
    threshold: float = math.inf
    """Below it the limit grows by one an answer."""
    cut_at: float = -math.inf
    fast_s: float = 0.0
    slow_s: float = 0.0
    answers: int = 0
    pushed: float = 0.0
    """The share of the last calls that was pushed back."""

    def places(self, ceiling: int | None) -> int | None:
        """Calls at a time under the catalogue's limit; None: no limit is known."""
        if self.limit == math.inf:
            return ceiling
        return max(int(self.limit), 1) if ceiling is None else min(max(int(self.limit), 1), ceiling)


def answered(
    adaptive: Adaptive, latency_s: float, *, began: float, in_flight: int, now: float, rule: ConcurrencyRule
) -> Adaptive:
    """An answer came. `in_flight` counts the calls with this one."""
    n = adaptive.answers + 1
    fast = adaptive.fast_s + (latency_s - adaptive.fast_s) / min(n, 8)
    slow = adaptive.slow_s + (latency_s - adaptive.slow_s) / min(n, 200)
    pushed = adaptive.pushed * (1 - 1 / rule.memory)
    after = adaptive._replace(fast_s=fast, slow_s=slow, answers=min(n, 1_000_000), pushed=pushed)
    if began < adaptive.cut_at:
        return after
    if not _loaded(after, in_flight):  # few calls say nothing about many; after an outage each answer says something
        return _grown(after, rule) if after.limit < after.threshold else after
    if n >= rule.samples and fast > rule.slower * slow:
        return _cut(after, in_flight, now, share=rule.slow_cut, floor=rule.slow_floor)
    return _grown(after, rule)


def pushed_back(adaptive: Adaptive, *, began: float, in_flight: int, now: float, rule: ConcurrencyRule) -> Adaptive:
    """The other side had too much. `in_flight` counts the calls with this one."""
    if began < adaptive.cut_at:
        return adaptive
    after = adaptive._replace(pushed=adaptive.pushed + (1 - adaptive.pushed) / rule.memory)
    return _cut(after, in_flight, now, share=rule.cut, floor=1) if after.pushed > rule.bears else after


def restarted(adaptive: Adaptive, now: float) -> Adaptive:
    """After an outage: one call, then two, then four, up to half of the limit that was known before."""
    known = 1.0 < adaptive.limit < math.inf
    threshold = max(adaptive.limit / 2, 2.0) if known else adaptive.threshold
    return adaptive._replace(limit=1.0, threshold=threshold, cut_at=now)


def silent_s(in_flight: int, p95_s: float | None, rule: ConcurrencyRule) -> float:
    """Seconds without any answer from which on a deployment with calls in flight counts as stalled."""
    if p95_s is None or in_flight < rule.silence_calls:
        return math.inf
    return max(rule.silence * p95_s, rule.silence_min_s)


def _loaded(adaptive: Adaptive, in_flight: int) -> bool:
    """Whether the limit is in use: only then do answers say something about it."""
    return in_flight >= 2 if adaptive.limit == math.inf else 2 * in_flight >= adaptive.limit


def _cut(adaptive: Adaptive, in_flight: int, now: float, *, share: float, floor: int) -> Adaptive:
    limit = max(min(adaptive.limit, in_flight) * share, min(floor, adaptive.limit))
    return adaptive._replace(limit=limit, threshold=limit, cut_at=now, pushed=0.0)


def _grown(adaptive: Adaptive, rule: ConcurrencyRule) -> Adaptive:
    if adaptive.limit == math.inf:
        return adaptive
    slow_start = adaptive.limit < adaptive.threshold
    limit = adaptive.limit + (1.0 if slow_start else 1.0 / adaptive.limit)
    return adaptive._replace(limit=math.inf if limit >= rule.most else limit)
