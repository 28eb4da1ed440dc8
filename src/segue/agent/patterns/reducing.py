"""Map-reduce over a long document: each piece is read on its own, and what was found is put together in a tree."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from ...context.tokens import estimate
from ...errors import InputError
from ...runtime.stories import Told
from ..ask import ask
from ..options import Options
from ..prompts import Prompt, worded
from ..request import shown
from .common import LIMIT, Branch, at_least, branches, fallen, late, merged, pattern, shared

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["COMBINE", "Incomplete", "Reduced", "chunks", "map_reduce"]

T = TypeVar("T")

COMBINE = "These are results of the same task on consecutive pieces of one document. Make one result of them."
"""What stands before results that are put together. The task itself is shown too."""
_BREAKS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"(?<=[.!?…。！？])\s+"), re.compile(r"\s+"))
"""Where a text may be cut, the best place first."""


class Incomplete(Told):
    """More of a document could not be read than was allowed for. `missing` names the pieces, from 1."""

    code = "incomplete"
    missing: str = ""


@dataclass(frozen=True, kw_only=True)
class Reduced(Generic[T]):
    """The result, and what it rests on."""

    value: T
    pieces: int
    missing: tuple[int, ...] = ()
    """The pieces that could not be read, from 1."""
    levels: int = 0
    """How often results were put together, one after the other."""


def chunks(text: str, tokens: int, count: Callable[[str], int] | None = None) -> list[str]:
    """A text in pieces of at most so many tokens, cut at paragraphs, else at lines, sentences, words. Pure.

    Put together they are the text. `count` counts tokens; by default they are estimated, on the high side.
    """
    at_least("chunks", tokens=tokens)
    counted = count or _estimated
    return [piece for piece in _packed(text, tokens, counted, 0) if piece]


def _packed(text: str, tokens: int, count: Callable[[str], int], level: int) -> list[str]:
    """Neighbours put together as long as they fit; what is too long alone is cut at the next kind of place."""
    if not text or count(text) <= tokens:
        return [text]
    if level == len(_BREAKS):
        return _halved(text, tokens, count)
    made: list[str] = []
    held, size = "", 0
    for part in _parted(text, _BREAKS[level]):
        more = count(part)
        if size + more <= tokens:
            held, size = held + part, size + more
            continue
        made += [held] if held else []
        *whole, held = _packed(part, tokens, count, level + 1)
        made, size = made + whole, count(held)
    # Two texts may count more together than apart.
    return [one for piece in (*made, held) for one in _halved(piece, tokens, count)]


def _parted(text: str, breaks: re.Pattern[str]) -> list[str]:
    """Cut behind each break, so that nothing is lost."""
    ends = [found.end() for found in breaks.finditer(text)]
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True) if start < end]


def _halved(text: str, tokens: int, count: Callable[[str], int]) -> list[str]:
    """A word without end: by characters. One character is a piece, whatever it counts."""
    if len(text) < 2 or count(text) <= tokens:
        return [text]
    middle = len(text) // 2
    return [*_halved(text[:middle], tokens, count), *_halved(text[middle:], tokens, count)]


async def map_reduce(
    task: str | Prompt, document: str, *, returns: TypeForm[T] = str, tokens: int = 1500, fan: int = 4,
    combine: str = COMBINE, missing_max: float = 0.0, count: Callable[[str], int] | None = None, limit: int = LIMIT,
    key: str | None = None, options: Options | None = None, budget_usd: float | None = None,
) -> Reduced[T]:  # fmt: skip
    """Do a task on each piece of a document, at most `limit` at once, and put the results together, `fan` at a time.

    Every result is of the type `returns`, so that results of results are too. `combine` is told before those that are
    put together. Of the pieces a share of up to `missing_max` may fail: then those who put together are told which are
    missing, and so are you; with more of them, Incomplete is raised. `budget_usd` is for all calls together.
    In a flow the calls stand under `map_reduce#k/`, those of a level under a `map#n/`.
    """
    at_least("map_reduce", tokens=tokens, limit=limit)
    at_least("map_reduce", 2, fan=fan)
    if not isinstance(document, str) or not 0 <= missing_max <= 1:  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        raise InputError("map_reduce: document is a text, missing_max a share from 0 to 1")
    pieces = [piece for piece in chunks(document, tokens, count) if piece.strip()]
    if not document.strip():
        raise InputError("map_reduce: the document is empty", remedy="give its text")
    asked = merged(options, shared(budget_usd, _calls(len(pieces), fan)))

    async def read(n: int) -> T:
        where = f"Piece {n} of {len(pieces)}:" if len(pieces) > 1 else "The document:"
        return await ask(task, f"{where}\n{pieces[n - 1]}", returns=returns, **asked)

    async def joined(group: tuple[int, Sequence[Branch[T]]]) -> T:
        return await ask(f"{combine}\nThe task: {told}{_lost(missing)}", *_shown(group[1]), returns=returns, **asked)

    with pattern("map_reduce", key):
        told, _ = await worded(task)
        found = await branches(read, range(1, len(pieces) + 1), limit=limit, key=str)
        missing = _missing(found, missing_max)
        level, levels = list(found), 0
        while len(level) > 1:
            groups = [(n, level[at : at + fan]) for n, at in enumerate(range(0, len(level), fan), 1)]
            many = [group for group in groups if sum(not one.failed for one in group[1]) > 1]
            made = dict(zip((n for n, _ in many), await branches(joined, many, limit=limit, key=_number), strict=True))
            level, levels = [made.get(n) or _only(group) for n, group in groups], levels + 1
            _hold(made, found)
    value = cast("T", level[0].value)  # it has not failed
    return Reduced(value=value, pieces=len(pieces), missing=missing, levels=levels)


def _number(group: tuple[int, object]) -> str:
    return str(group[0])


def _only(group: Sequence[Branch[T]]) -> Branch[T]:
    """The one of a group that has a result; else one that has none."""
    return next((one for one in group if not one.failed), group[0])


def _missing(found: Sequence[Branch[Any]], most: float) -> tuple[int, ...]:
    """The pieces that could not be read. Raises Incomplete."""
    lost = tuple(n for n, one in enumerate(found, 1) if one.failed)
    if lost and (len(lost) > most * len(found) or len(lost) == len(found)):
        named = ", ".join(map(str, lost[:12]))
        cause = found[lost[0] - 1].error
        error = Incomplete(
            f"{len(lost)} of {len(found)} pieces could not be read: {named}: {cause}",
            remedy="allow for some: missing_max=0.1; or see why they failed",
        )
        error.missing = ", ".join(map(str, lost))
        raise fallen(error, _failed("piece", dict(enumerate(found, 1)))) from cause
    return lost


def _lost(missing: Sequence[int]) -> str:
    """What whoever puts results together is told of pieces: a group that had one result alone does not show them."""
    return f"\nPieces that could not be read: {', '.join(map(str, missing))}." if missing else ""


def _hold(made: Mapping[int, Branch[Any]], found: Sequence[Branch[Any]]) -> None:
    """Results that could not be put together are no result. Raises the error of the first, which tells of the pieces
    that had failed and of the others.
    """
    lost = _failed("combiner", made)
    if lost:
        (who, error), *others = lost
        late(error, who, [*_failed("piece", dict(enumerate(found, 1))), *others], sys.exception())
        if others:
            raise error from ExceptionGroup("others could not be put together either", [one for _, one in others])
        raise error


def _failed(what: str, of: Mapping[int, Branch[Any]]) -> list[tuple[str, Exception]]:
    return [(f"{what} {n}", one.error) for n, one in of.items() if one.error is not None]


def _shown(group: Sequence[Branch[Any]]) -> list[str]:
    return [
        f"Result {n} of {len(group)}:\n{'(missing: it could not be read)' if one.failed else shown(one.value)}"
        for n, one in enumerate(group, 1)
    ]


def _calls(pieces: int, fan: int) -> int:
    """How many calls it takes at most."""
    calls = pieces
    while pieces > 1:
        pieces = -(-pieces // fan)
        calls += pieces
    return calls


_TOKENS = estimate(small=True)


def _estimated(text: str) -> int:
    """By the tokenizers that need most, with their margin."""
    found = _TOKENS.count_(text)
    return found + _TOKENS.margin(found)
