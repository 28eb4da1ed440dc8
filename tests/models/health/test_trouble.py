"""A file of health that is locked, cannot be written, or is of another version."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from segue.core.faults import FaultKind
from segue.errors import StoreError
from segue.models.health import Health, Place, Standing, Wait
from segue.models.health.breaker import Breaker
from segue.models.health.budget import Budget
from segue.models.health.concurrency import Adaptive
from segue.models.health.shared import TABLE
from segue.models.health.state import Held, Holder, Pulse, State, dumps, loads
from segue.models.health.window import Window
from tests.models.health.pools import Clock, fault, single

SHAPE = {
    State: "at pulses holders budget",
    Pulse: "breaker adaptive minute latencies_ms closed_until shut_until shut_key quiet_since unanswered last_began"
    " stale opened_by",
    Breaker: "turn is_open until openings closed_at streak recent prober probe_until",
    Adaptive: "limit threshold cut_at fast_s slow_s answers pushed",
    Window: "slots first second",
    Holder: "at held",
    Held: "calls tokens",
    Budget: "credit at",
}


def test_another_shape_has_a_table_of_its_own() -> None:
    """Two versions on one file would take each other's rows for none, and the places and minutes in them. Whoever
    changes the shape gives the table another number.
    """
    made: dict[Any, str] = {one: " ".join(one._fields) for one in SHAPE}
    assert (TABLE, made) == ("health_2", SHAPE)


@pytest.mark.parametrize("budget", [Budget(), Budget(1.5, 3.0)])
def test_what_is_written_is_read(budget: Budget) -> None:
    state = State(1, {"only": Pulse(latencies_ms=(3, 5))}, {"a": Holder(2, {"only": Held(1, 10)})}, budget)
    assert loads(dumps(state)) == state


def test_an_idle_process_gives_back_what_the_locked_file_did_not_take(tmp_path: Path) -> None:
    model = single(concurrency=1)
    with (
        closing(Health(tmp_path / "h")) as idle,
        closing(Health(tmp_path / "h")) as asks,
        closing(sqlite3.connect(tmp_path / "h")) as other,
    ):
        got = idle.try_acquire(model, 10)
        assert isinstance(got, Place)
        other.execute("begin immediate")
        idle.release(got, None, 0.1, 10)
        other.rollback()
        assert isinstance(asks.try_acquire(model, 10), Wait)
        until = time.monotonic() + 5
        while isinstance(asks.try_acquire(model, 10), Wait):
            assert time.monotonic() < until, "nobody gives it back"
            time.sleep(0.02)


def test_a_process_without_a_thread_left_gives_back_at_its_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    model = single(concurrency=1)
    with closing(Health(tmp_path / "h")) as health, closing(sqlite3.connect(tmp_path / "h")) as other:
        got = health.try_acquire(model, 10)
        assert isinstance(got, Place)
        other.execute("begin immediate")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            health.release(got, None, 0.1, 10)
        other.rollback()
        assert isinstance(health.try_acquire(model, 10), Place)


def test_a_call_that_is_over_is_not_lost_with_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A disk that is full, or a file that was damaged: the answer has come, and is not thrown away for that."""
    model = single(concurrency=1)
    with closing(Health(tmp_path / "h")) as health, closing(sqlite3.connect(tmp_path / "h")) as other:
        got = health.try_acquire(model, 10)
        assert isinstance(got, Place)
        other.execute(f"alter table {TABLE} rename to gone")
        health.release(got, None, 0.1, 10)
        with pytest.raises(StoreError, match="no such table"):
            health.try_acquire(model, 10)
        assert [record.message for record in caplog.records] == [
            f"the end of a call is not yet written: {tmp_path / 'h'}: no such table: {TABLE} (SQLITE_ERROR)\n"
            "  do: see the error above; or delete it: it holds nothing that must be kept"
        ]
        other.execute(f"alter table gone rename to {TABLE}")
        assert isinstance(health.try_acquire(model, 10), Place)


def test_a_look_at_a_locked_file_with_a_dead_process_in_it(tmp_path: Path) -> None:
    model, clock = single(concurrency=1), Clock()
    with closing(Health(tmp_path / "h", clock=clock)) as health, closing(sqlite3.connect(tmp_path / "h")) as other:
        died = Health(tmp_path / "h", clock=clock)
        assert isinstance(died.try_acquire(model, 10), Place)
        died._store.close()  # pyright: ignore[reportPrivateUsage]
        other.execute("begin immediate")
        assert health.view(model).standing is Standing.BUSY
        other.rollback()
        clock.now += 1
        assert health.view(model).standing is Standing.OPEN


def test_nothing_is_written_after_the_end(tmp_path: Path) -> None:
    model = single(concurrency=1)
    with closing(sqlite3.connect(tmp_path / "h")) as other:
        health = Health(tmp_path / "h")
        got = health.try_acquire(model, 10)
        assert isinstance(got, Place)
        other.execute("begin immediate")
        health.release(got, fault(FaultKind.OVERLOADED), 0.1, 10)
        health.close()
        other.rollback()
    with closing(Health(tmp_path / "h")) as after:
        assert isinstance(after.try_acquire(model, 10), Place)
