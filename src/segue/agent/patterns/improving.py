"""Evaluator and optimiser: an answer is judged and made better, for so many rounds; the best one is kept."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import BaseModel, Field

from ...context import ContextOverflow
from ...errors import InputError, UsageError
from ...models import UnknownModel
from ..ask import ask
from ..nobody import NoRoom
from ..options import Options
from ..prompts import Prompt, worded
from ..request import shown
from .common import at_least, last, merged, pattern, shared

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["AGAIN", "EVALUATE", "Improved", "Score", "Version", "improve"]

T = TypeVar("T")

EVALUATE = "How good is this answer? 1 is perfect, 0 is useless. Say in `why` what would make it better."
"""What an evaluator that is a model is asked. It is shown the task, its parts and the answer."""
AGAIN = "An earlier answer, and what was said of it, are shown. Give a better one, whole."
"""What stands before an earlier answer."""


class Score(BaseModel):
    """How good an answer is."""

    score: float = Field(ge=0.0, le=1.0)
    why: str = ""
    """What would make it better."""


@dataclass(frozen=True, kw_only=True)
class Version(Generic[T]):
    """One round: an answer and its score. `error` says why there is no score."""

    value: T
    score: float | None = None
    why: str = ""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Improved(Generic[T]):
    """The best answer, and how it came about."""

    value: T
    score: float | None
    """None: no answer could be judged."""
    versions: tuple[Version[T], ...]
    stopped: str
    """Why it stopped: `enough`, `rounds`, or the error of the call that ended it."""


async def improve(
    prompt: str | Prompt, *parts: object, returns: TypeForm[T] = str,
    evaluator: Options | Callable[[T], Score | float | Awaitable[Score | float]] | None = None, enough: float = 0.9,
    rounds: int = 3, evaluate: str | Prompt = EVALUATE, again: str = AGAIN, key: str | None = None,
    options: Options | None = None, budget_usd: float | None = None,
) -> Improved[T]:  # fmt: skip
    """Ask, let the answer be judged, show the judgement and ask again; give the best of at most `rounds` answers.

    `evaluator` is how a model is asked to judge, or a function (a step, if it does anything) that gives a Score or a
    number from 0 to 1. It stops at a score of `enough`. When a later round fails, or nothing is left of the budget,
    the best so far is the result, and `stopped` says why; the first round's error is raised. An answer that could
    not be judged (it is too long for the evaluator, say) counts less than any that was; an evaluator that cannot be
    asked at all (its model is unknown, an option is wrong) raises that error after the first answer, before another is
    paid for. `budget_usd` is for all calls together. In a flow all stands under `improve#k/`.
    """
    at_least("improve", rounds=rounds)
    if not isinstance(enough, int | float) or not 0 <= enough <= 1:  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        raise InputError("improve: enough is from 0 to 1")
    if evaluator is not None and not callable(evaluator) and not isinstance(evaluator, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        raise InputError(f"improve: evaluator={evaluator!r}: options of ask, or a function, were expected")
    judges = 0 if callable(evaluator) else rounds
    share = shared(budget_usd, rounds + judges)
    asked, judging = merged(options, share), merged(None if callable(evaluator) else evaluator, share)
    versions: list[Version[T]] = []
    stopped = "rounds"

    async def judged(value: T) -> Version[T]:
        try:
            if callable(evaluator):
                said = evaluator(value)
                given = await said if inspect.isawaitable(said) else said
            else:
                judge = ask(evaluate, f"The task: {task}", *parts, _shown(value), returns=Score, **judging)
                given = await last("evaluator", judge)
            made = given if isinstance(given, Score) else Score(score=float(given))
        except Exception as error:  # an answer that nobody could judge is still an answer
            if not callable(evaluator) and _is_hopeless(error) and all(one.score is None for one in versions):
                raise  # the question is wrong, not the answer: it would be so in every round
            return Version(value=value, error=str(error))
        return Version(value=value, score=made.score, why=made.why)

    with pattern("improve", key):
        task, _ = await worded(prompt)
        while len(versions) < rounds:
            best = _best(versions)
            before = () if best is None else (f"{again}\n\n{_shown(best.value)}\n\nWhat was said of it: {_said(best)}",)
            try:
                value = await ask(prompt, *parts, *before, returns=returns, **asked)
            except Exception as error:
                if not versions:
                    raise
                stopped = str(error)
                break
            versions.append(await judged(value))
            if (versions[-1].score or 0.0) >= enough:
                stopped = "enough"
                break
    best = _best(versions)
    assert best is not None
    return Improved(value=best.value, score=best.score, versions=tuple(versions), stopped=stopped)


def _is_hopeless(error: Exception) -> bool:
    """Whether a model cannot be asked, whatever the answer is that it is to judge."""
    return isinstance(error, UsageError | UnknownModel) and not isinstance(error, NoRoom | ContextOverflow)


def _best(versions: list[Version[T]]) -> Version[T] | None:
    """The first of those with the highest score; where none has one, the first."""
    return max(versions, key=lambda one: -1.0 if one.score is None else one.score, default=None)


def _said(one: Version[T]) -> str:
    return one.why or (f"it scores {one.score:g}" if one.score is not None else "nobody could judge it")


def _shown(value: object) -> str:
    return f"The answer:\n{shown(value)}"
