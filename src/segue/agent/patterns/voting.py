"""Parallel voting: several models, or several samples of one, answer the same; most of them decide."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from ...core.codec import codec
from ...errors import InputError
from ...runtime.stories import Told
from ..ask import ask
from ..options import Options
from ..prompts import Prompt
from .common import LIMIT, among, at_least, branches, fallen, merged, pattern, several, shared

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["Ballot", "NoMajority", "Tally", "tally", "vote"]

T = TypeVar("T")
_TEMPERATURE = 0.8
"""Of samples of one model: at 0 they would all say the same."""


class NoMajority(Told):
    """Too few have voted, or there is a tie and nothing says who wins it. `tied` names the answers, a line each."""

    code = "no-majority"
    tied: str = ""


@dataclass(frozen=True, kw_only=True)
class Ballot(Generic[T]):
    """One vote. `error` says why there is none."""

    by: str
    value: T | None = None
    weight: float = 1.0
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Tally(Generic[T]):
    """What came of a vote."""

    winner: T | None
    """None: nobody has voted."""
    share: float
    """Of the weight of all who could have voted, that of the winner."""
    tied: tuple[T, ...]
    """The answers that have as much weight as the winner, itself among them; empty: there is no tie."""
    ballots: tuple[Ballot[T], ...]

    @property
    def abstained(self) -> tuple[Ballot[T], ...]:
        """Those who have not voted, and why."""
        return tuple(one for one in self.ballots if one.error)


def tally(ballots: Sequence[Ballot[T]], same: Callable[[T], object] | None = None) -> Tally[T]:
    """Count. Pure. `same` says by what answers are equal (their JSON, without case and space at the ends of texts);
    of equal ones the first stands for all. Among as many the one that was named first comes first.
    """
    alike = same or _alike
    weights: dict[object, float] = {}
    first: dict[object, T] = {}
    for one in ballots:
        if not one.error:
            what = alike(one.value)  # pyright: ignore[reportArgumentType]  a ballot without an error has a value
            weights[what] = weights.get(what, 0.0) + one.weight
            first.setdefault(what, one.value)  # pyright: ignore[reportArgumentType]  the same
    if not weights:
        return Tally(winner=None, share=0.0, tied=(), ballots=tuple(ballots))
    most = max(weights.values())
    best = [first[what] for what, weight in weights.items() if weight >= most - _CLOSE]
    whole = sum(one.weight for one in ballots)
    return Tally(
        winner=best[0], share=most / whole if whole else 0.0, tied=tuple(best) if len(best) > 1 else (),
        ballots=tuple(ballots),
    )  # fmt: skip


async def vote(
    prompt: str | Prompt, *parts: object, by: int | Sequence[str] = 3, returns: TypeForm[T] = str,
    weights: Mapping[str, float] | None = None, same: Callable[[T], object] | None = None, quorum: float = 0.5,
    tie: Literal["first", "raise"] = "first", options: Options | None = None, budget_usd: float | None = None,
    limit: int = LIMIT, key: str | None = None,
) -> Tally[T]:  # fmt: skip
    """Ask several, and count what they say.

    `by` are names of models, or a number of samples of whoever the route chooses. `weights` say by name what a vote
    counts (1). Who fails abstains, and is named; where those who voted have less than `quorum` of the weight, and at a
    tie with `tie="raise"`, NoMajority is raised. `options` are those of `ask`, `budget_usd` is for all of them
    together. In a flow the calls stand under `vote#k/map#1/NAME/`.
    """
    if isinstance(by, int | float):
        at_least("vote", by=by)
    else:
        several("vote", str, by=by)
    voters = [f"sample {n}" for n in range(by)] if isinstance(by, int) else list(by)
    at_least("vote", limit=limit)
    among(voters, "vote")
    _sound(voters, weights or {}, quorum, tie)
    one_of = merged(options, shared(budget_usd, len(voters)))
    sampled = isinstance(by, int)

    async def asked(name: str) -> T:
        settings = {"temperature": _TEMPERATURE, **(one_of.get("settings") or {}), "seed": voters.index(name)}
        own: Options = {"settings": settings} if sampled else {"model": name}
        return await ask(prompt, *parts, returns=returns, **merged(one_of, own))

    with pattern("vote", key):
        made = await branches(asked, voters, limit=limit, key=str)
    weight = weights or {}
    ballots = [
        Ballot(by=name, value=one.value, weight=weight.get(name, 1.0), error=str(one.error) if one.failed else "")
        for name, one in zip(voters, made, strict=True)
    ]
    counted = tally(ballots, same)
    _hold(counted, quorum, tie, [(name, one.error) for name, one in zip(voters, made, strict=True) if one.error])
    return counted


def _sound(voters: Sequence[str], weights: Mapping[str, float], quorum: float, tie: str) -> None:
    """Raises InputError for options that say nothing."""
    unknown = sorted(weights.keys() - set(voters))
    if unknown:
        raise InputError(f"vote: weights name {unknown[0]!r}, who does not vote", remedy=f"of {', '.join(voters)}")
    if not all(map(_weighs, weights.values())):
        raise InputError(f"vote: weights={dict(weights)!r}: each is a number, and none is below 0")
    if not any(weights.get(name, 1) for name in voters):
        raise InputError(f"vote: weights={dict(weights)!r}: no vote counts", remedy="give one of them more than 0")
    if not _weighs(quorum) or quorum > 1:
        raise InputError(f"vote: quorum={quorum!r} is a share, from 0 to 1")
    if tie not in ("first", "raise"):
        raise InputError(f"vote: tie={tie!r}: one of 'first', 'raise'")


def _weighs(weight: object) -> bool:
    return isinstance(weight, int | float) and not isinstance(weight, bool) and isfinite(weight) and weight >= 0


def _hold(counted: Tally[Any], quorum: float, tie: str, failed: Sequence[tuple[str, Exception]]) -> None:
    """Raises NoMajority."""
    whole = sum(one.weight for one in counted.ballots)
    voted = sum(one.weight for one in counted.ballots if not one.error)
    if counted.winner is None or voted < quorum * whole - _CLOSE:
        why = "; ".join(f"{one.by}: {one.error.splitlines()[0]}" for one in counted.abstained[:4])
        few = NoMajority(
            f"{len(counted.abstained)} of {len(counted.ballots)} have not voted: {why}",
            remedy="ask others, or take a lower quorum=",
        )
        raise fallen(few, failed) from next((error for _, error in failed), None)
    if tie == "raise" and counted.tied:
        said = [str(one) for one in counted.tied]
        error = NoMajority(f"a tie between {' and '.join(said)}", remedy="ask one more, or give weights=")
        error.tied = "\n".join(said)
        raise error


def _alike(value: object) -> object:
    if isinstance(value, str):
        return value.strip().casefold()
    return json.dumps(json.loads(codec(Any).encode(value)), sort_keys=True)


_CLOSE = 1e-9
