"""What an outcome changes: the place comes back, and everybody learns from it. Pure: state in, state out."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NamedTuple

from ...core.faults import Fault, FaultKind
from . import breaker as breakers
from . import concurrency, limits
from .admission import Caller, Place
from .breaker import Verdict
from .concurrency import ConcurrencyRule
from .state import KEPT, NO_KEY, Held, Pulse, Rules, State

_PUSHBACK = frozenset({FaultKind.RATE_LIMITED, FaultKind.OVERLOADED, FaultKind.TIMED_OUT})
_SILENT = frozenset({FaultKind.TIMED_OUT, FaultKind.INTERRUPTED})
"""Nothing came back."""


class Outcome(NamedTuple):
    """How a call ended. `fault` None: with an answer. `tokens` are those used, input and output."""

    fault: Fault | None
    latency_s: float
    tokens: int


def settle(state: State, place: Place, outcome: Outcome, caller: Caller, rules: Rules) -> State:
    """The state without the call, and with what it taught."""
    name, now = place.deployment.name, caller.now
    said = breakers.verdict(outcome.fault.kind if outcome.fault else None)
    calls = state.in_flight(name).calls
    pulse = state.pulse(name)
    used = _counted(place, outcome, said)
    pulse = pulse._replace(minute=pulse.minute.add(0, used, now, limits.MINUTE))
    pulse = _heeded(pulse, outcome.fault, caller.keys.get(name, NO_KEY), now, rules)
    fresh = state.fresh(name)
    pending = fresh - 1 if outcome.latency_s < pulse.adaptive.fast_s else 0
    pulse = _adapted(pulse, outcome, _Round(place.began, max(fresh, 1), now), rules.concurrency)
    before = pulse.breaker
    after = breakers.ended(before, place.turn, said, now, luck=caller.luck, rule=rules.breaker, pending=pending)
    if after.turn != before.turn:
        pulse = pulse._replace(stale=max(calls - 1, 0))
        if after.is_open and outcome.fault is not None:
            restarted = concurrency.restarted(pulse.adaptive, now)
            pulse = pulse._replace(adaptive=restarted, opened_by=outcome.fault.kind.value)
    elif place.turn != before.turn:
        pulse = pulse._replace(stale=max(pulse.stale - 1, 0))
    return _given_back(state.with_pulse(name, pulse._replace(breaker=after), now), place, caller)


def swept(state: State, dead: Collection[str], now: float) -> State:
    """Without the calls of processes that are gone. What they had reserved counts as used: nobody knows better."""
    for owner in dead:
        if owner not in state.holders:
            continue
        for name, held in state.holders[owner].held.items():
            pulse = state.pulse(name)
            minute = pulse.minute.add(0, held.tokens, now, limits.MINUTE)
            freed = breakers.forgotten(pulse.breaker, owner)
            state = state.with_pulse(name, pulse._replace(minute=minute, breaker=freed), now)
        state = state._replace(holders={o: h for o, h in state.holders.items() if o != owner})
    return state


def reopened(state: State, deployment: str, now: float) -> State:
    """A person has acted: the deployment takes calls again, as if nothing had been against it."""
    pulse = state.pulse(deployment)
    breaker = breakers.Breaker(turn=pulse.breaker.turn + 1)
    fresh = pulse._replace(breaker=breaker, closed_until=-math.inf, shut_until=-math.inf, shut_key="", unanswered=0)
    fresh = fresh._replace(stale=state.in_flight(deployment).calls)
    return state.with_pulse(deployment, fresh, now)


def _counted(place: Place, outcome: Outcome, said: Verdict) -> int:
    """Tokens that the provider may have counted: all that were reserved, unless an answer says how many."""
    if outcome.fault is None or (said is Verdict.ANSWERED and outcome.tokens > 0):
        return max(outcome.tokens, 0)
    return max(outcome.tokens, place.tokens)


def _heeded(pulse: Pulse, fault: Fault | None, key: str, now: float, rules: Rules) -> Pulse:
    """A refused key shuts the deployment for all who use that key; a Retry-After closes it for everybody."""
    if fault is None:
        return pulse
    if fault.kind is FaultKind.UNAUTHORISED:
        return pulse._replace(shut_until=now + rules.shut_s, shut_key=key)
    if fault.retry_after_s:
        until = now + min(fault.retry_after_s, rules.retry_after_max_s)
        return pulse._replace(closed_until=max(pulse.closed_until, until))
    return pulse


class _Round(NamedTuple):
    """When a call began, the calls at that deployment with it, and when it ended."""

    began: float
    in_flight: int
    now: float


def _adapted(pulse: Pulse, outcome: Outcome, call: _Round, rule: ConcurrencyRule) -> Pulse:
    kind = outcome.fault.kind if outcome.fault else None
    if kind not in _SILENT:
        pulse = pulse._replace(unanswered=0)
    if kind in _PUSHBACK:
        return pulse._replace(adaptive=concurrency.pushed_back(pulse.adaptive, **call._asdict(), rule=rule))
    latency_s = max(outcome.latency_s, 0.0)
    if kind is FaultKind.INTERRUPTED and latency_s > (pulse.p95_s() or math.inf):
        # Given up, by a hedge say, when it was among the slowest: without it they would seem faster than they are.
        return pulse._replace(latencies_ms=(*pulse.latencies_ms[1 - KEPT :], round(latency_s * 1000)))
    if breakers.verdict(kind) is not Verdict.ANSWERED:
        return pulse
    adaptive = concurrency.answered(pulse.adaptive, latency_s, **call._asdict(), rule=rule)
    return pulse._replace(adaptive=adaptive, latencies_ms=(*pulse.latencies_ms[1 - KEPT :], round(latency_s * 1000)))


def _given_back(state: State, place: Place, caller: Caller) -> State:
    holder = state.holders.get(caller.owner)
    own = holder.held.get(place.deployment.name) if holder else None
    if own is None:
        return state
    left = Held(max(own.calls - 1, 0), max(own.tokens - place.tokens, 0))
    return state.with_held(caller.owner, place.deployment.name, left, caller.now)
