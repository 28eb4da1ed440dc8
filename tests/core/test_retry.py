"""What a `Retry` may be, and what it says to a failure."""

from __future__ import annotations

import math
from typing import Any

import pytest

from segue.core.faults import INTERRUPTED, classify
from segue.core.recovery import Again, Attempt, Fail, Reading, Retry
from segue.errors import DefinitionError


class Mine(Exception):
    pass


class Special(Mine):
    pass


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"attempts": 2.5}, "at least 1"),
        ({"attempts": "3"}, "at least 1"),
        ({"attempts": True}, "at least 1"),
        ({"backoff_s": math.nan}, "not negative"),
        ({"backoff_max_s": "60"}, "not negative"),
        ({"give_up_on": ValueError}, r"a tuple of errors\n  do: write give_up_on=\(MyError,\)"),
        ({"give_up_on": ("ValueError",)}, "a tuple of errors"),
    ],
)
def test_one_that_cannot_be_is_told_when_it_is_made(options: dict[str, Any], says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        Retry(**options)


@pytest.mark.parametrize(("error", "final"), [(Mine(), True), (Special(), True), (ConnectionResetError(), True),
                                              (KeyError(), False)])  # fmt: skip
def test_what_is_derived_from_a_final_error_is_final(error: Exception, final: bool) -> None:
    fault = classify(error)
    said = Retry(attempts=9, give_up_on=(Mine, ConnectionError))(fault, [Attempt(1, 1, 0.0, fault)], 0.5)
    assert isinstance(said, Fail if final else Again)


def test_a_thousand_attempts_wait_no_longer_than_the_most() -> None:
    fault = classify(ConnectionError())
    history = [Attempt(1, n, 0.0, fault) for n in range(3000)]
    assert Retry(attempts=9999)(fault, history, 1.0) == Again(60.0)


def test_what_crashes_cut_off_does_not_count_where_the_engine_only_reads() -> None:
    fault = classify(ConnectionError())
    cut = [Attempt(n, n, 0.0, INTERRUPTED) for n in range(1, 4)]
    reading = Reading(attempts=2)
    assert reading(INTERRUPTED, cut, 0.5) == Again(0.0)
    assert isinstance(reading(fault, [*cut, Attempt(4, 4, 0.0, fault)], 0.5), Again)
    assert reading(fault, [*cut, *[Attempt(n, n, 0.0, fault) for n in (4, 5)]], 0.5) == Fail()
    assert Retry(attempts=2)(INTERRUPTED, cut, 0.5) == Fail()
