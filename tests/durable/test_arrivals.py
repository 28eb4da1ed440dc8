"""Many runs that start at once are written together; each gets the answer that it would get alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from segue import Engine, Run, flow, step
from segue.errors import DuplicateRun


@step
async def double(n: int) -> int:
    return 2 * n


@flow
async def doubled(n: int) -> int:
    return await double(n)


@flow
async def other(n: int) -> int:
    return n


async def _start(engine: Engine, *asked: tuple[str, int]) -> list[Run[int] | BaseException]:
    calls = (engine.start(doubled, n, id=run) for run, n in asked)
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_an_id_that_is_asked_for_twice_at_once_is_one_run(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "segue.db")) as engine:
        runs = await _start(engine, *((f"run-{n % 6}", n % 6) for n in range(12)))
        values = [await run.result() for run in runs if isinstance(run, Run)]
        assert values == [2 * (n % 6) for n in range(12)]
        assert len(await engine.runs()) == 6


async def test_a_taken_id_is_refused_and_the_others_start(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "segue.db")) as engine:
        await engine.run(other, 1, id="taken")
        runs = await _start(engine, ("a", 1), ("taken", 1), ("b", 2), ("a", 7), ("c", 3), ("d", 4))
        assert [type(run).__name__ for run in runs] == ["Run", "DuplicateRun", "Run", "DuplicateRun", "Run", "Run"]
        assert [await run.result() for run in runs if isinstance(run, Run)] == [2, 4, 6, 8]


async def test_a_collected_id_is_refused(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "segue.db")) as engine:
        await engine.run(doubled, 1, id="gone")
        await engine.run(doubled, 1, id="the newest stays")
        await engine.gc(-1.0)
        runs = await _start(engine, ("a", 1), ("gone", 1), ("b", 2), ("c", 3), ("d", 4))
        assert isinstance(runs[1], DuplicateRun)
        assert "was collected" in str(runs[1])
        assert sum(isinstance(run, Run) for run in runs) == 4


async def test_their_journals_are_those_of_runs_that_start_alone(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "segue.db")) as engine:
        alone = await engine.start(doubled, 5, id="alone")
        many = await _start(engine, *((f"run-{n}", 5) for n in range(5)))
        stories: list[list[tuple[object, ...]]] = []
        for run in (alone, *many):
            assert isinstance(run, Run)
            assert await run.result() == 10
            row = engine.journal.get(run.id)
            stories.append([(e.seq, e.epoch, e.type, e.key, e.args, e.value) for e in engine.journal.events(row)])
        assert all(story == stories[0] for story in stories)
        columns = "tenant, flow, origin, version, input_hash, state, detail, epoch, wake_at, parent, memo_seq, replaced"
        rows = engine.journal.query(f"select distinct owner, {columns} from runs")
        assert len(rows) == 1


async def test_an_id_that_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "segue.db")) as engine:
        calls = [engine.start(doubled, n, id=f"run-{n}", tenant="\ud800" if n == 3 else "default") for n in range(6)]
        runs = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(run, Run) for run in runs] == [True, True, True, False, True, True]


@pytest.mark.parametrize("count", [3, 300])
async def test_numbers_are_those_of_the_order(tmp_path: Path, count: int) -> None:
    async with Engine(str(tmp_path / "segue.db")) as engine:
        runs = await _start(engine, *((f"run-{n}", n) for n in range(count)))
        assert [await run.result() for run in runs if isinstance(run, Run)] == [2 * n for n in range(count)]
        numbers = engine.journal.query("select no, id from runs order by no")
        assert numbers == [(n + 1, f"run-{n}") for n in range(count)]
