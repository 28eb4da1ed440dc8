"""Retry and lifecycle: bounds that hold for all inputs; faults that read back."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.codec import dumps, loads
from segue.core.faults import INTERRUPTED, PERMANENT, Fault, FaultKind, classify, rebuild
from segue.core.lifecycle import ENDED, OPEN, RunState, allowed
from segue.core.recovery import Again, Attempt, Fail, Retry
from segue.errors import BudgetExceeded, InputError, SegueError, StepFailed

seconds = st.floats(0, 1e6)
retries = st.builds(
    Retry, attempts=st.integers(1, 9), backoff_s=seconds, backoff_max_s=seconds, factor=st.floats(1, 1e3)
)
kinds = st.sampled_from(FaultKind)


@given(retries, kinds, st.integers(1, 12), st.floats(0, 1, exclude_max=True), st.none() | seconds)
def test_retry_keeps_its_bounds(retry: Retry, kind: FaultKind, made: int, luck: float, after_s: float | None) -> None:
    fault = Fault(kind, "m:E", "x", retry_after_s=after_s)
    history = [Attempt(1, n + 1, 0.0, fault) for n in range(made)]
    answer = retry(fault, history, luck)
    if made >= retry.attempts or kind in PERMANENT:
        assert answer == Fail()
        return
    assert isinstance(answer, Again)
    assert 0 <= answer.after_s < math.inf
    assert answer.after_s <= max(retry.backoff_max_s, after_s or 0.0)
    if kind is not FaultKind.INTERRUPTED:
        assert answer.after_s >= (after_s or 0.0)


@given(st.integers(1, 9))
def test_attempts_are_calls_kills_included(attempts: int) -> None:
    retry, history = Retry(attempts=attempts), [Attempt(1, 1, 0.0, INTERRUPTED)]
    while isinstance(retry(INTERRUPTED, history, 0.5), Again):
        history.append(Attempt(1, len(history) + 1, 0.0, INTERRUPTED))
    assert len(history) == attempts


@given(st.sampled_from(RunState), st.sampled_from(RunState))
def test_ends_are_final(before: RunState, after: RunState) -> None:
    if before in ENDED:
        assert not allowed(before, after)
    assert OPEN | ENDED == set(RunState)
    assert not OPEN & ENDED


@pytest.mark.parametrize("state", sorted(OPEN))
def test_every_open_run_can_end(state: RunState) -> None:
    assert allowed(state, RunState.CANCELLED)


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
