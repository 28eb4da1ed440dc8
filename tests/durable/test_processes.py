"""Several processes on one file: takeover of the dead and of the hung, turns, and what a process must not do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from segue import Engine
from segue.core.lifecycle import RunState
from segue.errors import EngineClosed, SegueError, StoreLocked, WrongLoop
from segue.journal import faults
from tests.durable.checks import sound
from tests.durable.flows import bulky, paces, waits
from tests.durable.waiting import until
from tests.durable.worker import HEARTBEAT_S, Worker

STOPPED = """
import os, signal, sqlite3, sys
from pathlib import Path
from segue.journal.turns import Turns
database, what = sys.argv[1:]
with Turns(Path(f"{database}-live"), 5.0).taken():
    if what == "in a commit":
        db = sqlite3.connect(database, isolation_level=None)
        db.execute("begin immediate")
    print("stopped", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def owner_of(engine: Engine, run: str) -> str | None:
    row = engine.journal.find(run)
    return None if row is None else row.owner


async def test_the_runs_of_a_dead_process_are_taken_over_within_half_a_second(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    worker = Worker(path, "paces", tmp_path, 5, 20, 0.05)
    assert worker.hear() == "started"
    async with Engine(str(path)) as engine:
        runs = [await engine.get(f"p{i}") for i in range(5)]
        await until(lambda: engine.journal.query("select 1 from events where seq > 6") != [])
        assert owner_of(engine, "p0") != engine.journal.owner
        worker.kill()
        took = await until(lambda: all(owner_of(engine, f"p{i}") == engine.journal.owner for i in range(5)))
        assert took < 0.75, f"{took:.3f} s"
        makers = [await run.result() for run in runs]
    print(f"taken over after {took:.3f} s")
    assert {pid for made in makers for pid in made} == {worker.pid, os.getpid()}
    sound(path)


async def test_a_hung_process_loses_its_runs_and_cannot_write_to_them_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    worker = Worker(path, "paces", tmp_path, 3, 12, 0.05)
    assert worker.hear() == "started"
    async with Engine(str(path), heartbeat_s=HEARTBEAT_S) as engine:
        runs = [await engine.get(f"p{i}") for i in range(3)]
        await until(lambda: engine.journal.query("select 1 from events where seq > 5") != [])
        await stop_between_commits(path, worker)
        took = await until(lambda: owner_of(engine, "p0") == engine.journal.owner)
        assert HEARTBEAT_S * 0.5 < took < HEARTBEAT_S * 2.5, f"{took:.3f} s"
        theirs = effects(tmp_path, worker.pid)
        await asyncio.sleep(0.2)
        os.kill(worker.pid, signal.SIGCONT)
        makers = [await run.result() for run in runs]
        found = await asyncio.to_thread(worker.hear)
    print(f"taken over after {took:.3f} s")
    logged = worker.end()
    assert found == makers, "the one that was hung hears the other's results"
    assert "taken over" in logged or "took it over" in logged
    assert effects(tmp_path, worker.pid) - theirs <= 3, "at most what was on its way"
    assert all(made[-1] == os.getpid() for made in makers)
    sound(path)


async def test_a_process_that_was_hung_lets_go_of_what_it_was_doing(tmp_path: Path) -> None:
    """It does not wait for its next write to find out: a step that still runs would do its work twice."""
    path = tmp_path / "segue.db"
    worker = Worker(path, "paces", tmp_path, 1, 2, 2.0)
    assert worker.hear() == "started"
    async with Engine(str(path), heartbeat_s=HEARTBEAT_S) as engine:
        await until(lambda: engine.journal.query("select 1 from events where seq > 2") != [])
        await asyncio.sleep(0.2)
        await stop_between_commits(path, worker)
        await until(lambda: owner_of(engine, "p0") == engine.journal.owner)
        os.kill(worker.pid, signal.SIGCONT)
        await (await engine.get("p0")).result()
    assert worker.hear() is not None
    assert "this one was taken for hung" in worker.end()
    sound(path)


async def stop_between_commits(path: Path, worker: Worker) -> None:
    """Stop it where it holds no lock that others need."""
    while True:
        os.kill(worker.pid, signal.SIGSTOP)
        await asyncio.sleep(0.01)
        if worker.pid not in faults.holders(str(path)):
            return
        os.kill(worker.pid, signal.SIGCONT)
        await asyncio.sleep(0.01)


def effects(folder: Path, pid: int) -> int:
    return (folder / "effects").read_text().count(f"{pid} ")


@pytest.mark.parametrize("what", ["in a commit", "in its turn"])
async def test_a_process_that_is_stopped_with_a_lock_is_named_or_passed_by(tmp_path: Path, what: str) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path), lock_timeout_s=0.3) as engine:
        run = await engine.start(waits, id="r")
        await until(lambda: len(engine.journal.query("select 1 from events")) == 5)
        stopped = subprocess.Popen(
            [sys.executable, "-c", STOPPED, str(path), what], stdout=-1, env={**os.environ, "PYTHONPATH": "src"}
        )
        assert stopped.stdout is not None
        assert stopped.stdout.readline() == b"stopped\n"
        try:
            began = time.perf_counter()
            if what == "in a commit":
                with pytest.raises(StoreLocked, match="locked") as refused:
                    await run.signal("word", "x")
                assert str(stopped.pid) in str(refused.value)
            else:
                for n in range(12):
                    await engine.start(bulky, 1, id=f"passed-{n}")
            assert time.perf_counter() - began < 2.5
        finally:
            stopped.kill()
            stopped.communicate()
        await run.signal("word", "after")
        assert await run.result() == "after"


