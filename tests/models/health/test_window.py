"""Counters over slots of time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from segue.models.health.window import Span, Window, merged

SPAN = Span(2.0, 6)
events = st.lists(
    st.tuples(st.floats(0, 5), st.integers(0, 5), st.integers(0, 100)), max_size=40
)  # seconds since the one before, and the counts


@given(events)
def test_what_happened_within_reach_is_counted_and_what_is_long_past_is_not(
    steps: list[tuple[float, int, int]],
) -> None:
    window, now = Window(), 100.0
    log: list[tuple[float, int, int]] = []
    for after, first, second in steps:
        now += after
        window = window.add(first, second, now, SPAN)
        log.append((now, first, second))
        seen = window.at(now, SPAN)
        sure = [e for e in log if e[0] > now - SPAN.reach_s]
        possible = [e for e in log if e[0] > now - SPAN.slot_s * SPAN.slots]
        assert sum(e[1] for e in sure) <= seen.first <= sum(e[1] for e in possible)
        assert sum(e[2] for e in sure) <= seen.second <= sum(e[2] for e in possible)
        assert len(seen.slots) <= SPAN.slots


@given(events, st.floats(0, 1))
def test_a_clock_that_reads_a_little_earlier_loses_nothing(steps: list[tuple[float, int, int]], back: float) -> None:
    window, now, total = Window(), 100.0, 0
    for after, first, _ in steps[:4]:
        now += after / 4
        window = window.add(first, 0, now - back, SPAN)
        total += first
    assert window.first == total
    assert [s[0] for s in window.slots] == sorted({s[0] for s in window.slots})


@given(st.lists(events, max_size=4))
def test_windows_merge_to_what_one_would_have_counted(several: list[list[tuple[float, int, int]]]) -> None:
    windows: list[Window] = []
    for steps in several:
        window = Window()
        for after, first, second in steps:
            window = window.add(first, second, after, Span(1.0, 1000))
        windows.append(window)
    whole = merged(windows)
    assert (whole.first, whole.second) == (sum(w.first for w in windows), sum(w.second for w in windows))
    assert [s[0] for s in whole.slots] == sorted({s[0] for s in whole.slots})
