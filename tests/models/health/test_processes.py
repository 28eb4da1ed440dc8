"""Several processes on one file: limits hold for all together, and the dead give back what they had."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

import segue
from segue.core.faults import FaultKind
from segue.models.health import Health, Place, Standing, Wait
from tests.models.health.pools import Clock, fault, single

ROOT = Path(__file__).parents[3]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a worker; it is killed after the test."""
    started: list[subprocess.Popen[str]] = []
    env = {**os.environ, "PYTHONPATH": f"{Path(segue.__file__).parents[1]}:{ROOT}"}

    def start(*args: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.models.health.worker", *map(str, args)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, cwd=ROOT, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], text: str = "go") -> None:
    assert process.stdin is not None
    process.stdin.write(f"{text}\n")
    process.stdin.flush()


def together(start: Start, path: Path, seconds: float, **limits: int) -> list[tuple[float, float, float]]:
    """When the calls of two processes were let through, began and ended, on their common clock."""
    both = [start("rush", path, seconds, json.dumps(limits)) for _ in range(2)]
    assert [line(p) for p in both] == ["ready"] * 2
    for process in both:
        tell(process)
    calls = [json.loads(line(p)) for p in both]
    assert all(calls), "neither of them starves"
    return [(let, began, ended) for some in calls for let, began, ended in some]


def test_two_processes_never_have_more_calls_at_a_time(start: Start, tmp_path: Path) -> None:
    calls = together(start, tmp_path / "h", 1.5, concurrency=3)
    changes = sorted([(began, 1) for _, began, _ in calls] + [(ended, -1) for _, _, ended in calls])
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    assert len(calls) > 100
    assert most <= 3


def test_two_processes_never_send_more_requests_in_any_minute(start: Start, tmp_path: Path) -> None:
    calls = together(start, tmp_path / "h", 3.5, rpm=40)
    began = sorted(call[0] for call in calls)
    busiest = max(sum(first <= other < first + 60 for other in began) for first in began)
    assert busiest == 40, "all of it is used, and no more"
    assert len(began) >= 120


def test_two_processes_never_use_more_tokens_in_any_minute(start: Start, tmp_path: Path) -> None:
    calls = together(start, tmp_path / "h", 2.5, tpm=500)
    for count in (0, 2):  # counted when a call begins, or when it ends
        times = sorted(call[count] for call in calls)
        assert max(10 * sum(first <= other < first + 60 for other in times) for first in times) <= 500


def test_a_killed_process_gives_its_places_back_at_once(start: Start, tmp_path: Path) -> None:
    model, holder = single(concurrency=5), start("hold", tmp_path / "h", 5, 1000.0)
    assert line(holder) == "5"
    clock = Clock(1000.0)
    with closing(Health(tmp_path / "h", clock=clock)) as health:
        assert isinstance(health.try_acquire(model, 10), Wait)
        assert health.view(model).free == 0
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        clock.now += 0.11
        assert all(isinstance(health.try_acquire(model, 10), Place) for _ in range(5))
        assert isinstance(health.try_acquire(model, 10), Wait)
    assert not list((tmp_path / "h-live").iterdir())


def test_a_view_finds_the_dead_too(start: Start, tmp_path: Path) -> None:
    model, holder = single(concurrency=2), start("hold", tmp_path / "h", 2, 1000.0)
    assert line(holder) == "2"
    clock = Clock(1000.0)
    with closing(Health(tmp_path / "h", clock=clock)) as health:
        assert health.view(model).standing is Standing.BUSY
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        clock.now += 0.11
        assert health.view(model).standing is Standing.OPEN


def test_a_stopped_process_keeps_its_places_and_holds_nobody_up(start: Start, tmp_path: Path) -> None:
    holder = start("hold", tmp_path / "h", 2, 1000.0)
    assert line(holder) == "2"
    holder.send_signal(signal.SIGSTOP)
    clock, model = Clock(1000.0), single(concurrency=4)
    with closing(Health(tmp_path / "h", clock=clock)) as health:
        for _ in range(100):
            clock.now += 1
            mine = [health.try_acquire(model, 10) for _ in range(3)]
            assert [type(m) for m in mine] == [Place, Place, Wait]
            for each in mine[:2]:
                health.release(each, None, 0.5, 10)
        clock.now += 900
        assert all(isinstance(health.try_acquire(model, 10), Place) for _ in range(4)), "its lease is over"
        holder.send_signal(signal.SIGCONT)
        tell(holder, f"release at {clock.now}")
        assert line(holder) == "released"
        assert isinstance(health.try_acquire(model, 10), Wait), "what it gives back late is not counted twice"


steps = st.lists(
    st.tuples(st.sampled_from([0, 1]), st.sampled_from(["ask", "ask", "end", "fail", "leave"]), st.floats(0, 12)),
    max_size=60,
)


@given(steps, st.integers(1, 4), st.integers(2, 9), st.integers(30, 90))
def test_whatever_two_processes_do_the_provider_sees_no_more_than_its_limits(
    events: list[tuple[int, str, float]], concurrency: int, rpm: int, tpm: int
) -> None:
    clock, model = Clock(), single(concurrency=concurrency, rpm=rpm, tpm=tpm)
    held: list[list[Place]] = [[], []]
    began: list[tuple[float, int]] = []
    ended: list[tuple[float, int]] = []
    with TemporaryDirectory() as folder, ExitStack() as stack:

        def opened() -> Health:
            return stack.enter_context(closing(Health(Path(folder) / "h", clock=clock)))

        both = [opened(), opened()]
        for which, what, after in events:
            clock.now += after
            if what == "ask":
                got = both[which].try_acquire(model, 10)
                if isinstance(got, Place):
                    held[which].append(got)
                    began.append((clock.now, 10))
            elif what == "leave":  # its calls end with it
                both[which].close()
                ended += [(clock.now, 10) for _ in held[which]]
                both[which], held[which] = opened(), []
            elif held[which]:
                refused = fault(FaultKind.OVERLOADED) if what == "fail" else None
                both[which].release(held[which].pop(0), refused, after, 10)
                ended.append((clock.now, 10))
            assert len(held[0]) + len(held[1]) <= concurrency
    for first, _ in began:
        assert sum(first <= at < first + 60 for at, _ in began) <= rpm
    for counted in (began, ended):
        assert all(sum(n for at, n in counted if first <= at < first + 60) <= tpm for first, _ in counted)


def broken(path: Path, clock: Clock) -> None:
    with closing(Health(path, clock=clock, luck=lambda: 0.5)) as health:
        for _ in range(5):
            got = health.try_acquire(single(), 10)
            assert isinstance(got, Place)
            health.release(got, fault(FaultKind.UNREACHABLE), 0.1, 0)


def test_of_all_processes_one_probes(start: Start, tmp_path: Path) -> None:
    broken(tmp_path / "h", Clock(1000.0))
    several = [start("probe", tmp_path / "h", 50, 1002.0) for _ in range(3)]
    assert [line(p) for p in several] == ["ready"] * 3
    for process in several:
        tell(process)
    assert sorted(line(p) for p in several) == ["0", "0", "1"]


def test_a_killed_prober_leaves_the_probe_to_another(start: Start, tmp_path: Path) -> None:
    broken(tmp_path / "h", Clock(1000.0))
    prober = start("probe", tmp_path / "h", 1, 1002.0)
    assert line(prober) == "ready"
    tell(prober)
    assert line(prober) == "1"
    clock = Clock(1002.0)
    with closing(Health(tmp_path / "h", clock=clock)) as health:
        assert isinstance(health.try_acquire(single(), 10), Wait)
        prober.send_signal(signal.SIGKILL)
        prober.wait()
        clock.now += 0.11
        assert isinstance(health.try_acquire(single(), 10), Place)
        assert isinstance(health.try_acquire(single(), 10), Wait)


def test_a_forked_child_is_a_process_of_its_own(start: Start, tmp_path: Path) -> None:
    parent = start("fork", tmp_path / "h", 1000.0)
    assert line(parent) == "2", "its own place is still held, and the dead child's is back"


def test_threads_share_the_places(tmp_path: Path) -> None:
    model, lock = single(concurrency=3), threading.Lock()
    now = most = done = 0
    with closing(Health(tmp_path / "h")) as health:

        def work() -> None:
            nonlocal now, most, done
            until = time.monotonic() + 0.7
            while time.monotonic() < until:
                got = health.try_acquire(model, 10)
                if isinstance(got, Wait):
                    continue
                with lock:
                    now, done = now + 1, done + 1
                    most = max(most, now)
                time.sleep(0.0002)  # the others have their turn
                with lock:
                    now -= 1
                health.release(got, None, 0.01, 10)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(isinstance(health.try_acquire(model, 10), Place) for _ in range(3)), "none was lost"
    assert 1 < most <= 3
    assert done > 50


def test_a_file_that_stays_locked_makes_callers_wait_and_loses_no_outcome(tmp_path: Path) -> None:
    model = single(concurrency=1)
    with closing(Health(tmp_path / "h")) as health, closing(sqlite3.connect(tmp_path / "h")) as other:
        got = health.try_acquire(model, 10)
        assert isinstance(got, Place)
        other.execute("begin immediate")
        health.release(got, None, 0.1, 10)
        began = time.thread_time()
        for _ in range(20):
            assert isinstance(health.try_acquire(model, 10), Wait)
        locked = health.try_acquire(single(concurrency=2), 10)
        assert locked == Wait(0.05, f"{tmp_path / 'h'}: it is locked")
        assert not health.may_retry(model)
        assert health.view(model).free == 0
        assert time.thread_time() - began < 0.15, "the loop is not held up by each of them"
        other.rollback()
        time.sleep(0.06)
        assert isinstance(health.try_acquire(model, 10), Place)
