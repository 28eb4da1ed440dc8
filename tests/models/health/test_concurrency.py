"""The limit of calls at a time falls fast, rises slowly, and stays within bounds."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from segue.models.health.concurrency import Adaptive, ConcurrencyRule, answered, pushed_back, restarted, silent_s

RULE = ConcurrencyRule()


MANY = 0.5
"""A share of pushbacks that is more than a provider's bad luck."""


def push(adaptive: Adaptive, in_flight: int, *, began: float = 0.0, now: float = 1.0) -> Adaptive:
    return pushed_back(adaptive, began=began, in_flight=in_flight, now=now, rule=RULE)


def answer(adaptive: Adaptive, in_flight: int, *, latency_s: float = 1.0, now: float = 10.0) -> Adaptive:
    return answered(adaptive, latency_s, began=now, in_flight=in_flight, now=now, rule=RULE)


def test_nothing_is_held_back_before_there_is_a_reason() -> None:
    assert Adaptive().places(None) is None
    assert Adaptive().places(7) == 7
    assert answer(Adaptive(), 500).places(None) is None


def test_pushbacks_halve_what_was_in_flight() -> None:
    assert push(Adaptive(pushed=MANY), 40).places(None) == 20
    assert push(Adaptive(limit=100.0, pushed=MANY), 40).places(None) == 20
    assert push(Adaptive(limit=10.0, pushed=MANY), 40).places(None) == 5


def test_a_few_pushbacks_cut_nothing() -> None:
    adaptive = Adaptive()
    for n in range(4):
        assert adaptive.places(None) is None, f"after {n}"
        adaptive = push(adaptive, 40)
    assert adaptive.places(None) == 20


def test_a_burst_of_pushbacks_cuts_once() -> None:
    adaptive = Adaptive()
    for left in range(43, 20, -1):
        adaptive = push(adaptive, left)
    assert adaptive.places(None) == 20
    for _ in range(4):
        adaptive = push(adaptive, 20, began=2.0, now=3.0)
    assert adaptive.places(None) == 10


def rounds(refused: Callable[[int, int], bool], demand: int, count: int = 4000) -> tuple[float, float]:
    """The mean number of calls at a time, and the share refused: calls in rounds, each as many as it lets through."""
    adaptive, calls, bad, many = Adaptive(), 0, 0, 0
    while calls < count:
        many, now = many + 1, 1.0 + many
        places = adaptive.places(demand) or demand
        for n in range(places):
            calls += 1
            if refused(n, calls):
                bad += 1
                adaptive = pushed_back(adaptive, began=now, in_flight=places, now=now + 0.5, rule=RULE)
            else:
                adaptive = answered(adaptive, 0.5, began=now, in_flight=places, now=now + 0.5, rule=RULE)
    return calls / many, bad / calls


def test_one_call_in_twelve_refused_by_chance_takes_no_places_away() -> None:
    chance = random.Random(3)
    at_a_time, _ = rounds(lambda _n, _calls: chance.random() < 1 / 12, demand=12)
    assert at_a_time > 10.5


def test_a_limit_that_nobody_told_is_found_and_used() -> None:
    at_a_time, share = rounds(lambda n, _calls: n >= 10, demand=40)
    assert 7 < at_a_time < 12
    assert share < 0.1


def test_it_rises_by_one_a_round() -> None:
    adaptive = push(Adaptive(pushed=MANY), 40)
    for _ in range(20):
        adaptive = answer(adaptive, 20)
    assert adaptive.places(None) == 20
    for _ in range(2):
        adaptive = answer(adaptive, 20)
    assert adaptive.places(None) == 21


def test_an_idle_limit_does_not_rise() -> None:
    adaptive = push(Adaptive(pushed=MANY), 40)
    assert answer(adaptive, 3).limit == adaptive.limit


def test_after_an_outage_it_doubles_up_to_half_of_before() -> None:
    adaptive = restarted(Adaptive(limit=40.0), 5.0)
    rounds: list[int] = []
    for _ in range(7):
        places = adaptive.places(None) or 0
        rounds.append(places)
        for _ in range(places):
            adaptive = answer(adaptive, places)
    assert rounds[:5] == [1, 2, 4, 8, 16]
    assert rounds[5:] == [20, 21]


def test_an_unlimited_one_is_unlimited_again_in_the_end() -> None:
    adaptive, calls = restarted(Adaptive(), 5.0), 0
    while adaptive.limit != math.inf:
        adaptive, calls = answer(adaptive, adaptive.places(None) or 1), calls + 1
    assert calls == RULE.most - 1


def test_a_rise_of_latency_under_load_takes_a_little() -> None:
    adaptive = Adaptive(limit=20.0, threshold=20.0)
    for _ in range(50):
        adaptive = answer(adaptive, 20, latency_s=1.0)
    before = adaptive.limit
    cut = adaptive
    for _ in range(20):
        cut = answer(cut, 20, latency_s=20.0, now=11.0)
        if cut.limit < before:
            break
    assert cut.limit == 17.0, "of the 20 in flight"
    idle = adaptive
    for _ in range(20):
        idle = answer(idle, 2, latency_s=20.0)
    assert idle.limit == before, "without load, slow answers are long answers"


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60), st.floats(0, 30)), max_size=200), st.integers(1, 50))
def test_it_stays_within_its_bounds(events: list[tuple[bool, int, float]], ceiling: int) -> None:
    adaptive, now = Adaptive(), 1.0
    for pushed, in_flight, latency in events:
        now += latency / 10
        if pushed:
            adaptive = push(adaptive, in_flight, began=now, now=now)
        else:
            adaptive = answer(adaptive, in_flight, latency_s=latency, now=now)
        places = adaptive.places(ceiling)
        assert places is not None
        assert 1 <= places <= ceiling


@given(st.lists(st.floats(0.01, 30), min_size=40, max_size=200))
def test_latency_alone_leaves_it_room(latencies: list[float]) -> None:
    adaptive = Adaptive(limit=50.0, threshold=50.0)
    for n, latency in enumerate(latencies):
        adaptive = answer(adaptive, 50, latency_s=latency, now=10.0 + n)
        assert adaptive.limit >= RULE.slow_floor


def test_silence_says_something_only_where_answers_were_known_and_several_wait() -> None:
    assert silent_s(10, None, RULE) == math.inf
    assert silent_s(2, 1.0, RULE) == math.inf
    assert silent_s(3, 1.0, RULE) == 4.0
    assert silent_s(3, 0.01, RULE) == 1.0
