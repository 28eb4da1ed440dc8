"""Reads and writes of single rows: each function is one statement or two, inside of the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from ..core.codec import canonical, dumps, loads
from ..core.events import ENDS, Event, EventType
from ..core.lifecycle import ENDED, RunState
from ..core.shell import command
from ..errors import DuplicateRun, InputError, RunEnded, UnknownRun
from . import accounts, cancels, switches
from .blobs import INLINE_MAX, Payloads, refers
from .records import BESIDE, LATE, SAID_AFTER, Item, Late, NewRun, Post, RunRow, Standing, run_row
from .threads import IN_TURN, branch

RUN_COLUMNS = ", ".join(RunRow._fields)
_EVENT_COLUMNS = ", ".join(Event._fields)
_INSERT_EVENT = f"insert into events ({_EVENT_COLUMNS}) values ({', '.join('?' * len(Event._fields))})"
_ENDED = tuple(s.value for s in ENDED)


def find_run(connection: sqlite3.Connection, run: str | int) -> RunRow | None:
    """A run by id or number."""
    column = "id" if isinstance(run, str) else "no"
    row = connection.execute(f"select {RUN_COLUMNS} from runs where {column} = ?", (run,)).fetchone()
    return None if row is None else run_row(row)


def input_hash(args: bytes) -> str:
    """What tells one input from another; the order of keys does not."""
    return blake2b(canonical(args), digest_size=16).hexdigest()


def accept(connection: sqlite3.Connection, new: NewRun) -> tuple[tuple[RunRow, bool], list[Event]]:
    """Record a run, or give the one that has its id, with the events to append. Raises DuplicateRun when that is
    another one, and as `branch` for what can begin none.
    """
    if new.leaves is not None and new.thread is not None:
        branch(connection, new.tenant, new.thread, new.leaves, new.at, first=new.id)
    no, events = insert_run(connection, new)
    if no is not None:
        return (fresh(no, new), True), events
    row = find_run(connection, new.id)
    if row is None:
        gone = connection.execute("select state from tombstones where id = ?", (new.id,)).fetchone()
        raise DuplicateRun(
            f"run {new.id} has ended ({gone[0]}) and was collected", run=new.id, remedy="choose another id"
        )
    if row.tenant != new.tenant:
        raise DuplicateRun("the id is taken by a run of another tenant", run=new.id, remedy="choose another id")
    if row.flow != new.flow or row.input_hash != input_hash(new.args):
        what = "another flow" if row.flow != new.flow else "another input"
        raise DuplicateRun(
            f"the id is taken by a run of {row.flow} with {what}",
            run=new.id,
            remedy="choose another id, or start it with the same flow and input to get the same run",
        )
    if (row.thread, row.tenant) != (new.thread, new.tenant) and new.thread is not None:
        raise DuplicateRun(
            f"the id is taken by a run that is no turn of the thread {new.thread}",
            run=new.id,
            remedy="give the turn another id",
        )
    if (row.memo_run, row.memo_seq, row.replaced) != (new.memo_run, new.memo_seq, new.replaced or {}):
        raise DuplicateRun(
            "the id is taken by "
            + ("another fork" if row.memo_run else "a run that is no fork" if new.memo_run else "a fork"),
            run=new.id,
            remedy="choose another id; the same fork again (the same run, step and results) gives the same run",
        )
    return (row, False), []


def fresh(no: int, new: NewRun) -> RunRow:
    """The row of a run that was just inserted."""
    return RunRow(
        no, new.id, new.tenant, new.flow, new.origin, new.version, "", new.seed, _first_state(new), {}, new.owner,
        0 if new.owner is None else 1, None, False, new.parent, new.parent_key, new.memo_run, new.memo_seq,
        new.replaced or {}, new.at, new.at, new.continued_seq, new.thread,
    )  # fmt: skip


def _first_state(new: NewRun) -> RunState:
    return RunState.QUEUED if new.owner is None else RunState.RUNNING


def insert_run(connection: sqlite3.Connection, new: NewRun) -> tuple[int | None, list[Event]]:
    """Insert a run. Gives its number and its first events, to be appended; None when its id is or was taken.

    Raises UnknownRun for a fork of a run that was collected meanwhile.
    """
    if new.memo_run is not None and find_run(connection, new.memo_run) is None:
        raise UnknownRun("the run to fork was collected", run=new.id, remedy=f"list the runs: {command('runs')}")
    cursor = connection.execute(
        "insert or ignore into runs (id, tenant, flow, origin, version, input_hash, seed, state, owner, epoch, parent,"
        " parent_key, memo_run, memo_seq, replaced, created_at, updated_at, continued_seq, thread)"
        " select ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
        " where not exists (select 1 from tombstones where id = ?)",
        (new.id, new.tenant, new.flow, new.origin, new.version, input_hash(new.args), new.seed, _first_state(new),
         new.owner, 0 if new.owner is None else 1, new.parent, new.parent_key, new.memo_run, new.memo_seq,
         dumps(new.replaced).decode() if new.replaced else "{}", new.at, new.at, new.continued_seq, new.thread, new.id),
    )  # fmt: skip
    if cursor.rowcount == 0:
        return None, []
    no = int(cursor.lastrowid or 0)
    return no, first_events(no, new)


def first_events(no: int, new: NewRun) -> list[Event]:
    """What a run's journal begins with: that it was accepted, and that it was started, when it has an owner."""
    seq = new.memo_seq + 1
    kind = EventType.RUN_ACCEPTED if new.memo_run is None else EventType.RUN_FORKED
    body = {"flow": new.flow, "version": new.version, "seed": new.seed, "parent": new.parent, **(new.body or {})}
    body = {k: v for k, v in body.items() if v is not None}
    events = [Event(no, seq, 1, new.at, kind, body=dumps(body), args=new.args)]
    if new.owner is not None:
        events.append(_started(no, seq + 1, 1, new.at, _incarnation(new.owner, new.revision)))
    return events


