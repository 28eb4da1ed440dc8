"""The journal's face: append, load, query. SQLite, in a file or in memory."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import weakref
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

from ..errors import EngineClosed, SegueError, StoreError, StoreReadOnly, WrongLoop
from . import schema, switches, tables, traces, workers
from .batch import Accept, Batcher, Call
from .blobs import INLINE_MAX, Payloads
from .connect import MEMORY, connect, connect_memory, look, prepare
from .faults import fault, translate
from .owners import Owner, living, ring
from .reading import Reader
from .records import NewRun, Post, RunRow, Write
from .retention import Collected, Retention
from .turns import Turns
from .writer import InlineWriter, Writer

T = TypeVar("T")
_forked: list[sqlite3.Connection] = []
"""Connections of a parent process, in its child: SQLite forbids even to close them there."""


class Journal(Reader):
    """An open database. Make it with `Journal.open`, on the loop that will use it.

    Writes go through one writer and are answered after their commit. Reads are synchronous and see what is committed.
    `owner` is this process's identity among those that share the file. A forked child cannot use its parent's journal.
    """

    def __init__(
        self,
        path: str,
        connection: sqlite3.Connection,
        reader: sqlite3.Connection,
        writer: Writer | InlineWriter,
        payloads: Payloads,
        *,
        owner: Owner | None = None,
        turns: Turns | None = None,
    ):
        super().__init__(path, reader, payloads)
        self._connection, self._writer = connection, writer
        self._owner, self._turns = owner, turns
        self._live = None if path == MEMORY else Path(f"{path}-live")
        self.owner = owner.id if owner is not None else f"memory-{token_hex(4)}"
        self._loop = asyncio.get_running_loop()
        self._closed = self._is_forked = False
        self._told = workers.Workers(silent=True)
        _open_journals.add(self)

    @classmethod
    def open(cls, path: str, *, heartbeat_s: float = 10.0, lock_timeout_s: float = 5.0) -> Journal:
        """Open or make the database. Raises a StoreError that names the file and the next thing to do."""
        if path == MEMORY:
            return cls.in_memory()
        if new := traces.size(path) is None:
            traces.forget(path)
        connection = look(path, lock_timeout_s=lock_timeout_s)
        try:
            turns, owner = _take_place(path, heartbeat_s, lock_timeout_s)
        except OSError as error:
            connection.close()
            if new:
                traces.withdraw(path)
            raise translate(error, path) from error
        try:
            _make(path, connection, turns, new=owner if new else None)
            reader = connect(path, readonly=True, lock_timeout_s=lock_timeout_s)
        except StoreError:
            connection.close()
            owner.close()
            turns.close()
            raise
        payloads = Payloads(Path(f"{path}-blobs"))
        batcher, beat_s = Batcher(connection, payloads, lock_timeout_s), heartbeat_s / 8
        connection.execute(f"pragma busy_timeout = {max(1, round(1000 * min(beat_s, lock_timeout_s)))}")
        writer = Writer(batcher, path, turns, owner.beat, beat_s)
        return cls(path, connection, reader, writer, payloads, owner=owner, turns=turns)

    @classmethod
    def open_readonly(cls, path: str, *, lock_timeout_s: float = 5.0) -> Reader:
        """Open an existing database to read it: `find`, `get`, `runs`, `events`, `end`, `items`, `query`.

        It makes no database, takes no lock of ours and needs no event loop; engines may write meanwhile (SQLite's own
        empty log may stay beside the file). Use it with `with`, or call `shut`. Raises StoreMissing for a missing file,
        and another StoreError for a file that cannot be read; writing through it raises StoreReadOnly.
        """
        connection = connect(path, readonly=True, lock_timeout_s=lock_timeout_s)
        return Reader(path, connection, Payloads(Path(f"{path}-blobs")))

    @classmethod
    def bring_forward(cls, path: str, *, lock_timeout_s: float = 5.0) -> None:
        """Make today's tables in a database of an older version, as `open` does. Any other one is left as it is, and
        nothing is made where there is none. Raises a StoreError that names the file and the next thing to do.
        """
        with closing(look(path, readonly=True, lock_timeout_s=lock_timeout_s)) as connection:
            if schema.version_of(connection) in (0, len(schema.MIGRATIONS)):
                return
        with closing(look(path, lock_timeout_s=lock_timeout_s)) as connection:
            try:
                turns = _turns(path, lock_timeout_s)
            except OSError as error:
                raise translate(error, path) from error
            with closing(turns):
                _make(path, connection, turns)

    @classmethod
    def in_memory(
        cls, connection: sqlite3.Connection | None = None, probe: Callable[[str], None] | None = None
    ) -> Journal:
        """A journal in memory, committed on the loop. `connection` continues an older one: a restart after a crash."""
        connection = connection or connect_memory()
        payloads = Payloads(None)
        writer = InlineWriter(Batcher(connection, payloads), MEMORY, probe)
        return cls(MEMORY, connection, connection, writer, payloads)

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection that writes: for a restart in memory."""
        return self._connection

    def in_memory_only(self) -> bool:
        """Whether no other process can see this journal."""
        return self._live is None

    @property
    def trouble(self) -> SegueError | None:
        """Why what runs waits to be written (a full disk, a foreign lock), or None when it was written."""
        return self._writer.trouble

    def check_file(self) -> None:
        """Raises StoreMissing when the file was taken away: nothing more is written, and nobody would hear of it."""
        gone = self._writer.gone() if isinstance(self._writer, Writer) else None
        if gone is not None:
            raise gone

    # writing

    def write(self, unit: Write) -> None:
        """Queue a unit; its `done` is called after the commit."""
        if not self._closed:
            self._writer.put(unit)

    def ask(self, function: Callable[[sqlite3.Connection], T], payloads: Iterable[bytes] = ()) -> asyncio.Future[T]:
        """Run `function` in the next transaction and give its result after the commit.

        `function` may run more than once, so it only answers; `payloads` are the large ones that it will store. Raises
        WrongLoop; the future raises what the function raises, a StoreError when the database cannot take it, and
        EngineClosed.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self._put(future, Call(function, partial(self._answer, future), tuple(payloads)))
        return future

    def _put(self, future: asyncio.Future[Any], job: Call | Accept) -> None:
        self._check_loop()
        if self._closed:
            future.set_exception(closed(self.path))
        else:
            self._writer.put(job)

    def _answer(self, future: asyncio.Future[Any], error: Exception | None, result: Any) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(translate(error, self.path))

    def accept(
        self, new: NewRun, then: Callable[[RunRow, bool], None] | None = None
    ) -> asyncio.Future[tuple[RunRow, bool]]:
        """Record a run; when its id is taken by the same flow and input, give that one. Raises DuplicateRun.

        `then(row, whether it is new)` is called after the commit, also when nobody waits for the future any more.
        """
        future: asyncio.Future[tuple[RunRow, bool]] = self._loop.create_future()
        self._put(future, Accept(new, partial(self._accepted, future, then)))
        return future

    def _accepted(
        self, future: asyncio.Future[Any], then: Callable[[RunRow, bool], None] | None, error: Exception | None,
        result: Any,
    ) -> None:  # fmt: skip
        if error is None and then is not None:
            then(*result)
        self._answer(future, error, result)

    def claim(
        self, no: int, dead: Iterable[str], at: float, revision: str, *, stuck: bool = False
    ) -> asyncio.Future[tuple[RunRow, int] | None]:
        """Take a run over from nobody or from the dead: `(row, last seq)`, or None when somebody else has it.

        It may wait for others' commits. One of the `dead` whose heart has beaten again by then keeps its run.
        """
        heard = {owner: self._owner and self._owner.heard(owner) for owner in dead}

        def take(connection: sqlite3.Connection) -> tuple[RunRow, int] | None:
            gone = [one for one, beat in heard.items() if self._owner is None or self._owner.silent(one, beat)]
            return tables.claim(connection, no, self.owner, gone, at=at, revision=revision, stuck=stuck)

        return self.ask(take)

    def seal(self, row: RunRow, seq: int, value: bytes) -> None:
        """Put the sealed payload of a signal in the place of the one that came. A fork's may stand in its parent."""
        while row.memo_run is not None and seq <= row.memo_seq:
            row = self.get(row.memo_run)
        payloads = [value] if len(value) > INLINE_MAX else []
        done = self.ask(lambda c: self._payloads.replace(c, row.no, seq, value), payloads)
        done.add_done_callback(lambda f: None if f.cancelled() else f.exception())  # else the next replay does it

    def note(self, row: RunRow, detail: dict[str, Any]) -> None:
        """Say in the row of a run that this process carries out what it is about: for those who look on."""
        done = self.ask(lambda c: tables.note(c, row, detail))
        done.add_done_callback(lambda f: None if f.cancelled() else f.exception())  # nothing depends on it

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

    async def collect(self, before: float, *, dry_run: bool = False) -> Collected:
        """Delete the runs that ended before a time (seconds since the epoch), and what only they used."""
        self.check()
        return await Retention(self.ask, self._reader, self._payloads.folder).collect(before, dry_run=dry_run)

    def after_commit(self, told: Callable[[], None]) -> None:
        """Call `told` on the loop after each commit, when all its units have had their `done`."""
        self._writer.told = told

    # living together

    def tell(self, flows: Iterable[workers.Known], *, recovers: bool) -> None:
        """Let all processes know which flows this one has; `recovers`: and that it takes up whatever is ready."""
        known = frozenset(flows)
        self._told = workers.joined(workers.Workers(), known, recovers)
        if self._live is not None:
            workers.publish(self._live, self.owner, known, recovers=recovers)

    def workers(self) -> workers.Workers:
        """Which flows the living processes know."""
        return self._told if self._live is None else super().workers()

    def turn(self, switch: switches.Switch, *, on: bool) -> asyncio.Future[bool]:
        """Switch a flow or the engine on or off; False when it stood so already. `ring_all` tells the others."""
        return self.ask(lambda c: (switches.switch_on if on else switches.switch_off)(c, switch))

    def listen(self, rung: Callable[[], None]) -> None:
        """Call `rung` when another process rings."""
        if self._owner is not None:
            self._owner.listen(rung)

    def alive(self, owner: str | None) -> bool:
        """Whether the process of this id lives."""
        if owner is None or self._owner is None:
            return owner == self.owner
        return self._owner.alive(owner)

    @contextmanager
    def between_commits(self, wait_s: float) -> Generator[None]:
        """Within it this process holds no lock that others need to write; unless a commit takes longer than that."""
        with self._writer.between_commits(wait_s) if isinstance(self._writer, Writer) else nullcontext():
            yield

    def looked_away(self, seconds: float) -> None:
        """This process stood still for so long, and could not see whether others live."""
        if self._owner is not None:
            self._owner.looked_away(seconds)

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def check(self) -> None:
        """Raises EngineClosed after `close`, and WrongLoop in a forked child."""
        if self._is_forked:
            raise _wrong(self.path, "a forked child cannot use its parent's engine")
        if self._closed:
            raise closed(self.path)

    def _check_loop(self) -> None:
        if self._is_forked:
            self.check()
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            raise _wrong(self.path, "an engine needs the event loop that opened it; none runs in this thread") from None
        if here is not self._loop:
            raise _wrong(self.path, "the engine was opened on another event loop (or this is the code of a flow)")

    def forked(self) -> None:
        """This is a child of the process that opened it: let go of the locks, which belong to the parent."""
        self._is_forked = self._closed = True
        _forked.extend((self._connection, self._reader))
        if self._owner is not None:
            self._owner.abandon()
        if self._turns is not None:
            self._turns.close()

    async def close(self) -> None:
        """Write what is queued, give the file back. Closing twice does nothing."""
        if self._closed:
            return
        self._check_loop()
        self._closed = True
        await self._writer.close()
        if self._owner is None:
            return
        self._owner.close()
        self.shut()
        with suppress(sqlite3.Error):  # a full disk or a foreign lock: the log stays beside the file
            self._connection.execute("pragma optimize")
        self._connection.close()
        if self._turns is not None:
            self._turns.close()


