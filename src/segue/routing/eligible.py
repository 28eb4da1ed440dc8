"""Who could answer, and of everybody else the stage and the reason why not. Pure, over columns.

Each candidate is excluded by the first rule that it does not pass. Two rules are soft, since waiting, or an answer that
may be cut, is better than none: that a place is free, and that a budget pays for a whole answer. They hold as long as
they leave somebody whom the policy chooses: who could answer, and is not among those of a route, is nobody to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..core.budgets import dollars, least_output
from ..core.records import Stage
from .arrays import Flags, Rows, Vector
from .features import needs_of
from .predict import expected_output, likely_lengths
from .table import Conditions, Situation, Table
from .types import WISH, Features, Request

__all__ = ["PASSING", "UNPRICED", "Eligibility", "Exclusion", "eligible", "misses"]

UNPRICED = "no price is known, and there is a budget"
"""Why a budget excludes a model without a price."""
_MARGIN = 1.1
"""An estimated input may be longer than it seems."""
_EMBEDDINGS = "embeddings"


class Exclusion(NamedTuple):
    """Why one is not eligible."""

    stage: Stage
    reason: str


class Eligibility(NamedTuple):
    """Who can answer: places in the table, in its order; and why the others cannot."""

    rows: Rows
    excluded: Mapping[int, Exclusion]
    able: Rows
    """Who could answer at some time: also who has failed, is unwell, busy or too dear now, or is not the one named."""


PASSING = frozenset({Stage.TRIED, Stage.HEALTH, Stage.LIMIT, Stage.BUDGET})
"""Why somebody is left out who may be chosen at another time."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One reason to leave candidates out: whom, and what to say of one."""

    stage: Stage
    bad: Flags
    reason: Callable[[int], str]


def eligible(at: Situation) -> Iterator[Eligibility]:
    """Who can answer: first by all rules, then, for whom that leaves nobody, with ever fewer of the soft ones. At least
    one. No rule costs more than a look at a column.
    """
    fits, able = np.ones(len(at.table), np.bool_), np.ones(len(at.table), np.bool_)
    excluded: dict[int, Exclusion] = {}
    for rule in _named(at):
        apply(rule, fits, excluded)
    for rule in _hard(at):
        apply(rule, fits, excluded)
        if rule.stage not in PASSING:
            able &= ~rule.bad
    soft = [rule for rule in _soft(at) if (fits & rule.bad).any()]
    for kept in _fewer(soft):
        left, out = fits.copy(), dict(excluded)
        for rule in kept:
            apply(rule, left, out)
        if left.any() or not kept:
            yield Eligibility(np.flatnonzero(left), out, np.flatnonzero(able))


def _fewer(rules: Sequence[Rule]) -> Iterator[Sequence[Rule]]:
    """All of them, and then fewer: the first ones are given up last."""
    if not rules:
        yield ()
        return
    for others in _fewer(rules[1:]):
        yield (rules[0], *others)
    yield from _fewer(rules[1:])


def _soft(at: Situation) -> Iterable[Rule]:
    request = at.request
    if request.budget_nano is not None:  # rather a whole answer of another one than one whose limit is lowered
        yield _budget(request.budget_nano, at.features, at.table, likely_lengths(at))
    if not request.awaits:
        yield _limit(request, at.conditions)


def apply(rule: Rule, fits: Flags, excluded: dict[int, Exclusion]) -> None:
    """Take those out who are left and break the rule, in place."""
    if rule.bad.any():
        for row in np.flatnonzero(fits & rule.bad).tolist():
            excluded[row] = Exclusion(rule.stage, rule.reason(row))
        fits &= ~rule.bad


def tag_rules(require: Mapping[str, str | Collection[str]], table: Table) -> Iterable[Rule]:
    """The rules of required tags: `residency` is a stage of its own, the others are policy."""
    for key, allowed in require.items():
        stage = Stage.RESIDENCY if key == "residency" else Stage.POLICY
        yield Rule(stage, ~table.tagged(key, allowed), _tag_reason(table, key, allowed))


def _named(at: Situation) -> Iterable[Rule]:
    request = at.request
    if request.model is not None:
        wish = f"the {request.pinned_by}{WISH}{request.model}"
        yield Rule(Stage.POLICY, ~at.table.among((request.model,)), lambda _: wish)


