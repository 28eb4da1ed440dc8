"""Workers and programs that a step starts: they end by a signal, and what they print is no result."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.cli.terminal import Terminal, until
from tests.cli.test_outputs import shell

WORK = """
import multiprocessing, os, signal, subprocess, sys, time
from pathlib import Path
from segue import flow, step

def square(n: int) -> int:
    print("squares", n)
    return n * n

def long(_: object = None) -> None:
    with Path("pids").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(60)

@step
def pooled(n: int) -> list[int]:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(square, range(n))

@step
def hasty(n: int) -> list[int]:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # a new process does not begin before its parent waits
    codes = []
    for _ in range(n):
        if not (pid := os.fork()):
            time.sleep(1)
            os._exit(0)
        os.kill(pid, signal.SIGTERM)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    return codes

@step
def limited() -> int | None:
    worker = multiprocessing.get_context("fork").Process(target=long)
    worker.start()
    while not Path("pids").exists():
        time.sleep(0.01)
    worker.terminate()
    worker.join(20)
    return worker.exitcode

@step
def waited() -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(long, range(2))

@step
def built(n: int) -> int:
    subprocess.run(["sh", "-c", f"echo building {n}"], check=True)
    print("built", n, file=sys.__stdout__, flush=True)
    return n

@flow
async def pools(n: int) -> int:
    return sum([sum(await pooled(4)) for _ in range(n)])

@flow
async def hastes(n: int) -> list[int]:
    return await hasty(n)

@flow
async def limits() -> int | None:
    return await limited()

@flow
async def waits() -> None:
    await waited()

@flow
async def builds() -> list[int]:
    return [await built(n) for n in range(3)]
"""


@pytest.fixture
def work(terminal: Terminal) -> Terminal:
    (terminal.folder / "work.py").write_text(WORK)
    return terminal


def test_a_pool_of_a_step_ends_each_time(work: Terminal) -> None:
    done = work.segue("run", "work:pools", "-i", "10", "--json")
    assert (done.code, done.json) == (0, 140)


def test_a_worker_is_ended_that_has_hardly_begun(work: Terminal) -> None:
    assert work.segue("run", "work:hastes", "-i", "20", "--json").json == [-signal.SIGTERM] * 20


def test_a_worker_is_ended_by_its_step(work: Terminal) -> None:
    assert work.segue("run", "work:limits", "--json").json == -signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
@pytest.mark.parametrize("to_all", [True, False], ids=["group", "alone"])
def test_no_worker_outlives_a_run_that_is_suspended(work: Terminal, number: signal.Signals, *, to_all: bool) -> None:
    started, pids = work.start("run", "work:waits", "--id", "w"), work.folder / "pids"
    until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    (os.killpg if to_all else os.kill)(started.pid, number)
    assert started.wait().code == (130 if number is signal.SIGINT else 143)
    assert work.state("w") == "queued"
    until(lambda: not any(works(int(pid)) for pid in pids.read_text().split()))


def works(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    told = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(told.strip()) and not told.startswith("Z")


def test_what_programs_print_is_no_result(work: Terminal) -> None:
    done = work.segue("run", "work:builds", "--json")
    assert (done.code, done.out) == (0, "[0, 1, 2]\n")
    assert [f"building {n}" in done.err and f"built {n}" in done.err for n in range(3)] == [True] * 3


@pytest.mark.parametrize("to", ["| head -0", "2>&1 | head -0", "2>/dev/full", "2>&-", ">&-", ">/dev/full"])
def test_a_program_that_prints_ends_well_whoever_reads(work: Terminal, to: str) -> None:
    assert shell(work, f"segue run work:builds --id b {to}")[0] == 0
    assert work.state("b") == "completed"
