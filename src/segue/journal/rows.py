"""The rows of one transaction, gathered so that they are written in few statements."""

from __future__ import annotations

import json
import sqlite3

from ..core.codec import dumps
from ..core.events import Event, EventType
from ..core.lifecycle import ENDED
from .many import Many
from .records import Change
from .tables import append_left

_COMPLETED, _RUN_COMPLETED = EventType.STEP_COMPLETED.value, EventType.RUN_COMPLETED.value

_ANY = Many(
    f"insert into events ({', '.join(Event._fields)}) values {{}}",
    f"({', '.join('?' * len(Event._fields))})",
    len(Event._fields),
)
_STEPS = Many(
    "insert into events (run, seq, epoch, at, type, version, key, attempt, seen, began, args, value) values {}",
    f"(?, ?, ?, ?, '{_COMPLETED}', 1, ?, 1, ?, ?, ?, ?)",
    9,
)
"""Most rows are steps that completed at once: they bind nine values instead of thirteen."""
_ENDS = Many(
    "insert into events (run, seq, epoch, at, type, version, value) values {}",
    f"(?, ?, ?, ?, '{_RUN_COMPLETED}', 1, ?)",
    5,
)
_OVER = ", ".join(f"'{state}'" for state in sorted(ENDED))
_CHANGES = Many(
    "update runs set state = v.column2, detail = v.column3, wake_at = v.column4, updated_at = v.column5,"
    f" owner = iif(v.column6, null, owner), paused = iif(v.column2 in ({_OVER}), 0, paused)"
    " from (values {}) as v where no = v.column1",
    "(?, ?, ?, ?, ?, ?)",
    6,
)


class Rows:
    """Rows to be written. Each statement gives up the interpreter's lock just once, so there are few of many rows.

    A run's own events keep their order. `flush` writes what was added; `clear` drops it.
    """

    def __init__(self, connection: sqlite3.Connection):
        self._connection = connection
        self._steps: list[object] = []
        self._ends: list[object] = []
        self._others: list[object] = []
        self._mixed: set[int] = set()
        """Runs whose next event must come after one of the others."""
        self._changes: list[object] = []
        self._changed: set[int] = set()
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
        elif type_ == _RUN_COMPLETED and body is None and version == 1 and value is not None and run not in self._mixed:
            self._mixed.add(run)
            self._ends += (run, seq, epoch, at, bytearray(value))
        else:
            self._mixed.add(run)
            self._others += (run, seq, epoch, at, str(type_), version, key, attempt, seen, began, body, args, value)

    def change(self, no: int, change: Change) -> None:
        """Add a run's new standing."""
        state, detail, at, wake_at, release = change
        said = dumps(detail).decode() if detail else "{}"
        if no in self._changed:  # of two rows for one run, SQLite would take any
            self._write_changes()
        self._changed.add(no)
        self._changes += (no, str(state), said, wake_at, at, int(release))
        if state in ENDED:
            self._ended.append(no)

    def flush(self) -> None:
        """Write what was added."""
        for statement, values in ((_STEPS, self._steps), (_ENDS, self._ends), (_ANY, self._others)):
            if values:
                statement.execute(self._connection, values)
        self._write_changes()
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
        self._steps, self._ends, self._others, self._changes, self._ended = [], [], [], [], []
        self._mixed.clear()
        self._changed.clear()

    def _write_changes(self) -> None:
        if self._changes:
            _CHANGES.execute(self._connection, self._changes)
            self._changes = []
            self._changed.clear()
