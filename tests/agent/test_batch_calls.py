"""What counts as a call of a question that goes by batches: an answer that was read, or failed to come; no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from segue import RunFailed, ask, flow
from segue.agent.batch.recovery import Batching, one_by_one
from segue.agent.batch.ticket import BATCH, Ticket
from segue.agent.failures import unsent
from segue.agent.recovery import Policy
from segue.agent.request import Question
from segue.core.faults import INTERRUPTED, Fault, FaultKind, classify
from segue.core.recovery import Again, Amend, Answer, Attempt, Fail, Told, Use
from segue.models import Capability, Price
from segue.models.signals import made
from segue.testing.provider import serve
from tests.agent.test_batches import SOON, model, opened

QUICK = replace(SOON, wait_s=0.05, look_s=0.05, look_s_max=0.1)
QUEUED = classify(
    Ticket(id="t", model="a", provider="openai", deployment="", decision="d", queued_at=0.0, due_at=9.0).error()
)


LATER = classify(
    Ticket(id="t", model="a", provider="openai", deployment="", decision="d", queued_at=0.0, due_at=900.0).error()
)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI", "ANTHROPIC"):
        monkeypatch.setenv(f"{name}_API_KEY", "test")


@flow
async def turns_down(attempts: int | None, batch: bool) -> int:
    return await ask("How many?", returns=int, attempts=attempts, batch=batch, check=lambda _: "not that one")


@pytest.mark.parametrize("attempts", [1, 2, 3, 5, None])
async def test_a_question_has_as_many_calls_by_batches_as_one_by_one(tmp_path: Path, attempts: int | None) -> None:
    async with serve(["chat", "claude"]) as server:
        models = model(server, "chat"), model(server, "claude", price=Price.dollars(2, 8))
        async with opened(tmp_path, *models, rules=QUICK) as engine:
            for batch in (False, True):
                with pytest.raises(RunFailed, match="not that one"):
                    await engine.run(turns_down, attempts, batch)
        asked = [[entry.model for entry in server.log if bool(entry.batch) is batch] for batch in (False, True)]
    assert asked[0] == asked[1]
    assert len(asked[0]) == (attempts or 8)


def batching(attempts: int | None) -> Batching:
    """Over one model."""

    def others(tried: Mapping[str, str], left_nano: int | None = None, small: Mapping[str, int] | None = None) -> None:
        return None

    question, policy = Question(prompt="Which?", needs=[Capability.BATCH]), Policy(attempts=attempts)
    batched, ordinary = policy.recovery(question, others), policy.recovery(one_by_one(question), others)
    return Batching(question, batched, ordinary, Policy().recovery(question, others))


def history(*attempts: tuple[Fault, Answer | Told | None]) -> list[Attempt]:
    return [Attempt(n, 1, 0.0, fault, answer) for n, (fault, answer) in enumerate(attempts, 1)]


def test_who_was_cut_off_before_it_was_queued_or_while_it_read_has_called_nobody() -> None:
    cut, bad = (INTERRUPTED, Again(0.0)), made(FaultKind.BAD_OUTPUT, "no", model="a")
    past = history(*[cut] * 9, (QUEUED, None), *[cut] * 9, (bad, None))
    assert isinstance(batching(2)(bad, past, 0.5), Amend), "the first call of two: its answer is mended"
    assert batching(1)(bad, past, 0.5) == Fail()


def test_who_was_cut_off_by_the_ordinary_api_may_have_called() -> None:
    left = Amend({"question": {"prompt": "Which?", "needs": [], "first": "a"}})
    bad = made(FaultKind.BAD_OUTPUT, "no", model="a")
    past = history((made(FaultKind.TIMED_OUT, "late", model="a", late=1), left), (INTERRUPTED, Again(0.0)), (bad, None))
    assert batching(3)(bad, past, 0.5) == Fail()


def vain(place: str) -> Fault:
    return made(FaultKind.UNREACHABLE, "nobody took it", model="a", deployment=place, undelivered=1)


def test_a_batch_that_nobody_took_is_no_call_and_the_pauses_grow_within_the_time_that_is_left() -> None:
    past, pauses = history((LATER, None)), list[float]()
    for place in ("east", "west", *["east"] * 4):
        past = [*past[:-1], past[-1]._replace(answer=Told({}, BATCH)), *history((vain(place), None))]
        answer = batching(1)(vain(place), past, 0.0)
        assert isinstance(answer, Use) and answer.candidate == "a"
        pauses.append(answer.after_s)
        past = [*past[:-1], past[-1]._replace(answer=answer), *history((LATER, None))]
    assert pauses == [0.0, 0.0, 60.0, 120.0, 240.0, 480.0]
    last = [*past[:-1], past[-1]._replace(answer=Told({}, BATCH)), *history((vain("east"), None))]
    answer = batching(1)(vain("east"), last, 0.0)
    assert isinstance(answer, Amend) and not answer.changes["question"]["needs"], "the next pause would end too late"
    assert answer.after_s == 900.0, "it has 900 s, and its one call is left"
    bad = made(FaultKind.BAD_OUTPUT, "no", model="a")
    read = [*past[:-1], past[-1]._replace(answer=Told({}, BATCH)), *history((bad, None))]
    assert isinstance(batching(2)(bad, read, 0.5), Amend), "that is the first call of two"


def test_once_its_time_is_over_a_question_whose_batch_nobody_took_goes_by_the_ordinary_api() -> None:
    late = [*history((QUEUED, Told({}, BATCH))), Attempt(2, 1, 900.0, vain("east"), None)]
    answer = batching(None)(vain("east"), late, 0.0)
    assert isinstance(answer, Amend) and not answer.changes["question"]["needs"]


def asks_to_wait(pause_s: float, **state: int) -> Fault:
    return made(FaultKind.RATE_LIMITED, "wait", model="a", deployment="east", retry_after_s=pause_s, **state)


def test_a_pause_that_the_batch_api_asks_for_lasts_no_longer_than_the_time_for_batches() -> None:
    def after(pause_s: float) -> Answer:
        told = asks_to_wait(pause_s, undelivered=1)
        return batching(None)(told, [*history((LATER, Told({}, BATCH))), Attempt(2, 1, 90.0, told, ended=100.0)], 0.0)

    assert after(60.0) == Use("a", 60.0)
    gone = after(10_000.0)
    assert isinstance(gone, Amend) and not gone.changes["question"]["needs"]
    assert gone.after_s == 800.0


def test_the_ordinary_api_is_asked_at_once_though_the_batch_api_asked_for_a_pause() -> None:
    told, late = asks_to_wait(600.0, undelivered=1), made(FaultKind.TIMED_OUT, "late", model="b", late=1)
    queued = history((QUEUED, Told({}, BATCH)))
    left = batching(None)(told, [*queued, Attempt(2, 1, 8.0, told, ended=9.0)], 0.0)
    assert isinstance(left, Amend) and not left.changes["question"]["needs"]
    assert left.after_s == 0.0
    past = [*queued, Attempt(2, 1, 8.0, told, left, ended=9.0), Attempt(3, 1, 9.0, late, ended=9.0)]
    onward = batching(None)(late, past, 0.0)
    assert isinstance(onward, Use) and onward.after_s == 0.0
    refused = asks_to_wait(600.0)
    onward = batching(None)(refused, [*past[:-1], Attempt(3, 1, 9.0, refused, ended=9.0)], 0.0)
    assert onward == Use("a", 600.0), "that is its own pause"


def test_to_queue_a_question_is_no_call() -> None:
    assert unsent(Attempt(1, 1, 0.0, QUEUED))
