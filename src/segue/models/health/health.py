"""The one place that knows how models are, and that lets calls through."""

from __future__ import annotations

import hashlib
import itertools
import logging
import math
import os
import random
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ...core.faults import INTERRUPTED, Fault
from ...errors import StoreError, StoreLocked
from . import budget as budgets
from .admission import Caller, Offer, Place, Standing, Wait, admit, offers, whole_delay
from .outcome import Outcome, reopened, settle, swept
from .shared import Memory, Row, Shared, Step, T
from .state import NO_KEY, Model, Rules, State

_FRESH_S = 0.05
"""How long a look at the shared state serves."""
_SWEEP_S = 0.1
"""How often it is looked who is gone, while somebody waits."""
_LATE_S = 0.25
"""How often outcomes that could not be written are tried again, also by a process that asks nothing more."""

log = logging.getLogger("segue")

_BROKEN = frozenset({Standing.BROKEN, Standing.PROBING})
_PARENTS: list[Memory | Shared] = []
"""A connection of a parent is never closed in a child: SQLite's locks would suffer."""


class HealthView(NamedTuple):
    """How a model stands, for those who choose among models."""

    standing: Standing
    """The best of its deployments."""
    reason: str
    """What is in the way; empty when nothing is."""
    free: int | None
    """Calls that it would take now; None: no limit is known."""
    wait_s: float
    """Seconds until it may take a call: 0 is now, infinite never."""
    p95_s: float | None
    """The 95th percentile of recent latencies, in seconds; None before five answers."""
    error_rate: float
    """The share of failures in the last half minute, of the best deployment."""


