"""The journal's face: append, load, query. SQLite, in a file or in memory."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from ..core.events import ENDS, Event
from ..errors import InputError, StoreReadOnly, UnknownRun
from . import tables
from .batch import Batcher, Call
from .connect import MEMORY, connect, translate
from .owners import Owner, ring
from .records import Item, NewRun, Post, RunRow, Write
from .turns import Turns
from .writer import InlineWriter, Writer, closed

T = TypeVar("T")
_numbers = count(1)


class Journal:
    """An open database. Make it with `Journal.open`, on the loop that will use it.

    Writes go through one writer and are answered after their commit. Reads are synchronous and see what is committed.
    `owner` is this process's identity among those that share the file.
    """

    def __init__(
        self,
        path: str,
        connection: sqlite3.Connection,
        writer: Writer | InlineWriter,
        reader: sqlite3.Connection,
        owner: Owner | None,
        turns: Turns | None,
    ):
        self.path, self._connection, self._writer, self._reader = path, connection, writer, reader
        self._owner, self._turns = owner, turns
        self._folder = None if path == MEMORY else Path(f"{path}-blobs")
        self._live = None if path == MEMORY else Path(f"{path}-live")
        self.owner = owner.id if owner is not None else f"memory-{next(_numbers)}"
        self._closed = False

    @classmethod
    def open(cls, path: str, *, heartbeat_s: float = 10.0, lock_timeout_s: float = 5.0) -> Journal:
        """Open or make the database. Raises a StoreError that names the file and the next thing to do."""
        connection = connect(path, lock_timeout_s=lock_timeout_s)
        live = Path(f"{path}-live")
        try:
            live.mkdir(exist_ok=True)
            turns, owner = Turns(live), Owner(live, heartbeat_s)
        except OSError as error:
            connection.close()
            refused = StoreReadOnly(
                f"{live}: {error.strerror}", remedy="make the database's folder writable for this user"
            )
            refused.path = path
            raise refused from error
        batcher = Batcher(connection, Path(f"{path}-blobs"))
        writer = Writer(batcher, path, turns, owner.beat, heartbeat_s / 8)
        return cls(path, connection, writer, connect(path, readonly=True), owner, turns)

    @classmethod
    def in_memory(
        cls, connection: sqlite3.Connection | None = None, probe: Callable[[str], None] | None = None
    ) -> Journal:
        """A journal in memory, committed on the loop. `connection` continues an older one: a restart after a crash."""
        connection = connection or connect(MEMORY)
        return cls(MEMORY, connection, InlineWriter(Batcher(connection, None), MEMORY, probe), connection, None, None)

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection that writes: for a restart in memory."""
        return self._connection

    def in_memory_only(self) -> bool:
        """Whether no other process can see this journal."""
        return self._live is None

    @property
    def trouble(self) -> Exception | None:
        """Why writes wait at the moment (a full disk, a foreign lock), or None."""
        return self._writer.trouble

    # writing

    def write(self, unit: Write) -> None:
        """Queue a unit; its `done` is called after the commit."""
        if not self._closed:
            self._writer.put(unit)

    def ask(self, function: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Run `function` in the next transaction and give its result after the commit."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._closed:
            future.set_exception(closed(self.path))
            return future

        def done(error: Exception | None, result: Any) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(translate(error, self.path) if isinstance(error, sqlite3.Error) else error)

        self._writer.put(Call(function, done))
        return future

    def accept(self, new: NewRun) -> asyncio.Future[tuple[RunRow, bool]]:
        """Record a run; when its id is taken by the same flow and input, give that one. Raises DuplicateRun."""
        return self.ask(lambda c: tables.accept(c, self._folder, new))

    def claim(
        self, no: int, dead: Iterable[str], at: float, revision: str, *, stuck: bool = False
    ) -> asyncio.Future[tuple[RunRow, int] | None]:
        """Take a run over from nobody or from the dead: `(row, last seq)`, or None when somebody else has it."""
        gone = list(dead)
        return self.ask(lambda c: tables.claim(c, no, self.owner, gone, at, revision, stuck=stuck))

    async def post(self, item: Post) -> bool:
        """Put an item into a run's inbox and ring its owner. False when it was there already."""
        new, owner = await self.ask(lambda c: (tables.post(c, item), tables.find_run(c, item.run)))
        if new and self._live is not None:
            self._ring(owner.owner if owner is not None else None)
        return new

    def _ring(self, owner: str | None) -> None:
        assert self._live is not None
        if owner is not None and self._owner is not None and self._owner.alive(owner):
            ring(self._live, [owner])
        elif self._owner is not None:
            self._owner.ring(None)

    def ring_all(self) -> None:
        """Tell the other processes that there is something to do."""
        if self._owner is not None:
            self._owner.ring(None)

    # reading

    def find(self, run: str | int) -> RunRow | None:
        """A run by id or number, or None."""
        return self._guard(lambda: tables.find_run(self._reader, run))

    def get(self, run: str | int) -> RunRow:
        """A run by id or number. Raises UnknownRun."""
        row = self.find(run)
        if row is None:
            raise UnknownRun(f"no run {run!r} in {self.path}", run=str(run), remedy="list the runs: segue runs")
        return row

    def events(self, row: RunRow, after: int = 0, until: int | None = None) -> Iterator[Event]:
        """A run's events in order, those of the run that it was forked from first."""
        if row.memo_run is not None and after < row.memo_seq:
            stop = row.memo_seq if until is None else min(until, row.memo_seq)
            yield from self.events(self.get(row.memo_run), after, stop)
        yield from self._guard(lambda: list(tables.events(self._reader, self._folder, row.no, after, until)))

    def end(self, row: RunRow) -> Event:
        """The event that ended a run."""
        kinds = sorted(ENDS)
        seq = self.query(
            "select seq from events where run = ? and type in (?, ?, ?) order by seq desc limit 1", (row.no, *kinds)
        )[0][0]
        return next(self.events(row, seq - 1, seq))

    def fork_point(self, row: RunRow, at: str | int | None) -> int:
        """The last `seq` that a fork at a step or event keeps. Raises InputError when the run has none such."""
        source: RunRow | None = row
        while source is not None:
            point = self._guard(lambda s=source: tables.fork_point(self._reader, s.no, at, 1))
            if point is not None:
                return point
            source = self.get(source.memo_run) if source.memo_run is not None else None
        raise InputError(
            f"the run has no {'event' if isinstance(at, int) else 'step'} {at!r}",
            run=row.id,
            remedy=f"list its keys: segue show {row.id}",
        )

    def items(self) -> list[tuple[Item, int, str, str | None]]:
        """Open inbox items with their run's number, state and owner."""
        return self._guard(lambda: tables.items(self._reader))

    def items_of(self, no: int) -> list[tuple[Item, int, str, str | None]]:
        """Open inbox items of one run."""
        return self._guard(lambda: tables.items(self._reader, run=no))

    def explain(self, error: Exception) -> Exception:
        """One of SQLite's errors as ours."""
        return translate(error, self.path) if isinstance(error, sqlite3.Error) else error

    def query(self, sql: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """A read-only query of the tables."""
        return self._guard(lambda: self._reader.execute(sql, tuple(parameters)).fetchall())

    def runs(self, where: str = "1", parameters: Iterable[Any] = (), limit: int = 100) -> list[RunRow]:
        """Runs, newest first. `where` is SQL over the columns of RunRow."""
        rows = self.query(
            f"select {tables.RUN_COLUMNS} from runs where {where} order by no desc limit {int(limit)}", parameters
        )
        return [tables.run_row(r) for r in rows]

    def _guard(self, read: Callable[[], T]) -> T:
        if self._closed:
            raise closed(self.path)
        try:
            return read()
        except sqlite3.Error as error:
            raise translate(error, self.path) from error

    # living together

    def listen(self, rung: Callable[[], None]) -> None:
        """Call `rung` when another process rings."""
        if self._owner is not None:
            self._owner.listen(rung)

    def alive(self, owner: str | None) -> bool:
        """Whether the process of this id lives."""
        if owner is None or self._owner is None:
            return owner == self.owner
        return self._owner.alive(owner)

    async def close(self) -> None:
        """Write what is queued, give the file back."""
        if self._closed:
            return
        self._closed = True
        await self._writer.close()
        if self._owner is not None:
            self._owner.close()
            self._reader.close()
            try:
                self._connection.execute("pragma optimize")
            finally:
                self._connection.close()
        if self._turns is not None:
            self._turns.close()
