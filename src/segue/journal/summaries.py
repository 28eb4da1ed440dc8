"""Which summaries of threads are gone on from, so that the runs that made them must stay."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import cache

from .hearing import NEVER, Origin, Query, origins
from .threads import branches_of, heard_by, summed_up

_NOW = "(state in ('queued', 'running', 'parked', 'stuck') or updated_at >= {})"
_IN_USE = (
    f"select 1 from runs where tenant = ?1 and thread = ?2 and memo_run is null and {_NOW.format('?3')} union all"
    f" select 1 from turns t join runs r on r.no = t.run where t.tenant = ?1 and t.thread = ?2 and {_NOW.format('?3')}"
    " limit 1"
)
_TRIED_OUT = (
    "with recursive tried (id, state, updated_at) as ("
    " select id, state, updated_at from runs where memo_run is not null and tenant = ?1 union"
    " select c.id, c.state, c.updated_at from tried join runs c on c.parent = tried.id)"
    f" select id from tried where {_NOW.format('?2')}"
)
_Living = Callable[[str], list[tuple[str, list[Origin]]]]


def needed(query: Query, runs: Collection[int], before: float) -> set[int]:
    """Those of these runs that have made a summary which a thread goes on from, one with a turn that is open or has
    ended since; or a fork, or a run below one, that is open or has ended since.
    """

    @cache
    def living(tenant: str) -> list[tuple[str, list[Origin]]]:
        return [(run, origins(query, run)) for (run,) in query(_TRIED_OUT, (tenant, before))]

    marks = ", ".join("?" for _ in runs)
    made = query(f"select tenant, thread, upto, run from summaries where run in ({marks})", tuple(runs))
    return {run for *of, upto, run in made if _goes_on_from(query, (of[0], of[1]), (upto, run), before, living)}


def _goes_on_from(query: Query, of: tuple[str, str], made: tuple[int, int], before: float, living: _Living) -> bool:
    """Whether a thread in use, a branch or a fork of it, has no later summary than this one: up to a turn, by a run."""
    tenant, thread = of
    look = [thread]
    while look:
        name = look.pop()
        ends = [NEVER] if query(_IN_USE, (tenant, name, before)) else []
        for upto in (*ends, *_heard(query, tenant, name, living(tenant))):
            newest = summed_up(query, tenant, name, upto)
            if newest is not None and newest[:2] == made:
                return True
        look += [branch for branch, _ in branches_of(query, tenant, name)]
    return False


def _heard(query: Query, tenant: str, thread: str, living: list[tuple[str, list[Origin]]]) -> Iterator[int]:
    """How far those hear a thread that are tried out from a turn of it, or from a run that has spoken in it."""
    if not living:
        return
    spoke = {run for (run,) in query("select run from turns where tenant = ? and thread = ?", (tenant, thread))}
    for run, above in living:
        if any(origin.thread == thread or origin.no in spoke for origin in above):
            yield heard_by(query, tenant, thread, run)
