"""A context fitted to one model's window. Pure: the same input gives the same assembly.

In this order, each only if it must: what is bound to another model goes; what a summary covers gives way to it; what is
there twice is shown once; the middle of an overlong tool result is cut; old tool results are cleared; old units go,
then what was recalled, the least relevant first; a summary last of all. The system's, pinned parts, states and the
request stay.
A call is never shown without its result nor a result without its call, and the order never changes. Room is made in
steps, so that the beginning stays the same over many calls and a prompt cache can hold it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..core.records import Fate
from .errors import ContextOverflow
from .fitting import Fitting, counts, without_far
from .pairs import Units, units_of
from .summaries import covered_by, in_place
from .tokens import Tokens
from .types import Assembly, Budget, Kind, Part, Role, Shown, Target

__all__ = ["assemble", "with_margin"]


def assemble(parts: Sequence[Part], budget: Budget, target: Target, tokens: Tokens) -> Assembly:
    """The parts as `target` is shown them, within `budget`, counted by `tokens`.

    Raises ContextOverflow where what must stay does not fit.
    """
    ordered = in_place(with_request(parts))
    covers = covered_by(ordered)
    open_ = [at for at in range(len(ordered)) if at not in covers] if covers else range(len(ordered))
    sizes = counts(ordered, tokens, budget.per_part)
    kept_at, gone = without_far(ordered, open_, sizes, budget.input)
    units = units_of([ordered[at] for at in kept_at])
    fitting = Fitting(units, budget, target, tokens)
    fitting.fit(gone)
    if fitting.total > budget.input:
        raise _overflow(fitting, budget)
    return _told([*zip(ordered, sizes, strict=True)], covers, kept_at, units, fitting)


def with_margin(budget: Budget, tokens: Tokens) -> Budget:
    """The budget with the margin that an estimate needs; the same for an exact count."""
    room = budget.window - budget.reserved_out - budget.tools
    return budget if tokens.exact else replace(budget, margin=max(budget.margin, tokens.margin(room)))


def with_request(parts: Sequence[Part]) -> Sequence[Part]:
    """The parts with the request marked: where none is, it is what the user said last."""
    if any(part.asks for part in parts):
        return parts
    asked = next((at for at in range(len(parts) - 1, -1, -1) if _asks(parts[at])), None)
    if asked is None:
        return parts
    return [*parts[:asked], replace(parts[asked], asks=True), *parts[asked + 1 :]]


def _asks(part: Part) -> bool:
    return part.role is Role.USER and part.kind is Kind.TEXT


def _overflow(fitting: Fitting, budget: Budget) -> ContextOverflow:
    place = max(range(len(fitting.size)), key=lambda at: fitting.size[at])
    largest = fitting.units.parts[place]
    error = ContextOverflow(
        f"what must stay takes {fitting.total:,} tokens, and there is room for {budget.input:,}; the largest part is "
        f"{largest.role.value} {largest.kind.value} with {fitting.size[place]:,}",
        remedy="shorten or unpin it, reserve less for the answer, or take a model with a larger window",
    )
    error.tokens, error.room = fitting.total, budget.input
    return error


def _told(
    ordered: Sequence[tuple[Part, int]], covers: dict[int, Part], kept_at: Sequence[int], units: Units, fitting: Fitting
) -> Assembly:
    """Every part with what became of it, in order."""
    behind: dict[int, list[Shown]] = {}
    of: dict[int, Shown] = {}
    last = -1
    for at, origin in enumerate(units.origin):
        one = fitting.shown(at)
        if origin is None:
            behind.setdefault(last, []).append(one)
        else:
            last = kept_at[origin]
            of[last] = one
    told: list[Shown] = []
    lost = {kept_at[place]: why for place, why in units.lost.items()}
    for at, (part, size) in enumerate(ordered):
        one = of.get(at)
        if one is not None:
            told.append(one)
            told += behind.get(at, ())
        elif at in covers:
            told.append(Shown(part, size, Fate.SUMMARISED, "old turn", into=covers[at].hash))
        else:
            told.append(Shown(part, size, Fate.DROPPED, lost.get(at, "window")))
    return Assembly(
        shown=tuple(told), budget=fitting.budget, target=fitting.target, exact=fitting.tokens.exact,
        tokenizer=fitting.tokens.name,
    )  # fmt: skip
