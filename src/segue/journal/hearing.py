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

from ..core.events import ENDS, EventType

Query = Callable[..., list[tuple[Any, ...]]]

READ = "thread"
"""The step whose outcome is how far a run has read the thread that it is given."""
NEVER = 1 << 62
"""A number that none reaches."""
_AT_ONCE = 64
IS_TRIED_OUT = (
    "with recursive above (parent, memo_run) as (select parent, memo_run from runs where no = ? union all"
    " select r.parent, r.memo_run from above join runs r on r.id = above.parent)"
    " select 1 from above where memo_run is not null"
)
"""Whether a run is a fork, or below one."""
_ORIGINS = (
    "with recursive above (no, id, thread, memo_run, memo_seq, parent, parent_key, depth) as ("
    " select no, id, thread, memo_run, memo_seq, parent, parent_key, 0 from runs where id = ? union all"
    " select r.no, r.id, r.thread, r.memo_run, r.memo_seq, r.parent, r.parent_key, depth + 1 from above join runs r"
    " on r.no = coalesce(above.memo_run, (select p.no from runs p where p.id = above.parent)))"
    " select no, id, thread, memo_run, memo_seq, parent_key from above order by depth desc"
)
_NEXT = (
    "select pos from events where run = ?1 and seq = (select min(seq) from events where run = ?1 and seq > ?2)"
    " union all select pos + 1 from events where run = ?1 and seq = (select max(seq) from events where run = ?1)"
    " and seq <= ?2 and exists (select 1 from runs where no = ?1"
    " and state not in ('queued', 'running', 'parked', 'stuck'))"
)
"""Where the first event of a run after a `seq` stands; behind its last one where it has ended without."""
_ENDS = ", ".join(f"'{end.value}'" for end in sorted(ENDS))
_OVER = (
    "select pos + 1 from (select seq, pos from events where run = ?1"
    f" and type in ({_ENDS}) and exists (select 1 from runs where no = ?1"
    " and state not in ('queued', 'running', 'parked', 'stuck')) order by seq desc limit 1) where seq <= ?2"
)
"""Behind the end of a run, where that is kept: what is noted of it later, as feedback is, moves nothing."""
_STANDS = "select pos from events where run = ?1 and seq <= ?2 order by seq desc limit 1"
_AGAIN = (
    "with recursive again (no, id, after) as (select no, id, ?4 from runs where no = ?3"
    " union all select c.no, c.id, 0 from again a join runs c on c.parent = a.id where c.parent_key is not null"
    " and (a.no != ?3 or c.parent_key not in ("
    f"select key from events where run = ?3 and seq <= ?4 and type = '{EventType.CHILD_ENDED.value}')))"
)
"""What a fork of the run ?3 after its event ?4 does again: the rest of it, the children that it had not seen end, and
what is below those. No detached run is part of it, whoever detached it.
"""
_IS_READ = (
    f"r.type = '{EventType.STEP_COMPLETED.value}' and (r.key glob '{READ}[[]*' or r.key glob '*/{READ}[[]*')"
    " and cast(r.value as text) glob '[0-9]*'"
)
_THREAD = "iif(json_valid(cast(r.args as text)), json_extract(cast(r.args as text), '$.thread'), null)"
_FIRST_READ = (
    f"{_AGAIN} select e.pos, cast(cast(e.value as text) as integer) from again a join events e on e.run = a.no"
    " and e.seq = (select r.seq from events r where r.run = a.no and r.seq > a.after and r.pos > ?5"
    f" and {_IS_READ} and {_THREAD} = ?2 order by r.seq limit 1) order by e.pos limit 1"
)
"""What was read first after a position. A child may have read before, and its answer have come after."""
_READ_BELOW = (
    "with recursive below (no, id) as (select no, id from runs where no = ? union all"
    " select c.no, c.id from below join runs c on c.parent = below.id)"
    f" select distinct {_THREAD} from below join events r on r.run = below.no where {_IS_READ}"
)
_SAID_AGAIN = (
    f"{_AGAIN} select no from turns where tenant = ?1 and thread = ?2 and no > ?5 and no <= ?6"
    " and run in (select no from again) and (run != ?3 or seq > ?4)"
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
    id: str
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
    left: int = 0
    """The position of that last event."""
    next: int = NEVER
    """The position of what it did next."""
    at: int = NEVER
    """The position before which all counts: where it read the thread next, else `next`."""
    read: int | None = None
    """How far that was then; None: it did not read it."""
    bounds: tuple[tuple[int, int | None], ...] = ()
    """The same two of each run on the way that was tried out itself, and forked."""


def origins(query: Query, run: str) -> list[Origin]:
    """What a run comes from, and last the run: above a fork is what it was forked from, above any other its parent."""
    return [Origin._make(row) for row in query(_ORIGINS, (run,))]


def point_of(query: Query, tenant: str, thread: str, run: str) -> Point:
    """Up to where a run knows of a thread: no further than where any fork that it comes from has left, in turn."""
    above = origins(query, run)
    points: list[Point] = []
    for n, origin in enumerate(above[:-1], 1):
        forks = list(takewhile(lambda one: one.memo_run is not None, above[n:]))
        if not forks:
            continue
        kept, turn = min(fork.memo_seq for fork in forks), 0 if points else _turn(above[:n], thread)
        point = left_at(query, Point(tenant, thread, origin.no, kept, turn))
        points.append(point if kept >= origin.memo_seq else _inherited(query, points[-1], point, above[:n]))
    if not points:
        return Point(tenant, thread)
    return points[0]._replace(
        at=min(point.at for point in points), bounds=tuple((point.at, point.read) for point in points[1:])
    )


def left_at(query: Query, point: Point) -> Point:
    """The point with its positions: where a fork of this run has left it that keeps this much."""
    of = (point.run, point.kept)
    left = _position(query, _STANDS, of, 0)
    over = _position(query, _OVER, of, NEVER)
    next_ = min(over, _position(query, _NEXT, of, NEVER))
    for at, read in query(_FIRST_READ, (*point[:4], left)) if over == NEVER else ():
        return point._replace(left=left, next=next_, at=at, read=read)
    return point._replace(left=left, next=next_, at=next_)


def _inherited(query: Query, before: Point, point: Point, above: list[Origin]) -> Point:
    """The point of a fork (the last one above) that was left at an event which it has from what it was forked from:
    what that did next, up to where the fork left it, the fork has done.
    """
    fork = above[-1]
    owner = next(origin for origin in reversed(above[:-1]) if origin.memo_seq < fork.memo_seq)
    shares = before.at <= _position(query, _STANDS, (owner.no, fork.memo_seq), 0)
    if before.read is not None and shares:
        return point._replace(next=before.next, at=before.at, read=before.read)
    return point._replace(next=before.next, at=before.next if point.read is None else point.at)


def _position(query: Query, sql: str, of: tuple[int, int], default: int) -> int:
    found = query(sql, of)
    return found[0][0] if found else default


def _turn(whole: list[Origin], thread: str) -> int:
    for origin in reversed(whole):
        if origin.thread == thread:
            return origin.no
        if origin.parent_key is None:  # nobody's child, or detached: then it is no part of the turn above it
            return 0
    return 0


def heard_at(query: Query, point: Point, shared: int, last: int) -> int:
    """The number of the last outcome that is heard at a point, of a thread that shares some and has `last`.

    It is none of what the fork does again. What a child that is done again said before the fork left is heard where
    something that was kept came after it: a thread is heard up to a number.
    """
    upto = last
    for at, read, turn in ((point.at, point.read, point.turn), *((*bound, 0) for bound in point.bounds)):
        upto = min(
            upto, read if read is not None else _said_before(query, point, (at, turn), range(shared + 1, last + 1))
        )
    kept = _first(query, _OUTCOME, point[:2], range(shared + 1, upto + 1), point.left + 1) - 1
    again = query(f"{_SAID_AGAIN} order by no limit 1", (*point[:4], kept, upto))
    return _without(query, point, again[0][0] - 1 if again else upto)


def _without(query: Query, point: Point, upto: int) -> int:
    """Without the last outcomes, as far as they are said again."""
    while again := query(f"{_SAID_AGAIN} order by no desc", (*point[:4], upto - _AT_ONCE, upto)):
        for (no,) in again:
            if no != upto:
                return upto
            upto -= 1
    return upto


def _said_before(query: Query, point: Point, bound: tuple[int, int], numbers: range) -> int:
    """By the order of commits; but what earlier turns say comes before a turn, also one that was cancelled in line."""
    at, turn = bound
    if at == NEVER:
        return numbers.stop - 1
    of = (point.tenant, point.thread)
    first, later = _first(query, _OUTCOME, of, numbers, at), numbers.stop
    for no, run in _outcomes(query, of, first):
        if not turn or not query(_EARLIER, (run, point.thread, turn)):
            later = no
            break
        first = no + 1
    return max(first - 1, query(_SUMMED_UP, (*of, later, at))[0][0] or 0)


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


def threads_read(query: Query, run: int) -> set[str]:
    """The threads that a run, and those below it, have read."""
    return {thread for (thread,) in query(_READ_BELOW, (run,)) if isinstance(thread, str)}
