"""Retry and lifecycle: bounds that hold for all inputs; faults that read back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.codec import dumps, loads
from segue.core.faults import INTERRUPTED, Fault, FaultKind, classify, rebuild
from segue.core.recovery import Again, Attempt, Retry
from segue.errors import BudgetExceeded, InputError, SegueError, StepFailed

seconds = st.floats(0, 1e6)
retries = st.builds(
    Retry, attempts=st.integers(1, 9), backoff_s=seconds, backoff_max_s=seconds, factor=st.floats(1, 1e3)
)
kinds = st.sampled_from(FaultKind)


@given(st.integers(1, 9))
def test_attempts_are_calls_kills_included(attempts: int) -> None:
    retry, history = Retry(attempts=attempts), [Attempt(1, 1, 0.0, INTERRUPTED)]
    while isinstance(retry(INTERRUPTED, history, 0.5), Again):
        history.append(Attempt(1, len(history) + 1, 0.0, INTERRUPTED))
    assert len(history) == attempts


arguments = st.lists(st.none() | st.booleans() | st.integers() | st.text(), max_size=3)


@given(st.sampled_from([ValueError, LookupError, KeyError, OSError, TimeoutError, ConnectionError]), arguments)
def test_an_error_reads_the_same_from_the_journal(kind: type[Exception], args: list[Any]) -> None:
    error = kind(*args)
    fault = classify(error)
    again = rebuild(Fault.read(loads(dumps(fault.body()))))
    assert again.args == error.args or isinstance(again, StepFailed)
    if type(again) is type(error):
        assert str(again) == str(error)


@pytest.mark.parametrize("kind", [InputError, BudgetExceeded])
def test_our_own_errors_keep_their_type_and_place(kind: type[SegueError]) -> None:
    error = kind("no", run="r", key="k", remedy="do")
    again = rebuild(Fault.read(loads(dumps(classify(error).body()))))
    assert type(again) is kind
    assert str(again) == str(error)


class Odd(Exception):
    def __init__(self, a: int, b: int):
        super().__init__("odd")

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_the_oddest_error_has_a_fault() -> None:
    fault = classify(Odd(1, 2))
    assert isinstance(rebuild(Fault.read(loads(dumps(fault.body())))), StepFailed)
