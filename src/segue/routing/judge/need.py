"""What would have to be logged before a policy can be judged: the share of exploration, and days at present traffic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .estimators import agreement, effective_expected
from .intervals import Array
from .rows import Logged
from .weighed import Weighed

DAY_S = 86_400.0
CLAIM, REFUSE = 200.0, 30.0
"""The effective samples from which a figure is claimed, and below which none is given."""
AGREEING_TO_CLAIM, AGREEING_TO_ANSWER = 30.0, 10.0
"""The same for the choices that agree with the policy where it differs most."""
CLUSTERS_TO_CLAIM, CLUSTERS_TO_ANSWER = 30.0, 8.0
"""The same for the runs, or the keys of a sticky split, that the evidence comes from, effectively."""
UNREACHED = 1e-3
"""The target's mean chance of what could not have been chosen, above which weights say nothing of it."""
_ANSWER = (REFUSE, AGREEING_TO_ANSWER, CLUSTERS_TO_ANSWER)
_CLAIM = (CLAIM, AGREEING_TO_CLAIM, CLUSTERS_TO_CLAIM)
_SHARES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What is missing. Days are None where they are unknown (no times in the log) or no number of them would do."""

    exploration: float
    """The present share of traffic that is explored with."""
    asks_per_day: float | None
    asks_to_answer: int | None
    """Further asks until a cautious answer, at the present exploration; None: never."""
    asks_to_claim: int | None
    days_to_answer: float | None
    days_to_claim: float | None
    exploration_wanted: float
    """The share that allows a claim within `within_days`: the present one, a greater one, or all of it if none does."""
    days_then: float | None
    """Days from now until a claim, with that share."""
    within_days: float
    keyed: bool = False
    """Whether a sticky split has sent the asks: those of one key count as little more than one, however many come."""
    dealt: bool = False
    """Whether what was drawn was drawn by a split alone: nothing is explored with."""
    keys_to_claim: int | None = None
    """The busy keys that a claim takes, where there are too few: no number of asks of the same ones would do."""

    def says(self) -> str:
        """For a reader, in a sentence."""
        if self.keys_to_claim is not None:
            return f"more asks of the same keys do not help, other keys do: it takes {self.keys_to_claim}, effectively"
        now = "" if self.dealt else f"exploration is {self.exploration:.1%} of the traffic; "
        share = "at the shares of the split" if self.dealt else "at that share"
        if self.asks_to_claim is None:
            still = f"{share} no number of days would do"
        elif self.days_to_claim is None:
            still = f"{share} {self.asks_to_claim:,} more asks are needed for a claim"
        else:
            first = f"{_days(self.days_to_answer)} for a cautious answer and " if self.days_to_answer else ""
            still = f"{share} and the present traffic it takes {first}{_days(self.days_to_claim)} for a claim"
        still += ", if new keys come as they have so far" if self.keyed and self.asks_to_claim is not None else ""
        if self.exploration_wanted <= self.exploration:
            return f"{now}{still}"
        then = "" if self.days_then is None else f", {_days(self.days_then)} would do"
        explored = " explored" if self.dealt else ""
        return f"{now}{still}; with {self.exploration_wanted:.1%}{explored}{then}"


def per_day(rows: Sequence[Logged]) -> float | None:
    """Asks per day, from the rows' times; None where fewer than two are known, or all at once."""
    times = [row.at for row in rows if row.at is not None]
    if len(times) < 2 or max(times) <= min(times):
        return None
    return (len(times) - 1) / ((max(times) - min(times)) / DAY_S) * len(rows) / len(times)


@dataclass(frozen=True, kw_only=True, slots=True)
class Have:
    """What is there already, and what future asks are like."""

    effective: float = 0.0
    agreeing: float = 0.0
    effect: float = 1.0
    """The clusters' design effect."""
    known: float = 1.0
    """The share of asks whose outcome becomes known."""
    clusters: float = math.inf
    """The runs or keys that the evidence comes from, effectively; infinite where they are not what is missing."""


def need(w: Weighed, have: Have, rate: float | None, within_days: float = 14.0) -> Need:
    """What is missing for a claim; `rate` is asks per day. Reckoned from the chances alone, not from what was drawn."""
    answer, claim = _asks(w, w.logged, have, _ANSWER), _asks(w, w.logged, have, _CLAIM)
    few = have.clusters < CLUSTERS_TO_CLAIM and w.growth <= 0.0
    enough = few or (rate is not None and claim is not None and claim / rate <= within_days)
    wanted, then = (w.exploration, _over(claim, rate)) if enough else _wanted(w, have, rate, within_days)
    return Need(
        exploration=w.exploration,
        asks_per_day=rate,
        asks_to_answer=answer,
        asks_to_claim=claim,
        days_to_answer=_over(answer, rate),
        days_to_claim=_over(claim, rate),
        exploration_wanted=wanted,
        days_then=then,
        within_days=within_days,
        keyed=w.keyed,
        dealt=w.dealt,
        keys_to_claim=int(CLUSTERS_TO_CLAIM) if few else None,
    )


def _wanted(w: Weighed, have: Have, rate: float | None, within_days: float) -> tuple[float, float | None]:
    """The least share of exploration, above the present one, that allows a claim in time, and the days it takes. Where
    none does, all of it; the present one, where that gains nothing.
    """
    asks, days = _asks(w, w.logged, have, _CLAIM), None
    now = asks
    for share in (s for s in _SHARES if s > 1.01 * w.exploration):
        asks = _asks(w, _mixed(w, share), have, _CLAIM)
        days = _over(asks, rate)
        if days is not None and days <= within_days:
            return share, days
    helps = asks is not None and (now is None or asks < now)
    return (1.0, days) if helps else (w.exploration, _over(now, rate))


def _asks(w: Weighed, logged: Array, have: Have, wanted: tuple[float, float, float]) -> int | None:
    """Further asks until all levels are reached when candidates are drawn with these chances; None: never."""
    drawn = replace(w, logged=logged)
    if not len(w) or float(drawn.unreached.mean()) > UNREACHED:
        return None
    per_ask = have.known / len(w)
    likely = min(float(w.clusters), effective_expected(drawn))  # there may be few by bad luck
    found = have.clusters or likely if w.keyed else max(have.clusters, likely)
    pairs = (
        (wanted[0] - have.effective, effective_expected(drawn) / have.effect * per_ask),
        (wanted[1] - have.agreeing, agreement(drawn).count * per_ask),
        (wanted[2] - have.clusters, w.growth * found / len(w)),
    )
    missing = [math.ceil(lack / gain) if gain > 0.0 else None for lack, gain in pairs if lack > 0.0]
    return None if None in missing else max((m for m in missing if m is not None), default=0)


def _mixed(w: Weighed, share: float) -> Array:
    """(n, K) the logged policies' chances with another share of even exploration in place of the present one."""
    there: Array = (w.arms >= 0).astype(np.float64)
    even = there / there.sum(axis=1, keepdims=True)
    bare: Array = np.maximum(w.logged - w.exploration * even, 0.0)
    total = bare.sum(axis=1, keepdims=True)
    policy = np.divide(bare, total, out=even.copy(), where=total > 1e-9)
    return (1.0 - share) * policy + share * even


def _over(asks: int | None, rate: float | None) -> float | None:
    return None if asks is None or rate is None or rate <= 0.0 else asks / rate


def _days(days: float) -> str:
    if days <= 1.0:
        return "a day"
    return f"{math.ceil(days):,} days"
