"""Ctrl-C reaches every process of a terminal, a service's stop all of its group: a program of a step too."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal, until

PROGRAM = """
import asyncio, subprocess
from pathlib import Path
from segue import Applied, NotApplied, Retry, flow, gather, step

def called() -> list[str]:
    # it notes itself that it runs: it has begun then, and a signal to the group reaches it
    then = "" if Path("quick").exists() else "; exec sleep 30"
    return ["sh", "-c", f"echo called >> calls.log{then}"]

@step
def converts(page: int) -> int:
    subprocess.run(called(), check=True)
    return page

@step(retry=Retry(attempts=2, backoff_s=0))
async def converts_twice(page: int) -> int:
    process = await asyncio.create_subprocess_exec(*called())
    if code := await process.wait():
        raise RuntimeError(f"it ended with {code}")
    return page

@step(effect="once")
def pushes(page: int) -> int:
    subprocess.run(called(), check=True)
    return page

async def was_pushed(page: int) -> Applied | NotApplied:
    return Applied(page) if Path("quick").exists() else NotApplied()

@step(effect="once", reconcile=was_pushed)
def pushes_surely(page: int) -> int:
    subprocess.run(called(), check=True)
    return page

STEPS = {made.__name__: made for made in (converts, converts_twice, pushes, pushes_surely)}

@flow
async def book(name: str, pages: int) -> list[int]:
    return list(await gather(*(STEPS[name](page) for page in range(pages))))
"""


@pytest.fixture
def book(terminal: Terminal) -> Terminal:
    (terminal.folder / "book.py").write_text(PROGRAM)
    return terminal


def stopped(terminal: Terminal, name: str, pages: int, number: signal.Signals) -> None:
    """A run whose process group was sent a signal, as soon as all of its programs ran."""
    started = terminal.start("run", "book:book", "-i", f'{{"name": "{name}", "pages": {pages}}}', "--id", "b")
    until(lambda: len(terminal.calls()) == pages)
    os.killpg(started.pid, number)
    done = started.wait()
    assert done.code == (130 if number is signal.SIGINT else 143)
    assert "nothing is lost" in done.err and "Traceback" not in done.err
    assert not terminal.has("b", "step.failed") and not terminal.has("b", "attempt.failed")
    assert terminal.query("select state, owner from runs") == [("queued", None)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
@pytest.mark.parametrize("name", ["converts", "converts_twice"])
def test_a_step_whose_program_was_stopped_with_it_is_made_again(
    book: Terminal, name: str, number: signal.Signals
) -> None:
    stopped(book, name, 8, number)
    (book.folder / "quick").touch()
    assert book.segue("resume", "b", "--json").json == list(range(8))
    assert len(book.calls()) == 16


def test_an_effect_whose_program_was_stopped_with_it_is_in_doubt_and_never_made_again_blindly(book: Terminal) -> None:
    stopped(book, "pushes", 1, signal.SIGINT)
    resumed = book.segue("resume", "b")
    assert resumed.code != 0 and "whether it was applied is unknown" in resumed.err
    assert "--retry" in resumed.err and len(book.calls()) == 1


def test_an_effect_that_can_be_reconciled_is_asked_about(book: Terminal) -> None:
    stopped(book, "pushes_surely", 1, signal.SIGINT)
    (book.folder / "quick").touch()
    assert book.segue("resume", "b", "--json").json == [0]
    assert len(book.calls()) == 1


SCRIPT = """
import asyncio
from book import book
from segue import Engine

async def main():
    async with Engine("segue.db") as engine:
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(3):
                    group.create_task(engine.run(book, "converts", 3, id=f"b{{number}}"))
        finally:
            await asyncio.sleep({tidies_s})

asyncio.run(main())
"""


@pytest.mark.parametrize("tidies_s", [0, 0.2], ids=["at once", "after it has tidied up"])
def test_a_script_that_is_interrupted_loses_nothing_either(book: Terminal, tidies_s: float) -> None:
    (book.folder / "script.py").write_text(SCRIPT.format(tidies_s=tidies_s))
    with subprocess.Popen(
        [sys.executable, "script.py"], cwd=book.folder, start_new_session=True, stderr=subprocess.DEVNULL
    ) as script:
        until(lambda: len(book.calls()) == 9)
        os.killpg(script.pid, signal.SIGINT)
        assert script.wait(20) != 0
    assert book.query("select state, owner from runs") == [("queued", None)] * 3
    (book.folder / "quick").touch()
    assert book.segue("resume").code == 0
    assert [book.state(f"b{number}") for number in range(3)] == ["completed"] * 3


def test_a_step_that_fails_of_itself_fails_still(book: Terminal) -> None:
    Path(book.folder / "book.py").write_text(PROGRAM.replace('then = "" if', 'then = "; false" if'))
    (book.folder / "quick").touch()
    done = book.segue("run", "book:book", "-i", '{"name": "converts", "pages": 1}', "--id", "b")
    assert done.code == 1 and "non-zero exit status 1" in done.err and book.state("b") == "failed"


LAST = """
from segue import flow, step

