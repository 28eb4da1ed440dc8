"""The floor: SQLite alone, WAL and synchronous=FULL, rows of the shape of an event (about 120 bytes)."""

from __future__ import annotations

import sqlite3
import time
from itertools import pairwise
from pathlib import Path

from .measure import Plan

GROUP = 50
_TABLE = "create table e (pos integer primary key, run integer, seq integer, at real, type text, key text, value blob)"
_INSERT = "insert into e (run, seq, at, type, key, value) values (?, ?, ?, ?, ?, ?)"
_VALUE = b'"a result of sixty bytes, as steps that say little give them"'

Row = tuple[int, int, float, str, str, bytes]


def _rows(first: int, count: int) -> list[Row]:
    return [(7, n, 1.7e9 + n, "step.completed", f"tick[{n:012x}]#1", _VALUE) for n in range(first, first + count)]


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.execute(_TABLE)
    return connection


def _commit(plan: Plan, group: int) -> tuple[float, float]:
    """Wall and CPU seconds of a transaction of `group` rows; they are made one after the other, for 0.4 s."""
    seconds = 0.02 if plan.quick else 0.4
    with plan.scratch() as folder:
        connection = _open(folder / "floor.db")
        batches = [_rows(n * group, group) for n in range(64)]
        done, start, cpu = 0, time.perf_counter(), time.process_time()
        while (spent := time.perf_counter() - start) < seconds or not done:
            connection.execute("begin immediate")
            connection.executemany(_INSERT, batches[done % 64])
            connection.execute("commit")
            done += 1
        cpu = time.process_time() - cpu
        connection.close()
        return spent / done, cpu / done


def single_ms(plan: Plan) -> float:
    """Milliseconds of a commit of one row."""
    return _commit(plan, 1)[0] * 1000


def single_times_ms(plan: Plan, count: int) -> list[float]:
    """Milliseconds of each of so many commits of one row."""
    with plan.scratch() as folder:
        connection = _open(folder / "floor.db")
        moments = [time.perf_counter()]
        for row in _rows(0, count):
            connection.execute("begin immediate")
            connection.execute(_INSERT, row)
            connection.execute("commit")
            moments.append(time.perf_counter())
        connection.close()
    return [(b - a) * 1000 for a, b in pairwise(moments)]


def grouped_rows(plan: Plan) -> float:
    """Rows a second, in groups of 50."""
    return GROUP / _commit(plan, GROUP)[0]


def grouped_cpu_us(plan: Plan) -> float:
    """CPU µs of a row, in groups of 50."""
    return _commit(plan, GROUP)[1] / GROUP * 1e6
