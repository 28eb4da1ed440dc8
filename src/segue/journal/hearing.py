"""What a fork hears of a thread, and all runs below one: what had been said when it left what it was forked from.

The run that was forked stands in the journal, so that tells it. Where it went on to read the thread, the fork hears
what was read then; where it did not, what had been committed before it went on at all. The order is that of commits,
`events.pos`, one for the whole database: it is never given twice, and `gc` leaves that of a run that has forks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any, NamedTuple

from ..core.events import EventType

Query = Callable[..., list[tuple[Any, ...]]]

READ = "thread"
"""The step whose outcome is how far a run has read the thread that it is given."""
NEVER = 1 << 62
"""A number that none reaches."""
IS_TRIED_OUT = (
    "with recursive above (parent, memo_run) as (select parent, memo_run from runs where no = ? union all"
    " select r.parent, r.memo_run from above join runs r on r.id = above.parent)"
    " select 1 from above where memo_run is not null"
)
"""Whether a run is a fork, or below one."""
_ORIGINS = (
    "with recursive above (no, thread, memo_run, memo_seq, parent, parent_key, depth) as ("
    " select no, thread, memo_run, memo_seq, parent, parent_key, 0 from runs where id = ? union all"
    " select r.no, r.thread, r.memo_run, r.memo_seq, r.parent, r.parent_key, depth + 1 from above join runs r"
    " on r.no = coalesce(above.memo_run, (select p.no from runs p where p.id = above.parent)))"
    " select no, thread, memo_run, memo_seq, parent_key from above order by depth desc"
)
_NEXT = (
    "select pos from events where run = ?1 and seq = (select min(seq) from events where run = ?1 and seq > ?2)"
    " union all select pos + 1 from events where run = ?1 and seq = (select max(seq) from events where run = ?1)"
    " and seq <= ?2 and exists (select 1 from runs where no = ?1"
    " and state not in ('queued', 'running', 'parked', 'stuck'))"
)
"""Where the first event of a run after a `seq` stands; behind its last one where it has ended without."""
_AGAIN = (
    "with recursive again (no, id, after) as (select no, id, ?4 from runs where no = ?3"
    " union all select c.no, c.id, 0 from again a join runs c on c.parent = a.id where a.no != ?3"
    " or c.parent_key is not null and c.parent_key not in ("
    f"select key from events where run = ?3 and seq <= ?4 and type = '{EventType.CHILD_ENDED.value}'))"
)
"""What a fork of the run ?3 after its event ?4 does again: the rest of it, the children that it had not seen end, and
what is below those. A detached child is no part of it.
"""
_FIRST_READ = (
    f"{_AGAIN} select e.pos, cast(cast(e.value as text) as integer) from again a join events e on e.run = a.no"
    " and e.seq = (select r.seq from events r where r.run = a.no and r.seq > a.after"
    f" and r.type = '{EventType.STEP_COMPLETED.value}' and (r.key glob '{READ}[[]*' or r.key glob '*/{READ}[[]*')"
    " and iif(json_valid(cast(r.args as text)), json_extract(cast(r.args as text), '$.thread'), null) = ?2"
    " and cast(r.value as text) glob '[0-9]*' order by r.seq limit 1) order by e.pos limit 1"
)
_FIRST_SAID = (
    f"{_AGAIN} select no from turns where tenant = ?1 and thread = ?2 and run in (select no from again)"
    " and (run != ?3 or seq > ?4) order by no limit 1"
)
_OUTCOME = (
    "select e.pos, t.no, t.run from turns t join events e on e.run = t.run and e.seq = t.seq"
    " where t.tenant = ? and t.thread = ? and t.no >= ? order by t.no limit 1"
)
_BEGUN = "select e.pos from runs r join events e on e.run = r.no and e.seq = 1 where r.no >= ? order by r.no limit 1"
_SUMMED_UP = (
    "select max(s.upto) from summaries s join events e on e.run = s.run and e.seq = s.seq"
    " where s.tenant = ? and s.thread = ? and s.upto < ? and e.pos < ?"
)
"""Where outcomes are gone, a summary of them that was there before a position tells that they were said by then."""
_EARLIER = (
    "with recursive above (no, thread, parent, parent_key) as ("
    " select no, thread, parent, parent_key from runs where no = ? union all"
    " select r.no, r.thread, r.parent, r.parent_key from above join runs r on r.id = above.parent"
    " where above.parent_key is not null) select 1 from above where thread = ? and no < ?"
)
"""Whether a run is a turn of a thread before another one, or part of such a turn."""


class Origin(NamedTuple):
    """A run that another one comes from: that it was forked from, or its parent."""

    no: int
    thread: str | None
    memo_run: int | None
    memo_seq: int
    parent_key: str | None


class Point(NamedTuple):
    """Up to where a run knows of a thread. All that there is, unless it is a fork or below one."""

    tenant: str
    thread: str
    run: int = 0
    """The run that was forked; 0: none."""
    kept: int = 0
    """The last event of it that the fork has."""
    turn: int = 0
    """The turn of the thread that it is, or is part of; 0: of none."""
    next: int = NEVER
    """The position of what it did next."""
    at: int = NEVER
    """The position before which all counts: where it read the thread next, else `next`."""
    read: int | None = None
    """How far that was then; None: it did not read it."""


def origins(query: Query, run: str) -> list[Origin]:
    """What a run comes from, and last the run: above a fork is what it was forked from, above any other its parent."""
    return [Origin._make(row) for row in query(_ORIGINS, (run,))]


def point_of(query: Query, tenant: str, thread: str, run: str) -> Point:
    """Up to where a run knows of a thread."""
    above = origins(query, run)
    whole = list(takewhile(lambda origin: origin.memo_run is None, above))
    forks = list(takewhile(lambda origin: origin.memo_run is not None, above[len(whole) :]))
    if not whole or not forks:
        return Point(tenant, thread)
    kept = min(fork.memo_seq for fork in forks)
    return left_at(query, Point(tenant, thread, whole[-1].no, kept, _turn(whole, thread)))


def left_at(query: Query, point: Point) -> Point:
    """The point with its positions: where a fork of this run has left it that keeps this much."""
    following = query(_NEXT, (point.run, point.kept))
    next_ = following[0][0] if following else NEVER
    for at, read in query(_FIRST_READ, point[:4]):
        return point._replace(next=next_, at=at, read=read)
    return point._replace(next=next_, at=next_)


def _turn(whole: list[Origin], thread: str) -> int:
    for origin in reversed(whole):
        if origin.thread == thread:
            return origin.no
        if origin.parent_key is None:  # nobody's child, or detached: then it is no part of the turn above it
            return 0
    return 0


def heard_at(query: Query, point: Point, shared: int, last: int) -> int:
    """The number of the last outcome that is heard at a point, of a thread that shares some and has `last`.

    It is none of what the fork does again.
    """
    upto = point.read if point.read is not None else _said_before(query, point, shared, last)
    again = query(_FIRST_SAID, point[:4])
    return min(upto, last, again[0][0] - 1 if again else last)


def _said_before(query: Query, point: Point, shared: int, last: int) -> int:
    """By the order of commits; but what earlier turns say comes before a turn, also one that was cancelled in line."""
    if point.at == NEVER:
        return last
    of = (point.tenant, point.thread)
    first = _first(query, _OUTCOME, of, range(shared + 1, last + 1), point.at)
    for no, run in _outcomes(query, of, first):
        if not point.turn or not query(_EARLIER, (run, point.thread, point.turn)):
            return max(first - 1, query(_SUMMED_UP, (*of, no, point.at))[0][0] or 0)
        first = no + 1
    return first - 1


def _outcomes(query: Query, of: tuple[str, str], no: int) -> Iterator[tuple[int, int]]:
    while found := query(_OUTCOME, (*of, no)):
        _, no, run = found[0]
        yield no, run
        no += 1


def runs_before(query: Query, point: Point) -> int:
    """The first number of a run that had not come yet at a point. A turn knows all turns before it."""
    if point.turn or point.at == NEVER:
        return point.turn + 1 if point.turn else NEVER
    return _first(query, _BEGUN, (), range(1, query("select max(no) from runs")[0][0] + 1), point.at)


def _first(query: Query, sql: str, values: tuple[Any, ...], numbers: range, at: int) -> int:
    """The first of these numbers at which the query finds a position from `at` on; one more than the last: none."""
    if not numbers:
        return numbers.start

    def position(no: int) -> int:
        found = query(sql, (*values, no))
        return found[0][0] if found else NEVER

    return numbers.start + bisect_left(numbers, at, key=position)
