"""What the patterns share: a scope of their own, a budget in shares, and branches of which some may fail."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from ...core.keys import quoted
from ...errors import DefinitionError, InputError
from ...runtime.fan import map as each
from ...runtime.scope import opened
from ...runtime.stories import Told, bring_before, story_of
from ..options import Options

__all__ = ["LIMIT", "Branch", "branches", "fallen", "last", "late", "merged", "pattern", "shared"]

T = TypeVar("T")
A = TypeVar("A")
E = TypeVar("E", bound=Exception)
F = TypeVar("F", bound=Told)
_MISTAKES = (InputError, DefinitionError)
LIMIT = 4
"""Branches at once, where nothing is said."""


@dataclass(frozen=True)
class Branch(Generic[T]):
    """What came of one branch: a value, or an error."""

    value: T | None = None
    error: Exception | None = None

    @property
    def failed(self) -> bool:
        """Whether it has no value."""
        return self.error is not None


async def branches(
    function: Callable[[A], Awaitable[T]], items: Iterable[A], *, limit: int, key: Callable[[A], str]
) -> list[Branch[T]]:
    """What came of each, in order, at most `limit` at once. One that fails leaves the others alone.

    Raises what is no failure of a branch: a cancellation, and a mistake of the calling code.
    """
    given: list[Any] = await each(function, items, limit=limit, key=key, return_exceptions=True)
    made: list[Branch[T]] = []
    for one in given:
        if isinstance(one, BaseException) and (not isinstance(one, Exception) or type(one) in _MISTAKES):
            raise one
        made.append(Branch(error=one) if isinstance(one, Exception) else Branch(cast("T", one)))
    return made


def fallen(error: F, failed: Iterable[tuple[str, Exception]]) -> F:
    """The error of a pattern, with the story of all branches that have failed, each with its name, or an empty one."""
    error.tell(_stories(failed, sys.exception()))
    return error


async def last(who: str, asking: Awaitable[T], failed: Iterable[tuple[str, Exception]] = ()) -> T:
    """What comes of the last question of a pattern. Its error tells who was asked it, and of all branches that had
    failed before: that is the error of the pattern.
    """
    busy = sys.exception()
    try:
        return await asking
    except Exception as error:
        late(error, who, failed, busy)
        raise


def late(error: E, who: str, failed: Iterable[tuple[str, Exception]], busy: BaseException | None = None) -> E:
    """The error of a last question, with the story of all branches that had failed before."""
    bring_before(error, who, _stories(failed, busy))
    return error


def _stories(failed: Iterable[tuple[str, Exception]], busy: BaseException | None) -> list[object]:
    """What is told of branches; nothing of what the caller is busy with, which none of them has done."""
    told = list[object]()
    for name, one in failed:
        who = {"who": name} if name else {}
        told += [{**who, **cast("Mapping[str, object]", said)} for said in story_of([one], but=busy)]
    return told


def pattern(name: str, key: str | None) -> AbstractContextManager[object]:
    """In a flow, a scope of the pattern's own: `name[key]#k/`."""
    return opened(name, None if key is None else quoted(key))


def merged(*given: Options | None) -> Options:
    """Options over options: the last word counts. Where none says otherwise a call is no part of the run's thread.

    Raises InputError for what is no option, or is said by the pattern itself.
    """
    said = {name: value for one in given for name, value in (one or {}).items()}
    unknown = sorted(said.keys() - Options.__annotations__.keys())
    if unknown:
        raise InputError(
            f"ask has no option {unknown[0]!r} here", remedy=f"give of {', '.join(Options.__annotations__)}"
        )
    return cast("Options", {"thread": None, **said})


def shared(budget_usd: float | None, calls: int) -> Options:
    """Of a budget for the whole, the equal share of each of so many calls, as options; empty without one."""
    return {} if budget_usd is None else {"budget_usd": budget_usd / max(1, calls)}


def at_least(what: str, least: int = 1, **given: object) -> None:
    """Raises InputError for what is no whole number of at least `least`."""
    for name, value in given.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InputError(f"{what}: {name}={value!r}: a whole number from {least} was expected")


def several(what: str, kind: type[Any], **given: object) -> None:
    """Raises InputError for what is no list of these, or is an empty one."""
    for name, value in given.items():
        of = kind.__name__
        if not isinstance(value, list | tuple) or not value:
            raise InputError(f"{what}: {name}={value!r}: a list of {of} was expected")
        odd = next((one for one in cast("Sequence[object]", value) if not isinstance(one, kind)), None)
        if odd is not None:
            raise InputError(f"{what}: {name}: {odd!r} is no {of}")


def among(names: Sequence[str], what: str) -> None:
    """Raises InputError for two of one name."""
    if len(set(names)) < len(names):
        raise InputError(f"{what}: two are called alike", remedy=f"name them apart: {', '.join(names)}")