@pytest.mark.parametrize("count", [2, 4])
def test_writers_take_turns_and_none_starves(tmp_path: Path, count: int) -> None:
    for again in range(3):  # what else the machine has to do holds them all up: one of three takes tells
        path = tmp_path / f"segue-{again}.db"
        took = commits_of(path, count)
        p99 = [times[int(len(times) * 0.99)] for times in took]
        shares = [len(times) for times in took]
        print(f"{count} writers: {shares}, p99 {p99}, max {max(t[-1] for t in took):.3f} s")
        sound(path)
        if max(p99) < max(0.1, 3 * min(p99)) and min(shares) > max(shares) / 3:
            return
    pytest.fail("one of them starves")


def commits_of(path: Path, count: int) -> list[list[float]]:
    """Of so many processes that commit for 1.5 s the seconds that each commit took, in their order of size."""
    workers = [Worker(path, "commits", f"w{i}", 1.5) for i in range(count)]
    for worker in workers:
        assert worker.hear() == "ready"
    for worker in workers:
        worker.tell()
    took = [sorted(worker.hear()) for worker in workers]
    for worker in workers:
        worker.end()
    return took


def test_processes_that_start_the_same_runs_make_each_once(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    workers = [Worker(path, "same", 60) for _ in range(3)]
    for worker in workers:
        assert worker.hear() == "ready"
    for worker in workers:
        worker.tell()
    results = [worker.hear() for worker in workers]
    logs = [worker.end() for worker in workers]
    assert results == [[3 * ((10 + i) // 2 * 2) for i in range(60)]] * 3, logs
    sound(path)


async def test_two_engines_in_one_process_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as one:
        run = await one.start(waits, id="r")
        async with Engine(str(path)) as two:
            same = await two.get("r")
            assert await same.signal("word", "through the other")
            assert await same.result() == await run.result() == "through the other"
        assert await one.run(bulky, 1, id="after") == 1000
    sound(path)


async def test_closing_twice_does_nothing_and_a_closed_engine_says_so(tmp_path: Path) -> None:
    engine = Engine(str(tmp_path / "segue.db"))
    async with engine:
        journal = engine.journal
        run = await engine.start(bulky, 1, id="r")
    await engine.close()
    await journal.close()
    with pytest.raises(EngineClosed):
        await engine.start(bulky, 1)
    with pytest.raises(EngineClosed):
        await run.result()
    with pytest.raises(EngineClosed):
        journal.find("r")


def test_an_engine_belongs_to_its_loop(tmp_path: Path) -> None:
    async def open_and_use_elsewhere() -> list[SegueError]:
        async with Engine(str(tmp_path / "segue.db")) as engine:
            errors: list[SegueError] = []

            def elsewhere() -> None:
                try:
                    asyncio.run(engine.run(bulky, 1, id="r"))
                except SegueError as error:
                    errors.append(error)

            thread = threading.Thread(target=elsewhere)
            thread.start()
            await asyncio.to_thread(thread.join)
            assert await engine.run(bulky, 1, id="here") == 1000
            return errors

    (error,) = asyncio.run(open_and_use_elsewhere())
    assert isinstance(error, WrongLoop)
    assert "another event loop" in str(error)
    assert error.remedy


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_forked_child_cannot_use_its_parents_engine(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        run = await engine.start(waits, id="r")
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            found = {}
            for name, use in {
                "find": lambda: engine.journal.find("r"),
                "ask": lambda: engine.journal.ask(lambda c: 1),
            }.items():
                try:
                    use()
                except SegueError as error:
                    found[name] = [type(error).__name__, str(error)]
            os.write(theirs, json.dumps(found).encode())
            time.sleep(30)
            os._exit(0)
        os.close(theirs)
        found = json.loads(await asyncio.to_thread(os.read, ours, 65536))
        assert {name: error[0] for name, error in found.items()} == {"find": "WrongLoop", "ask": "WrongLoop"}
        assert "forked" in found["find"][1]
        await run.signal("word", "in the parent")
        assert await run.result() == "in the parent"
    try:
        assert os.listdir(f"{path}-live") == sorted(os.listdir(f"{path}-live"), key=len)
        async with Engine(str(path)) as engine:
            assert await engine.run(bulky, 1, id="next") == 1000
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_child_that_outlives_its_parent_does_not_keep_the_parents_runs(tmp_path: Path) -> None:
    """The lock that says "alive" belongs to the process that opened the database, not to what it forked."""
    path = tmp_path / "segue.db"
    code = (
        "import asyncio, os, sys, time\nfrom segue import Engine\nfrom tests.durable.flows import paces\n"
        "async def main():\n"
        "    async with Engine(sys.argv[1]) as engine:\n"
        "        await engine.start(paces, sys.argv[2], 40, 0.05, id='r')\n"
        "        await asyncio.sleep(0.2)\n"
        "        if os.fork() == 0:\n            time.sleep(20)\n            os._exit(0)\n"
        "        print('forked', flush=True)\n        await asyncio.sleep(20)\n"
        "asyncio.run(main())\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", "."]), "PYTHONWARNINGS": "ignore"}
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(path), str(tmp_path)], stdout=-1, env=env, start_new_session=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"forked\n"
    parent.kill()
    parent.wait()
    parent.stdout.close()

    async def take_over() -> float:
        async with Engine(str(path)) as engine:
            return await until(lambda: owner_of(engine, "r") == engine.journal.owner)

    try:
        assert asyncio.run(take_over()) < 1.0
    finally:
        os.killpg(parent.pid, signal.SIGKILL)


async def test_what_the_dead_have_left_is_swept(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    for _ in range(3):
        worker = Worker(path, "serve", 30)
        worker.kill()
    assert len(list(Path(f"{path}-live").iterdir())) > 3
    async with Engine(str(path)) as engine:
        me = engine.journal.owner
        left = {file.name for file in Path(f"{path}-live").iterdir()}
        assert left == {"gate", "turn", "made", me, f"{me}.bell", f"{me}.flows", f"{me}.tap"}


async def test_a_cleared_folder_of_owners_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path), heartbeat_s=0.2) as engine, Engine(str(path), heartbeat_s=0.2) as other:
        (Path(f"{path}-live") / engine.journal.owner).unlink()
        await until((Path(f"{path}-live") / engine.journal.owner).exists)
        assert other.journal.alive(engine.journal.owner)
        run = await engine.start(paces, str(tmp_path), 3, 0.1, id="r")
        assert set(await run.result()) == {os.getpid()}
        assert (await run.status()).state == RunState.COMPLETED


@pytest.mark.soak
async def test_processes_that_die_all_the_time_lose_and_double_nothing(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path), capacity=5) as engine:
        runs = [await engine.start(paces, str(tmp_path), 20, 0.02, id=f"p{i}") for i in range(40)]
        for n in range(12):
            workers = [Worker(path, "serve", 60) for _ in range(2)]
            await asyncio.sleep(0.3 + n % 5 / 10)
            for worker in workers:
                await asyncio.to_thread(worker.kill)
        for run in runs:
            assert len(await run.result()) == 20
    sound(path)
