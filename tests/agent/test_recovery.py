"""What follows a failed call: pure, so it is asked without a model."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from segue.agent.failures import has_failed, so_far
from segue.agent.recorded import Recorded
from segue.agent.recovery import Policy, Recover, Refused
from segue.agent.request import Question
from segue.core.faults import INTERRUPTED, Fault, FaultKind
from segue.core.records import AttemptEnd, Decision
from segue.core.recovery import Amend, Answer, Attempt, Fail, Use
from segue.models import Model, Provider
from segue.models.signals import made
from segue.runtime.scope import StepScope

QUESTION = Question(prompt="Which?")


NONE: Mapping[str, int] = {}


def recover(
    *names: str,
    attempts: int | None = 4,
    spare: Collection[str] = (),
    question: Question = QUESTION,
    refused: Refused = "fail",
    ready: Mapping[str, float] | None = None,
    broken: Collection[str] = (),
) -> Recover:
    """Over models in this order, from the smallest window on; those in `spare` have another deployment. `ready` are
    seconds until a model takes calls again: as long as it does not, it is no other.
    """
    ready = ready or {}

    def others(tried: Mapping[str, str], left_nano: int | None = None, small: Mapping[str, int] = NONE) -> str | None:
        affordable = names if left_nano is None else names[-1:]
        larger = affordable[max((affordable.index(name) + 1 for name in small), default=0) :]
        return next((name for name in larger if name not in tried and not ready.get(name)), None)

    class Doors:
        def resting(self, tried: Mapping[str, str], left_nano: int | None = None, /) -> list[str]:
            return [name for name in names if name not in tried and ready.get(name)]

        def pays(self, model: str, left_nano: int, /) -> bool:
            return model in names[-1:]

        def broken(self, model: str, refused: Collection[str], /) -> bool:
            return model in broken

        def spare(self, model: str, failed: Collection[str], /) -> bool:
            return model in spare and len(failed) < 2

        def ready_in(self, model: str, refused: Collection[str], /) -> float:
            return math.inf if refused and (model not in spare or len(refused) > 1) else ready.get(model, 0.0)

    return Recover(Policy(attempts=attempts, refused=refused), question, others, Doors())


def failed(kind: FaultKind = FaultKind.OVERLOADED, model: str = "a", **state: Any) -> Fault:
    return made(kind, "no", model=model, **state)


def after(*faults: Fault) -> list[Attempt]:
    return [Attempt(1, n, 0.0, fault) for n, fault in enumerate(faults, 1)]


def test_attempts_bound_the_calls_that_were_made() -> None:
    faults = [failed()] * 4
    assert recover("a", "b")(faults[-1], after(*faults), 0.5) == Fail()
    assert recover("a", "b")(faults[-1], after(*faults[:3]), 0.5) == Use("b")


def test_how_often_was_asked_is_said_in_words_also_where_nothing_was_sent() -> None:
    waits = failed(FaultKind.RATE_LIMITED, unsent=1)
    assert so_far([]) == ""
    assert so_far(after(failed()), seconds=6) == " (1 call in 6 s)"
    assert so_far(after(failed(), failed()), seconds=6) == " (2 calls in 6 s)"
    assert so_far(after(waits, waits), seconds=6) == " (nothing was sent in 6 s)"


def test_waiting_for_a_place_is_no_call_however_often() -> None:
    waits = failed(FaultKind.RATE_LIMITED, unsent=1)
    assert recover("a", "b")(waits, after(waits), 1.0) == Use("b")
    assert recover("a", "b")(waits, after(*[waits] * 6), 1.0) == Use("b", 4.0)
    assert isinstance(recover("a", "b", attempts=2)(waits, after(*[waits] * 99), 0.5), Use)
    assert recover("a", ready={"a": 60.0})(waits, after(*[waits] * 99), 1.0) == Use("a", 60.0), (
        "no longer than it takes"
    )
    assert recover("a", ready={"a": 0.2})(waits, after(*[waits] * 99), 1.0) == Use("a", 5.0), "nor again and again"


def at(*faults: tuple[float, Fault], planned_s: float = 1e9) -> list[Attempt]:
    """Attempts that failed at these times, each followed by a pause until the next one, of so much at most."""
    ends = [*(when for when, _ in faults[1:]), faults[-1][0]]
    return [
        Attempt(1, n, when, fault, Use("a", min(until - when, planned_s)), when)
        for n, ((when, fault), until) in enumerate(zip(faults, ends, strict=True), 1)
    ]


def test_open_breakers_alone_are_waited_for_longer_than_an_outage_and_not_for_ever() -> None:
    """What others find out by their probes is no call of this question."""
    fails, waits = failed(FaultKind.UNREACHABLE), failed(unsent=1, broken=1)
    down = recover("a", "b", attempts=8, ready={"a": 16.0, "b": 20.0}, broken="ab")
    assert down(waits, at((0, fails), (60, waits)), 0.0) == Use("a", 16.0)
    assert down(waits, at((0, fails), (60, waits), (152, waits)), 0.0) == Fail()
    another = recover("a", "b", attempts=8, ready={"a": 16.0, "b": 70.0}, broken="a")
    assert another(waits, at((0, waits), (152, waits)), 0.0) == Use("a", 16.0), "the other one only asked for a pause"
    queued = at((0, failed(FaultKind.RATE_LIMITED, unsent=1)), (600, waits), (616, waits))
    assert down(waits, queued, 0.0) == Use("a", 16.0), "it stood in a queue before"


@pytest.mark.parametrize(("kind", "state"), [
    (FaultKind.OVERLOADED, {"status": 503}), (FaultKind.RATE_LIMITED, {"status": 429}), (FaultKind.UNREACHABLE, {}),
    (FaultKind.UNREACHABLE, {"unconnected": 1}), (FaultKind.TIMED_OUT, {"unconnected": 1}),
    (FaultKind.TIMED_OUT, {"status": 504}), (FaultKind.UNREACHABLE, {"within": 1}),
])  # fmt: skip
def test_calls_that_were_turned_away_are_bounded_by_time(kind: FaultKind, state: dict[str, int]) -> None:
    away, ask = failed(kind, "a", **state), recover("a", attempts=None)
    fifteen = [(10.0 * n, away) for n in range(15)]
    assert isinstance(ask(away, at(*fifteen), 0.5), Use), "for 140 seconds"
    assert ask(away, at(*fifteen, (150.0, away)), 0.5) == Fail()
    assert isinstance(ask(away, at(*[(30.0 * n, away) for n in range(7)]), 0.5), Use), "and eight calls at least"
    assert isinstance(ask(away, after(*[away] * 39), 0.5), Use)
    assert ask(away, after(*[away] * 41), 0.5) == Fail(), "nor without bound, whatever stands between them"
    told = recover("a", attempts=3)
    assert ask(away, after(*[away] * 3), 0.5) != Fail() == told(away, after(*[away] * 3), 0.5), "a number that is said"


@pytest.mark.parametrize("paid", [
    failed(FaultKind.TIMED_OUT), failed(FaultKind.UNREACHABLE, half=1), failed(FaultKind.OVERLOADED, begun="Once"),
])  # fmt: skip
def test_calls_that_may_have_cost_something_are_counted(paid: Fault) -> None:
    ask, away = recover("a", "b", attempts=None), failed(FaultKind.UNREACHABLE, "b")
    assert isinstance(ask(paid, after(*[away] * 9, *[paid] * 7), 0.5), Use)
    assert ask(paid, after(*[away] * 9, *[paid] * 8), 0.5) == Fail()


def test_time_in_which_nobody_ran_is_no_outage() -> None:
    """The run was killed, or paused, or the machine slept: more than the pause that was planned is not counted."""
    away, ask = failed(FaultKind.UNREACHABLE), recover("a", attempts=None)
    history = at(*[(0.5 * n, away) for n in range(8)], (160.0, away), (165.0, away), planned_s=5.0)
    assert isinstance(ask(away, history, 0.5), Use)
    waits = failed(unsent=1, broken=1)
    assert isinstance(
        recover("a", broken="a", ready={"a": 1.0})(waits, at((0, waits), (160, waits), planned_s=5), 0), Use
    )


@pytest.mark.parametrize("names", ["a", "ab", "abc"])
def test_the_pause_grows_with_every_call_beyond_the_first_of_each_model(names: str) -> None:
    """One more model made it shorter: each had failures of its own."""
    ask = recover(*names, attempts=None)
    first = [failed(model=name) for name in names]
    for times, most in enumerate([0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]):
        faults = [*first, *(failed(model=names[n % len(names)]) for n in range(times))]
        said = ask(faults[-1], after(*faults), 1.0)
        assert isinstance(said, Use) and said.after_s == most


def test_another_deployment_comes_before_another_model() -> None:
    east, west = failed(deployment="east"), failed(deployment="west")
    assert recover("a", "b", spare=["a"])(east, after(east), 0.5) == Use("a")
    assert recover("a", "b", spare=["a"])(west, after(east, west), 0.5) == Use("b")
    bad = failed(FaultKind.BAD_OUTPUT, deployment="east")
    assert not isinstance(recover("a", "b", spare=["a"])(bad, after(bad), 0.5), Use), "the weights are the same"


def test_a_budget_that_refuses_asks_for_one_that_fits() -> None:
    refused = failed(FaultKind.BUDGET_EXCEEDED, left_nano=5)
    assert recover("a", "b", "cheap")(refused, after(refused), 0.5) == Use("cheap")
    again = failed(FaultKind.BUDGET_EXCEEDED, model="cheap", left_nano=5)
    assert recover("a", "b", "cheap")(again, after(refused, again), 0.5) == Fail()


def test_who_had_bad_luck_is_asked_again_where_nobody_else_can_be_paid() -> None:
    unlucky, dear = failed(model="cheap"), failed(FaultKind.BUDGET_EXCEEDED, left_nano=5)
    assert recover("a", "cheap")(dear, after(unlucky, dear), 1.0) == Use("cheap", 0.25)
    paused = failed(FaultKind.RATE_LIMITED, model="cheap", retry_after_s=9)
    assert recover("a", "cheap", ready={"cheap": 9.0})(dear, after(paused, dear), 1.0) == Use("cheap", 9.0)
    rests = recover("a", "cheap", ready={"cheap": 9.0})
    assert rests(dear, after(dear), 1.0) == Use("cheap", 9.0), "whoever was never tried is waited for, too"
    assert recover("a", "b", "cheap")(dear, after(failed(model="b"), dear), 1.0) == Use("cheap")
    shut = failed(FaultKind.UNAUTHORISED, model="cheap")
    assert recover("a", "cheap")(dear, after(shut, dear), 1.0) == Fail()


def test_whoever_fits_once_what_is_held_is_settled_is_waited_for() -> None:
    """The one that was refused would not fit even then: another one, which only rests or had bad luck, does."""

    class Doors:
        def resting(self, tried: Mapping[str, str], left_nano: int | None = None, /) -> list[str]:
            return []

        def broken(self, model: str, refused: Collection[str], /) -> bool:
            return False

        def spare(self, model: str, failed: Collection[str], /) -> bool:
            return False

        def pays(self, model: str, left_nano: int, /) -> bool:
            return left_nano >= {"cheap": 5, "dear": 50}[model]

        def ready_in(self, model: str, refused: Collection[str], /) -> float:
            return 9.0

    recovery = Recover(Policy(), QUESTION, lambda *_: None, Doors())
    unlucky = failed(FaultKind.RATE_LIMITED, model="cheap", retry_after_s=9)

    def then(**state: int) -> Answer:
        refused = failed(FaultKind.BUDGET_EXCEEDED, model="dear", **state)
        return recovery(refused, after(unlucky, refused), 1.0)

    assert then(left_nano=1, held_nano=4) == Use("cheap", 9.0)
    assert then(left_nano=1, held_nano=3) == Fail(), "nor would it fit"
    assert then(left_nano=1) == Fail(), "nothing is held"


def test_nobody_is_waited_for_who_cannot_be_paid_with_what_is_left() -> None:
    tight = Question(prompt="Which?", budget_usd=0.01)
    ask = recover("dear", "a", question=tight, attempts=9, ready={"dear": 1.0})
    assert ask(failed(), after(failed()), 1.0) == Use("a", 0.25)


def followed(*pairs: tuple[Fault, Answer | None]) -> list[Attempt]:
    return [Attempt(1, n, 0.0, fault, answer) for n, (fault, answer) in enumerate(pairs, 1)]


def test_who_refused_is_not_asked_again() -> None:
    ask = recover("a", "b", attempts=9, refused="next")
    one, two = failed(FaultKind.CONTENT_REFUSED), failed(FaultKind.CONTENT_REFUSED, "b")
    assert ask(one, after(one), 0.5) == Use("b", 0.0)
    assert ask(two, after(one, two), 0.5) == Fail()
    unwell = failed(model="b")
    assert ask(unwell, after(one, unwell), 1.0) == Use("b", 0.25), "another round passes over who has refused"


def test_whoever_broke_off_does_not_go_on_from_what_it_said() -> None:
    """To a consumer that cannot be told to forget: another one goes on from it, or it has failed."""
    cut = made(FaultKind.UNREACHABLE, "cut", model="a", released=5, begun="Once upon")
    assert recover("a", attempts=9)(cut, after(cut), 0.5) == Fail()
    goes_on = recover("a", "b", attempts=9)(cut, after(cut), 0.5)
    assert isinstance(goes_on, Amend) and goes_on.changes["question"]["first"] == "b"


@pytest.mark.parametrize(("asked_s", "who"), [(20, "b"), (600, "a")])
def test_a_short_pause_is_waited_for_and_a_long_one_is_not_slept_through(asked_s: int, who: str) -> None:
    ask = recover("a", "b", attempts=9)
    wrong = [failed(FaultKind.BAD_OUTPUT)] * 3
    busy = failed(FaultKind.RATE_LIMITED, "b", retry_after_s=asked_s)
    history = [*(Attempt(1, n, 0.0, one, Amend({})) for n, one in enumerate(wrong, 1)), Attempt(1, 4, 0.0, busy)]
    said = ask(busy, history, 1.0)
    assert isinstance(said, Use) and said.candidate == who
    assert (said.after_s == asked_s) is (who == "b")


def test_of_a_pause_counts_what_is_left_when_all_have_failed() -> None:
    ask = recover("a", attempts=9)  # b is not offered, as long as it is to be left alone
    busy, wrong = failed(FaultKind.RATE_LIMITED, "b", retry_after_s=20), failed(FaultKind.BAD_OUTPUT)
    mended = [Attempt(1, n, 100.0, wrong, Amend({}), 100.0 + 5 * n) for n in (2, 3)]
    history = [Attempt(1, 1, 0.0, busy, Use("a"), 100.0), *mended, Attempt(1, 4, 110.0, wrong, None, 116.0)]
    said = ask(wrong, history, 0.0)
    assert isinstance(said, Amend) and (said.changes["question"]["first"], said.after_s) == ("b", 4.0)


def test_of_several_pauses_the_shortest_is_waited_for_whoever_failed_last() -> None:
    long, short = failed(FaultKind.RATE_LIMITED, retry_after_s=25), failed(FaultKind.RATE_LIMITED, "b", retry_after_s=1)
    for first, last in ((long, short), (short, long)):
        ask = recover("a", "b", attempts=9, ready={"a": 25.0, "b": 1.0})
        assert ask(last, after(first, last), 0.0) == Use("b", 1.0)
    both = recover("a", "b", attempts=9, ready={"a": 40.0, "b": 41.0})  # longer than patience: nobody else can answer
    assert both(short, after(long, short), 0.0) == Use("a", 40.0)


def test_a_pause_of_more_than_a_day_is_not_believed() -> None:
    asked = failed(FaultKind.RATE_LIMITED, retry_after_s=999_999)
    assert recover("a")(asked, after(asked), 0.0) == Use("a", 86_400.0)


def test_whoever_was_never_tried_is_waited_for_too() -> None:
    ask = recover("a", "b", attempts=9, ready={"b": 2.0})
    refused = failed(FaultKind.UNAUTHORISED, deployment="a")
    assert ask(refused, after(refused), 0.0) == Use("b", 2.0)


def test_one_that_may_count_otherwise_is_asked_again_where_the_last_window_was_too_small() -> None:
    ask = recover("a", "b", attempts=9)
    blip, small = failed(), failed(FaultKind.CONTEXT_TOO_LONG, "b")
    assert ask(small, after(blip, small), 0.0) == Use("a", 0.0)
    assert ask(small, after(failed(FaultKind.CONTEXT_TOO_LONG), small), 0.0) == Fail()


def test_the_pause_of_a_pool_grows_with_every_call_beyond_the_first_of_each_deployment() -> None:
    ask = recover("a", attempts=20)
    faults = [failed(deployment=name) for name in ("east", "west", "north")]
    assert ask(faults[-1], after(*faults), 1.0) == Use("a", 0.25)
    assert ask(faults[-1], after(*faults, faults[0]), 1.0) == Use("a", 0.5)
    assert ask(faults[-1], after(*faults, *faults), 1.0) == Use("a", 2.0)


def test_one_refused_key_of_a_pool_is_not_the_whole_model() -> None:
    """Nor does it hide a pause that another deployment has asked for."""
    ask = recover("a", attempts=9, spare=["a"])
    shut = failed(FaultKind.UNAUTHORISED, deployment="east")
    paused = failed(FaultKind.RATE_LIMITED, deployment="west", retry_after_s=3)
    for history in (after(shut, paused), after(paused, shut)):
        fault = history[-1].fault
        assert fault is not None and ask(fault, history, 0.0) == Use("a", 3.0)
    west = failed(FaultKind.UNAUTHORISED, deployment="west")
    assert ask(west, after(paused, shut, west), 0.0) == Fail()


def test_a_window_that_was_too_small_is_not_tried_again_with_the_same_question() -> None:
    ask = recover("a", "b", attempts=9, question=Question(prompt="Which?", parts=["x" * 9000]))
    small, unwell = failed(FaultKind.CONTEXT_TOO_LONG), failed(model="b")
    assert ask(small, after(small), 0.5) == Use("b")
    assert ask(unwell, after(small, unwell), 1.0) == Use("b", 0.25), "nothing is cut while somebody may take it whole"


def test_only_larger_windows_are_asked_and_then_the_parts_are_cut_to_an_eighth() -> None:
    ask = recover("a", "b", attempts=9, question=Question(prompt="Which?", parts=["x" * 90_000]))
    small = failed(FaultKind.CONTEXT_TOO_LONG, "b")
    told: list[tuple[Fault, Answer | None]] = []
    sizes: list[int] = []
    for _ in range(3):
        answer = ask(small, followed(*told, (small, None)), 0.5)
        assert isinstance(answer, Amend)
        assert answer.changes["question"]["first"] == "b"
        sizes.append(len(answer.changes["question"]["parts"][0]))
        told.append((small, answer))
    assert [round(90_000 / size) for size in sizes] == [2, 4, 8]
    assert ask(small, followed(*told, (small, None)), 0.5) == Use("a"), "the smaller one may count otherwise"
    last = failed(FaultKind.CONTEXT_TOO_LONG)
    assert ask(last, followed(*told, (small, Use("a")), (last, None)), 0.5) == Fail()


def test_a_limit_per_minute_says_nothing_of_the_window() -> None:
    ask = recover("a", "b", attempts=9)
    limited = failed(FaultKind.CONTEXT_TOO_LONG, "b", limit="tokens per minute")
    assert ask(limited, after(limited), 0.5) == Use("a")


def test_an_answer_cut_at_all_that_a_model_can_write_goes_to_another_with_more_room() -> None:
    ask = recover("a", "b")
    cut = failed(FaultKind.BAD_OUTPUT, limit="max tokens")
    again = ask(cut, after(cut), 0.5)
    assert isinstance(again, Amend)
    assert (again.changes["question"]["first"], again.changes["question"]["max_tokens"]) == ("a", 2048)
    full = failed(FaultKind.BAD_OUTPUT, limit="max tokens", full=1)
    other = ask(full, after(full), 0.5)
    assert isinstance(other, Amend)
    assert (other.changes["question"]["first"], other.changes["question"]["max_tokens"]) == ("b", 2048)


def test_a_retry_is_a_call_of_who_has_failed_and_a_repair_is_none() -> None:
    assert has_failed("a", after(failed()))
    assert not has_failed("b", after(failed()))
    assert not has_failed("a", after(failed(unsent=1)))
    assert not has_failed("a", after(failed(), failed(FaultKind.BAD_OUTPUT)))


CRASHED = (INTERRUPTED, Use("a"))


@pytest.mark.parametrize(
    ("before", "model", "why"),
    [
        ([CRASHED], "a", "retry"),
        ([CRASHED, CRASHED], "a", "retry"),
        ([(failed(), Use("b")), (INTERRUPTED, Use("b"))], "b", "retry"),
        ([(failed(), Use("b")), (INTERRUPTED, Use("c"))], "c", "fallback"),
        ([(failed(), Use("b"))], "b", "fallback"),
    ],
)
def test_who_is_asked_again_after_a_crash_is_no_fallback(
    before: list[tuple[Fault, Answer | None]], model: str, why: str
) -> None:
    """An attempt that a crash cut off does not say whom it had asked: the Recovery's word before it does."""
    scope = StepScope("r", "ask", len(before) + 1, followed(*before))
    nobody = Decision(id="d", policy="p", policy_version="1", candidates=(), choice=None)
    asked = Model(
        name=model, provider=Provider.OPENAI_COMPATIBLE, id=model, url="http://localhost", window=1, max_output=1
    )
    assert Recorded(scope, nobody, asked, QUESTION).made(AttemptEnd.ANSWERED).why == why


def test_what_no_adapter_could_read_is_shown_to_nobody() -> None:
    unread, wrong = failed(FaultKind.BAD_OUTPUT, unread=1), failed(FaultKind.BAD_OUTPUT)
    again = recover("a", "b")(unread, after(unread), 0.5)
    assert isinstance(again, Amend)
    assert (again.changes["question"]["first"], again.changes["question"]["mistakes"]) == ("a", [])
    mended = [Attempt(1, n, 0.0, unread, again) for n in (1, 2)]
    onward = recover("a", "b")(unread, [*mended, Attempt(1, 3, 0.0, unread)], 0.5)
    assert isinstance(onward, Amend)
    assert (onward.changes["question"]["first"], onward.changes["question"]["mistakes"]) == ("b", [])
    shown = recover("a", "b")(wrong, after(wrong), 0.5)
    assert isinstance(shown, Amend)
    assert shown.changes["question"]["mistakes"] == ["no"]
