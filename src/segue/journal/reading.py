"""The journal's reading half: find, load, query. It sees what is committed, while others write."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from ..core.codec import loads
from ..core.events import ENDS, Event, EventType
from ..core.shell import command
from ..errors import InputError, SegueError, StoreCorrupt, StoreError, StoreMissing, StoreReadOnly, UnknownRun
from . import switches, tables, threads, workers
from .blobs import Payloads, is_reference
from .damage import BEGINNINGS, UNREADABLE, damaged, first_damaged, gapless, missing
from .faults import fault, identity, translate
from .owners import holds, living, silent_s
from .records import Item, RunRow, Standing, Write, listed_row

if TYPE_CHECKING:
    from ..core import budgets
    from ..core.records import BudgetScope

T = TypeVar("T")
_LOOKED_BACK = 50_000
"""Events that whoever has read nothing yet looks back."""
_AT_ONCE = 500


class Reader:
    """A database opened to be read, by `Journal.open_readonly`. `with` or `shut` gives the file back.

    Needs no event loop, makes no lock files and has no writer. Rows come from what is committed at the time of the
    call. Every method raises StoreCorrupt for damaged pages, and a StoreError that names the file for other trouble.
    """

    def __init__(self, path: str, connection: sqlite3.Connection, payloads: Payloads):
        self.path, self._reader, self._payloads = path, connection, payloads
        self._opened = identity(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.shut()

    def shut(self) -> None:
        """Give the file back."""
        self._reader.close()

    def check_file(self) -> None:
        """Raises StoreMissing when the file was taken away: nothing more would ever be read; StoreError where it cannot
        be seen.
        """
        if identity(self.path) == self._opened:
            return
        what = "the file was moved, deleted or replaced while it was read"
        try:
            os.stat(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            remedy = "let this user read it and its folder, and try again"
            raise fault(StoreError, self.path, f"the file can no longer be seen: {error}", remedy) from error
        raise fault(StoreMissing, self.path, what, "put it back, and try again")

    @contextmanager
    def moment(self) -> Generator[None]:
        """What is read within stands as it did at the first of it, whatever is written meanwhile."""
        self.query("begin")
        try:
            yield
        finally:
            self.query("rollback")

    def write(self, unit: Write) -> None:
        """Refused. Raises StoreReadOnly."""
        self._refuse()

    def ask(self, function: Callable[[sqlite3.Connection], T]) -> Any:
        """Refused. Raises StoreReadOnly."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise fault(StoreReadOnly, self.path, "this journal was opened to be read", "open it with an engine to write")

    def find(self, run: str | int) -> RunRow | None:
        """A run by id or number, or None."""
        return self._guard(lambda: tables.find_run(self._reader, run))

    def get(self, run: str | int) -> RunRow:
        """A run by id or number. Raises UnknownRun."""
        row = self.find(run)
        if row is None:
            gone = self.query("select state from tombstones where id = ?", (run,))
            if gone:
                what = f"run {run} ended ({gone[0][0]}) and was collected"
                raise UnknownRun(what, run=str(run), remedy="nothing of it is left but its id")
            raise UnknownRun(f"no run {run!r} in {self.path}", run=str(run), remedy=f"list the runs: {command('runs')}")
        return row

    def events(self, row: RunRow, after: int = 0, until: int | None = None) -> Iterator[Event]:
        """A run's events in order, those of the run that it was forked from first."""
        if row.memo_run is not None and after < row.memo_seq:
            stop = row.memo_seq if until is None else min(until, row.memo_seq)
            yield from self.events(self.get(row.memo_run), after, stop)
        yield from self._guard(lambda: list(tables.events(self._reader, self._payloads, row.no, after, until)))

    def past(self, row: RunRow) -> Iterator[Event]:
        """The events that a replay reads: of a run that went on as new those of its present part, and before them the
        signals that it has brought along. Raises StoreCorrupt where the one that has the input, or another, is missing.
        """
        start, events = row.continued_seq, self.events(row, max(row.continued_seq - 1, 0))
        first = next(events, None)
        if first is None or first.type not in BEGINNINGS:
            raise missing(self.path, row.id, start or 1)
        if start:
            with self.reads(row):
                carried = list(loads(first.body).get("carried", ()))
            for seq in carried:
                yield from self.events(row, seq - 1, seq)
        with self.reads(row):
            yield from gapless(first, events)

    @contextmanager
    def reads(self, row: RunRow) -> Generator[None]:
        """Around whatever reads a run's events. Raises StoreCorrupt, which names the damaged one, in the place of what
        comes of reading that.
        """
        try:
            yield
        except UNREADABLE as error:
            found = self.damage(row)
            if found is None:
                raise
            raise found from error

    def damage(self, row: RunRow) -> StoreCorrupt | None:
        """That an event of a run, or of the one that it was forked from, cannot be read; None where all can be."""
        try:
            self.input_of(row)
            found = first_damaged(self.events(row))
        except StoreCorrupt as error:
            return error
        if found is None:
            return None
        event, why = found
        id_ = row.id if event.run == row.no else self.query("select id from runs where no = ?", (event.run,))[0][0]
        return damaged(self.path, row.id, f"event {event.seq} ({event.type}) of run {id_} is damaged: {why}")

    def input_of(self, row: RunRow) -> Event:
        """The event that has the input of a run. Raises StoreCorrupt where it is missing."""
        return self._event_at(row, row.memo_seq + 1)

    def _event_at(self, row: RunRow, seq: int) -> Event:
        """One that has an input. Raises StoreCorrupt."""
        found = next(self.events(row, seq - 1, seq), None)
        if found is None:
            raise missing(self.path, row.id, seq)
        return found

    def part_of(self, row: RunRow, upto: int) -> tuple[Event, int]:
        """The event that has the input of the part of a run that event `upto` belongs to, and with which that part
        begins; 0: with the run.
        """
        first = self.input_of(row)
        if not row.continued_seq:
            return first, 0
        start = self._continued(row, upto)
        if start > row.memo_seq:
            return self._event_at(row, start), start
        if row.memo_run is not None and start != self._continued(row, row.memo_seq):  # an older part than it forked
            return self.part_of(self.get(row.memo_run), min(upto, row.memo_seq))
        return first, start

    def _continued(self, row: RunRow, upto: int) -> int:
        """The last event up to this one with which a run went on as new; 0: none."""
        if row.memo_seq < row.continued_seq <= upto:
            return row.continued_seq
        found = self.query(
            "select max(seq) from events where run = ? and type = ? and seq <= ?",
            (row.no, EventType.RUN_CONTINUED.value, upto),
        )[0][0]
        if found is not None or row.memo_run is None:
            return found or 0
        return self._continued(self.get(row.memo_run), min(upto, row.memo_seq))

    def last_turn(self, tenant: str, thread: str, run: str) -> int:
        """The number of the last outcome of a thread that a run may hear; 0: there is none."""
        return threads.heard_by(self.query, tenant, thread, run)

    def turns(
        self, tenant: str, thread: str, upto: int, after: int = 0, *, oldest: bool = False
    ) -> Iterator[threads.Outcome]:
        """What was said in a thread up to this number, the newest first or the `oldest`."""
        if oldest:
            found = threads.said_first(self.query, tenant, thread, after, upto)
        else:
            found = threads.said(self.query, tenant, thread, upto, after)
        for one in found:
            if is_reference(one.args) or is_reference(one.value):
                for event in self._guard(lambda o=one: self._event(o.run, o.seq)):
                    yield one._replace(args=event.args, value=event.value)
            else:
                yield one

    def summary(self, tenant: str, thread: str, upto: int) -> tuple[int, Event] | None:
        """The summary of a thread that reaches furthest, but not past this number, and up to where."""
        found = threads.summed_up(self.query, tenant, thread, upto)
        events = [] if found is None else self._guard(lambda: self._event(found.run, found.seq))
        return None if found is None or not events else (found.upto, events[0])

    def results_of(
        self, tenant: str, thread: str, upto: int, after: int, *, step: str, run: str = ""
    ) -> Iterator[bytes]:
        """What a step has given in the turns of a thread after a number up to another, the newest first; to the
        knowledge of a run, if it is named.
        """
        for no, seq in threads.results_of(self.query, tenant, thread, upto, after, step=step, run=run):
            for event in self._guard(lambda no=no, seq=seq: self._event(no, seq)):
                yield event.value or b"null"

    def children_of(self, tenant: str, thread: str, run: str = "") -> list[tuple[str, str]]:
        """The open runs that turns of a thread have started, to the knowledge of a run, if it is named: the id of
        each, and its flow.
        """
        return threads.in_flight(self.query, tenant, thread, run)

    def _event(self, run: int, seq: int) -> list[Event]:
        return list(tables.events(self._reader, self._payloads, run, seq - 1, seq))

    def of_run(self, run: int, types: Collection[str], key: str | None = None) -> list[Event]:
        """A run's own events of these types, or those of them with this key, whole, by the run's number."""
        found = self.query(
            f"select seq from events where run = ? and type in ({', '.join('?' for _ in types)})"
            " and (? is null or key = ?) order by seq",
            (run, *types, key, key),
        )
        return [event for (seq,) in found for event in self._guard(lambda seq=seq: self._event(run, seq))]

    def since(self, position: int, types: Collection[str], limit: int = 1000) -> list[tuple[int, Event]]:
        """Events of all runs after a position of the database, of these types, oldest first, each with its position.

        Large payloads are still references: `whole` fetches them.
        """
        marks = ", ".join("?" for _ in types)
        rows = self.query(
            f"select pos, {', '.join(Event._fields)} from events where pos > ? and type in ({marks})"
            " order by pos limit ?",
            (position, *types, limit),
        )
        return [(row[0], Event._make(row[1:])) for row in rows]

    def outcomes(self, keys: str, after: int) -> tuple[int, list[Event]]:
        """Decisions and attempts of calls whose keys are like `keys` (GLOB), and all feedback, whole, after a position,
        some of them at a time, and the position up to which that is all. Below 0: of the last 50,000 events.
        """
        last = self.query("select max(pos) from events")[0][0] or 0
        start = max(0, last - _LOOKED_BACK) if after < 0 else after
        rows = self.query(
            f"select pos, {', '.join(Event._fields)} from events where pos > ? and (type = 'feedback.given' or"
            " (type in ('decision.made', 'attempt.recorded') and key glob ?)) order by pos limit ?",
            (start, keys, _AT_ONCE),
        )
        until = rows[-1][0] if len(rows) == _AT_ONCE else last
        return until, [self.whole(Event._make(row[1:])) for row in rows]

    def whole(self, event: Event) -> Event:
        """An event of `since` with its payloads. Raises StoreCorrupt for one that is gone or damaged."""
        return self._guard(lambda: self._payloads.resolve(self._reader, event))

    def end(self, row: RunRow) -> Event:
        """The event that ended a run. Raises StoreCorrupt when a run that has ended has none."""
        kinds = sorted(ENDS)
        found = self.query(
            "select seq from events where run = ? and type in (?, ?, ?) order by seq desc limit 1", (row.no, *kinds)
        )
        event = next(self.events(row, found[0][0] - 1, found[0][0]), None) if found else None
        if event is None:
            what, remedy = f"the last event of run {row.id} is missing", "restore the database from a copy"
            raise fault(StoreCorrupt, self.path, what, remedy)
        return event

    def fork_point(self, row: RunRow, at: str | int | None) -> int:
        """The last `seq` that a fork at a step or event keeps. Raises InputError when the run has none such."""
        source: RunRow | None = row
        known = 1 << 62  # what came later in an ancestor never happened in its fork
        while source is not None:
            point = self._guard(lambda s=source: tables.fork_point(self._reader, s.no, at, 1))
            if point is not None and point <= known:
                return point
            known = min(known, source.memo_seq)
            source = self.get(source.memo_run) if source.memo_run is not None else None
        what, list_ = ("event", "events") if isinstance(at, int) else ("step", "show")
        remedy = f"list its {'events' if what == 'event' else 'keys'}: {command(list_, row.id)}"
        raise InputError(f"the run has no {what} {at!r}", run=row.id, remedy=remedy)

    def threads_of(self, row: RunRow) -> tuple[str, ...]:
        """The thread that a run is a turn of, and those that this has left, the nearest first. For what a turn of a
        branch has started, and forks of that: an empty name, and then those of the turn. None for other runs.
        """
        if row.thread is not None:
            return tuple(name for name, _ in threads.lineage(self.query, row.tenant, row.thread))
        while row.memo_run is not None:
            row = self.get(row.memo_run)
        if row.parent is None:
            return ()
        first = self.query("select body from events where run = ? and seq = 1", (row.no,))
        with self.reads(row):
            return ("", *told) if first and (told := loads(first[0][0] or b"{}").get("threads")) else ()

    def items(self, after: int = 0) -> list[tuple[Item, Standing]]:
        """Open inbox items, later than item `after`, with where their run stands."""
        return self._guard(lambda: tables.items(self._reader, after=after))

    def items_of(self, no: int) -> list[Item]:
        """Open inbox items of one run."""
        return [item for item, _ in self._guard(lambda: tables.items(self._reader, run=no))]

    def standing(self, where: str, *values: Any, limit: int = -1) -> list[Standing]:
        """Where some runs stand. `where` is SQL over the columns of RunRow."""
        return self._guard(lambda: tables.standing(self._reader, where, values, limit))

    def standing_of(self, scopes: Sequence[BudgetScope], currency: str = "USD") -> list[budgets.Standing]:
        """How budgets stand, in the order of `scopes`: spent, held and estimated, in nano-dollars."""
        from .books import standings  # noqa: PLC0415  see there

        return self._guard(lambda: standings(self._reader, scopes, currency))

    def left(self, scopes: Sequence[BudgetScope], currency: str = "USD") -> int | None:
        """The most that a call may cost under all of these budgets, in nano-dollars; None where none has a limit.

        Somebody else may reserve before you do: it is the reservation that is checked.
        """
        from ..core.budgets import left  # noqa: PLC0415  see books

        return left(scopes, self.standing_of(scopes, currency))

    def query(self, sql: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """A read-only query of the tables."""
        return self._guard(lambda: self._reader.execute(sql, tuple(parameters)).fetchall())

    def runs(self, where: str = "1", parameters: Iterable[Any] = (), limit: int = 100) -> list[RunRow]:
        """Runs, newest first. `where` is SQL over the columns of RunRow."""
        sql = f"select {tables.RUN_COLUMNS} from runs where {where} order by no desc limit {int(limit)}"
        return [listed_row(r) for r in self.query(sql, parameters)]

    def alive(self, owner: str | None) -> bool:
        """Whether the process of this id lives."""
        return owner is not None and holds(Path(f"{self.path}-live"), owner)

    def silent_s(self, owner: str) -> float | None:
        """For how long it seems to hang, as far as one look can tell; None where it does not."""
        return silent_s(Path(f"{self.path}-live"), owner)

    def attended(self) -> bool:
        """Whether any process that carries runs out has this database open."""
        live = Path(f"{self.path}-live")
        return any(holds(live, owner) for owner in living(live))

    def workers(self) -> workers.Workers:
        """Which flows the living processes know."""
        return workers.read(Path(f"{self.path}-live"))

    def switches(self) -> switches.Switches:
        """What an operator has switched off: flows, or the engine."""
        return self._guard(lambda: switches.read(self._reader))

    def held(self, no: int, by: switches.Switches | None = None) -> bool:
        """Whether a switch keeps this run from starting anything new."""
        on = self.switches() if by is None else by
        where, values = on.free()
        return bool(on.on) and not self.query(f"select 1 from runs where no = ? and {where}", (no, *values))

    def acts(self, limit: int = 100) -> list[switches.Act]:
        """What operators did to flows, to the engine and in bulk, newest first."""
        if not self.query("select 1 from sqlite_master where name = 'acts'"):
            return []  # a database that only older versions have written
        return self._guard(lambda: switches.acts(self._reader, limit))

    def explain(self, error: Exception) -> SegueError:
        """One of SQLite's errors, or of the file system's, as ours."""
        return translate(error, self.path)

    def check(self) -> None:
        """Nothing to check: a reader may be used from anywhere, one thread at a time."""

    def _guard(self, read: Callable[[], T]) -> T:
        self.check()
        try:
            return read()
        except StoreCorrupt as error:
            translate(error, self.path)  # names the file
            raise
        except sqlite3.Error as error:
            raise translate(error, self.path) from error
