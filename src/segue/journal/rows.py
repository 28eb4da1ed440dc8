"""The rows of one transaction, gathered so that they are written in few statements."""

from __future__ import annotations

import json
import sqlite3

from ..core.codec import dumps
from ..core.events import Event, EventType
from ..core.lifecycle import ENDED
from .records import Change
from .tables import append_left

_SIZES = (256, 64, 16, 4, 1)
_COMPLETED = EventType.STEP_COMPLETED.value


def _inserts(columns: str, row: str) -> dict[int, str]:
    return {n: f"insert into events ({columns}) values {', '.join([row] * n)}" for n in _SIZES}


_ANY = _inserts(", ".join(Event._fields), f"({', '.join('?' * len(Event._fields))})")
_STEP = _inserts(
    "run, seq, epoch, at, type, version, key, attempt, seen, began, args, value",
    f"(?, ?, ?, ?, '{_COMPLETED}', 1, ?, 1, ?, ?, ?, ?)",
)
"""Most rows are steps that completed at once: they bind nine values instead of thirteen."""


class Rows:
    """Rows to be written. Each statement gives up the interpreter's lock just once, so there are few of many rows.

    A run's own events keep their order. `flush` writes what was added; `clear` drops it.
    """

    def __init__(self, connection: sqlite3.Connection):
        self._connection = connection
        self._steps: list[object] = []
        self._others: list[object] = []
        self._mixed: set[int] = set()
        """Runs whose next event must come after one of the others."""
        self._changes: list[tuple[object, ...]] = []
        self._ended: list[int] = []

    def append(self, event: Event) -> None:
        """Add an event whose payloads are small."""
        run, seq, epoch, at, type_, version, key, attempt, seen, began, body, args, value = event
        if (
            type_ == _COMPLETED and attempt == 1 and body is None and version == 1
            and args is not None and value is not None and run not in self._mixed
        ):  # fmt: skip
            # a bytearray is bound as it is; for bytes and None, sqlite3 looks for an adapter first: 0.4 us each
            self._steps += (run, seq, epoch, at, key, seen, began, bytearray(args), bytearray(value))
        else:
            self._mixed.add(run)
            self._others += (run, seq, epoch, at, str(type_), version, key, attempt, seen, began, body, args, value)

    def change(self, no: int, change: Change) -> None:
        """Add a run's new standing."""
        state, detail, at, wake_at, release = change
        said = dumps(detail).decode() if detail else "{}"
        self._changes.append((str(state), said, wake_at, at, release, no))
        if state in ENDED:
            self._ended.append(no)

    def flush(self) -> None:
        """Write what was added."""
        if self._steps:
            self._insert(_STEP, 9, self._steps)
        if self._others:
            self._insert(_ANY, 13, self._others)
        if self._changes:
            self._connection.executemany(
                "update runs set state = ?, detail = ?, wake_at = ?, updated_at = ?, owner = iif(?, null, owner)"
                " where no = ?",
                self._changes,
            )
        if self._ended:  # what nobody took is dropped, unless it may follow an end
            append_left(self._connection, json.dumps(self._ended))
            self._connection.execute(
                "update inbox set consumed = -1, value = null, body = null where consumed is null and run in"
                " (select id from runs where no in (select value from json_each(?)))",
                (json.dumps(self._ended),),
            )
        self.clear()

    def clear(self) -> None:
        """Drop what was added."""
        self._steps, self._others, self._changes, self._ended = [], [], [], []
        self._mixed.clear()

    def _insert(self, statements: dict[int, str], width: int, values: list[object]) -> None:
        if len(values) == width:
            self._connection.execute(statements[1], values)
            return
        at, left = 0, len(values) // width
        for size, statement in statements.items():
            while left >= size:
                end = at + size * width
                self._connection.execute(statement, values[at:end])
                at, left = end, left - size
