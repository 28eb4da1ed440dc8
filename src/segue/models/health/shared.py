"""The states of all models in one small SQLite file, shared by the processes of a machine.

A change is a compare-and-swap: read the row, work out the new state, write it if the row is still the one that was
read. No Python runs while the file is locked: the lock is held for one statement, some 20 µs, so a process that is
slow or busy with other threads does not hold the others up. While no process has it open, the file can be
thrown away: what is lost is what was learned since.

WAL with synchronous=OFF: nothing here must outlive a power cut. Times are of a clock that all processes share and that
starts anew with the machine; a state from the future is from before that, and counts as none.
"""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

from ...errors import StoreLocked
from ...journal.connect import log_ahead
from ...journal.faults import fault, translate
from .alive import Alive
from .state import State, dumps, loads

T = TypeVar("T")
Step = Callable[[State], tuple[State | None, T]]
"""From a state to the next one (None: it stays as it is) and an answer. It may be called more than once."""

TABLE = "health_2"
"""The number is the shape of the state: another shape has a table of its own."""
_READ = f"select version, state from {TABLE} where model = ?"
_SWAP = f"update {TABLE} set version = version + 1, state = ? where model = ? and version = ?"
_MAKE = f"insert into {TABLE} values (?, 1, ?) on conflict do nothing"
_SPINS = 200
"""Tries before it sleeps between them: others hold the lock for microseconds."""
_FEW = 10
"""Tries in all where it was locked for long a moment ago: each of them takes the loop some 75 µs."""
_SKEW_S = 5.0
"""How far the last change may lie ahead. The clock is read anew for it: the process may have been stopped since."""


class Row(NamedTuple):
    """A model's state and the number of its changes, 0 if it has no row."""

    version: int
    state: State


_NONE = Row(0, State())


class Memory:
    """The states of one process. `owner` names it among the holders of places."""

    owner = "here"

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._lock = threading.Lock()

    def read(self, model: str) -> Row:
        """What is known of a model."""
        return self._rows.get(model, _NONE)

    def change(self, model: str, step: Step[T]) -> T:
        """Take a step from the present state, alone."""
        with self._lock:
            row = self.read(model)
            state, answer = step(row.state)
            if state is not None:
                self._rows[model] = Row(row.version + 1, state)
            return answer

    def versions(self) -> dict[str, int]:
        """The number of changes by model."""
        return {model: row.version for model, row in list(self._rows.items())}

    def dead(self, holders: Iterable[str]) -> list[str]:
        """Those of some owners that are gone."""
        return [owner for owner in holders if owner != self.owner]

    def close(self) -> None:
        """Nothing is kept."""


class Shared:
    """The states in a file. Raises StoreError and its kinds, which name the file and the next thing to do."""

    def __init__(self, path: Path, clock: Callable[[], float], busy_s: float = 0.05):
        self._path, self._clock, self._busy_s = path, clock, busy_s
        self._lock = threading.Lock()
        self._locked_at = -math.inf
        self._cached: dict[str, Row] = {}
        self._database = self._open()
        try:
            self._alive = Alive(path.with_name(f"{path.name}-live"))
        except OSError as error:
            self._database.close()
            raise translate(error, str(path)) from error
        self.owner = self._alive.id

    def _open(self) -> sqlite3.Connection:
        try:
            database = sqlite3.connect(self._path, timeout=5.0, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise self._refused(error) from error
        try:
            log_ahead(database)
            database.execute("pragma synchronous = off")
            database.execute("pragma wal_autocheckpoint = 250")
            columns = "model text primary key, version integer not null, state text not null"
            database.execute(f"create table if not exists {TABLE} ({columns})")
            database.execute("pragma busy_timeout = 0")
        except sqlite3.Error as error:
            database.close()
            raise self._refused(error) from error
        return database

    def read(self, model: str) -> Row:
        """What is known of a model."""
        with self._lock:
            return self._read(model)

    def change(self, model: str, step: Step[T]) -> T:
        """Take a step from the present state, and again from a newer one when somebody else was quicker.

        Raises StoreLocked when the file stays locked for `busy_s` seconds, and at once if it just was for as long.
        """
        began, tries = time.monotonic(), 0
        patience, spins = self._busy_s, _SPINS
        if began - self._locked_at <= self._busy_s:
            patience, spins = 0.0, _FEW
        with self._lock:
            while True:
                row = self._read(model)
                state, answer = step(row.state)
                if state is None or self._swap(model, row.version, state):
                    return answer
                tries += 1
                if tries > spins:
                    if time.monotonic() > began + patience:
                        self._locked_at = time.monotonic()
                        raise fault(StoreLocked, str(self._path), "it is locked", "end or continue who holds it")
                    time.sleep(0.0005)

    def versions(self) -> dict[str, int]:
        """The number of changes by model."""
        with self._lock:
            try:
                return dict(self._database.execute(f"select model, version from {TABLE}").fetchall())
            except sqlite3.Error as error:
                raise self._refused(error) from error

    def dead(self, holders: Iterable[str]) -> list[str]:
        """Those of some owners that are gone."""
        return [owner for owner in holders if not self._alive.holds(owner)]

    def close(self) -> None:
        """Leave the others. Places that are still held come back as those of a dead process do."""
        with self._lock:
            self._database.close()
            self._alive.close()

    def _read(self, model: str) -> Row:
        try:
            found = self._database.execute(_READ, (model,)).fetchone()
        except sqlite3.Error as error:
            raise self._refused(error) from error
        if found is None:
            return _NONE
        version, text = found
        row = self._cached.get(model, _NONE)
        if row.version != version:
            row = self._cached[model] = Row(version, self._decoded(text))
        return Row(version, State()) if row.state.at > self._clock() + _SKEW_S else row

    def _swap(self, model: str, version: int, state: State) -> bool:
        """Whether the row was still that version, and is the new one now."""
        text = dumps(state)
        values = (text, model, version) if version else (model, text)
        try:
            done = self._database.execute(_SWAP if version else _MAKE, values).rowcount == 1
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                return False
            raise self._refused(error) from error
        except sqlite3.Error as error:
            raise self._refused(error) from error
        if done:
            self._cached[model] = Row(version + 1, state)
        return done

    def _decoded(self, text: str) -> State:
        try:
            return loads(text)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
            return State()  # it is disposable: begin anew

    def _refused(self, error: sqlite3.Error) -> Exception:
        known = translate(error, str(self._path))
        known.remedy = f"{known.remedy}; or delete it: it holds nothing that must be kept"
        return known
