"""`segue routes bench many --leave-out`: a task that was never learned from, held to the best single model."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from segue.cli.routes import Asked, routes
from segue.errors import InputError
from segue.routing.benchmark import left_out, read

ANSWERS = {
    "sums": "add the numbers {} and {} and say what they come to",
    "poems": "write a short poem of a {} that met a {} in the rain",
    "maps": "which country lies between the river {} and the hill {}?",
    "bugs": "def f{}(x): return x[{}]  # why does it raise an error?",
    "codes": "zqx {} vbn {} qqz wwv",
}
"""On the last one alone the other model is right."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [
        {
            "id": f"{task}-{n}", "task": task, "prompt": prompt.format(n, 7 * n % 31),
            "scores": {"usual": float(task != "codes"), "other": float(task == "codes" or n % 3 == 0)}, "usd": None,
        }
        for task, prompt in ANSWERS.items()
        for n in range(40)
    ]  # fmt: skip
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    return path


def test_of_a_task_that_is_left_out_nothing_is_known_though_its_rows_are_in_the_file(file: Path) -> None:
    rows = read([file])
    said = left_out(rows, rows, ["codes", "poems"])["left_out"]
    assert list(said) == ["codes", "poems"]
    assert said["codes"] == {
        "rows": 40, "learned": 0.0, "best_single": 0.0, "model": "usual", "difference": 0.0, "low": 0.0, "high": 0.0,
        "moved": 0.0,
    }  # fmt: skip
    assert said["poems"]["learned"] == said["poems"]["best_single"] == 1.0


def test_each_in_turn_by_the_command_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked: dict[str, Any] = {"db": "x.db", "train": [str(file)], "test": [str(file)]}
    assert routes("bench", "many", Asked(**asked, leave_out=["all"], as_json=True)) == 0
    said = json.loads(capsys.readouterr().out)
    assert sorted(said["left_out"]) == sorted(ANSWERS) and said["about"]["models"] == ["other", "usual"]
    assert routes("bench", "many", Asked(**asked, leave_out=["codes"])) == 0
    assert "codes" in capsys.readouterr().out
    with pytest.raises(InputError, match="no test row is of the task 'songs'") as error:
        routes("bench", "many", Asked(**asked, leave_out=["songs"]))
    assert error.value.remedy == "one of bugs, codes, maps, poems, sums"
    with pytest.raises(InputError, match="left out of many"):
        routes("bench", "pair", Asked(**asked, leave_out=["codes"]))