def continue_run(connection: sqlite3.Connection, event: Event, version: int) -> None:
    """A run goes on as new from this event, with this version of its flow."""
    connection.execute(
        "update runs set continued_seq = ?, version = ?, detail = '{}', updated_at = ? where no = ?",
        (event.seq, version, event.at, event.run),
    )


def claim(
    connection: sqlite3.Connection,
    no: int,
    owner: str,
    dead: Iterable[str],
    *,
    at: float,
    revision: str,
    stuck: bool = False,
) -> tuple[RunRow, int] | None:
    """Take a run over, unless a living process has it. Gives it and its last `seq`.

    A reservation that an earlier incarnation has left open is settled at its full amount, as an estimate.
    """
    states = [RunState.QUEUED, RunState.RUNNING, RunState.PARKED] + ([RunState.STUCK] if stuck else [])
    free = [owner, *dead]
    claimed = connection.execute(
        "update runs set owner = ?, epoch = epoch + 1, state = 'running', wake_at = null, updated_at = ?"
        f" where no = ? and state in ({_marks(states)}) and (owner is null or owner in ({_marks(free)}))"
        f" and ({IN_TURN} or exists (select 1 from inbox where run = runs.id and kind = 'cancel' and consumed is null))"
        f" returning {RUN_COLUMNS}",
        (owner, at, no, *states, *free),
    ).fetchall()
    if not claimed:
        return None
    row = run_row(claimed[0])
    last = connection.execute("select max(seq) from events where run = ?", (no,)).fetchone()[0]
    insert_event(connection, None, _started(no, last + 1, row.epoch, at, _incarnation(owner, revision)))
    return row, _settle_lost(connection, row, last + 1, at)


def note(connection: sqlite3.Connection, row: RunRow, detail: dict[str, Any]) -> None:
    """Say in the row of a run what it is about, as long as the same incarnation carries it out."""
    connection.execute(
        "update runs set detail = ? where no = ? and epoch = ? and owner is not null and state = 'running'",
        (dumps(detail).decode(), row.no, row.epoch),
    )


def _settle_lost(connection: sqlite3.Connection, row: RunRow, last: int, at: float) -> int:
    """Settle what is open, and say so in the journal. Gives the run's last `seq`."""
    open_ = accounts.lose(connection, row.no)
    if open_:
        from .books import lost_event  # noqa: PLC0415  see there

        for hold in open_:
            last += 1
            insert_event(connection, None, lost_event(connection, hold, last, row.epoch, at))
    return last


def _started(no: int, seq: int, epoch: int, at: float, body: bytes) -> Event:
    return Event(no, seq, epoch, at, EventType.RUN_STARTED, body=body)


@lru_cache(maxsize=64)
def _incarnation(owner: str, revision: str) -> bytes:
    return dumps({"owner": owner, "revision": revision})


def insert_event(connection: sqlite3.Connection, payloads: Payloads | None, event: Event) -> None:
    """Append one event, its payloads externalised; without `payloads` into the database itself."""
    event = (payloads or Payloads(None)).externalise(connection, event)
    connection.execute(_INSERT_EVENT, event)


