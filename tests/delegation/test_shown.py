"""`segue show` tells who was chosen for a delegation, and why; delegations are no traffic of models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segue import Engine
from segue.cli.showing import show
from segue.journal import Journal
from segue.routing.traffic import Traffic
from tests.delegation.test_delegate import clean, second

__all__ = ["clean"]


async def ran(path: Path) -> str:
    db = str(path / "x.db")
    async with Engine(db) as engine:
        run = await engine.start(second, "Write poems and verses about autumn, in rhymes.", id="r")
        await run.result()
        await run.feedback(1.0)
    return db


async def test_the_tree_names_the_choice_and_a_step_has_the_whole_decision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = await ran(tmp_path)
    show(db, "r", None, full=False, as_json=False)
    tree = capsys.readouterr().out
    assert "→ broken  then poet" in tree and "→ poet" in tree
    key = next(line for line in tree.splitlines() if "→ poet" in line)
    assert "choose[2]" in key
    show(db, "r", "choose[1]", full=False, as_json=False)
    step = capsys.readouterr().out
    assert "broken flow" in step and "poet agent" in step and "the best balance" in step
    show(db, "r", "choose[2]", full=False, as_json=True)
    (decision,) = json.loads(capsys.readouterr().out)["decisions"]
    assert {c["target"]["name"]: c.get("reason") for c in decision["candidates"]}[
        "broken"
    ] == "it was tried: tool failed"


async def test_delegations_are_no_traffic_of_models(tmp_path: Path) -> None:
    db = await ran(tmp_path)
    traffic = Traffic()
    with Journal.open_readonly(db) as reader:
        traffic.read(reader)
    assert not list(traffic.asks)
