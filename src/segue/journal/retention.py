"""Collects runs that ended long ago: their events, inbox and payloads. A tombstone keeps each id from running twice.

A run goes in one small transaction, and its remains in many: `tombstones.remains` is its number until nothing is left
of it, so that a collection that was interrupted is ended by the next one. A payload's file is deleted after the commit
that deletes its row, inside of a transaction: no writer can begin to use it in between.

Budgets stay as they stand: what a run took of them is in their accounts, also what it never settled.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..core.events import EventType
from ..core.lifecycle import ENDED
from . import accounts, summaries, threads
from .blobs import DRAFT
from .hearing import IS_TRIED_OUT, NEVER

T = TypeVar("T")
Ask = Callable[[Callable[[sqlite3.Connection], T]], Awaitable[T]]

_PAGE = 200
"""Rows that one transaction deletes."""
_RUNS = 20
"""Runs that one transaction collects."""
_AHEAD = 5000
"""Events that are read at once outside of a transaction."""
_FOR_A_FORK = ("fork", "child of a fork")
"""Why a run stays that may go when others have gone."""
_DRAFT_OLD_S = 3600.0
_ENDED = ", ".join(f"'{s}'" for s in sorted(ENDED))
_KEPT = f"""
select case
    when (select max(no) from runs) = r.no then 'newest run'
    when (select run from events order by pos desc limit 1) = r.no then 'newest event'
    when exists (select 1 from runs c where c.parent = r.id and c.state not in ({_ENDED})) then 'open child'
    when exists (select 1 from runs p where p.id = r.parent and p.state not in ({_ENDED})) then 'open parent'
    else '' end, id, state, updated_at
