"""What is known of one model: its deployments, and who has places at them. Pure, and read from JSON and back.

The shapes that this room needs of a model stand here too; `models.spec` fulfils them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from .breaker import Breaker, BreakerRule
from .budget import Budget, BudgetRule
from .concurrency import Adaptive, ConcurrencyRule
from .limits import Limits
from .window import Window, of

R = TypeVar("R", bound=tuple[Any, ...])

NO_KEY = "-"
"""The stamp of a deployment without a key."""
KEPT = 64
"""Latencies that the 95th percentile is taken of."""


class Deployment(Protocol):
    """One place that answers for a model: a key, a region, a server."""

    @property
    def name(self) -> str:
        """Unique within its model."""
        ...

    @property
    def key_env(self) -> str | None:
        """The environment variable with its key."""
        ...

    @property
    def weight(self) -> float:
        """Its share of the calls, against the others'."""
        ...

    @property
    def limits(self) -> Limits:
        """What it may be given."""
        ...


class Model(Protocol):
    """A model: a pool of deployments."""

    @property
    def name(self) -> str:
        """Its name in the catalogue."""
        ...

    @property
    def limits(self) -> Limits:
        """What all deployments together may be given."""
        ...

    def pool(self) -> Sequence[Deployment]:
        """The deployments, at least one."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """All settings of this room. The defaults are meant to be right."""

    breaker: BreakerRule = field(default_factory=BreakerRule)
    concurrency: ConcurrencyRule = field(default_factory=ConcurrencyRule)
    budget: BudgetRule = field(default_factory=BudgetRule)
    shut_s: float = 3600.0
    """Seconds that a deployment is out after its key was refused, unless a person acts."""
    retry_after_max_s: float = 86_400.0
    """The longest Retry-After that is believed."""
    lease_s: float = 900.0
    """Seconds after which a place that was not given back is taken back. Longer than any call."""


class Pulse(NamedTuple):
    """What is known of one deployment. Times are the clock's, in seconds."""

    breaker: Breaker = Breaker()
    adaptive: Adaptive = Adaptive()
    minute: Window = Window()
    """Requests and tokens."""
    latencies_ms: tuple[int, ...] = ()
    """Of the last answers, oldest first."""
    closed_until: float = -math.inf
    """Its server asked not to be called before."""
    shut_until: float = -math.inf
    """Its key was refused; `shut_key` is the stamp of that key."""
    shut_key: str = ""
    quiet_since: float = 0.0
    """When the first call since the last sign of life began."""
    unanswered: int = 0
    """Calls that have begun since the last sign of life."""
    last_began: float = 0.0
    stale: int = 0
    """Calls in flight from before the breaker's last turn. They say nothing about what it takes now."""
    opened_by: str = ""
    """The kind of fault that opened the breaker last."""

    def p95_s(self) -> float | None:
        """The 95th percentile of the last latencies, in seconds; None below five of them."""
        n = len(self.latencies_ms)
        return sorted(self.latencies_ms)[(n * 95 - 1) // 100] / 1000 if n >= 5 else None


class Held(NamedTuple):
    """Calls of one process at one deployment, and the tokens reserved for them."""

    calls: int = 0
    tokens: int = 0


class Holder(NamedTuple):
    """What a process has in flight, by deployment."""

    at: float
    """When it was last heard of."""
    held: Mapping[str, Held]


class State(NamedTuple):
    """All that is shared about one model."""

    at: float = 0.0
    """The last change. One in the future is from before the machine was started again."""
    pulses: Mapping[str, Pulse] = {}
    holders: Mapping[str, Holder] = {}
    budget: Budget = Budget()

    def pulse(self, deployment: str) -> Pulse:
        """What is known of a deployment; nothing, if it was never called."""
        return self.pulses.get(deployment, _UNKNOWN)

    def in_flight(self, deployment: str | None = None) -> Held:
        """Calls and reserved tokens of all processes, at one deployment or at all."""
        calls = tokens = 0
        for holder in self.holders.values():
            for name, held in holder.held.items():
                if deployment is None or name == deployment:
                    calls, tokens = calls + held.calls, tokens + held.tokens
        return Held(calls, tokens)

    def fresh(self, deployment: str) -> int:
        """Calls in flight that began in the breaker's present turn."""
        calls = self.in_flight(deployment).calls
        return calls - min(self.pulse(deployment).stale, calls)

    def with_pulse(self, deployment: str, pulse: Pulse, now: float) -> State:
        """With news of a deployment."""
        return self._replace(at=now, pulses={**self.pulses, deployment: pulse})

    def with_held(self, owner: str, deployment: str, held: Held, now: float) -> State:
        """With another number of calls of an owner. Who has none is left out."""
        own = dict(self.holders[owner].held) if owner in self.holders else {}
        own[deployment] = held
        own = {name: some for name, some in own.items() if some.calls or some.tokens}
        holders = {name: holder for name, holder in self.holders.items() if name != owner}
        if own:
            holders[owner] = Holder(now, own)
        return self._replace(at=now, holders=holders)


_UNKNOWN = Pulse()
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def dumps(state: State) -> str:
    """As JSON, read again by `loads`. Infinite numbers are written as Python's json does."""
    return _encode(state)


def loads(text: str) -> State:
    """From JSON. Raises ValueError, TypeError, LookupError or AttributeError when it is of another shape."""
    at, pulses, holders, budget = json.loads(text)
    return _like(
        State(
            at,
            {name: _pulse(*fields) for name, fields in pulses.items()},
            {name: _holder(*fields) for name, fields in holders.items()},
            _like(Budget(*budget), Budget() if budget[0] is None else _SPENT),
        ),
        _STATE,
    )


def _pulse(breaker: list[Any], adaptive: list[Any], minute: list[Any], latencies: list[int], *rest: Any) -> Pulse:
    read = Breaker(*breaker)
    read = _like(read._replace(recent=_window(read.recent)), _UNKNOWN.breaker)
    made = Pulse(
        read, _like(Adaptive(*adaptive), _UNKNOWN.adaptive), _window(minute), tuple(map(int, latencies)), *rest
    )
    return _like(made, _UNKNOWN)


def _holder(since: float, held: Mapping[str, list[int]]) -> Holder:
    return _like(Holder(since, {name: _like(Held(*some), _NOTHING) for name, some in held.items()}), _NOBODY)


def _window(fields: Sequence[Any]) -> Window:
    slots: Sequence[Sequence[int]] = fields[0]
    return of((int(number), int(first), int(second)) for number, first, second in slots)


def _like(made: R, known: R) -> R:
    """It, where each field is of the kind that it has in a known one. Raises TypeError: a number is reckoned with."""
    for field_, like in zip(made, known, strict=True):
        if not isinstance(field_, (int, float) if type(like) is float else type(like)):
            raise TypeError(f"{field_!r} is no {type(like).__name__}")
    return made


_STATE, _NOTHING, _NOBODY, _SPENT = State(), Held(), Holder(0.0, {}), Budget(0.0)
