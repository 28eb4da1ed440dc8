"""`segue routes bench`: no request that is asked about is learned from, however a file writes it."""

from __future__ import annotations

from typing import Any

import pytest

from segue.errors import InputError
from segue.routing.benchmark import Row, left_out, many, pair


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
