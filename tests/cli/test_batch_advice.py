"""What is said of a run that waits for a batch: where it may be, what went wrong, and what a retry costs."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segue.cli.advice import _sent  # pyright: ignore[reportPrivateUsage]
from segue.cli.waits import Advice, wait
from segue.journal import Item
from segue.models.batches import Item as Question
from segue.models.batches import Outbox
from segue.models.batches.outbox import Group, progress

NOW = 1_000_000.0


def say(*words: object) -> str:
    return " ".join(map(str, words))


def advice(outbox: Path, due_at: float = NOW + 3600.0) -> Advice:
    far = progress(outbox, "r", "ask[1]")
    waits: dict[str, Any] = {"service": "a batch of openai", "key": "ask[1]", "due_at": due_at}
    return wait({**waits, "batch": None if far is None else far._asdict()}, "r", NOW, say)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An outbox with one question, in a batch."""
    box = Outbox(tmp_path / "x.db-batches")
    box.add(Question("q", "r", "ask[1]", 1, "m", "d", "{}", "{}", "{}", NOW), 100)
    box.release("r", "ask[1]", 1)
    box.form("b", Group("m", "d", 1, NOW, NOW), ["q"])
    box.close()
    return tmp_path / "x.db-batches"


def noted(path: Path, **values: Any) -> None:
    box = Outbox(path)
    box.change("b", **values)
    box.close()


def test_one_that_is_collected_costs_nothing_to_take_back(path: Path) -> None:
    says, ((_, why),) = advice(path)
    assert "which is still collected; it goes on without it in" in says
    assert why == "to take it back and ask again"


def test_one_that_the_provider_may_have_may_be_paid_twice(path: Path) -> None:
    noted(path, tried_at=NOW, looks=3, complaint="m: 500 The server had an error\n  do: wait")
    says, ((_, why),) = advice(path)
    assert "waits for a batch of openai, which the provider may have, and has not said so; it goes on" in says
    assert says.endswith(" It met last: m: 500 The server had an error.")
    assert why.endswith(", which may be paid twice")


def test_what_was_wrong_with_the_last_look_is_said(path: Path) -> None:
    noted(path, tried_at=NOW, sent_at=NOW, complaint="m: KA is not set in the environment (process 7)")
    says, ((_, why),) = advice(path)
    assert "0 of 1 done; it goes on without it in" in says
    assert says.endswith(" It met last: m: KA is not set in the environment (process 7).")
    assert why.endswith(", which is paid twice")


def test_a_time_that_is_over_is_said_as_such(path: Path) -> None:
    assert advice(path, NOW - 4.0).says.endswith("; its time was over 4 s ago.")


def test_a_file_that_nobody_has_brought_forward_is_read(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("alter table batches drop column complaint")
    database.close()
    assert "which is still collected" in advice(path).says


def test_an_answer_that_nobody_has_read_is_no_decision() -> None:
    class Standing:
        state, attended, row = "parked", True, SimpleNamespace(state="parked", id="r")

    item = Item(1, "r", "decide", "ask[1]?1", "ask[1]", NOW - 19.0, b"{}", b'{"word": "result", "by": "segue:batch"}')
    said: Any = _sent(item, Standing(), NOW, say)  # pyright: ignore[reportArgumentType]
    assert said.says == "The batch has answered ask[1] 19 s ago; nobody has read it yet."
