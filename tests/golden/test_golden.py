"""Journals of every version so far, killed in the middle, are gone on with: for ever."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segue import testing
from segue.core.events import EventType

from . import flows
from .journals import FOLDER, dump, load
from .write import play

JOURNALS = sorted(FOLDER.glob("*.jsonl"))
RESULTS = {
    "sale": ["r1", "r2", "r3", "timed out", "paid 6", "shipped 6"],
    "workers": [15],
    "tally": ["one 6", "two 6", "three 6"],
    "claim": ["archive has it", "not appraised", "6"],
}


def test_there_are_journals() -> None:
    assert len(JOURNALS) >= 8


@pytest.mark.parametrize("path", JOURNALS, ids=[p.stem for p in JOURNALS])
def test_a_journal_goes_on(path: Path) -> None:
    """The run ends with its result; no step with an outcome is made again; what was drawn stays drawn."""
    name = path.stem.rpartition("-")[0].partition("-")[2]
    text = path.read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    outcomes = [r["key"] for r in rows if r.get("type") == EventType.STEP_COMPLETED]
    flows.made.clear()

    async def resume() -> tuple[list[object], testing.Engine]:
        before = testing.Engine()
        async with before:
            load(before.connection, text)
        async with testing.Engine(after=before, seed=1) as engine:
            return await engine.outlive(play(engine, name)), engine

    result, engine = testing.run(resume())
    drawn = [v for v in result if isinstance(v, str) and ("-" in v or v.startswith("0."))]
    assert [v for v in result if v not in drawn][-len(RESULTS[name]) :] == RESULTS[name]
    assert len(drawn) == (2 if name == "sale" else 0)
    events = [e for (no,) in engine.connection.execute("select id from runs") for e in engine.history(no)]
    again = [e.key for e in events if e.type == EventType.STEP_COMPLETED]
    assert len(again) == len(set((e.run, e.key) for e in events if e.type == EventType.STEP_COMPLETED))
    assert set(outcomes) <= set(again)
    prices = [sum("price[" in k for k in keys) for keys in (again, outcomes)]
    assert sum(m.startswith("price") for m in flows.made) == prices[0] - prices[1], "no outcome was made again"
    reserved = {k.rpartition("/")[2] for k in again if "reserve[" in k} - {k.rpartition("/")[2] for k in outcomes}
    assert len({m for m in flows.made if m.startswith("reserve")}) == len(reserved)
    paid = [m for m in flows.made if m.startswith("pay ")]
    assert len(paid) == (0 if any(k.startswith("pay[") for k in outcomes) or name != "sale" else 1)


def test_a_dump_comes_back_the_same() -> None:
    text = JOURNALS[0].read_text()

    async def there_and_back() -> str:
        async with testing.Engine() as engine:
            load(engine.connection, text)
            return dump(engine.connection)

    assert testing.run(there_and_back()) == text
