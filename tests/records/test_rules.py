"""What must be true between the fields of a record is held when it is made, and when it is read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from segue.core.events import EventType
from segue.core.records import (
    ApprovalAsked,
    AttemptEnd,
    Candidate,
    Decision,
    Fate,
    Feedback,
    ManifestPart,
    Reservation,
    Stage,
    StreamEnd,
    Target,
    TargetKind,
    Usage,
    binding,
)
from segue.errors import RecordError
from tests.records.samples import DECISION, MANIFEST, SAMPLES

BIG, SMALL, OUT = DECISION.candidates


def test_propensities_are_a_distribution() -> None:
    with pytest.raises(RecordError, match="propensities have the sum 1"):
        replace(DECISION, candidates=(BIG, replace(SMALL, propensity=0.5)))
    thirds = tuple(replace(SMALL, propensity=1 / 3) for _ in range(3))
    assert replace(DECISION, candidates=thirds).chosen == thirds[0]


def test_the_choice_could_be_drawn() -> None:
    with pytest.raises(RecordError, match="choice: an eligible candidate"):
        replace(DECISION, choice=2)
    with pytest.raises(RecordError, match="choice: a place"):
        replace(DECISION, choice=3)
    with pytest.raises(RecordError, match="order: a place"):
        replace(DECISION, order=(7,))


def test_nobody_may_be_eligible() -> None:
    nobody = replace(DECISION, candidates=(OUT,), choice=None, order=(), shadows=(), hedge=None)
    assert nobody.chosen is None
    assert Decision.from_body(nobody.to_body()) == nobody


def test_an_exclusion_has_a_stage_and_a_reason_and_no_chance() -> None:
    target = Target(kind=TargetKind.TOOL, name="search")
    for wrong in (
        {},
        {"excluded_at": Stage.HEALTH},
        {"excluded_at": Stage.HEALTH, "reason": "open", "propensity": 0.1},
    ):
        given: dict[str, Any] = {"target": target, "eligible": False, **wrong}
        with pytest.raises(RecordError):
            Candidate(**given)


@pytest.mark.parametrize("luck", [-0.1, 1.0])
def test_luck_is_below_one(luck: float) -> None:
    with pytest.raises(RecordError, match="luck"):
        replace(DECISION, luck=luck)


def test_what_is_shown_fits_beside_what_is_reserved() -> None:
    replace(MANIFEST, window=900 + 1024 + 64)
    with pytest.raises(RecordError, match="window: holds"):
        replace(MANIFEST, window=900 + 1024 + 63)


def test_a_part_says_how_much_of_it_was_shown() -> None:
    assert [p.shown for p in MANIFEST.parts] == [200, 300, 0]
    assert ManifestPart(hash="a", role="user", tokens=9, fate=Fate.SUMMARISED).shown == 0


def test_an_approval_is_bound_to_exactly_what_was_shown() -> None:
    asked = SAMPLES[EventType.APPROVAL_ASKED]
    assert isinstance(asked, ApprovalAsked)
    for changed in ({"shown": {**dict(asked.shown), "amount": 120.6}}, {"action": "refund"}, {"evidence": ()}):  # type: ignore[arg-type]
        with pytest.raises(RecordError, match="bound"):
            replace(asked, **changed)  # type: ignore[arg-type]
    assert binding("pay", {"a": 1, "b": {"c": 2, "d": 3}}) == binding("pay", {"b": {"d": 3, "c": 2}, "a": 1})


def test_feedback_says_something_within_bounds() -> None:
    with pytest.raises(RecordError, match="has a score"):
        Feedback(by="ada")
    with pytest.raises(RecordError, match="between 0 and 1"):
        Feedback(aspects={"tone": 1.5})
    assert Feedback(corrected=0).to_body() == {"corrected": 0}


def test_usage_is_a_total_with_its_parts() -> None:
    with pytest.raises(RecordError, match="tokens_in: holds what was cached"):
        Usage(tokens_in=10, tokens_cache_read=8, tokens_cache_write=3)
    with pytest.raises(RecordError, match="tokens_out"):
        Usage(tokens_out=1, tokens_thinking=2)
    with pytest.raises(RecordError, match="negative"):
        Usage(other={"images": -1})


def test_a_failed_attempt_has_a_fault_and_amounts_are_not_negative() -> None:
    with pytest.raises(RecordError, match="fault"):
        replace(SAMPLES[EventType.ATTEMPT_RECORDED], end=AttemptEnd.FAILED, fault=None)  # type: ignore[call-arg]
    with pytest.raises(RecordError, match="amount_nano"):
        Reservation(id="b", amount_nano=-1, scopes=())


def test_nobody_has_seen_more_of_a_stream_than_came() -> None:
    end = SAMPLES[EventType.STREAM_ENDED]
    assert isinstance(end, StreamEnd)
    with pytest.raises(RecordError, match="bytes_released"):
        replace(end, bytes_released=813)
    with pytest.raises(RecordError, match="continues_at"):
        replace(end, continues_at=None)


def test_a_rule_is_held_on_reading_too() -> None:
    body: Any = DECISION.to_body()
    body["candidates"][0]["propensity"] = 0.5
    with pytest.raises(RecordError, match=r"decision.made v1: candidates: propensities have the sum 1"):
        Decision.from_body(body)
    body["candidates"][0]["propensity"] = 2.0
    with pytest.raises(RecordError, match=r"decision.made v1: candidates\[0\].propensity: between 0 and 1") as caught:
        Decision.from_body(body)
    assert caught.value.field == "candidates[0].propensity"
