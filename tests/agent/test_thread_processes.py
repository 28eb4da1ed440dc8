"""Two processes give turns to one thread: they run one at a time, in the order in which they came, over a kill."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from segue import Engine, Thread
from segue.journal import Journal
from tests.agent import talker
from tests.forked import Forked


async def started(path: Path, name: str, count: int) -> Forked:
    process = await asyncio.to_thread(Forked, "module", "tests.agent.talker", path, name, count)
    await said(process, "ready")
    return process


async def said(process: Forked, word: str) -> None:
    assert await process.line() == word


def go(process: Forked) -> None:
    process.tell("go\n")


def in_turn(path: Path) -> list[str]:
    """The turns by when they came; what was done is that, one after the other."""
    with Journal.open_readonly(str(path)) as journal:
        came = [run for (run,) in journal.query("select id from runs where thread = 't' order by no")]
    names = [run.removeprefix("t/") for run in came]
    done = list(dict.fromkeys(Path(f"{path}.log").read_text().splitlines()))
    assert done == [f"{name} {what}" for name in names for what in ("begins", "ends")]
    return names


async def test_turns_of_two_processes_run_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    both = [await started(path, name, 8) for name in "ab"]
    for process in both:
        go(process)
    for process in both:
        await said(process, "started")
        await said(process, "done")
        await process.gone()
    names = in_turn(path)
    assert sorted(names) == sorted(f"{name}{n}" for name in "ab" for n in range(8))
    assert len(Path(f"{path}.log").read_text().splitlines()) == 32, "each step was carried out once"


@pytest.mark.parametrize("after", [3, 9])
async def test_a_kill_of_one_of_them_keeps_the_order(tmp_path: Path, after: int) -> None:
    path = tmp_path / "x.db"
    one, other = [await started(path, name, 8) for name in "ab"]
    go(one)
    go(other)
    await said(one, "started")
    await said(other, "started")
    log = Path(f"{path}.log")
    while not log.exists() or len(log.read_text().splitlines()) < after:
        await asyncio.sleep(0.005)
    one.kill()
    await one.gone()
    await said(other, "done")
    await other.gone()
    async with Engine(str(path)) as engine:  # what the killed one had asked for last
        for n in range(8):
            assert await (await Thread("t").start(talker.turn, f"{path}.log", f"a{n}", id=f"a{n}")).result() == f"a{n}"
        assert engine.journal.query("select count(*) from runs") == [(16,)]
    in_turn(path)