def insert_post(connection: sqlite3.Connection, post: Post) -> bool:
    """Put an item into the inbox of an open run; False when the run already had one with this id, or has ended."""
    cursor = connection.execute(
        "insert or ignore into inbox (run, kind, id, name, at, value, body) select ?, ?, ?, ?, ?, ?, ?"
        f" where exists (select 1 from runs where id = ? and state not in ({_marks(_ENDED)}))",
        (post.run, post.kind, _inbox_id(post), post.name, post.at, post.value, post.body, post.run, *_ENDED),
    )
    return cursor.rowcount == 1


def consume(connection: sqlite3.Connection, event: Event, items: Iterable[int]) -> None:
    """Take items out of an inbox. Their payload is in the event now; what stays is the id, against doubles.

    Where it was large, and has pages of its own, these are overwritten: the event may have it sealed.
    """
    clean = event.value is not None and len(event.value) > INLINE_MAX
    if clean:
        connection.execute("pragma secure_delete = on")
    for no in items:
        connection.execute("update inbox set consumed = ?, value = null, body = null where no = ?", (event.run, no))
    if clean:
        connection.execute("pragma secure_delete = fast")


def _inbox_id(post: Post) -> str:
    """Ids are a matter of each kind: a signal whose id is `cancel` must not stand in a cancel's way."""
    return post.id if post.kind == "signal" else f"{post.kind}\x1f{post.id}"


def _is_known(connection: sqlite3.Connection, item: Post) -> bool:
    sql = "select 1 from inbox where run = ? and id = ?"
    return connection.execute(sql, (item.run, _inbox_id(item))).fetchone() is not None


def post(connection: sqlite3.Connection, item: Post) -> bool:
    """`insert_post` for an open run; False for an item that it has had.

    Raises UnknownRun, and RunEnded when the run can take nothing any more, or no word on a question since a cancel.
    """
    row = connection.execute("select state, no from runs where id = ?", (item.run,)).fetchone()
    if row is None:
        raise UnknownRun(
            f"no run {item.run!r} in this database", run=item.run, remedy=f"list the runs: {command('runs')}"
        )
    if row[0] in _ENDED and item.kind not in LATE:
        if _is_known(connection, item):
            return False  # the same item again: it was taken, or it came too late the first time
        raise RunEnded(
            f"the run has ended ({row[0]}): it takes no {item.kind}", run=item.run, remedy="fork it to do more work"
        )
    if row[0] in _ENDED:
        append_late(connection, row[1], Late(item.kind, item.name, item.body or b"{}", item.at))
        return True
    if item.kind == "decide" and any(s.get("act") not in (None, "retry") for s in _pending(connection, item)):
        return False  # somebody has said already what came of it
    if item.kind == "override":
        _check_pending(connection, item)
        item = _dated(connection, row[1], item)
    refused = cancels.refusal(connection, item)
    if refused is not None and not _is_known(connection, item):
        raise refused
    if item.kind in ("cancel", "resume"):
        switches.let_go(connection, item.run, item.at)
    return insert_post(connection, item)


def _check_pending(connection: sqlite3.Connection, item: Post) -> None:
    """Raises InputError when somebody has already said what came of this step, and the run has not taken that up."""
    for said in _pending(connection, item):
        if said.get("act") != "retry":
            who, why = said.get("by") or "somebody", f" ({said['why']})" if said.get("why") else ""
            what = "overridden the step" if "act" in said else "answered its question"
            raise InputError(
                f"{who} has {what} already{why}, and the run has not taken it up yet: the first counts",
                run=item.run, key=item.name, remedy=f"let the run go on: {command('resume', item.run)}",
            )  # fmt: skip


def _pending(connection: sqlite3.Connection, item: Post) -> list[dict[str, Any]]:
    """What was said of this step, and that the run has not taken up."""
    waiting = connection.execute(
        "select body from inbox where run = ? and kind in ('override', 'decide') and name = ? and consumed is null",
        (item.run, item.name),
    )
    return [loads(body) for (body,) in waiting]


def _dated(connection: sqlite3.Connection, no: int, item: Post) -> Post:
    """An override with where the journal stood: it answers what is on record there, and nothing that comes later."""
    found = "coalesce((select max(seq) from events where run = :no), (select memo_seq from runs where no = :no), 0)"
    (seq,) = connection.execute(f"select {found}", {"no": no}).fetchone()
    return item._replace(body=dumps({**loads(item.body), SAID_AFTER: seq}))


