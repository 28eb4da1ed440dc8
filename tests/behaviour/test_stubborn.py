"""A flow that catches everything and asks again cannot be unwound: it is dropped as it stands, and holds nobody up.

Each program is a process of its own, since what is tested here would never end. Python collects what is dropped, and
ends: neither goes on with the flow.
"""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HEAD = '''
import asyncio, gc, logging, os, signal, sys
from segue import Engine, RunCancelled, RunFailed, cleanup, flow, gather, sleep, step, timeout, wait_for
from segue.journal import Journal
from segue.runtime.check import check

logging.basicConfig(stream=sys.stderr, format="%(name)s: %(message)s")
made = []


@step
async def note(what: str) -> str:
    made.append(what)
    return what


@flow
async def asks_again() -> int:
    while True:
        try:
            return await wait_for("go", returns=int)
        except:
            continue


@flow
async def asks_in_a_branch() -> int:
    async def branch():
        while True:
            try:
                async with timeout(900):
                    return await wait_for("go", returns=int)
            except BaseException:
                continue
    return (await gather(branch(), wait_for("other")))[0]


@flow
async def waits_for_no_call() -> int:
    event = asyncio.Event()
    async def waits():
        while True:
            try:
                return await event.wait()
            except:
                continue
    task = asyncio.create_task(waits())
    number = await wait_for("go", returns=int)
    event.set()
    await task
    return number


@flow
async def sleeps_on() -> int:
    while True:
        try:
            return await wait_for("go", returns=int)
        except BaseException:
            while True:
                try:
                    await asyncio.sleep(0)
                except BaseException:
                    pass


@flow
async def leaves_a_worker() -> int:
    async def worker():
        while True:
            try:
                await wait_for("job")
            except:
                continue
    asyncio.create_task(worker())
    return len(await note("done"))


@flow
async def asks_after_a_deadlock() -> int:
    try:
        await asyncio.Event().wait()
    finally:
        while True:
            try:
                await note("after")
            except Exception:
                continue


@flow
async def releases_much() -> int:
    try:
        return await wait_for("go", returns=int)
    finally:
        for n in range(50):
            try:
                await note("released")
            except BaseException:
                pass


@flow
async def other() -> str:
    for _ in range(3):
        await sleep(0.05)
    return await note("other")


async def parked(run):
    for _ in range(1000):
        if (await run.status()).state == "parked":
            return
        await asyncio.sleep(0.01)
    raise AssertionError(await run.status())


async def main(made_by):
    async with Engine("segue.db", tick_s=0.02, linger_s=0.05) as engine:
        neighbour = await engine.start(other, id="other")
        print("->", await made_by(engine), await neighbour.result())


async def woken(engine, which):
    run = await engine.start(which, id="r")
    await parked(run)
    if which is asks_in_a_branch:
        await run.signal("other", 1)
        await parked(run)
    before = list(made)
    for n in range(3):
        gc.collect()
    assert made == before, "what is dropped has gone on"
    with Journal.open_readonly("segue.db") as journal:
        print([v.finding.value for v in check(journal) if v.run == "r"])
    await run.signal("go", 7)
    return await run.result()


async def cancelled(engine):
    """It takes no notice, as it would not in asyncio."""
    run = await engine.start(asks_again, id="r")
    await parked(run)
    await run.cancel()
    await asyncio.sleep(0.5)
    await run.signal("go", 7)
    return await run.result()


async def interrupted(engine):
    await engine.start(asks_again, id="r")
    print("stands")
    asyncio.get_running_loop().call_later(0.02, os.kill, os.getpid(), signal.SIGINT)
    await asyncio.sleep(30)


async def ends(engine, which):
    run = await engine.start(which, id="r")
    try:
        return await run.result()
    except RunFailed as error:
        return error.error_type if hasattr(error, "error_type") else type(error).__name__


async def main_and_collect(made_by):
    await main(made_by)
    gc.collect()
'''
TELLS = "segue.runtime: run r: its flow does not end when it is unwound, and is dropped where it waits"


def _bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


def ran(folder: Path, call: str, code: int = 0) -> tuple[str, str]:
    """What a program has said, with its warnings. It fails where it does not end by itself."""
    program = folder / "program.py"
    program.write_text(f"{HEAD}\n\nasyncio.run(main_and_collect(lambda engine: {call}))\n")
    done = subprocess.run(
        [sys.executable, program.name], cwd=folder, capture_output=True, text=True, timeout=40, check=False,
        preexec_fn=_bounded,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize("which", ["asks_again", "asks_in_a_branch", "waits_for_no_call"])
def test_a_flow_that_catches_everything_is_put_away_and_woken(tmp_path: Path, which: str) -> None:
    out, err = ran(tmp_path, f"woken(engine, {which})")
    assert out == "['ok']\n-> 7 other\n"
    assert f"{TELLS}, at {tmp_path}/program.py:" in err and "except Exception:" in err
    assert ("in asks_again" if which == "asks_again" else "program.py") in err


def test_one_that_spins_as_it_is_put_away(tmp_path: Path) -> None:
    out, err = ran(tmp_path, "woken(engine, sleeps_on)")
    assert out == "['ok']\n-> 7 other\n" and TELLS in err


def test_a_task_that_was_left_and_catches_everything_ends_with_its_flow(tmp_path: Path) -> None:
    out, err = ran(tmp_path, "ends(engine, leaves_a_worker)")
    assert out == "-> 4 other\n" and TELLS in err


def test_a_flow_that_fails_and_asks_again(tmp_path: Path) -> None:
    out, err = ran(tmp_path, "ends(engine, asks_after_a_deadlock)")
    assert out.endswith(" other\n") and "UnjournaledWork" in out and TELLS not in err


def test_one_that_is_cancelled_goes_on_as_it_would_in_asyncio(tmp_path: Path) -> None:
    out, err = ran(tmp_path, "cancelled(engine)")
    assert out == "-> 7 other\n" and TELLS in err


def test_ctrl_c_ends_a_process_with_such_a_flow(tmp_path: Path) -> None:
    out, err = ran(tmp_path, "interrupted(engine)", code=-signal.SIGINT)
    assert out == "stands\n" and TELLS in err and err.endswith("KeyboardInterrupt\n")


def test_one_that_only_lets_go_of_much_is_unwound(tmp_path: Path) -> None:
    out, err = ran(tmp_path, "woken(engine, releases_much)")
    assert out == "['ok']\n-> 7 other\n" and TELLS not in err
