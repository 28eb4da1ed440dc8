"""`segue budgets` and the cost of a run: what the journal says of money, for people and for programs."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from segue import RunCancelled
from segue.cli.budgets import budgets
from segue.cli.exits import Exit
from segue.cli.shelf import reading, standing_of
from segue.cli.showing import run_json, show
from segue.errors import InputError
from segue.journal.schema import migrate
from segue.testing.provider import serve
from tests.agent.test_money import SMALL, billed, free_of_budgets, model, one, opened


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")


async def test_how_budgets_stand_and_what_a_run_has_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db = str(tmp_path / "x.db")
    async with serve(["small"]) as server, opened(tmp_path, model("small", SMALL, server)) as engine:
        await (await engine.start(free_of_budgets, "Which city?", id="free")).result()
        unheld = billed(server)
        await (await engine.start(one, "Which city?", id="r")).result()
        cost = billed(server) - unheld
        server.next("small", "answer-lost")
        await (await engine.start(one, "Which other city?", id="lost")).result()
    assert budgets(db, None, 50, True) is Exit.DONE
    lost, first = json.loads(capsys.readouterr().out)
    assert (first["scope"], first["name"], first["limit_usd"], first["held_usd"]) == ("run", "r", 0.02, 0)
    assert first["spent_usd"] == pytest.approx(cost / 1e9)
    assert first["left_usd"] == pytest.approx(0.02 - cost / 1e9)
    assert lost["spent_usd"] > lost["estimated_usd"] > 0
    budgets(db, "run", 50, False)
    assert "run:lost" in capsys.readouterr().out
    with pytest.raises(InputError, match="one of: tenant"):
        budgets(db, "purse", 50, False)
    with reading(db) as reader:
        told = {
            name: run_json(standing_of(reader, reader.get(name)), 0.0, lambda *_: "") for name in ("free", "r", "lost")
        }
    assert told["free"]["cost_usd"] == pytest.approx(unheld / 1e9)
    assert told["r"]["cost_usd"] == first["spent_usd"]
    assert (told["lost"]["cost_usd"], told["lost"]["cost_estimated_usd"]) == (lost["spent_usd"], lost["estimated_usd"])
    show(db, "lost", None, False, False)
    assert "of it estimated" in capsys.readouterr().out


async def test_who_holds_money_is_said_and_how_that_of_the_dead_is_freed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db, copy = str(tmp_path / "x.db"), str(tmp_path / "copy.db")
    async with serve(["small"]) as server, opened(tmp_path, model("small", SMALL, server)) as engine:
        server.next("small", "silent")
        run = await engine.start(one, "Which city?", id="r")
        while not [e async for e in run.events(follow=False) if e.type == "usage.reserved"]:
            await asyncio.sleep(0.01)
        assert budgets(db, None, 50, True) is Exit.DONE
        (stands,) = json.loads(capsys.readouterr().out)
        (holder,) = stands["held_by"]
        assert (holder["run"], holder["state"], holder["calls"]) == ("r", "running", 1)
        assert holder["usd"] == stands["held_usd"] > 0
        budgets(db, None, 50, False)
        assert "for 1 call: it is running." in capsys.readouterr().err
        with closing(sqlite3.connect(db)) as source, closing(sqlite3.connect(copy)) as left:
            source.backup(left)  # as a process leaves it that was killed
        budgets(copy, None, 50, False)
        told = capsys.readouterr().err
        assert "for 1 call, and is interrupted." in told
        assert "segue resume r" in told
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
    assert budgets(db, None, 50, False) is Exit.DONE
    assert "holds" not in capsys.readouterr().err


def test_no_budgets_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "x.db")
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("pragma journal_mode = wal")
    migrate(database)
    database.close()
    assert budgets(path, None, 50, False) is Exit.DONE
    assert "No budgets" in capsys.readouterr().err
