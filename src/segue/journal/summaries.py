"""Which summaries of threads are gone on from, so that the runs that made them must stay."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property
from itertools import takewhile
from typing import NamedTuple

from .hearing import NEVER, Origin, Query, origins, threads_read
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
_BELOW = (
    "with recursive below (no, id) as (select no, id from runs where no = ? union all"
    " select c.no, c.id from below join runs c on c.parent = below.id) select no from below"
)


def needed(query: Query, runs: Collection[int], before: float) -> set[int]:
    """Those of these runs that have made a summary which a thread goes on from, one with a turn that is open or has
    ended since; or a fork, or a run below one, that is open or has ended since.

    A fork goes on from a thread that it, or what it was forked from, has read or spoken in, by itself or below it.
    """
    marks = ", ".join("?" for _ in runs)
    made = query(f"select tenant, thread, upto, run from summaries where run in ({marks})", tuple(runs))
    tenants = {tenant: _Tenant(query, tenant, before) for tenant, *_ in made}
    return {run for tenant, thread, upto, run in made if (upto, run) in tenants[tenant].goes_on_from(thread)}


class _Living(NamedTuple):
    """A fork that is open, or has a run below it that is; or was until not long ago."""

    run: str
    threads: set[str]
    """Those that it, what it was forked from, and what is below these have read, or are turns of."""
    runs: set[int]


class _Tenant:
    """What is asked of a tenant in one collection; each thing is found once."""

    def __init__(self, query: Query, tenant: str, before: float):
        self._query, self._tenant, self._before = query, tenant, before
        self._below: dict[int, tuple[set[int], set[str]]] = {}
        self._summaries: dict[str, set[tuple[int, int]]] = {}

    def goes_on_from(self, thread: str) -> set[tuple[int, int]]:
        """The summaries that a thread, its branches and forks of them go on from: up to a turn, by a run."""
        found: set[tuple[int, int]] = set()
        look = [thread]
        while look:
            name = look.pop()
            if name not in self._summaries:
                self._summaries[name] = set(self._newest(name))
            found |= self._summaries[name]
            look += [branch for branch, _ in branches_of(self._query, self._tenant, name)]
        return found

    def _newest(self, thread: str) -> Iterator[tuple[int, int]]:
        query, tenant = self._query, self._tenant
        ends = {NEVER} if query(_IN_USE, (tenant, thread, self._before)) else set[int]()
        for upto in ends.union(self._heard(thread)):
            newest = summed_up(query, tenant, thread, upto)
            if newest is not None:
                yield newest[:2]

    def _heard(self, thread: str) -> Iterator[int]:
        """How far forks hear a thread that have to do with it."""
        if not self._living:
            return
        of = (self._tenant, thread)
        spoke = {run for (run,) in self._query("select run from turns where tenant = ? and thread = ?", of)}
        for one in self._living:
            if thread in one.threads or not spoke.isdisjoint(one.runs):
                yield heard_by(self._query, *of, one.run)

    @cached_property
    def _living(self) -> list[_Living]:
        above = [origins(self._query, run) for (run,) in self._query(_TRIED_OUT, (self._tenant, self._before))]
        return [self._fork(fork) for fork in {fork[-1].no: fork for fork in map(_lowest, above)}.values()]

    def _fork(self, above: list[Origin]) -> _Living:
        runs = {origin.no for origin in above}
        threads = {origin.thread for origin in above if origin.thread is not None}
        whole = len(list(takewhile(lambda origin: origin.memo_run is None, above)))
        for origin in above[max(0, whole - 1) :]:
            if origin.no not in self._below:
                below = {run for (run,) in self._query(_BELOW, (origin.no,))}
                self._below[origin.no] = below, threads_read(self._query, origin.no)
            runs |= self._below[origin.no][0]
            threads |= self._below[origin.no][1]
        return _Living(above[-1].id, threads, runs)


def _lowest(above: list[Origin]) -> list[Origin]:
    """Up to the last fork: what is below it hears a thread as that does."""
    while above and above[-1].memo_run is None:
        above = above[:-1]
    return above
