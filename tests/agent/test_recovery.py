"""What follows a failed call: pure, so it is asked without a model."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from segue.agent.recovery import Policy, Recover
from segue.agent.request import Question
from segue.core.faults import Fault, FaultKind
from segue.core.recovery import Attempt, Fail, Use
from segue.models.signals import made

QUESTION = Question(prompt="Which?")


def recover(*names: str, attempts: int = 4, spare: Collection[str] = ()) -> Recover:
    """Over models in this order; those in `spare` have another deployment."""

    def others(tried: Mapping[str, str], left_nano: int | None = None) -> str | None:
        affordable = names if left_nano is None else names[-1:]
        return next((name for name in affordable if name not in tried), None)

    return Recover(
        Policy(attempts=attempts), QUESTION, others, lambda model, failed: model in spare and len(failed) < 2
    )


def failed(kind: FaultKind = FaultKind.OVERLOADED, model: str = "a", **state: str | int) -> Fault:
    return made(kind, "no", model=model, **state)


def after(*faults: Fault) -> list[Attempt]:
    return [Attempt(1, n, 0.0, fault) for n, fault in enumerate(faults, 1)]


def test_attempts_bound_the_calls_that_were_made() -> None:
    faults = [failed()] * 4
    assert recover("a", "b")(faults[-1], after(*faults), 0.5) == Fail()
    assert recover("a", "b")(faults[-1], after(*faults[:3]), 0.5) == Use("b")


def test_waiting_for_a_place_is_no_call_and_yet_not_for_ever() -> None:
    waits = failed(FaultKind.RATE_LIMITED, unsent=1)
    assert recover("a", "b")(waits, after(waits), 1.0) == Use("b")
    assert recover("a", "b")(waits, after(*[waits] * 6), 1.0) == Use("b", 4.0)
    assert recover("a", "b")(waits, after(*[waits] * 16), 0.5) == Fail()


@pytest.mark.parametrize(("times", "most"), [(1, 0.25), (2, 0.5), (3, 1.0)])
def test_the_pause_grows_with_the_failures_of_the_one_that_is_asked_again(times: int, most: float) -> None:
    faults = [failed(model="a")] * times + [failed(model="b")] * 4
    answer = recover("a", "b", attempts=20)(faults[-1], after(*faults), 1.0)
    assert answer == Use("a", most)


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
