"""Requests and tokens per minute: as the provider counts, wherever its minute begins."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from segue.models.health.limits import DELAY_S, MINUTE, delay
from segue.models.health.window import Window
from tests.models.health.pools import Limits


def most_in_a_minute(events: list[tuple[float, int]]) -> int:
    """The largest sum within any 60 seconds; it begins with an event."""
    return max((sum(n for at, n in events if start <= at < start + 60.0) for start, _ in events), default=0)


@given(
    st.integers(1, 8),
    st.lists(st.tuples(st.floats(0, 20), st.floats(0, DELAY_S)), min_size=10, max_size=60),
)
def test_a_provider_never_sees_more_requests_in_any_minute(rpm: int, asks: list[tuple[float, float]]) -> None:
    minute, now = Window(), 1000.0
    arrived: list[tuple[float, int]] = []
    for after, on_its_way in asks:
        now += after
        minute = minute.at(now, MINUTE)
        if delay(Limits(rpm=rpm), minute, 0, 1, now).seconds == 0:
            minute = minute.add(1, 0, now, MINUTE)
            arrived.append((now + on_its_way, 1))
    assert most_in_a_minute(arrived) <= rpm


@given(
    st.integers(10, 100),
    st.lists(st.tuples(st.floats(0, 15), st.integers(1, 30), st.floats(0, 50), st.floats(0, 1)), max_size=50),
)
def test_tokens_hold_whenever_the_provider_counts_them(tpm: int, asks: list[tuple[float, int, float, float]]) -> None:
    minute, now = Window(), 1000.0
    open_calls: list[tuple[float, int]] = []
    counted: list[tuple[float, int]] = []
    for after, tokens, lasts, counted_at in asks:
        now += after
        for end, held in sorted(open_calls):
            if end <= now:
                minute = minute.add(0, held, end, MINUTE)
        open_calls = [c for c in open_calls if c[0] > now]
        minute = minute.at(now, MINUTE)
        if delay(Limits(tpm=tpm), minute, sum(c[1] for c in open_calls), tokens, now).seconds == 0:
            open_calls.append((now + lasts, tokens))
            counted.append((now + lasts * counted_at, tokens))
    assert most_in_a_minute(counted) <= tpm


@given(st.integers(1, 5), st.lists(st.floats(0, 3), min_size=5, max_size=30))
def test_the_wait_it_names_is_the_wait_it_takes(rpm: int, gaps: list[float]) -> None:
    minute, now = Window(), 1000.0
    for gap in gaps:
        now += gap
        minute = minute.at(now, MINUTE)
        wait = delay(Limits(rpm=rpm), minute, 0, 1, now).seconds
        if wait:
            just_before = now + max(wait - 0.002, 0.0)
            assert delay(Limits(rpm=rpm), minute.at(just_before, MINUTE), 0, 1, just_before).seconds > 0
            now += wait + 1e-6
            minute = minute.at(now, MINUTE)
            assert delay(Limits(rpm=rpm), minute, 0, 1, now).seconds == 0
        minute = minute.add(1, 0, now, MINUTE)


def test_the_whole_limit_can_be_used_at_once() -> None:
    minute = Window().add(59, 0, 1000.0, MINUTE)
    assert delay(Limits(rpm=60), minute, 0, 1, 1000.0).seconds == 0


def test_a_call_that_is_larger_than_the_limit_never_fits() -> None:
    refused = delay(Limits(tpm=100), Window(), 0, 101, 0.0)
    assert refused.seconds == math.inf
    assert "101 tokens" in refused.reason
    assert "100 tokens per minute" in refused.reason


def test_of_two_limits_the_longer_wait_is_named() -> None:
    minute = Window().add(5, 10, 1000.0, MINUTE).add(0, 90, 1030.0, MINUTE)
    named = delay(Limits(rpm=5, tpm=100), minute, 0, 50, 1031.0)
    assert named.reason == "100 tokens per minute"
    assert 60 <= named.seconds <= 64
