"""`segue routes bench`: no request that is asked about is learned from, however a file writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segue.errors import InputError
from segue.routing.benchmark import Row, left_out, many, pair, read


def row(id: str, prompt: str, task: str = "sums") -> Row:
    right = float("hard" not in prompt)
    return Row(id, task, prompt, {"small": right, "large": 1.0}, {"small": 1.0, "large": 2.0})


TEST = [row("t-1", "what is one\n and one"), row("t-2", "a hard  one ")]
OTHER = [row("o-1", "what is two and two"), row("o-2", "another hard one")]


@pytest.mark.parametrize("measure", [pair, many])
@pytest.mark.parametrize(
    "same", [row("n-1", "  what is one and one"), row("n-2", "a hard\tone"), row("t-1", "What is 1 and 1?")]
)
def test_a_row_of_the_same_words_or_of_the_same_id_is_not_learned_from(measure: Any, same: Row) -> None:
    assert measure([*OTHER, same], TEST)["about"]["train_rows"] == 2
    with pytest.raises(InputError, match="all training rows are test rows too"):
        measure([same], TEST)


def test_a_row_counts_once_also_of_a_file_that_is_given_twice(tmp_path: Path) -> None:
    named = tmp_path / "named.jsonl"
    rows = [{"id": f"t-{n}", "task": "sums", "prompt": f"what is {n}?", "scores": {"small": 1}} for n in range(3)]
    named.write_text("\n".join(map(json.dumps, rows)))
    copied = tmp_path / "copied.jsonl"
    copied.write_bytes(named.read_bytes())
    once = [one.prompt for one in read([named])]
    assert once == ["what is 0?", "what is 1?", "what is 2?"]
    assert [one.prompt for one in read([named, named, copied, f"{tmp_path}/../{tmp_path.name}/named.jsonl"])] == once
    unnamed = tmp_path / "unnamed.jsonl"
    unnamed.write_text("\n".join(json.dumps({"prompt": "x", "scores": {"small": n}}) for n in range(2)))
    assert len(read([unnamed, f"{tmp_path}/../{tmp_path.name}/unnamed.jsonl"])) == 2, "two lines are two requests"


@pytest.mark.parametrize("measure", [pair, many])
@pytest.mark.parametrize(
    "other", [row("t-1", "which town is this?", "towns"), row("n-1", "what is one and two"), row("1", "a hard two")]
)
def test_a_row_of_another_request_is_learned_from(measure: Any, other: Row) -> None:
    assert measure([*OTHER, other], [*TEST, row("1", "what is nine?")])["about"]["train_rows"] == 3


def test_of_a_task_left_out_no_row_of_the_same_words_is_learned_from_under_another_task() -> None:
    same = [row("n-1", "what is one and one", "else"), row("n-2", "a hard one", "else")]
    with pytest.raises(InputError, match="without sums there are no training rows"):
        left_out(same, TEST, ["sums"])