def closed(path: str) -> EngineClosed:
    """The error of a job that comes too late."""
    return EngineClosed(f"the engine on {path} is closed", remedy="use it inside of `async with Engine(...)`")


def _wrong(path: str, what: str) -> WrongLoop:
    remedy = "open an engine of its own there: Engine(path); several on one file are meant to work together"
    return WrongLoop(f"{path}: {what}", remedy=remedy)


def _turns(path: str, lock_timeout_s: float) -> Turns:
    live = Path(f"{path}-live")
    if live.exists() and not os.access(live, os.W_OK):
        raise fault(StoreReadOnly, path, f"the folder {live} cannot be written", "make it writable for this user")
    live.mkdir(exist_ok=True)
    return Turns(live, lock_timeout_s)


def _take_place(path: str, heartbeat_s: float, lock_timeout_s: float) -> tuple[Turns, Owner]:
    turns = _turns(path, lock_timeout_s)
    try:
        return turns, Owner(Path(f"{path}-live"), heartbeat_s)
    except OSError:
        turns.close()
        raise


def _make(path: str, connection: sqlite3.Connection, turns: Turns, *, new: Owner | None = None) -> None:
    """Make today's tables. Where that fails in a file that `new` made, as on a full disk, nothing of it stays."""
    with turns.taken():
        try:
            prepare(connection, path)
        except StoreError:
            if new is not None and living(Path(f"{path}-live")) == [new.id]:
                traces.withdraw(path)
            raise
    traces.mark(path)


_open_journals: weakref.WeakSet[Journal] = weakref.WeakSet()


def _after_fork() -> None:
    for journal in list(_open_journals):
        if not (journal.in_memory_only() or journal.is_closed):
            journal.forked()


os.register_at_fork(after_in_child=_after_fork)
