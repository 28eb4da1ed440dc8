"""The error where nobody can answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from ..core.budgets import remedy as less_money
from ..core.candidates import lacks_tag
from ..core.faults import FaultKind, rebuild
from ..core.records import Candidate, Decision, Stage
from ..core.shell import command
from ..errors import InputError
from ..models.health.admission import Standing
from ..models.signals import made
from ..routing.eligible import UNPRICED, misses
from ..routing.types import APART, CALLER, WISH
from .failures import BROKEN

__all__ = ["RESTS", "NoRoom", "is_shut", "nobody", "opens", "payable", "priced", "rests"]

RESTS = "it takes no calls now: "
"""Begins why somebody was passed over who was named, and takes no calls now."""
_PASSED_OVER = f"it was tried: {RESTS}"

_PASSES = frozenset({Stage.HEALTH, Stage.LIMIT, Stage.TRIED})


class NoRoom(InputError):
    """Nobody can answer, and one of them for want of room in its window: that depends on what it is asked."""


def nobody(decision: Decision, remedy: str | None = None, *, since: str = "") -> Exception:
    """Nobody could answer: each candidate with its reason. It may pass where one of them is only unwell, and not where
    its key was refused: a person must act. `since` says what was tried so far.
    """
    out = [c for c in decision.candidates if not c.eligible]
    out = [c for c in out if WISH not in (c.reason or "")] or out  # whoever is not asked for says nothing of who is
    shut = [c.target.name for c in out if is_shut(c)]
    passing = [c for c in out if c.excluded_at in _PASSES and c.target.name not in shut]
    apart = next((c for c in out if (c.reason or "").startswith(APART)), None)
    if apart is not None and decision.route is not None:
        return _apart(decision, decision.route, apart)
    unwell = min(passing, key=lambda c: (c.excluded_at is Stage.TRIED, not rests(c)), default=None)
    why = "; ".join(f"{c.target.name}: {_reason(c)}" for c in out[:6]) or "the catalogue is empty"
    said = f"no model can answer by route {decision.policy}: {why}"
    if unwell is not None:
        waited = {"unsent": 1} if rests(unwell) else {}  # a wait for nobody is bounded as calls are
        if waited and all(_reason(c).startswith(f"{Standing.BROKEN}:") for c in passing if rests(c)):
            waited[BROKEN] = 1
        return rebuild(made(FaultKind.OVERLOADED, said + since, model=unwell.target.name, **waited))
    if shut:
        return rebuild(made(FaultKind.UNAUTHORISED, said, model=shut[0], remedy=opens(shut)))
    if decision.pinned_by == CALLER and len(out) == 1 and (key := _required(decision, out[0])) is not None:
        allows = f"let the `require` of route {decision.policy} allow its {key}"
        return InputError(said, remedy=f"name a model that the route allows, or {allows}")
    if decision.pinned_by == CALLER and len(out) == 1 and lacks_tag(out[0].reason or ""):
        return InputError(said, remedy="leave `model=` out, or change `require`")
    full = any(c.excluded_at is Stage.WINDOW for c in out)
    less = f"look at it: {command('route', 'PROMPT')}; then ask for less, or add a model to segue.toml"
    return (NoRoom if full else InputError)(said, remedy=remedy or less)


def opens(shut: Sequence[str]) -> str:
    """What a person does about models whose keys were refused."""
    then = "; ".join(command("models", "--reopen", name) for name in shut)
    return f"see to the key and the account that it was refused for, then: {then}"


def payable(out: Sequence[Candidate], held: int) -> str:
    """What helps where a budget leaves nobody of these, and calls under way hold so much of it."""
    unpriced = [c.target.name for c in out if c.reason == UNPRICED]
    costly = less_money(held) if len(unpriced) < len(out) else ""
    return "; or ".join(filter(None, (costly, priced(unpriced) if unpriced else "")))


def priced(models: Sequence[str]) -> str:
    """What a person does about models whose price is not known."""
    return (
        f"give {', '.join(models[:6])} a price in the catalogue, in USD per million tokens: "
        "price = { in = …, out = … } in segue.toml, price=Price.dollars(…, …) in Python"
    )


def _apart(decision: Decision, route: str, out: Candidate) -> InputError:
    """Where a model and a route are asked for that do not go together."""
    name = out.target.name
    said = f"model={name!r} and route={route!r} are both asked for, and do not go together: {name}: {out.reason}"
    key = _required(decision, out)
    may = f"name {name}" if key is None else f"allow its {key} by `require`"
    return InputError(said, remedy=f"leave one of them out, or let the route {route} {may}")


def _required(decision: Decision, out: Candidate) -> str | None:
    """The tag for which a model is left out by what the route itself requires."""
    required = cast("Mapping[str, str | list[str]]", decision.objective.get("require") or {})
    why = (out.reason or "").removeprefix(APART)
    return next((key for key, allowed in required.items() if misses(why, key, allowed)), None)


def _reason(candidate: Candidate) -> str:
    return (candidate.reason or "").removeprefix(_PASSED_OVER)


def rests(candidate: Candidate) -> bool:
    """Whether it only takes no calls now."""
    return candidate.excluded_at in {Stage.HEALTH, Stage.LIMIT} or (candidate.reason or "").startswith(_PASSED_OVER)


def is_shut(candidate: Candidate) -> bool:
    """Whether it takes calls again only when a person has acted."""
    return rests(candidate) and _reason(candidate).startswith(f"{Standing.SHUT}:")