from runs r where no = ? and state in ({_ENDED}) and updated_at < ?"""

_ABOVE = """
with recursive up (no, key) as (
    select p.no, r.parent_key from runs r join runs p on p.id = r.parent where r.no = ? and r.parent_key is not null
    union all select p.no, r.parent_key from up join runs r on r.no = up.no join runs p on p.id = r.parent
    where r.parent_key is not null
) select no, key from up"""
"""The runs above a child, each with the key of its child on the way down."""
_FORKS = """
with recursive forks (no, kept) as (
    select no, memo_seq from runs where memo_run = ?
    union all select f.no, min(f.memo_seq, kept) from forks join runs f on f.memo_run = forks.no
) select no, kept from forks"""
"""The forks of a run and the forks of those, each with the last `seq` of the run that it keeps."""
_CHILD_ENDS = (
    "select key, seq from events where run = ? and seq > ? and seq <= ?"
    f" and type = '{EventType.CHILD_ENDED.value}' order by seq desc"
)
_KEPT_AT_MOST = (
    "select min((select max(memo_seq) from runs where memo_run = ?1), (select max(seq) from events where run = ?1))"
)
"""The last event that a fork of a run keeps; null where it has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What a collection has deleted, or with `dry_run` would delete. `payload_bytes` are those before compression.

    `kept` counts the runs that are old enough but stay, by why: a fork uses their events, or does them again as part of
    the run that it was forked from; a child or the parent is open; they are a fork or below one and a child stays; a
    thread or a fork in use goes on from the summary that they have made; or they are the newest run or hold the newest
    event (numbers are never given twice).
    """

    dry_run: bool
    runs: tuple[str, ...]
    events: int
    payloads: int
    payload_bytes: int
    files: int
    kept: dict[str, int]


class _Page(NamedTuple):
    """What came of one page of runs. Functions that `ask` runs may run twice: they answer, and keep nothing."""

    collected: list[tuple[int, str, str, float]]
    kept: list[tuple[int, str]]


class _Remains(NamedTuple):
    """What one transaction has deleted of the remains of a run. `payloads` are their sizes and files."""

    events: int
    payloads: list[tuple[int, str | None]]


class Retention:
    """One collection of runs that ended before a time, in seconds since the epoch.

    `ask` runs a function in a transaction of its own; between two of them everybody else may write.
    """

    def __init__(self, ask: Ask[Any], reader: sqlite3.Connection, folder: Path | None):
        self._ask, self._reader, self._folder = ask, reader, folder
        self._ends: dict[int, _Ends] = {}
        self._gone: set[int] = set()
        self._held: list[int] = []
        self._runs: list[str] = []
        self._kept: Counter[str] = Counter()
        self._events = 0
        self._payloads: list[tuple[int, str | None]] = []

    async def collect(self, before: float, *, dry_run: bool = False) -> Collected:
        """Newest first, so that a fork goes before the run that it pins. What a fork kept is looked at again when all
        others have gone: a child may be newer than the fork that does it again.
        """
        if not dry_run:
            await self._bury_remains()
        numbers = self._older(1 << 62, before)
        while numbers:
            await self._take(numbers, before, dry_run)
            numbers = self._older(numbers[-1], before)
        went = 0
        while self._held and went < len(self._runs):
            went, held, self._held = len(self._runs), self._held, []
            for why in _FOR_A_FORK:
                del self._kept[why]
            for at in range(0, len(held), _RUNS):
                await self._take(held[at : at + _RUNS], before, dry_run)
        if not dry_run:
            await self._ask(_forget_turns)
            await self._sweep()
        return Collected(
            dry_run=dry_run, runs=tuple(self._runs), events=self._events, payloads=len(self._payloads),
            payload_bytes=sum(size for size, _ in self._payloads),
            files=sum(file is not None for _, file in self._payloads), kept=dict(self._kept),
        )  # fmt: skip

    async def _take(self, numbers: list[int], before: float, dry_run: bool) -> None:
        """Collect those of a page that may go."""
        await self._read_ends(numbers)
        if dry_run:
            page = _fit(self._reader, numbers, before, self._gone, self._ends)
            self._look(page)
            self._gone.update(no for no, *_ in page.collected)
        else:
            page = await self._ask(lambda c: _delete(c, numbers, before, self._ends))
            await self._bury_remains()
        self._runs += [id_ for _, id_, _, _ in page.collected]
        self._kept.update(why for _, why in page.kept)
        self._held += [no for no, why in page.kept if why in _FOR_A_FORK]

    def _older(self, below: int, before: float) -> list[int]:
        rows = self._reader.execute(
            f"select no from runs where no < ? and state in ({_ENDED}) and updated_at < ? order by no desc limit ?",
            (below, before, _RUNS),
        )
        return [no for (no,) in rows]

    async def _read_ends(self, numbers: list[int]) -> None:
        """Where the children of the forked runs above a page ended: once for all pages, and outside of a transaction.

        What is committed of a run's events stays as it is.
        """
        for forked in {above for no in numbers for above, _ in self._reader.execute(_ABOVE, (no,))}:
            last = self._reader.execute(_KEPT_AT_MOST, (forked,)).fetchone()[0] or 0
            read, ends = self._ends.get(forked, _UNREAD)
            if read >= last:
                continue
            ends = dict(ends)
            while read < last:
                upto = min(read + _AHEAD, last)
                for key, seq in self._reader.execute(_CHILD_ENDS, (forked, read, upto)).fetchall()[::-1]:
                    ends.setdefault(key, seq)
                read = upto
                await asyncio.sleep(0)
            self._ends[forked] = _Ends(read, ends)

    def _look(self, page: _Page) -> None:
        for no, *_ in page.collected:
            self._events += self._reader.execute("select count(*) from events where run = ?", (no,)).fetchone()[0]
            self._payloads += self._reader.execute(
                "select b.size, b.file from refs r join blobs b on b.hash = r.hash where r.run = ?"
                " and not exists (select 1 from refs o where o.hash = r.hash and o.run <> r.run)",
                (no,),
            ).fetchall()

    async def _bury_remains(self) -> None:
        """What the collected runs have left, also those of a collection that was interrupted."""
        while True:
            remains: _Remains | None = await self._ask(_bury)
            if remains is None:
                return
            self._events += remains.events
            self._payloads += remains.payloads
            await self._unlink([file for _, file in remains.payloads if file is not None])

    async def _sweep(self) -> None:
        """Delete files that no row names: of commits that never came, of a collection that was interrupted."""
        if self._folder is None or not self._folder.is_dir():
            return
        files = [p for p in self._folder.iterdir() if p.is_file()]
        old = time.time() - _DRAFT_OLD_S
        for draft in (p for p in files if p.suffix == DRAFT):
            with suppress(OSError):
                if draft.stat().st_mtime < old:
                    draft.unlink()
        names = [p.name for p in files if not p.suffix]
        for at in range(0, len(names), _PAGE):
            await self._unlink(names[at : at + _PAGE])

    async def _unlink(self, names: list[str]) -> None:
        folder = self._folder
        if names and folder is not None:
            await self._ask(lambda c: _unlink_unused(c, folder, names))


class _Ends(NamedTuple):
    """Where each child of a run ended, as far as its events are read."""

    read: int
    of: dict[str, int]


_UNREAD = _Ends(0, {})
_NONE_KNOWN: Mapping[int, _Ends] = {}


class _Pins:
    """The forks that do a child again, or one above it: what it read tells how far they hear a thread.

    Made for one page, in whose transaction nothing of this changes: siblings share what is read of the runs above.
    `known` is what was read of those before.
    """

    def __init__(self, connection: sqlite3.Connection, known: Mapping[int, _Ends]):
        self._connection, self._known = connection, known
        self._forked: dict[int, tuple[list[tuple[int, int]], dict[str, int], dict[str, int]]] = {}

    def of(self, no: int) -> set[int]:
        pins: set[int] = set()
        for above, key in self._connection.execute(_ABOVE, (no,)):
            if above not in self._forked:
                self._forked[above] = self._read(above)
            forks, ends, later = self._forked[above]
            end = ends.get(key) or later.get(key, NEVER)
            pins.update(fork for fork, kept in forks if kept < end)
        return pins

    def _read(self, no: int) -> tuple[list[tuple[int, int]], dict[str, int], dict[str, int]]:
        """The forks of a run, and where its children ended: those that are known, and the later ones."""
        forks = self._connection.execute(_FORKS, (no,)).fetchall()
        read, ends = self._known.get(no, _UNREAD)
        last = max((kept for _, kept in forks), default=0)
        return forks, ends, dict(self._connection.execute(_CHILD_ENDS, (no, read, last))) if last > read else {}


def _fit(
    connection: sqlite3.Connection, numbers: list[int], before: float, gone: set[int], known: Mapping[int, _Ends]
) -> _Page:
    """Those of a page that may go; `gone` are those that a dry run takes for collected."""
    page, gone = _Page([], []), set(gone)
    pins = _Pins(connection, known)
    summed_up = summaries.needed(threads.query_of(connection), numbers, before)
    for no in numbers:
        row = connection.execute(_KEPT, (no, before)).fetchone()
        if row is None:
            continue
        forks = {f for (f,) in connection.execute("select no from runs where memo_run = ?", (no,))}
        forks |= pins.of(no)
        children = {c for (c,) in connection.execute("select no from runs where parent = ?", (row[1],))}
        why = "fork" if forks - gone else row[0] or ("newest summary" if no in summed_up else "")
        if not why and children - gone and connection.execute(IS_TRIED_OUT, (no,)).fetchone():
            why = "child of a fork"
        if why:
            page.kept.append((no, why))
        else:
            gone.add(no)
            page.collected.append((no, *row[1:]))
    return page


def _delete(
    connection: sqlite3.Connection, numbers: list[int], before: float, known: Mapping[int, _Ends] = _NONE_KNOWN
) -> _Page:
    """Atomic: before it a run is there with all that it needs, after it only its tombstone is."""
    page = _fit(connection, numbers, before, set(), known)
    for no, id_, state, ended_at in page.collected:
        connection.execute(
            "insert or replace into tombstones (id, state, ended_at, remains) values (?, ?, ?, ?)",
            (id_, state, ended_at, no),
        )
        accounts.lose(connection, no)
        connection.execute("delete from runs where no = ?", (no,))
    return page


def _forget_turns(connection: sqlite3.Connection) -> None:
    """Turns of runs that are gone; the last one of a thread leaves its number, which is never given twice."""
    connection.execute(
        "delete from turns where not exists (select 1 from runs where no = turns.run) and no < (select max(t.no) from"
        " turns t where t.tenant = turns.tenant and t.thread = turns.thread)"
    )
    connection.execute("delete from summaries where not exists (select 1 from runs where no = summaries.run)")


def _bury(connection: sqlite3.Connection) -> _Remains | None:
    """Delete one page of the remains of one run; None when there are none."""
    row = connection.execute("select remains, id from tombstones where remains is not null limit 1").fetchone()
    if row is None:
        return None
    no, id_ = row
    events = _delete_page(connection, "events", "pos", no, _PAGE)
    left = _PAGE - events
    left -= _delete_page(connection, "inbox", "no", id_, left)
    left -= accounts.bury(connection, no, left)
    refs = connection.execute("select hash from refs where run = ? limit ?", (no, left)).fetchall()
    payloads: list[tuple[int, str | None]] = []
    for (digest,) in refs:
        connection.execute("delete from refs where run = ? and hash = ?", (no, digest))
        payloads += _release(connection, digest)
    if len(refs) < left:
        connection.execute("update tombstones set remains = null where id = ?", (id_,))
    return _Remains(events, payloads)


def _delete_page(connection: sqlite3.Connection, table: str, column: str, run: int | str, limit: int) -> int:
    some = f"select {column} from {table} where run = ? limit ?"
    return connection.execute(f"delete from {table} where {column} in ({some})", (run, limit)).rowcount


def _release(connection: sqlite3.Connection, digest: bytes) -> list[tuple[int, str | None]]:
    """Delete a payload that nobody refers to any more: its size and file, or nothing."""
    if connection.execute("select 1 from refs where hash = ? limit 1", (digest,)).fetchone() is not None:
        return []
    rows = connection.execute("select size, file from blobs where hash = ?", (digest,)).fetchall()
    connection.execute("delete from blobs where hash = ?", (digest,))
    return rows


def _unlink_unused(connection: sqlite3.Connection, folder: Path, names: list[str]) -> None:
    """Delete files, unless somebody has stored the same payload again."""
    for name in names:
        used = connection.execute("select 1 from blobs where hash = ? and file = ?", (_hash(name), name)).fetchone()
        if used is None:
            (folder / name).unlink(missing_ok=True)


def _hash(name: str) -> bytes:
    try:
        return bytes.fromhex(name)
    except ValueError:
        return b""
