"""Threads: which runs are their turns, in whose line those wait, what was said in them, and where they branch.

A thread has no row of its own. Its turns are runs that name it; what was said is an index of outcomes (`turns`), of
summaries another one (`summaries`). A branch is one row: the thread that it left, and the last number that they share.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.events import Event
from ..errors import InputError
from .hearing import IS_TRIED_OUT, NEVER, Point, Query, heard_at, left_at, point_of, runs_before

if TYPE_CHECKING:
    from .records import RunRow

_EARLIER = (
    "o.tenant = runs.tenant and o.thread = runs.thread and o.no < runs.no and o.thread is not null"
    " and o.memo_run is null and o.state in ('queued', 'running', 'parked', 'stuck')"
)
"""What is true of an open turn `o` that came before a run in its thread."""
IN_TURN = (
    "(runs.thread is null or runs.memo_run is not null or runs.state != 'queued' or not exists (select 1 from runs o"
    f" where {_EARLIER}))"
)
"""What is true of a run that may begin: no earlier turn of its thread is open."""

_AHEAD = f"select o.id from runs join runs o on {_EARLIER} where runs.no = ? and not {IN_TURN} order by o.no limit 1"
_IN_THREAD = (
    "from turns t join runs r on r.no = t.run join events e on e.run = t.run and e.seq = t.seq"
    " where t.tenant = ? and t.thread = ?"
)
_SAID = f"select t.no, t.run, t.seq, e.args, e.value {_IN_THREAD}"


class TurnRow(NamedTuple):
    """One turn of a thread: a run."""

    no: int
    run: str
    thread: str
    """Whose it is: a branch shares the earlier turns of the thread that it left."""
    flow: str
    state: str
    at: float


class SaidRow(NamedTuple):
    """What a run has said in a thread of which it is no turn, as an ordinary run does by `ask(thread=)`."""

    thread: str
    """Whose it is: a branch shares what was said before it left."""
    no: int
    run: str
    flow: str
    state: str
    key: str
    """Of the step that said it."""
    at: float


class ThreadRow(NamedTuple):
    """One thread, as a list of threads shows it."""

    tenant: str
    thread: str
    turns: int
    """Of its own."""
    open: int
    parent: str | None
    at: float
    """When its last turn came."""


class Branch(NamedTuple):
    """Where a thread left another one: before the run `run`, after the outcome `upto`."""

    parent: str
    run: int
    upto: int


class Outcome(NamedTuple):
    """A question of a thread and its answer, as JSON: the arguments of a step and its result."""

    no: int
    run: int
    seq: int
    args: bytes | None
    value: bytes | None


class Summary(NamedTuple):
    """What was said up to a turn, told shorter: where that stands."""

    upto: int
    run: int
    seq: int


def query_of(connection: sqlite3.Connection) -> Query:
    """Asks the database of a connection."""

    def query(sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return connection.execute(sql, values).fetchall()

    return query


def add_turn(connection: sqlite3.Connection, event: Event, thread: str) -> None:
    """An answer is a turn of a thread; one of a fork is not, so that trying something out changes nothing."""
    if connection.execute(IS_TRIED_OUT, (event.run,)).fetchone():
        return
    connection.execute(
        "insert into turns (tenant, thread, no, run, seq) select r.tenant, ?1, coalesce((select max(t.no) from turns t"
        " where t.tenant = r.tenant and t.thread = ?1), (select b.upto from branches b where b.tenant = r.tenant and"
        " b.thread = ?1), 0) + 1, r.no, ?2 from runs r where r.no = ?3",
        (thread, event.seq, event.run),
    )


def add_summary(connection: sqlite3.Connection, event: Event, thread: str, upto: int) -> None:
    """A summary of a thread up to a turn; the first one of two stays, and one of a fork is none."""
    if connection.execute(IS_TRIED_OUT, (event.run,)).fetchone():
        return
    connection.execute(
        "insert or ignore into summaries (tenant, thread, upto, run, seq) select r.tenant, ?1, ?2, r.no, ?3 from runs r"
        " where r.no = ?4",
        (thread, upto, event.seq, event.run),
    )


def branch(connection: sqlite3.Connection, tenant: str, thread: str, run: int, at: float, *, first: str = "") -> Branch:
    """Make a thread that leaves another one before a turn of it, or give the one that is there. It shares what a fork
    of the turn from its very beginning hears. The run `first` is its own first turn.

    Raises InputError for a name that is taken, and for a turn that has not begun.
    """
    parent, open_ = connection.execute(f"select thread, not {IN_TURN} from runs where no = ?", (run,)).fetchone()
    if open_:
        raise InputError("the turn waits for those before it", remedy="wait, or cancel it and start another one")
    query = query_of(connection)
    known = _branch(query, tenant, thread)
    if known is not None and (known.parent, known.run) == (parent, run):
        own = query("select id from runs where tenant = ? and thread = ? order by no limit 1", (tenant, thread))
        if not own or own[0][0] == first:
            return known
    if known is not None or _is_used(connection, tenant, thread):
        raise InputError(f"there is a thread {thread!r} already", remedy="give another name")
    upto = _said_at(query, left_at(query, Point(tenant, parent, run, kept=1, turn=run)))
    made = Branch(parent, run, upto)
    connection.execute("insert into branches values (?, ?, ?, ?, ?, ?)", (tenant, thread, *made, at))
    return made


def _is_used(connection: sqlite3.Connection, tenant: str, thread: str) -> bool:
    return any(
        connection.execute(
            f"select 1 from {table} where tenant = ? and thread = ? limit 1", (tenant, thread)
        ).fetchone()
        for table in ("runs", "turns")
    )


def _branch(query: Query, tenant: str, thread: str) -> Branch | None:
    rows = query("select parent, run, upto from branches where tenant = ? and thread = ?", (tenant, thread))
    return Branch._make(rows[0]) if rows else None


def lineage(query: Query, tenant: str, thread: str) -> Iterator[tuple[str, Branch | None]]:
    """The thread, and those that it left, each with where it left the next one."""
    at: str | None = thread
    while at is not None:
        left = _branch(query, tenant, at)
        yield at, left
        at = None if left is None else left.parent


def last_said(query: Query, tenant: str, thread: str) -> int:
    """The number of the last outcome of a thread; 0: it has none."""
    last = query("select max(no) from turns where tenant = ? and thread = ?", (tenant, thread))[0][0]
    left = None if last else _branch(query, tenant, thread)
    return last or (left.upto if left is not None else 0)


def heard_by(query: Query, tenant: str, thread: str, run: str) -> int:
    """The number of the last outcome of a thread that a run may hear: the last one there is, but for a fork, and all
    runs below one, what had been said when that left what it was forked from.
    """
    return _said_at(query, point_of(query, tenant, thread, run))


def _said_at(query: Query, point: Point) -> int:
    last = last_said(query, point.tenant, point.thread)
    if not point.run:
        return last
    left = _branch(query, point.tenant, point.thread)
    return heard_at(query, point, 0 if left is None else left.upto, last)


def said(query: Query, tenant: str, thread: str, upto: int, after: int = 0) -> Iterator[Outcome]:
    """Outcomes of a thread down from a number, the newest first, as they are stored."""
    for name, left in lineage(query, tenant, thread):
        floor = max(after, 0 if left is None else left.upto)
        while upto > floor:
            found = query(
                f"{_SAID} and t.no <= ? and t.no > ? order by t.no desc limit 64",
                (tenant, name, upto, floor),
            )
            yield from map(Outcome._make, found)
            upto = found[-1][0] - 1 if len(found) == 64 else floor
        upto = min(upto, floor)
        if upto <= after:
            return


def said_first(query: Query, tenant: str, thread: str, after: int, upto: int) -> Iterator[Outcome]:
    """The same, the oldest first: those after a number, up to another."""
    for name, floor, top in spans(query, tenant, thread, after, upto):
        at = floor
        while at < top:
            found = query(
                f"{_SAID} and t.no > ? and t.no <= ? order by t.no limit 64",
                (tenant, name, at, top),
            )
            yield from map(Outcome._make, found)
            at = found[-1][0] if len(found) == 64 else top


def spans(query: Query, tenant: str, thread: str, after: int, upto: int) -> list[tuple[str, int, int]]:
    """Whose the outcomes of a thread after a number up to another are: those of the threads that it left, the furthest
    first, and its own; of each after which number and up to which.
    """
    made: list[tuple[str, int, int]] = []
    for name, left in lineage(query, tenant, thread):
        floor = 0 if left is None else left.upto
        made.append((name, max(floor, after), upto))
        upto = min(upto, floor)
    return made[::-1]


def said_where(query: Query, run: int, seq: int) -> tuple[str, str, float, int] | None:
    """Of an outcome the run and the key of the step that said it, when, and where in the order of commits; None where
    it has gone.
    """
    sql = "select r.id, e.key, e.at, e.pos from events e join runs r on r.no = e.run where e.run = ? and e.seq = ?"
    for id_, key, at, pos in query(sql, (run, seq)):
        return id_, key, at, pos
    return None


def summed_up(query: Query, tenant: str, thread: str, upto: int) -> Summary | None:
    """The summary of a thread that reaches furthest, but not past a number."""
    for name, left in lineage(query, tenant, thread):
        found = query(
            "select upto, run, seq from summaries where tenant = ? and thread = ? and upto <= ?"
            " order by upto desc limit 1",
            (tenant, name, upto),
        )
        if found:
            return Summary._make(found[0])
        upto = min(upto, 0 if left is None else left.upto)
    return None


def results_of(
    query: Query, tenant: str, thread: str, upto: int, after: int, *, step: str, run: str = ""
) -> list[tuple[int, int]]:
    """Where the results of a step stand that turns of a thread have made, the newest first: of the runs whose answers
    are the turns after a number up to another, and of its last runs, answered or not. For a fork `run`, and below one:
    those that had come when it left what it was forked from.
    """
    point = point_of(query, tenant, thread, run)
    before = runs_before(query, point)
    runs: dict[int, None] = {}
    for name, left in lineage(query, tenant, thread):
        found = query(
            "select run from turns where tenant = ?1 and thread = ?2 and no > ?3 and no <= ?4 union"
            " select no from (select no from runs where tenant = ?1 and thread = ?2 and no < ?6 and memo_run is null"
            " and ?5 order by no desc limit ?4 - ?3)",
            (tenant, name, after, upto, name == thread, before),
        )
        runs |= dict.fromkeys(run for (run,) in found)
        upto = min(upto, 0 if left is None else left.upto)
        if upto <= after:
            break
    rows = query(
        f"select run, seq from events where run in ({', '.join('?' for _ in runs)}) and type = 'step.completed'"
        " and (key glob ? or key glob ?) and pos < iif(run = ?, ?, ?) order by pos desc",
        (*runs, f"{step}[[]*", f"*/{step}[[]*", point.run, point.next, point.at),
    )
    return [(run, seq) for run, seq in rows]


def turns_of(query: Query, tenant: str, thread: str, limit: int = -1) -> list[TurnRow]:
    """The turns of a thread, the oldest first, those that it shares included; with a limit, the last of them."""
    made: list[TurnRow] = []
    before = NEVER
    for name, left in lineage(query, tenant, thread):
        rows = query(
            "select no, id, thread, flow, state, created_at from runs where tenant = ? and thread = ? and no < ?"
            " and memo_run is null order by no desc limit ?",
            (tenant, name, before, limit - len(made) if limit >= 0 else -1),
        )
        made += map(TurnRow._make, rows)
        before = 0 if left is None else min(before, left.run)
    return made[::-1]


def said_aside(query: Query, tenant: str, thread: str, limit: int = -1) -> list[SaidRow]:
    """What runs that are no turns have said in a thread, the oldest first; with a limit, the last of it."""
    made: list[SaidRow] = []
    upto = NEVER
    for name, left in lineage(query, tenant, thread):
        rows = query(
            f"select t.thread, t.no, r.id, r.flow, r.state, e.key, e.at {_IN_THREAD} and r.thread is not t.thread"
            " and t.no <= ? order by t.no desc limit ?",
            (tenant, name, upto, limit - len(made) if limit >= 0 else -1),
        )
        made += map(SaidRow._make, rows)
        upto = 0 if left is None else min(upto, left.upto)
    return made[::-1]


def turn_of(query: Query, tenant: str, thread: str, *ids: str) -> TurnRow | None:
    """The turn of a thread, or of one that it left, whose run has one of these ids."""
    before = NEVER
    for name, left in lineage(query, tenant, thread):
        for run in ids:
            rows = query(
                "select no, id, thread, flow, state, created_at from runs where id = ? and tenant = ? and thread = ?"
                " and no < ? and memo_run is null",
                (run, tenant, name, before),
            )
            if rows:
                return TurnRow._make(rows[0])
        before = 0 if left is None else min(before, left.run)
    return None


def branches_of(query: Query, tenant: str, thread: str) -> list[tuple[str, int]]:
    """The threads that left this one, each with the number of the run before which it did."""
    rows = query("select thread, run from branches where tenant = ? and parent = ? order by at", (tenant, thread))
    return [(name, run) for name, run in rows]


def ahead_of(query: Query, run: RunRow) -> str | None:
    """The turn that a queued one waits for: the run of the earliest that is open. None: it waits for none."""
    if run.thread is None or run.state != "queued":
        return None
    found = query(_AHEAD, (run.no,))
    return found[0][0] if found else None


def in_flight(query: Query, tenant: str, thread: str, run: str = "") -> list[tuple[str, str]]:
    """The open runs that turns of a thread have started, of its last turns, those that it shares included: the id of
    each, and its flow. For a fork `run`, and below one: those that had come when it left what it was forked from.
    """
    found: list[tuple[str, str]] = []
    point = point_of(query, tenant, thread, run)
    before = runs_before(query, point)
    for name, left in lineage(query, tenant, thread):
        rows = query(
            "select c.id, c.flow from (select no, id from runs where tenant = ?1 and thread = ?2 and no < ?3"
            " and memo_run is null order by no desc limit 200) t cross join runs c on c.parent = t.id"
            " where c.state in ('queued', 'running', 'parked', 'stuck')"
            " and (t.no < ?4 or (select pos from events where run = c.no order by seq limit 1)"
            " < iif(t.no = ?5, ?6, ?7)) order by c.no",
            (tenant, name, before, point.turn, point.run, point.next, point.at),
        )
        found = [*((run, flow) for run, flow in rows), *found]
        before = min(before, 0 if left is None else left.run)
    return found


def threads(query: Query, limit: int) -> list[ThreadRow]:
    """All threads, the one with the newest turn first."""
    rows = query(
        "select t.tenant, t.thread, sum(t.turns), sum(t.open), b.parent, max(t.at) from ("
        " select tenant, thread, count(*) turns, sum(state in ('queued', 'running', 'parked', 'stuck')) open,"
        " max(created_at) at from runs where thread is not null and memo_run is null group by tenant, thread"
        " union all select t.tenant, t.thread, count(distinct t.run), 0, max(r.updated_at) from turns t"
        " join runs r on r.no = t.run where r.thread is null or r.thread != t.thread group by t.tenant, t.thread"
        ") t left join branches b on b.tenant = t.tenant and b.thread = t.thread"
        " group by t.tenant, t.thread order by max(t.at) desc limit ?",
        (limit,),
    )
    return [ThreadRow._make(row) for row in rows]
