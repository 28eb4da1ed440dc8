"""Debate with a judge: sides argue in rounds, each shown what the others said; then a judge decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from ...runtime.stories import Told
from ..ask import ask
from ..options import Options
from ..prompts import Prompt
from .common import LIMIT, Branch, among, at_least, branches, fallen, last, merged, pattern, several, shared

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["ARGUE", "JUDGE", "Debate", "Nobody", "Side", "Speech", "debate"]

T = TypeVar("T")

ARGUE = "You take part in a debate. Argue for your side in a few sentences, and answer what the others have said."
"""What each side is asked."""
JUDGE = "Decide the question by the arguments of this debate, not by who speaks longest or last."
"""What the judge is asked."""


class Nobody(Told):
    """No side has said anything."""

    code = "nobody-argued"


@dataclass(frozen=True)
class Side:
    """One that argues."""

    name: str
    stance: str = ""
    """What it argues for; empty: what it thinks right."""
    options: Options = field(default_factory=Options, kw_only=True)
    """How its model is asked: `model`, `route` and the others of `ask`."""


@dataclass(frozen=True, kw_only=True)
class Speech:
    """What a side said in a round. `error` says why it said nothing."""

    side: str
    round: int
    text: str = ""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Debate(Generic[T]):
    """The verdict, and all that was said."""

    verdict: T
    speeches: tuple[Speech, ...]

    @property
    def silent(self) -> tuple[Speech, ...]:
        """Where a side failed to speak, and why."""
        return tuple(one for one in self.speeches if one.error)


async def debate(
    question: str,
    *parts: object,
    sides: Sequence[Side],
    returns: TypeForm[T] = str,
    rounds: int = 2,
    argue: str | Prompt = ARGUE,
    judge: str | Prompt = JUDGE,
    judged: Options | None = None,
    budget_usd: float | None = None,
    limit: int = LIMIT,
    key: str | None = None,
) -> Debate[T]:
    """Let the sides argue for so many rounds, those of one round at once, and let a judge decide as `returns`.

    `judged` is how the judge is asked. A side that fails is missing in that round: the others and the judge are told.
    `budget_usd` is for all calls together. Raises Nobody where no side said anything, and what the judge's `ask` does.
    In a flow the calls stand under `debate#k/`.
    """
    at_least("debate", rounds=rounds, limit=limit)
    several("debate", Side, sides=sides)
    among([side.name for side in sides], "debate")
    share = shared(budget_usd, rounds * len(sides) + 1)
    arguing = {side.name: merged(side.options, share) for side in sides}
    options = merged(judged, share)
    said: list[Speech] = []
    failed: list[tuple[str, Exception]] = []

    async def speak(side: Side) -> str:
        stance = f"Your side: {side.name}. {side.stance}".strip()
        return await ask(argue, f"The question: {question}", *parts, stance, _told(said), **arguing[side.name])

    with pattern("debate", key):
        for n in range(1, rounds + 1):
            spoken = await branches(speak, sides, limit=limit, key=lambda side: side.name)
            said += [_speech(side.name, n, one) for side, one in zip(sides, spoken, strict=True)]
            failed += [(side.name, one.error) for side, one in zip(sides, spoken, strict=True) if one.error]
        if all(one.error for one in said):
            none = Nobody(f"no side has said anything: {said[0].side}: {said[0].error}", remedy="see why each failed")
            raise fallen(none, failed) from failed[0][1]
        deciding = ask(judge, f"The question: {question}", *parts, _told(said), returns=returns, **options)
        verdict = await last("judge", deciding, failed)
    return Debate(verdict=verdict, speeches=tuple(said))


def _speech(side: str, n: int, one: Branch[str]) -> Speech:
    return Speech(side=side, round=n, text=one.value or "", error=str(one.error) if one.failed else "")


def _told(said: Sequence[Speech]) -> str:
    """The debate so far, as it is shown."""
    lines = [f"[{one.side}, round {one.round}] {one.text or '(it could not speak)'}" for one in said]
    return "\n\n".join(lines) or "Nobody has spoken yet."
