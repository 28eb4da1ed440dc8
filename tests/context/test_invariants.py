"""What is true of every assembly, whatever the history. Thousands here; `make histories` tries 100,000."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from segue.context.assembly import assemble
from segue.context.errors import ContextOverflow
from segue.context.form import form
from segue.context.pairs import NO_RESULT, units_of
from segue.context.summaries import in_place
from segue.context.tokens import estimate
from segue.context.types import Assembly, Kind, Part, Role
from segue.core.records import Fate
from tests.context.histories import TARGET, History, kept

SEEDS = Path(__file__).parent / "seeds.txt"
"""Seeds that once found a fault; they are tried first, for ever."""
MANY = int(os.environ.get("SEGUE_HISTORIES", "2000"))
CHUNK = 400
TOKENS = estimate()


def check(seed: int) -> bool:
    """Hold all invariants for one history. Whether it was fitted; one whose fixed parts are too long is refused."""
    history = History(seed)
    try:
        made = assemble(history.parts, history.budget, TARGET, TOKENS)
    except ContextOverflow as error:
        assert error.tokens > error.room == history.budget.input
        return False
    pairs_are_whole(made)
    what_must_stay_stays(made, history.parts)
    order_is_kept(made, history.parts)
    nothing_is_lost_in_silence(made, history.parts)
    assert measured(made) == made.tokens <= history.budget.window - history.budget.reserved_out - history.budget.margin
    assert all(part.bound in (None, TARGET.model) for part in made.parts)
    assert all(one.why for one in made.shown if one.fate is not Fate.KEPT)
    assert assemble(history.parts, history.budget, TARGET, TOKENS) == made
    return True


def measured(made: Assembly) -> int:
    """Counted anew: what was recalled stands in one turn together, other parts have a format around them."""
    total = made.budget.tools
    for part in made.parts:
        own = TOKENS(form(part)) + TOKENS(part.tool or "") if part.tokens is None else part.tokens
        total += own + (1 if part.kind is Kind.MEMORY else made.budget.per_part)
    return total


def pairs_are_whole(made: Assembly) -> None:
    """Each call is answered once, later, and before its id is called again by somebody else."""
    open_: Counter[str] = Counter()
    for part in made.parts:
        if part.kind is Kind.CALL:
            open_[part.call or ""] += 1
        elif part.kind is Kind.RESULT:
            open_[part.call or ""] -= 1
            assert open_[part.call or ""] >= 0, f"{part.call}: a result without its call"
    assert not +open_, f"calls without their results: {+open_}"


def what_must_stay_stays(made: Assembly, parts: list[Part]) -> None:
    shown = [one.part for one in made.shown if one.fate is Fate.KEPT]
    hashes = Counter(part.hash for part in shown)
    asked = [at for at, p in enumerate(parts) if p.asks] or [
        at for at, p in enumerate(parts) if p.role is Role.USER and p.kind is Kind.TEXT
    ][-1:]
    must = [
        p for at, p in enumerate(parts)
        if at in asked or p.role is Role.SYSTEM or p.kind is Kind.STATE or (p.pinned and p.kind is not Kind.RESULT)
    ]  # fmt: skip
    must += pinned_results(parts)
    if any(
        part.kind is Kind.TEXT and not (part.asks or part.pinned) and part.role is not Role.SYSTEM for part in shown
    ):
        out = [one for one in made.shown if one.part.kind is Kind.SUMMARY and one.as_ is None]
        assert not [one for one in out if one.why == "window"], "a summary goes last of all"
    must = [part for part in must if part.bound in (None, TARGET.model)]
    assert not Counter(part.hash for part in must if part.kind is not Kind.CALL) - hashes


def pinned_results(parts: list[Part]) -> list[Part]:
    """Those that answer a call which may be shown, together with all that was said in one go with it."""
    units = units_of(in_place(parts))
    foreign = {
        unit for part, unit in zip(units.parts, units.unit, strict=True) if part.bound not in (None, TARGET.model)
    }
    pairs = zip(units.parts, units.unit, units.origin, strict=True)
    return [
        part for part, unit, origin in pairs
        if part.pinned and part.kind is Kind.RESULT and unit not in foreign and origin is not None
    ]  # fmt: skip


def order_is_kept(made: Assembly, parts: list[Part]) -> None:
    """Those shown stand as they were given; a summary stands where what it covers stood."""
    given = [p.hash for p in parts if p.kind is not Kind.SUMMARY]
    told = [one.part.hash for one in made.shown if one.part.kind is not Kind.SUMMARY and one.part.text != NO_RESULT]
    assert told == given


def nothing_is_lost_in_silence(made: Assembly, parts: list[Part]) -> None:
    """What stands for a part is shown, and a call is said to have no result only if it never had one."""
    shown = {one.part.hash for one in made.shown if one.as_ is not None}
    pointing = {one.into for one in made.shown if one.into and one.why.startswith("duplicate")}
    assert pointing <= shown, "a part points at one that is not shown"
    dangling = sum(origin is None for origin in units_of(parts).origin)
    assert sum(part.text == NO_RESULT for part in made.parts) <= dangling, "a call had a result"


@pytest.mark.sampled(5)
@pytest.mark.parametrize("start", range(0, MANY, CHUNK))
def test_thousands_of_random_histories(start: int) -> None:
    seeds = range(start, min(start + CHUNK, MANY))
    assert sum(map(held, seeds)) > len(seeds) * 0.6, "too few are fitted: the rest says nothing"


def test_histories_that_once_broke_an_invariant() -> None:
    seeds = kept(SEEDS)
    assert seeds and sum(map(held, seeds)) > len(seeds) * 0.6


def held(seed: int) -> bool:
    try:
        return check(seed)
    except AssertionError as error:
        pytest.fail(f"seed {seed} (add it to {SEEDS.name}): {error}")
