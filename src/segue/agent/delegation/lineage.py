"""Who has a request already: the delegations above a call, in its own run and in those that it is a child of.

Nothing is kept for it: a delegation's scope is `delegate[…]#k/to[NAME]#k/`, so the keys tell, and a run knows the call
of its parent that started it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextvars import ContextVar
from typing import NamedTuple
from urllib.parse import unquote

from ...core.records import Stage, TargetKind
from ...runtime.scope import StepScope, surroundings
from .delegates import Delegate

__all__ = ["Lineage", "inline", "lineage_of", "loops_in", "names_in"]

_HANDED = re.compile(r"(?:^|/)delegate\[[^\]]*\]#\d+/to\[([^\]]*)\]#\d+(?=/|$)")

inline: ContextVar[tuple[str, ...]] = ContextVar("segue_delegations", default=())
"""Delegations above that have no scope of a flow: outside of a run, and inside of a step."""


class Lineage(NamedTuple):
    """What lies above a call."""

    chain: tuple[str, ...] = ()
    """Who was delegated to, from the first one down."""
    flows: tuple[str, ...] = ()
    """The flows of the runs around it, its own included."""


def names_in(key: str) -> tuple[str, ...]:
    """Who was delegated to on the way to a key, by the scopes in it."""
    return tuple(unquote(name) for name in _HANDED.findall(key))


def lineage_of(scope: StepScope) -> Lineage:
    """That of a step: by its own key, and by those of the runs above."""
    around = surroundings()
    runs = [] if around is None or around.outside is None else list(around.outside.lineage(scope.run))
    above = [name for _, key in reversed(runs) for name in names_in(key)]
    chain = (*above, *names_in(scope.key), *inline.get())
    return Lineage(chain, tuple(flow for flow, _ in reversed(runs)))


def loops_in(among: Sequence[Delegate], lineage: Lineage, *, depth: int, loops: int) -> dict[str, tuple[Stage, str]]:
    """Who would have the request again more than `loops` times, or would be one of more than `depth` that hold it."""
    barred: dict[str, tuple[Stage, str]] = {}
    for one in among:
        again = max(lineage.chain.count(one.name), _running(one, lineage))
        if again > loops:
            way = " > ".join((*lineage.chain, one.name))
            barred[one.name] = Stage.DEPTH, f"it has the request already: {way}"
        elif len(lineage.chain) >= depth and one.kind in (TargetKind.AGENT, TargetKind.FLOW):
            barred[one.name] = Stage.DEPTH, f"{len(lineage.chain)} delegations lie above, {depth} are allowed"
    return barred


def _running(one: Delegate, lineage: Lineage) -> int:
    """How often a flow runs already: its own run counts, though nobody delegated to it."""
    return lineage.flows.count(one.target.name) if one.kind is TargetKind.FLOW else 0
