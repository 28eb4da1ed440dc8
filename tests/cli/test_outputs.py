"""Whoever reads what a command says, or stops to, or never did: a run is carried out, and its code is its own."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.cli.terminal import Terminal, until


def shell(terminal: Terminal, line: str) -> tuple[int, str, str]:
    """A line of bash, with `segue` in it: the code of its first command, stdout and stderr."""
    segue = f"{shlex.quote(sys.executable)} -m segue"
    env = {**os.environ, "SEGUE_DB": str(terminal.db)}
    words = ["bash", "-c", line.replace("segue", segue, 1) + "\nexit ${PIPESTATUS[0]}"]
    done = subprocess.run(words, cwd=terminal.folder, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert "a bug in Segue" not in done.stderr + done.stdout and "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.sampled(5)
@pytest.mark.parametrize("to", ["2>&1 | true", "2>&1 | head -1", "2>/dev/full | true", "2>&- >/dev/full"])
@pytest.mark.parametrize(
    ("run", "code", "state"),
    [
        ('run shop:total -i \'["a", "b"]\' --id r', 0, "completed"),
        ("run shop:broken -i '\"a\"' --id r", 1, "failed"),
        ('run shop:total -i \'["a", "b"]\' --id r --json', 0, "completed"),
    ],
)
def test_a_run_that_nobody_hears_of_ends_and_its_code_is_its_own(
    terminal: Terminal, to: str, run: str, code: int, state: str
) -> None:
    assert shell(terminal, f"segue {run} {to}")[0] == code
    assert terminal.state("r") == state


TALKS = """
import sys
from segue import flow, step

@step
def talk() -> str:
    print("word " * 60_000)
    sys.__stdout__.write("said")
    return "x" * 300_000

@flow
async def talks() -> str:
    return await talk()
"""


@pytest.mark.parametrize(("which", "said"), [("stdout", b"x" * 300_000 + b"\n"), ("stderr", b"word " * 60_000)])
def test_a_slow_reader_of_a_pipe_that_does_not_block_gets_all(terminal: Terminal, which: str, said: bytes) -> None:
    (terminal.folder / "talking.py").write_text(TALKS)
    words = [sys.executable, "-m", "segue", "run", "talking:talks", "--db", str(terminal.db)]
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    with (terminal.folder / "other").open("wb") as other:
        streams: dict[str, Any] = {"stdout": other, "stderr": other, which: writes}
        process = subprocess.Popen(words, cwd=terminal.folder, **streams)
    os.close(writes)
    time.sleep(1.5)
    with open(reads, "rb") as pipe:
        assert said in pipe.read()
    assert process.wait(20) == 0


def test_a_closed_stdout_is_one_for_programs_too(terminal: Terminal) -> None:
    (terminal.folder / "talking.py").write_text(TALKS)
    assert shell(terminal, "segue run talking:talks --id t >&-")[0] == 0
    assert terminal.state("t") == "completed"


def test_ctrl_c_that_ends_the_reader_too_has_its_own_code(terminal: Terminal) -> None:
    line = f"exec {shlex.quote(sys.executable)} -m segue run shop:guarded -i '\"door\"' --id g1"
    env = {**os.environ, "SEGUE_DB": str(terminal.db)}
    process = subprocess.Popen(["bash", "-c", line], cwd=terminal.folder, env=env, stdout=-1, stderr=subprocess.STDOUT)
    until(lambda: terminal.has("g1", "attempt.started", "gate%"))
    assert process.stdout is not None
    process.stdout.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130 and terminal.state("g1") != "completed"


def test_a_program_of_a_step_outlives_the_reader_of_stderr(terminal: Terminal) -> None:
    (terminal.folder / "calls.py").write_text(
        "import subprocess, sys, time\nfrom segue import flow, step\n\n@step\ndef program() -> str:\n"
        "    for _ in range(3):\n        print('step', flush=True)\n        time.sleep(0.1)\n"
        "    subprocess.run([sys.executable, '-c', 'import os; os.write(2, b\"x\")'], check=True)\n"
        "    return 'done'\n\n@flow\nasync def calls() -> str:\n    return await program()\n"
    )
    assert shell(terminal, "segue run calls:calls --id c 2> >(true)")[:2] == (0, "done\n")


def test_a_result_that_stdout_does_not_take_is_on_record(terminal: Terminal) -> None:
    code, _, err = shell(terminal, "segue run shop:total -i '[\"a\"]' --id t --json > /dev/full")
    error = json.loads(err.splitlines()[-1])["error"]
    assert (code, error["exit"], error["code"], error["run"]) == (0, 0, "output", "t")
    assert error["message"] == "stdout cannot be written: No space left on device"
    remedy = error["remedy"].rpartition(": ")[2]
    assert json.loads(shell(terminal, remedy)[1])["result"] == 100


@pytest.mark.sampled(4)
@pytest.mark.parametrize("what", ["runs", "runs --json", "show t", "events t", "--help", "--version", "show --help"])
def test_a_full_stdout_is_told_with_a_code_of_its_own(terminal: Terminal, what: str) -> None:
    terminal.segue("run", "shop:total", "-i", '["a"]', "--id", "t")
    code, _, err = shell(terminal, f"segue {what} > /dev/full")
    assert code == 8 and "stdout cannot be written: No space left on device" in err and "make room" in err
    assert shell(terminal, f"segue {what} | true") == (0, "", "")


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    ("what", "code"), [("runs", 0), ("show t", 0), ("watch t", 0), ("show nope", 6), ("run shop:total -i '[]'", 0)]
)
def test_a_closed_stream_is_one_that_nobody_reads(terminal: Terminal, what: str, code: int) -> None:
    terminal.segue("run", "shop:total", "-i", '["a"]', "--id", "t")
    assert shell(terminal, f"segue {what} >&-")[:2] == (code, "")
    got, out, err = shell(terminal, f"segue {what} 2>&-")
    assert (got, err) == (code, "") and bool(out) == (code == 0)
    assert shell(terminal, f"segue {what} 2>/dev/full")[0] == code
    assert shell(terminal, f"segue {what} <&- >&- 2>&-") == (code, "", "")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("words", ["watch f", "resume --json"])
def test_who_follows_runs_gets_their_code_whoever_reads(terminal: Terminal, words: str) -> None:
    terminal.segue("run", "shop:broken", "-i", '"a"', "--id", "f", "--detach")
    if words == "watch f":
        terminal.segue("resume", "f")
    assert shell(terminal, f"segue {words} 2>&1 | true")[0] == 1
    if words == "watch f":
        assert shell(terminal, "segue watch f > /dev/full")[0] == 1