class Health:
    """Places for calls, within the limits of the catalogue and what was learned, for all processes on one file.

    `path` None keeps it within this process. `clock` gives seconds, the same in all processes and never backwards; the
    default is that of the machine since its start. `luck` gives numbers in [0, 1). `key_of` gives the value of an
    environment variable: a deployment that was shut for a refused key is open for whoever brings another key.
    """

    def __init__(
        self,
        path: Path | str | None = None,
        *,
        rules: Rules | None = None,
        clock: Callable[[], float] = time.monotonic,
        luck: Callable[[], float] = random.random,
        key_of: Callable[[str], str | None] = os.environ.get,
    ):
        self._path = None if path is None else Path(path)
        self._rules, self._clock, self._luck, self._key_of = rules or Rules(), clock, luck, key_of
        self._ids = itertools.count(1)
        self._stamps: dict[str, str] = {}
        self._begin()

    def _begin(self) -> None:
        self._pid, self._lock = os.getpid(), threading.Lock()
        self._store: Memory | Shared = Memory() if self._path is None else Shared(self._path, self._clock)
        self._held: dict[int, Place] = {}
        self._late: list[tuple[Place, Outcome]] = []
        self._timer: threading.Timer | None = None
        self._told = False
        self._views: dict[str, tuple[int, float, HealthView]] = {}
        self._versions: dict[str, int] = {}
        self._looked_at = self._swept_at = -math.inf

    @property
    def owner(self) -> str:
        """What this process is called among those who hold places."""
        return self._store.owner

    def try_acquire(self, model: Model, tokens: int) -> Place | Wait:
        """A place for a call that uses up to `tokens` tokens, input and output; or how long to wait, and for what.

        Where the file is locked it waits for it for 50 ms, and for whoever of this process does so before it; then the
        answer is to wait.
        """
        self._tidy()
        caller = self._caller(model)._replace(id=next(self._ids))

        def step(state: State) -> tuple[State | None, Place | Wait]:
            return admit(state, model, tokens, caller._replace(now=self._clock()), self._rules)

        try:
            answer = self._change(model.name, step)
            if isinstance(answer, Wait) and self._bury(model, caller.now):
                answer = self._change(model.name, step)
        except StoreLocked as error:
            return Wait(0.05, error.message)
        if isinstance(answer, Place):
            with self._lock:
                self._held[answer.id] = answer
        return answer

    def release(self, place: Place, outcome: Fault | None, latency_s: float, tokens: int) -> None:
        """Give a place back with how the call ended: its fault or None, its seconds, and the tokens that it used.

        A second release of the same place changes nothing. Never raises for a file that is busy or cannot be written:
        the call is over, and it is done later.
        """
        self._check_process()
        with self._lock:
            if self._held.get(place.id) is not place:
                return
            del self._held[place.id]
            self._late.append((place, Outcome(outcome, latency_s, tokens)))
        self._settle_late()

    @property
    def holds(self) -> bool:
        """Whether this process is in a call."""
        return bool(self._held)

    def may_retry(self, model: Model) -> bool:
        """Take a retry of this model from its budget. False: there have been too many; go elsewhere, or give up.

        One that is not sent after all is given back with `unretried`.
        """
        self._check_process()
        now = self._clock()

        def step(state: State) -> tuple[State | None, bool]:
            budget = budgets.spent(state.budget, now, self._rules.budget)
            return (state._replace(at=now, budget=budget), True) if budget else (None, False)

        try:
            return self._change(model.name, step)
        except StoreLocked:
            return False

    def unretried(self, model: Model) -> None:
        """Give back a retry that was taken, and not sent."""
        self._check_process()
        now = self._clock()

        def step(state: State) -> tuple[State | None, None]:
            return state._replace(at=now, budget=budgets.returned(state.budget, now, self._rules.budget)), None

        with suppress(StoreError):  # time refills it
            self._change(model.name, step)

    def is_failing(self, model: Model) -> bool:
        """Whether so many of its calls fail that retries are taken from its budget."""
        return self.view(model).error_rate > self._rules.budget.failing

    def view(self, model: Model) -> HealthView:
        """How a model stands, at most 50 ms old. Cheap: what has not changed is not worked out again."""
        self._check_process()
        now = self._clock()
        if now - self._looked_at >= _FRESH_S or now < self._looked_at:
            with suppress(StoreLocked):  # then what was seen last must do
                self._looked_at, self._versions = now, self._store.versions()
        version = self._versions.get(model.name, 0)
        known = self._views.get(model.name)
        if known and known[0] == version and now < known[1]:
            return known[2]
        view = self._look(model, now)
        until = now + _FRESH_S if view.standing is not Standing.OPEN or view.error_rate else math.inf
        self._views[model.name] = (version, until, view)
        return view

    def views(self, model: Model, tokens: int = 1) -> dict[str, HealthView]:
        """How each deployment of a model stands, by name, as of now, for a call of so many tokens."""
        self._check_process()
        caller = self._caller(model)
        state = self._store.read(model.name).state
        found = offers(state, model, tokens, caller, self._rules)
        return {offer.deployment.name: _view(state, offer, caller.now) for offer in found}

    def ready_in(self, model: Model, tokens: int, without: Collection[str] = ()) -> float:
        """Seconds until a deployment of a model, but for these, takes a call of so many tokens: 0 is now.

        Infinite where no minute is enough for it, or every key that is left was refused.
        """
        self._check_process()
        caller = self._caller(model)
        state = self._store.read(model.name).state
        found = [o for o in offers(state, model, tokens, caller, self._rules) if o.deployment.name not in without]
        soonest = min((o.wait_s for o in found if o.standing is not Standing.SHUT), default=math.inf)
        return max(soonest, whole_delay(state, model, tokens, caller.now).seconds)

    def is_broken(self, model: Model, without: Collection[str] = ()) -> bool:
        """Whether open breakers are all that keeps calls away from a model's deployments, but for these: each is waited
        for, or somebody just tries it.
        """
        self._check_process()
        caller = self._caller(model)
        state = self._store.read(model.name).state
        found = [o for o in offers(state, model, 1, caller, self._rules) if o.deployment.name not in without]
        left = [o for o in found if o.standing is not Standing.SHUT]
        return bool(left) and all(o.wait_s > 0 and o.standing in _BROKEN for o in left)

    def reopen(self, model: Model, deployment: str | None = None) -> None:
        """A person has acted (a new key, a paid bill): let calls to a deployment, or to all of them, through again."""
        self._check_process()
        now = self._clock()
        names = [d.name for d in model.pool() if deployment in (None, d.name)]

        def step(state: State) -> tuple[State | None, None]:
            for name in names:
                state = reopened(state, name, now)
            return state, None

        self._change(model.name, step)

    def close(self) -> None:
        """Give back all places that are still held, and leave."""
        self._check_process()
        for place in list(self._held.values()):
            self.release(place, INTERRUPTED, 0.0, 0)
        with self._lock:
            self._late.clear()
            if self._timer is not None:
                self._timer.cancel()
        self._store.close()

    def _caller(self, model: Model) -> Caller:
        keys = {d.name: self._stamp(d.key_env) for d in model.pool()}
        return Caller(self._store.owner, self._clock(), self._luck(), keys)

    def _stamp(self, key_env: str | None) -> str:
        """A few bits of a hash of a key, to know another one by; nothing can be learned from it about the key."""
        key = self._key_of(key_env) if key_env else None
        if not key:
            return NO_KEY
        if key not in self._stamps:
            self._stamps[key] = hashlib.blake2b(key.encode(), digest_size=3, person=b"segue-health").hexdigest()
        return self._stamps[key]

    def _change(self, model: str, step: Step[T]) -> T:
        self._looked_at = -math.inf
        return self._store.change(model, step)

    def _look(self, model: Model, now: float) -> HealthView:
        caller = self._caller(model)
        row: Row = self._store.read(model.name)
        view = _whole_view(row.state, model, caller, self._rules)
        if view.wait_s and self._bury(model, now):
            view = _whole_view(self._store.read(model.name).state, model, caller, self._rules)
        return view

    def _bury(self, model: Model, now: float) -> bool:
        """Take back the places of processes that are gone, or were not heard of for a lease. Whether there were any."""
        if now - self._swept_at < _SWEEP_S:
            return False
        self._swept_at = now
        holders = self._store.read(model.name).state.holders
        gone = set(self._store.dead(holders))
        gone |= {o for o, h in holders.items() if o != self.owner and now - h.at > self._rules.lease_s}
        try:
            if gone:
                self._change(model.name, lambda state: (swept(state, gone, now), None))
        except StoreLocked:  # the next look does it
            return False
        return bool(gone)

    def _tidy(self) -> None:
        self._check_process()
        if self._late:
            self._settle_late()
        while (oldest := self._oldest()) is not None and self._clock() - oldest.began > self._rules.lease_s:
            self.release(oldest, INTERRUPTED, 0.0, 0)

    def _oldest(self) -> Place | None:
        with self._lock:
            return next(iter(self._held.values()), None)

    def _settle_late(self) -> None:
        """Write the outcomes that wait, in their order. One that cannot be written now waits on."""
        with self._lock:
            while self._late:
                place, outcome = self._late[0]
                try:
                    self._settle(place, outcome)
                except StoreError as error:
                    self._try_later(error)
                    return
                self._late.pop(0)
            self._told = False

    def _try_later(self, error: StoreError) -> None:
        """By itself: others may wait for the place, and this process may ask nothing more for hours."""
        if not self._told and not isinstance(error, StoreLocked):
            log.warning("the end of a call is not yet written: %s", error)
            self._told = True
        if self._timer is None:
            timer = threading.Timer(_LATE_S, self._again)
            timer.daemon = True
            with suppress(RuntimeError):  # no thread is left: the next call of this process does it
                timer.start()
                self._timer = timer

    def _again(self) -> None:
        with self._lock:
            self._timer = None
        self._settle_late()

    def _settle(self, place: Place, outcome: Outcome) -> None:
        now, to = self._clock(), place.deployment
        keys = {to.name: self._stamp(to.key_env)}
        caller = Caller(self._store.owner, now, self._luck(), keys)
        self._change(place.model, lambda state: (settle(state, place, outcome, caller, self._rules), None))

    def _check_process(self) -> None:
        """A forked child is a process of its own: it holds none of its parent's places."""
        if os.getpid() != self._pid:
            _PARENTS.append(self._store)
            self._begin()


def _whole_view(state: State, model: Model, caller: Caller, rules: Rules) -> HealthView:
    best = min(offers(state, model, 1, caller, rules), key=lambda o: (o.wait_s, o.is_reserve, -o.pull))
    view = _view(state, best, caller.now)
    whole = whole_delay(state, model, 1, caller.now)
    if whole.seconds > view.wait_s:
        return view._replace(standing=Standing.BUSY, reason=whole.reason, free=0, wait_s=whole.seconds)
    return view


def _view(state: State, offer: Offer, now: float) -> HealthView:
    pulse = state.pulse(offer.deployment.name)
    rate = pulse.breaker.error_rate(now)
    return HealthView(offer.standing, offer.reason, offer.free, offer.wait_s, pulse.p95_s(), rate)