@step
def writes(length: int) -> str:
    return "A" * length

@flow
async def last(length: int) -> str:
    return await writes(length)
"""


def ending(folder: Path, length: int, prelude: str = "", **settings: str) -> subprocess.Popen[bytes]:
    """A fresh process that runs a flow whose result is this long; its signals are Python's, to the very end."""
    (folder / "last.py").write_text(prelude + LAST)
    code = "from segue.cli import main; main()"
    words = ["run", "last:last", "-i", f'{{"length": {length}}}', "--id", "x", "--db", "last.db", "-q"]
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], cwd=folder, env=os.environ | settings, stdout=-1, stderr=-1
    )


@pytest.mark.sampled(4)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
@pytest.mark.parametrize("after_s", [0, 0.002, 0.01, 0.03, 0.06])
def test_a_signal_after_the_result_was_printed_leaves_the_code_of_the_run(
    tmp_path: Path, number: signal.Signals, after_s: float
) -> None:
    with ending(tmp_path, 1) as process:
        assert process.stdout is not None and process.stdout.readline() == b"A\n"
        time.sleep(after_s)
        process.send_signal(number)
        process.send_signal(number)
        assert process.wait(20) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_signal_ends_a_run_whose_result_nobody_reads_with_its_code(tmp_path: Path, number: signal.Signals) -> None:
    with ending(tmp_path, 1_000_000) as process:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 20)[0]
        process.send_signal(number)
        assert process.wait(5) == 0


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_signal_while_a_long_result_is_read_does_not_cut_it(tmp_path: Path, unbuffered: str) -> None:
    with ending(tmp_path, 1_000_000, PYTHONUNBUFFERED=unbuffered) as process:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 20)[0]
        process.send_signal(signal.SIGTERM)
        assert len(process.stdout.read()) == 1_000_001
        assert process.wait(5) == 0


SLOW = """
import asyncio, sys
from segue import Engine

closes = Engine.close

async def slowly(self):
    print("closing", file=sys.stderr, flush=True)
    await asyncio.sleep(20)
    await closes(self)

Engine.close = slowly
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_second_signal_ends_a_long_close_with_the_code_of_the_run(tmp_path: Path, number: signal.Signals) -> None:
    with ending(tmp_path, 1, prelude=SLOW) as process:
        assert process.stderr is not None and process.stderr.readline() == b"closing\n"
        process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(number)
        assert process.wait(5) == 0


STUBBORN = """
import asyncio, time
from segue import cleanup, flow, step, wait_for

@step
async def tidies() -> None:
    for _ in range(40):
        time.sleep(0.4)  # blocks the loop: a signal is heard, and nothing is done about it yet
        await asyncio.sleep(0.02)

@flow
async def child() -> int:
    cleanup(tidies)
    return await wait_for("never", returns=int)

@step
async def works() -> int:
    return 1

@flow
async def ends() -> str:
    task = asyncio.ensure_future(child())
    await works()
    task.cancel()
    return "ended"
"""


@pytest.mark.parametrize("gap_s", [0.005, 0.02])
def test_a_held_ctrl_c_leaves_a_run_that_has_ended_its_code(terminal: Terminal, gap_s: float) -> None:
    (terminal.folder / "stubborn.py").write_text(STUBBORN)
    started = terminal.start("run", "stubborn:ends", "--id", "e")
    until(lambda: terminal.state("e") == "completed" and "cleans up" in started.err)
    with contextlib.suppress(ProcessLookupError):
        for _ in range(6):
            started.send(signal.SIGINT)
            time.sleep(gap_s)
    assert started.wait(5).code == 0


def test_one_ctrl_c_still_ends_what_a_run_has_left_to_clean_up(terminal: Terminal) -> None:
    (terminal.folder / "stubborn.py").write_text(STUBBORN)
    started = terminal.start("run", "stubborn:ends", "--id", "e")
    until(lambda: "cleans up" in started.err)
    started.send(signal.SIGINT)
    done = started.wait(10)
    assert (done.code, done.out) == (0, "ended\n") and "once more kills" in done.err
