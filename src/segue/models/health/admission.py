"""Whether a call may go, and to which deployment of the pool. Pure: state in, state out.

Each deployment is asked for its `Offer`: what it would take now, or how long to wait and why. One whose breaker wants
to be tried goes first, with one call; else the choice is by chance, by weight, health and free places, so that
neither one process nor several together rush to the same place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from . import breaker as breakers
from . import budget as budgets
from . import concurrency, limits
from .state import NO_KEY, Deployment, Held, Model, Pulse, Rules, State
from .window import merged


class Standing(StrEnum):
    """How a deployment or a model stands, from the best to the worst."""

    OPEN = "open"
    PROBING = "probing"
    """Half-open: one call may find out whether it works again."""
    BUSY = "busy"
    """All places or the minute's requests or tokens are taken."""
    STALLED = "stalled"
    """Calls are in flight and nothing comes back."""
    PAUSED = "paused"
    """Its server asked for a pause (Retry-After)."""
    BROKEN = "broken"
    """Its breaker is open."""
    SHUT = "shut"
    """Its key was refused: a person must act."""


class Offer(NamedTuple):
    """What a deployment would do with a call. `wait_s` 0: take it; infinite: never take it."""

    deployment: Deployment
    standing: Standing
    reason: str
    wait_s: float
    free: int | None
    """Calls that it would take beside those in flight; None: no limit is known."""
    pull: float
    """Its share in the choice, among the reserve where it is one of that."""

    @property
    def is_reserve(self) -> bool:
        """Whether it is for when all others are out."""
        return self.deployment.weight <= 0


class Place(NamedTuple):
    """The right to one call. Give it back with `Health.release`, whatever became of the call."""

    model: str
    deployment: Deployment
    tokens: int
    """Reserved for it."""
    began: float
    turn: int
    """The breaker's, so that a late outcome is known as one."""
    id: int


class Wait(NamedTuple):
    """No place now. `seconds` is when to ask again, infinite if that cannot help; `reason` names what is in the way."""

    seconds: float
    reason: str
    standing: Standing = Standing.BUSY


class Caller(NamedTuple):
    """Who asks, when, and with what luck in [0, 1). `keys` are stamps of the keys, by deployment."""

    owner: str
    now: float
    luck: float
    keys: Mapping[str, str]
    id: int = 0


def admit(state: State, model: Model, tokens: int, caller: Caller, rules: Rules) -> tuple[State | None, Place | Wait]:
    """A place, and the state with it; or how long to wait."""
    whole = whole_delay(state, model, tokens, caller.now)
    all_offers = offers(state, model, tokens, caller, rules)
    ready = [offer for offer in all_offers if offer.wait_s == 0]
    if whole.seconds or not ready:
        best = min(all_offers, key=lambda o: o.wait_s)
        if whole.seconds >= best.wait_s:
            return None, Wait(whole.seconds, f"{model.name}: {whole.reason}")
        return None, Wait(best.wait_s, f"{model.name}/{best.deployment.name}: {best.reason}", best.standing)
    deployment = choose(ready, caller.luck).deployment
    after, turn = _began(state, deployment, tokens, caller, rules)
    return after, Place(model.name, deployment, tokens, caller.now, turn, caller.id)


def offers(state: State, model: Model, tokens: int, caller: Caller, rules: Rules) -> list[Offer]:
    """What each deployment of the pool offers."""
    return [_offer(state, deployment, tokens, caller, rules) for deployment in model.pool()]


def whole_delay(state: State, model: Model, tokens: int, now: float) -> limits.Delay:
    """How long the limits of the model as a whole make a call wait."""
    allowed = model.limits
    if allowed.rpm is None and allowed.tpm is None and allowed.concurrency is None:
        return limits.NONE
    in_flight = state.in_flight()
    if allowed.concurrency is not None and in_flight.calls >= allowed.concurrency:
        return limits.Delay(_turnover_s(_slowest_s(state), in_flight.calls), f"{allowed.concurrency} calls at a time")
    minute = merged(pulse.minute.at(now, limits.MINUTE) for pulse in state.pulses.values())
    return limits.delay(allowed, minute, in_flight.tokens, tokens, now)


def choose(ready: Sequence[Offer], luck: float) -> Offer:
    """One of the offers: a probe first, else by chance with the shares of their pulls; the reserve comes last."""
    for offer in ready:
        if offer.standing is Standing.PROBING:
            return offer
    among = [offer for offer in ready if not offer.is_reserve] or ready
    rest = luck * sum(offer.pull for offer in among)
    for offer in among:
        rest -= offer.pull
        if rest < 0:
            return offer
    return among[-1]


def _began(state: State, to: Deployment, tokens: int, caller: Caller, rules: Rules) -> tuple[State, int]:
    now, pulse = caller.now, state.pulse(to.name)
    if pulse.shut_key == caller.keys.get(to.name, NO_KEY):
        pulse = _unshut(pulse, now)
    breaker = breakers.began(pulse.breaker, caller.owner, now, rules.breaker)
    quiet = pulse.quiet_since if pulse.unanswered else now
    pulse = pulse._replace(
        breaker=breaker,
        minute=pulse.minute.add(1, 0, now, limits.MINUTE),
        quiet_since=quiet,
        unanswered=pulse.unanswered + 1,
        last_began=now,
    )
    own = state.holders[caller.owner].held.get(to.name, Held()) if caller.owner in state.holders else Held()
    after = state.with_pulse(to.name, pulse, now)
    after = after.with_held(caller.owner, to.name, Held(own.calls + 1, own.tokens + tokens), now)
    return after._replace(budget=budgets.called(state.budget, now, rules.budget)), breaker.turn