def events(
    connection: sqlite3.Connection, payloads: Payloads, no: int, after: int = 0, until: int | None = None
) -> Iterator[Event]:
    """A run's own events with their payloads, in order. Raises StoreCorrupt for a payload that is gone or damaged."""
    cursor = connection.execute(
        f"select {_EVENT_COLUMNS} from events where run = ? and seq > ? and seq <= ? order by seq",
        (no, after, (1 << 62) if until is None else until),
    )
    for row in cursor.fetchall():  # at once: an open cursor would keep its reader at this moment of the database
        event = Event._make(row)
        yield payloads.resolve(connection, event) if refers(event) else event


def items(connection: sqlite3.Connection, *, run: int | None = None, after: int = 0) -> list[tuple[Item, Standing]]:
    """Open inbox items of all runs or of one, later than item `after`, with where their run stands, in order."""
    rows = connection.execute(
        "select i.no, i.run, i.kind, i.id, i.name, i.at, i.value, i.body, r.no, r.state, r.owner, r.flow, r.version,"
        " r.paused"
        " from inbox i join runs r on r.id = i.run where i.consumed is null and "
        + ("i.no > ?" if run is None else "i.run = (select id from runs where no = ?)")
        + " order by i.no",
        (after if run is None else run,),
    )
    return [(Item._make(row[:8]), Standing._make(row[8:])) for row in rows]


def standing(connection: sqlite3.Connection, where: str, values: tuple[Any, ...], limit: int) -> list[Standing]:
    """Where some runs stand."""
    rows = connection.execute(
        f"select no, state, owner, flow, version, paused from runs where {where} limit ?", (*values, limit)
    )
    return [Standing._make(row) for row in rows.fetchall()]


def _marks(values: Iterable[object]) -> str:
    return ", ".join("?" for _ in values)


def append_late(connection: sqlite3.Connection, no: int, late: Late) -> None:
    """What may follow a run's end: feedback, and what was made beside an attempt of it."""
    row = connection.execute("select epoch from runs where no = ?", (no,)).fetchone()
    if row is None:
        raise UnknownRun("the run was collected", run=str(no), remedy="give feedback before retention collects a run")
    last = connection.execute("select max(seq) from events where run = ?", (no,)).fetchone()[0]
    epoch, key = max(row[0], 1), late.name or None
    event = Event(no, last + 1, epoch, late.at, EventType.FEEDBACK_GIVEN, key=key, body=late.body)
    if late.kind == BESIDE:
        said = loads(late.body)
        event = event._replace(
            type=EventType.ATTEMPT_RECORDED, attempt=said["attempt"], version=said["version"],
            body=dumps(said["record"]),
        )  # fmt: skip
    insert_event(connection, None, event)


def append_left(connection: sqlite3.Connection, ended: str) -> None:
    """What came for runs (a JSON list of their numbers) while they were ending, and may follow their end."""
    left = connection.execute(
        "select r.no, i.kind, i.name, i.body, i.at from inbox i join runs r on r.id = i.run"
        f" where i.consumed is null and i.kind in ({_marks(LATE)}) and r.no in (select value from json_each(?))"
        " order by i.no",
        (*LATE, ended),
    ).fetchall()
    for no, kind, name, body, at in left:
        append_late(connection, no, Late(kind, name, body or b"{}", at))


def fork_point(connection: sqlite3.Connection, no: int, at: str | int | None, first: int) -> int | None:
    """The last `seq` that a fork keeps: what the step `at` had seen; None when these events do not hold it."""
    if at is None:
        kinds = (*sorted(ENDS), EventType.RUN_CANCELLING)  # the end of a cancelled run begins with its cancelling
        row = connection.execute(
            f"select min(seq) - 1 from events where run = ? and type in ({_marks(kinds)})", (no, *kinds)
        ).fetchone()
        if row[0] is None:
            row = connection.execute("select max(seq) from events where run = ?", (no,)).fetchone()
        return row[0]
    if isinstance(at, int):
        row = connection.execute("select seq from events where run = ? and seq = ?", (no, at)).fetchone()
        return None if row is None else row[0]
    seen = _seen(connection, no, at)
    return None if seen is None else max(seen, first)


def _seen(connection: sqlite3.Connection, no: int, key: str) -> int | None:
    """What a call had seen.

    There is no index of keys: it looks from both ends at once, so that early and late calls cost the same.
    """
    low, high = connection.execute("select min(seq), max(seq) from events where run = ?", (no,)).fetchone()
    window = 64
    while low is not None and low <= high:
        spans = ((low, min(low + window, high)), (max(high - window, low), high))
        for start, end in spans:
            row = connection.execute(
                "select seen from events where run = ? and seq between ? and ? and key = ? and seen is not null"
                " order by seq limit 1",
                (no, start, end, key),
            ).fetchone()
            if row is not None:
                return int(row[0])
        low, high, window = low + window + 1, high - window - 1, window * 2
    return None
