"""A process that hangs keeps its runs from nobody: `segue resume` looks on for a heartbeat, and takes them over."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.terminal import Started, Terminal, until

PROMISED_S = 0.4
"""The heartbeat that the hung process is made to have promised: by default it is ten seconds."""


def hang(terminal: Terminal, promised_s: float) -> Started:
    """A process that hangs in the step of run `h`, which waits for the file `door`."""
    started = terminal.start("run", "shop:guarded", "-i", '"door"', "--id", "h")
    until(lambda: terminal.has("h", "attempt.started", "gate%"))
    time.sleep(0.1)  # what was under way is committed
    started.send(signal.SIGSTOP)
    (owner,) = terminal.query("select owner from runs where id = 'h'")[0]
    (Path(f"{terminal.db}-live") / owner).write_text(str(promised_s))
    time.sleep(promised_s)
    return started


@pytest.fixture
def hung(terminal: Terminal) -> Started:
    """One that has hung for so long, and could go on."""
    started = hang(terminal, PROMISED_S)
    (terminal.folder / "door").touch()
    return started


@pytest.mark.parametrize("words", [("resume", "h"), ("resume",)], ids=["one", "all"])
def test_a_run_of_a_hung_process_is_resumed(terminal: Terminal, hung: Started, words: tuple[str, ...]) -> None:
    time.sleep(PROMISED_S)
    done = terminal.segue(*words, "--json")
    assert done.code == 0
    assert terminal.state("h") == "completed", done.err
    hung.kill()


def test_it_is_told_that_its_process_seems_to_hang(terminal: Terminal, hung: Started) -> None:
    pid = hung.pid
    time.sleep(1)
    shown, listed = terminal.segue("show", "h").out, terminal.segue("runs").out
    assert f"Its process {pid} seems to hang: it was last heard of " in shown
    assert "segue resume h" in shown
    assert f"process {pid} seems to hang" in " ".join(listed.split())
    (row,) = json.loads(terminal.segue("runs", "--json").out)
    assert row["silent_s"] >= 1
    hung.send(signal.SIGCONT)
    until(lambda: terminal.state("h") == "completed")
    assert "hang" not in terminal.segue("show", "h").out
    assert "silent_s" not in json.loads(terminal.segue("show", "h", "--json").out)


def test_one_that_works_is_left_alone(terminal: Terminal) -> None:
    started = terminal.start("run", "shop:guarded", "-i", '"door"', "--id", "h")
    until(lambda: terminal.has("h", "attempt.started", "gate%"))
    assert "carries it out already" in terminal.segue("resume", "h").err
    (terminal.folder / "door").touch()
    assert started.wait().code == 0
    assert terminal.calls().count("gate-door") == 1


def test_one_that_stirs_while_it_is_looked_on_keeps_its_run(terminal: Terminal) -> None:
    started = hang(terminal, 2.0)
    resumed = terminal.start("resume", "h")
    time.sleep(1.0)
    started.send(signal.SIGCONT)
    assert resumed.wait().code == 0
    assert f"Process {started.pid} carries it out already" in resumed.err
    (terminal.folder / "door").touch()
    assert started.wait().code == 0
    assert terminal.calls().count("gate-door") == 1


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


HURRIES = ("run", "shop:hurries", "-i", "100000", "--id", "h")


@pytest.mark.parametrize("words", [HURRIES, ("resume",)], ids=["run", "resume"])
def test_one_that_its_terminal_stops_keeps_no_lock_from_others(terminal: Terminal, words: tuple[str, ...]) -> None:
    if words == ("resume",):
        assert terminal.segue(*HURRIES, "--detach").code == 0
    started = subprocess.Popen(  # in a process group of its own, as a shell with job control has it
        [sys.executable, "-m", "segue", *words], cwd=terminal.folder, process_group=0, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: terminal.has("h", "step.completed", "tick%"))
        for _ in range(8):
            started.send_signal(signal.SIGTSTP)
            until(lambda: stopped(started.pid))
            with closing(sqlite3.connect(terminal.db, timeout=0.1, isolation_level=None)) as other:
                other.execute("begin immediate")
                other.execute("rollback")
            started.send_signal(signal.SIGCONT)
            time.sleep(0.05)
    finally:
        started.kill()
        started.wait()


def test_one_whom_no_shell_could_wake_is_not_stopped(terminal: Terminal) -> None:
    started = terminal.start(*HURRIES)
    until(lambda: terminal.has("h", "step.completed", "tick%"))
    for _ in range(3):
        started.send(signal.SIGTSTP)
        time.sleep(0.1)
        ((before,),) = terminal.query("select count(*) from events")
        until(lambda count=before: terminal.query("select count(*) from events")[0][0] > count)
        assert not stopped(started.pid)
    started.kill()