def _unshut(pulse: Pulse, now: float) -> Pulse:
    """The key is tried again: by one call, the probe."""
    trial = pulse.breaker if pulse.breaker.is_open else pulse.breaker._replace(is_open=True, until=now)
    return pulse._replace(shut_until=-math.inf, shut_key="", breaker=trial)


def _offer(state: State, to: Deployment, tokens: int, caller: Caller, rules: Rules) -> Offer:
    now, pulse = caller.now, state.pulse(to.name)
    tried = pulse.shut_key == caller.keys.get(to.name, NO_KEY)
    held, free = state.in_flight(to.name), _free(state, to, state.in_flight(to.name).calls)
    barred = _barred(pulse, tried, now) or _full(state, to, tokens, now)
    if barred is None and free == 0:
        wait_s = _turnover_s(pulse.adaptive.fast_s, held.calls)
        barred = _Bar(Standing.BUSY, f"{held.calls} calls are in flight", wait_s)
    barred = barred or _stalled(pulse, min(pulse.unanswered, state.fresh(to.name)), now, rules)
    if barred is not None:
        return Offer(to, *barred, 0, 0.0)
    if tried or pulse.breaker.is_open:
        return Offer(to, Standing.PROBING, "", 0.0, 1, 0.0)
    return Offer(to, Standing.OPEN, "", 0.0, free, _pull(to, pulse, held.calls, free, now))


class _Bar(NamedTuple):
    standing: Standing
    reason: str
    wait_s: float


def _barred(pulse: Pulse, tried: bool, now: float) -> _Bar | None:
    """What keeps all calls away, the most lasting thing first."""
    if tried and now < pulse.shut_until:
        return _Bar(Standing.SHUT, "its key was refused", pulse.shut_until - now)
    breaker = pulse.breaker
    if breaker.is_open and now < breaker.until and breaker.until >= pulse.closed_until:
        by = f" ({pulse.opened_by})" if pulse.opened_by else ""
        often = f", {breaker.openings} times in a row" if breaker.openings > 1 else ""
        return _Bar(Standing.BROKEN, f"its breaker is open{by}{often}", breaker.until - now)
    if now < pulse.closed_until:
        return _Bar(Standing.PAUSED, "its server asked for a pause", pulse.closed_until - now)
    waits = breaker.wait_s(now)
    return _Bar(Standing.PROBING, "a probe is under way", waits) if waits else None


def _full(state: State, to: Deployment, tokens: int, now: float) -> _Bar | None:
    if to.limits.rpm is None and to.limits.tpm is None:
        return None
    minute = state.pulse(to.name).minute.at(now, limits.MINUTE)
    delay = limits.delay(to.limits, minute, state.in_flight(to.name).tokens, tokens, now)
    return _Bar(Standing.BUSY, delay.reason, delay.seconds) if delay.seconds else None


def _stalled(pulse: Pulse, calls: int, now: float, rules: Rules) -> _Bar | None:
    """Several calls have begun, and nothing has come back for long. One more may try it now and then."""
    quiet_s, rule = now - pulse.quiet_since, rules.concurrency
    if calls < rule.silence_calls or quiet_s <= rule.silence_min_s:
        return None
    patience = concurrency.silent_s(calls, pulse.p95_s(), rule)
    wait_s = pulse.last_began + patience - now
    if quiet_s <= patience or wait_s <= 0:
        return None
    return _Bar(Standing.STALLED, f"nothing has come back for {quiet_s:.1f} s", wait_s)


def _pull(to: Deployment, pulse: Pulse, calls: int, free: int | None, now: float) -> float:
    """Weight, times the square of the share of answers, times the share of places that are free.

    Of a deployment whose places nobody knows, those with fewer calls in flight pull more.
    """
    health = pulse.breaker.trust(now) ** 2
    room = 1 / (1 + calls) if free is None else free / (free + calls)
    return (to.weight if to.weight > 0 else 1.0) * health * room


def _free(state: State, to: Deployment, calls: int) -> int | None:
    """Calls that it would take now. A probe is bound by the catalogue's limit only: the rest is to be found out."""
    pulse, ceiling = state.pulse(to.name), to.limits.concurrency
    left = None if ceiling is None else max(ceiling - calls, 0)
    learned = None if pulse.breaker.is_open else pulse.adaptive.places(None)
    if learned is None:
        return left
    fresh = max(learned - state.fresh(to.name), 0)
    return fresh if left is None else min(fresh, left)


def _slowest_s(state: State) -> float:
    return max((pulse.adaptive.fast_s for pulse in state.pulses.values()), default=0.0)


def _turnover_s(latency_s: float, calls: int) -> float:
    """When a place may come free: the mean time between two answers, within 10 to 250 ms."""
    return min(max((latency_s or 0.05) / max(calls, 1), 0.01), limits.POLL_S)
