"""Tables in a narrow terminal: names give way, numbers stay whole."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from segue.cli import paint
from segue.cli.budgets import budgets
from segue.cli.conversations import threads
from segue.cli.models import models
from segue.cli.route import route
from segue.journal.schema import migrate

LONG = "a-name-that-is-longer-than-what-a-narrow-terminal-has-left-for-it"
TOML = f"""
[models.{LONG}]
provider = "openai-compatible"
url = "http://127.0.0.1:9/v1"
window = 64_000
max_output = 4_000
price = {{ in = 0.10, out = 0.40 }}
quality = 0.6
"""


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paint, "PIPE_WIDTH", 80)


@pytest.fixture
def db(tmp_path: Path) -> str:
    path = str(tmp_path / "x.db")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    migrate(connection)
    account = "insert into accounts (kind, name, period, currency, spent_nano, held_nano, limit_nano)"
    connection.execute(f"{account} values ('ask', ?, '2026-11-27', 'USD', 5813, 7000, 5000000000)", (f"{LONG}#1",))
    run = (
        "insert into runs (id, tenant, flow, version, input_hash, seed, state, created_at, updated_at, thread)"
        " values ('r', 'default', 'f', 1, '', '', 'completed', ?1, ?1, ?2)"
    )
    connection.execute(run, (time.time() - 150, LONG))
    connection.close()
    return path


def test_the_scope_of_a_budget_gives_way_and_its_amounts_stay_whole(
    db: str, capsys: pytest.CaptureFixture[str]
) -> None:
    budgets(db, None, 50, False)
    row = capsys.readouterr().out.splitlines()[1]
    assert row.split()[1:] == ["2026-11-27", "5.000000", "0.000006", "0.000007", "0.000000", "4.999987"]
    assert "…" in row and len(row) <= 80


def test_the_name_of_a_thread_gives_way_to_its_numbers(db: str, capsys: pytest.CaptureFixture[str]) -> None:
    threads(db, 50, False)
    row = capsys.readouterr().out.splitlines()[1]
    assert "…" in row and row.split()[1:] == ["1", "2", "min", "ago"]


def test_the_name_of_a_model_gives_way_to_its_prices(
    db: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "segue.toml"
    config.write_text(TOML)
    models([], str(config), False, test=False, db=db)
    row = capsys.readouterr().out.splitlines()[1]
    assert "…" in row and row.split()[2:6] == ["64k", "4k", "0.1", "0.4"]
    route("hi", "cheapest", db, str(config), False)
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if line.startswith("→"))
    assert "…" in row and row.split()[-1] == "100%" and "$0.0000" in row
    assert "e-05" not in shown
    beneath = next(line for line in shown.splitlines() if "score" in line)
    assert beneath.startswith("   a-name") and beneath.rstrip().endswith("…  score -0.0000325; prior")
