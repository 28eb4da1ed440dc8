"""New runs of one transaction, written in a few statements: that halves what the start of many at once costs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from ..core.events import Event, EventType
from .blobs import INLINE_MAX
from .many import Many
from .records import NewRun, RunRow
from .tables import first_events, fresh, input_hash

FEWEST = 4
"""So many make it worth a look at which ids are taken."""

_RUNS = Many(
    "insert into runs (no, id, tenant, flow, origin, version, input_hash, seed, state, owner, epoch, created_at,"
    " updated_at) values {}",
    "(?, ?, ?, ?, ?, ?, ?, ?, 'running', ?, 1, ?, ?)",
    11,
)
_EVENTS = Many(
    "insert into events (run, seq, epoch, at, type, version, body, args) values {}",
    f"(?, 1, 1, ?, '{EventType.RUN_ACCEPTED.value}', 1, ?, ?),"
    f" (?, 2, 1, ?, '{EventType.RUN_STARTED.value}', 1, ?, null)",
    7,
)


class Arrivals:
    """Runs that begin in this process, with ids that are free. Others go the usual way, after a `flush`."""

    def __init__(self, connection: sqlite3.Connection):
        self._connection = connection
        self._free: set[str] = set()
        self._last: int | None = None
        self._runs: list[object] = []
        self._events: list[object] = []

    def expect(self, news: Iterable[NewRun]) -> None:
        """Look which of these may be written together."""
        found = {new.id for new in news if _is_plain(new)}
        if len(found) < FEWEST:
            return
        ids = json.dumps(list(found))
        taken = self._connection.execute(
            "select id from runs where id in (select value from json_each(?1))"
            " union all select id from tombstones where id in (select value from json_each(?1))",
            (ids,),
        )
        self._free = found.difference(run for (run,) in taken)

    def add(self, new: NewRun) -> RunRow | None:
        """The row that this run will have; None when it goes the usual way."""
        if new.id not in self._free or not _is_plain(new):
            return None
        self._free.remove(new.id)
        if self._last is None:
            self._last = int(self._connection.execute("select coalesce(max(no), 0) from runs").fetchone()[0])
        self._last = no = self._last + 1
        at, args = new.at, new.args
        self._runs += (
            no, new.id, new.tenant, new.flow, new.origin, new.version, input_hash(args), new.seed, new.owner, at, at,
        )  # fmt: skip
        accepted, started = first_events(no, new)
        self._events += (no, at, _bound(accepted), bytearray(args), no, at, _bound(started))
        return fresh(no, new)

    def flush(self) -> None:
        """Write what was added. Whoever inserts runs in another way does so after this."""
        self._last = None
        if self._runs:
            runs, events, self._runs, self._events = self._runs, self._events, [], []
            _RUNS.execute(self._connection, runs)
            _EVENTS.execute(self._connection, events)

    def clear(self) -> None:
        """Drop what was added, and what is known of ids: the transaction has ended, or is rolled back."""
        self._free, self._last, self._runs, self._events = set(), None, [], []


def _is_plain(new: NewRun) -> bool:
    """Whether it is nobody's child or fork, begins here, and has a small input."""
    return (
        new.owner is not None and new.parent is None and new.memo_run is None and not new.replaced
        and new.thread is None and len(new.args) <= INLINE_MAX
    )  # fmt: skip


def _bound(event: Event) -> bytearray:
    return bytearray(event.body or b"{}")  # sqlite3 binds it as it is: see `rows`