def _hard(at: Situation) -> Iterable[Rule]:
    request, table = at.request, at.table
    tokens_out, _ = expected_output(request, at.features)
    if request.barred:
        yield from _barred(request.barred, table)
    if request.tried:
        yield Rule(Stage.TRIED, table.among(request.tried), lambda row: _tried(request.tried[table.names[row]]))
    yield _capability(needs_of(request, at.features.modalities), table)
    yield from _window(request, at.features, table, tokens_out)
    yield from tag_rules(request.require, table)
    if request.budget_nano is not None:
        least = min(tokens_out, least_output(request.tokens_out_max))
        yield _budget(request.budget_nano, at.features, table, least)
    if not request.awaits:
        yield Rule(Stage.HEALTH, at.conditions.down, lambda row: at.conditions.reasons.get(row, "it is down"))


def _tag_reason(table: Table, key: str, allowed: str | Collection[str]) -> Callable[[int], str]:
    wanted = _any_of(allowed)

    def reason(row: int) -> str:
        has = table.options[row].tags.get(key)
        return f"its {key} is {has}, not {wanted}" if has else f"it has no tag {key}; wanted is {wanted}"

    return reason


def misses(reason: str, key: str, allowed: str | Collection[str]) -> bool:
    """Whether this is why a model is left out of which this tag is required."""
    wanted = _any_of(allowed)
    has_other = reason.startswith(f"its {key} is ") and reason.endswith(f", not {wanted}")
    return has_other or reason == f"it has no tag {key}; wanted is {wanted}"


def _any_of(allowed: str | Collection[str]) -> str:
    return allowed if isinstance(allowed, str) else " or ".join(sorted(allowed)) or "nothing"


def _barred(barred: Mapping[str, tuple[Stage, str]], table: Table) -> Iterable[Rule]:
    """What the caller knows, a rule for each stage."""
    for stage in Stage:
        names = [name for name, (at, _) in barred.items() if at is stage]
        if names:
            yield Rule(stage, table.among(names), lambda row: barred[table.names[row]][1])


def _tried(why: str) -> str:
    return f"it was tried: {why}" if why else "it was tried"


def _capability(needs: frozenset[str], table: Table) -> Rule:
    """A model that only embeds writes no answer."""
    bad = ~table.able(needs)
    if _EMBEDDINGS not in needs:
        bad |= table.max_output < 1

    def reason(row: int) -> str:
        lacks = sorted(map(str, needs - {str(c) for c in table.options[row].capabilities}))
        return f"it lacks {', '.join(lacks)}" if lacks else "it only embeds"

    return Rule(Stage.CAPABILITY, bad, reason)


def _window(request: Request, features: Features, table: Table, tokens_out: float) -> Iterable[Rule]:
    """The input and the answer that is expected must fit; the output limit can be lowered."""
    into, holds = features.tokens if features.counted else round(features.tokens * _MARGIN), table.window
    if _EMBEDDINGS in request.needs:
        bad = holds < into
        yield Rule(Stage.WINDOW, bad, lambda row: f"{into} tokens of input, its window holds {holds[row]}")
        return
    least, most = request.tokens_out_min, table.max_output
    out = np.minimum(max(least, round(tokens_out)) + table.thoughts, np.maximum(most, least))
    said = "tokens of input and {} of output, its window holds {}".format
    yield Rule(Stage.WINDOW, holds < into + out, lambda row: f"{into} {said(out[row], holds[row])}")
    yield Rule(Stage.WINDOW, most < least, lambda row: f"it writes {most[row]} tokens at most, not {least}")


def _budget(left_nano: int, features: Features, table: Table, tokens_out: float | Vector) -> Rule:
    """By the dearest kind of input, and so much output: the reservation itself is exact."""
    needed = _dearest_nano(features, table, tokens_out)

    def reason(row: int) -> str:
        if np.isnan(needed[row]):
            return UNPRICED
        return f"it may cost {dollars(math.ceil(needed[row]))} USD, {dollars(left_nano)} are left"

    return Rule(Stage.BUDGET, ~(needed <= left_nano), reason)


def _dearest_nano(features: Features, table: Table, tokens_out: float | Vector) -> Vector:
    """What a call costs if all its input is of the dearest kind, in nano-dollars; NaN where no price is known."""
    into, out, read, write = table.rates(features.tokens)
    dearest = np.maximum(into, np.maximum(read, write))
    return (
        table.per_request + features.tokens * dearest + np.minimum(tokens_out + table.thoughts, table.max_output) * out
    )


def _limit(request: Request, conditions: Conditions) -> Rule:
    bad = (conditions.free < 1) & (conditions.wait_s > request.wait_s_max)
    return Rule(Stage.LIMIT, bad, lambda row: f"no place is free for {conditions.wait_s[row]:.1f} s")
