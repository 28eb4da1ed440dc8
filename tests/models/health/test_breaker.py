"""A breaker opens on failures, tries again with one call, and is not fooled by calls from before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.faults import FaultKind
from segue.models.health.breaker import Breaker, BreakerRule, Verdict, began, ended, forgotten, verdict

RULE = BreakerRule()
OK, BAD, NOTHING = Verdict.ANSWERED, Verdict.FAILED, Verdict.NOTHING


def after(*said: Verdict, breaker: Breaker | None = None, now: float = 100.0, gap: float = 0.0) -> Breaker:
    breaker = breaker or Breaker()
    for each in said:
        breaker = ended(breaker, breaker.turn, each, now, luck=0.5, rule=RULE)
        now += gap
    return breaker


def test_five_failures_in_a_row_open_it() -> None:
    assert not after(*[BAD] * 4).is_open
    assert after(*[BAD] * 5).is_open
    assert not after(*[BAD] * 4, OK, *[BAD] * 4).is_open


def test_failures_that_come_before_the_answers_can_say_nothing_of_them() -> None:
    breaker = Breaker()
    for n in range(12):
        assert not breaker.is_open, f"{n} have failed at once, 12 may still be answered"
        breaker = ended(breaker, breaker.turn, BAD, 100.0, luck=0.5, rule=RULE, pending=12)
    assert breaker.is_open


def test_every_other_call_failing_opens_it() -> None:
    assert not after(*[OK, BAD] * 9).is_open
    assert after(*[OK, BAD] * 10).is_open


def test_a_failure_in_three_does_not() -> None:
    assert not after(*[OK, OK, BAD] * 200, gap=0.01).is_open


def test_failures_of_an_hour_ago_do_not_count() -> None:
    old = after(*[OK, BAD] * 9)
    assert not after(OK, BAD, breaker=old, now=3700.0).is_open


def test_one_probe_then_closed() -> None:
    breaker = after(*[BAD] * 5)
    assert breaker.wait_s(100.0) == 1.0
    assert breaker.wait_s(101.0) == 0.0
    probed = began(breaker, "me", 101.0, RULE)
    assert probed.wait_s(101.0) > 0
    assert probed.wait_s(101.0) <= 0.25, "its end is unknown: ask again soon"
    closed = ended(probed, probed.turn, OK, 102.0, luck=0.5, rule=RULE)
    assert closed.wait_s(102.0) == 0.0
    assert not closed.is_open
    assert closed.error_rate(102.0) == 0.0


def test_the_pause_doubles_while_probes_fail_and_has_an_end() -> None:
    breaker, now, pauses = after(*[BAD] * 5), 100.0, []
    for _ in range(10):
        pauses.append(breaker.wait_s(now))
        now += pauses[-1]
        breaker = began(breaker, "me", now, RULE)
        breaker = ended(breaker, breaker.turn, BAD, now, luck=0.5, rule=RULE)
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60, 60])


def test_soon_after_closing_it_pauses_longer_and_later_as_at_first() -> None:
    closed = Breaker(turn=2, openings=3, closed_at=100.0)
    assert after(*[BAD] * 5, breaker=closed, now=110.0).openings == 4
    assert after(*[BAD] * 5, breaker=closed, now=200.0).openings == 1


def test_a_probe_that_said_nothing_frees_the_place() -> None:
    probed = began(after(*[BAD] * 5), "me", 102.0, RULE)
    assert ended(probed, probed.turn, NOTHING, 102.0, luck=0.5, rule=RULE).wait_s(102.0) == 0.0
    assert forgotten(probed, "me").wait_s(102.0) == 0.0
    assert forgotten(probed, "another") == probed


@given(
    st.lists(
        st.tuples(st.sampled_from(["ask", "end", "wait"]), st.integers(0, 50), st.sampled_from(Verdict)), max_size=150
    )
)
def test_no_order_of_events_lets_two_probes_out(events: list[tuple[str, int, Verdict]]) -> None:
    breaker, now = Breaker(), 100.0
    calls: list[tuple[int, bool]] = []  # the turn that each call in flight began in, and whether it was open
    for what, number, said in events:
        if what == "ask" and breaker.wait_s(now) == 0.0:
            breaker = began(breaker, "me", now, RULE)
            calls.append((breaker.turn, breaker.is_open))
        elif what == "wait":
            now += number / 10
        elif what == "end" and calls:
            turn, _ = calls.pop(number % len(calls))
            was = breaker
            breaker = ended(breaker, turn, said, now, luck=0.5, rule=RULE)
            assert breaker == was or turn == was.turn, "an outcome of another turn changes nothing"
        probes = [c for c in calls if c == (breaker.turn, True)]
        assert len(probes) <= 1
        assert breaker.turn >= max((c[0] for c in calls), default=0)


@given(st.floats(0, 0.999), st.integers(0, 2000))
def test_pauses_are_spread_and_bounded(luck: float, openings: int) -> None:
    breaker = Breaker(is_open=True, openings=openings)
    pause = ended(breaker, 0, BAD, 100.0, luck=luck, rule=RULE).wait_s(100.0)
    assert 0.75 * RULE.pause_s <= pause <= 1.25 * RULE.pause_max_s


def test_who_answers_is_well_whatever_the_answer() -> None:
    assert {k for k in FaultKind if verdict(k) is BAD} == {
        FaultKind.RATE_LIMITED, FaultKind.OVERLOADED, FaultKind.TIMED_OUT, FaultKind.UNREACHABLE, FaultKind.TOOL_FAILED
    }  # fmt: skip
    assert verdict(None) is OK
    assert verdict(FaultKind.BAD_OUTPUT) is OK
    assert verdict(FaultKind.UNAUTHORISED) is NOTHING
