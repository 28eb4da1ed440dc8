"""A run that is ready and whose flow no living process knows says so, and is never kept from one that does."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from segue import Engine, EngineOptions, flow, sleep
from segue.core.lifecycle import RunState
from segue.journal import Journal
from segue.runtime import registry

SERVES = """
import asyncio, sys
from segue import Engine
{imports}
async def main():
    async with Engine(sys.argv[1], tick_s=0.05):
        print("open", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
STARTS = """
import asyncio, sys
from segue import Engine
import shopflows
async def main():
    async with Engine(sys.argv[1], linger_s=0.0) as engine:
        await engine.start(shopflows.waits, id="parked")
        await engine.start(shopflows.works, id="works")
        await asyncio.sleep(0.3)
asyncio.run(main())
"""
FLOWS = """
from segue import flow, step, wait_for
@step
async def works_long() -> str:
    import asyncio
    await asyncio.sleep(2)
    return "worked"
@flow
async def works() -> str:
    return await works_long()
@flow
async def waits() -> str:
    return await wait_for("word", returns=str)
"""


@flow
async def mine() -> str:
    return "mine"


def started(folder: Path) -> str:
    """A database with a run that was interrupted and one that waits, of flows that only their module has."""
    (folder / "shopflows.py").write_text(FLOWS)
    path = str(folder / "segue.db")
    subprocess.run([sys.executable, "-c", STARTS, path], cwd=folder, env=_env(folder), check=True)
    return path


@contextmanager
def serving(folder: Path, path: str, imports: str = "") -> Iterator[None]:
    """Another process with an engine."""
    code = SERVES.format(imports=imports)
    process = subprocess.Popen(
        [sys.executable, "-c", code, path], cwd=folder, env=_env(folder), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "open\n"
    try:
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _env(folder: Path) -> dict[str, str]:
    here = [str(Path(p).resolve()) for p in ("src", ".")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*here, str(folder)])}


async def reason_of(engine: Engine, run: str, wanted: str | None) -> Any:
    """Wait for what a run's status says."""
    for _ in range(400):
        status = await (await engine.get(run)).status()
        if status.reason == wanted:
            return status
        await asyncio.sleep(0.01)
    raise AssertionError(f"{run}: {status}")


async def test_a_run_whose_flow_nobody_knows_says_so_and_is_taken_at_once_by_one_that_does(tmp_path: Path) -> None:
    path = started(tmp_path)
    async with Engine(path, tick_s=0.05) as engine:
        status = await reason_of(engine, "works", "no worker")
        assert (status.state, status.message) == (
            RunState.QUEUED,
            "no living process knows the flow shopflows:works, version 1",
        )
        assert "segue resume works" in status.remedy and "import shopflows" in status.remedy
        assert (await (await engine.get("parked")).status()).reason is None, "it waits: nobody is needed yet"
        await (await engine.get("parked")).signal("word", "woken")
        await reason_of(engine, "parked", "no worker")
        assert sorted(s.id for s in await engine.runs(reason="no worker")) == ["parked", "works"]
        assert [s.id for s in await engine.runs(reason="no worker", limit=1)] == ["works"]
        with serving(tmp_path, path, "import shopflows"):
            assert await (await engine.get("parked")).result() == "woken"
            assert await (await engine.get("works")).result() == "worked"
            assert await engine.runs(reason="no worker") == []


async def test_each_of_two_processes_goes_on_with_its_own_and_marks_nothing(tmp_path: Path) -> None:
    path = started(tmp_path)
    with serving(tmp_path, path, "import shopflows"):
        async with Engine(path, tick_s=0.05) as engine:
            for _ in range(20):
                assert (await (await engine.get("works")).status()).reason is None
                await asyncio.sleep(0.01)
            assert await engine.run(mine) == "mine"
            assert await (await engine.get("works")).result() == "worked"
            assert engine.journal.query("select 1 from events where type = 'run.stuck'") == []


async def test_a_process_that_dies_takes_what_it_knew_with_it(tmp_path: Path) -> None:
    path = started(tmp_path)
    async with Engine(path, tick_s=0.05) as engine:
        with serving(tmp_path, path, "import shopflows"):
            await reason_of(engine, "works", None)
        status = await reason_of(engine, "works", "no worker")
        assert status.state in ("queued", "running")


async def test_a_missing_version_is_named_with_those_that_are_known(tmp_path: Path) -> None:
    path = started(tmp_path)
    newer = "import shopflows\nfrom segue.runtime import registry\nregistry._known.clear()\n"
    newer += "from segue import flow\n@flow(version=2, name='works')\nasync def works() -> str: ...\n"
    newer += "works.name = 'shopflows:works'; registry._known.clear(); registry.register(works)"
    async with Engine(path, tick_s=0.05) as engine:
        with serving(tmp_path, path, newer):
            await asyncio.sleep(0.1)
            status = await reason_of(engine, "works", "no worker")
            assert status.message == "no living process knows version 1 of shopflows:works; known: 2"
            assert "version=1" in status.remedy and "migrate=" in status.remedy


async def test_nobody_says_that_a_flow_is_missing_while_a_process_has_not_said_what_it_knows(tmp_path: Path) -> None:
    path = started(tmp_path)
    async with Engine(path, tick_s=0.05) as engine:
        await reason_of(engine, "works", "no worker")
        other = Journal.open(path)
        try:
            assert engine.journal.workers().silent
            assert (await (await engine.get("works")).status()).reason is None
        finally:
            await other.close()


async def test_without_any_process_that_takes_runs_up_it_is_just_queued(tmp_path: Path) -> None:
    path = started(tmp_path)
    async with Engine(path, options=EngineOptions(recover=False)) as engine:
        assert (await (await engine.get("works")).status()).reason is None


async def test_what_a_flow_learns_later_is_told(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "segue.db"), tick_s=0.02) as engine:

        @flow(name="learnt_later")
        async def learnt_later() -> None:
            await sleep(1)

        for _ in range(200):
            if learnt_later.name in {k.name for k in engine.journal.workers().carried}:
                break
            await asyncio.sleep(0.01)
        else:
            raise AssertionError("it was never told")
        assert registry.known(learnt_later.name) is learnt_later
