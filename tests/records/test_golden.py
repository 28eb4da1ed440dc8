"""What is written can be read for years: each type and version has a golden file, unknown fields are passed over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from segue.core.codec import dumps
from segue.core.events import Event, EventType
from segue.core.records import RECORDS, AttemptWhy, Decision, Part, record_of
from segue.core.records.base import slots
from segue.errors import RecordError
from tests.records.samples import DECISION, SAMPLES

GOLDEN = Path(__file__).parent / "golden"
each_type = pytest.mark.parametrize("kind", list(EventType))


def golden(name: str) -> dict[str, Any]:
    """A golden file: `{"type", "version", "body"}`."""
    path = GOLDEN / name
    assert path.exists(), f"write {path.name}: its format is then fixed for good"
    return json.loads(path.read_text(encoding="utf-8"))


def event(written: dict[str, Any]) -> Event:
    return Event(1, 1, 1, 0.0, written["type"], written["version"], body=dumps(written["body"]))


@each_type
def test_every_type_has_a_record(kind: EventType) -> None:
    assert RECORDS[kind].type is kind
    assert RECORDS[kind].__doc__


def test_every_record_has_a_type_of_its_own() -> None:
    assert sorted(RECORDS) == sorted(EventType)


@each_type
def test_a_record_is_written_as_its_golden_file_says(kind: EventType) -> None:
    record = SAMPLES[kind]
    written = {"type": kind.value, "version": record.version, "body": record.to_body()}
    assert written == golden(f"{kind.value}.v{record.version}.json")


@each_type
def test_every_older_version_is_read(kind: EventType) -> None:
    for version in range(1, RECORDS[kind].version + 1):
        written = golden(f"{kind.value}.v{version}.json")
        record = record_of(event(written))
        if version == record.version:
            assert record == SAMPLES[kind]


@each_type
def test_a_later_version_is_read_and_its_unknown_fields_are_passed_over(kind: EventType) -> None:
    written = golden(f"{kind.value}.newer.json")
    assert written["version"] > RECORDS[kind].version
    assert set(written["body"]) - set(SAMPLES[kind].to_body())
    assert record_of(event(written)) == SAMPLES[kind]


def parts(value: Any) -> Iterator[Part]:
    """A record and all parts in it."""
    if isinstance(value, Part):
        yield value
        for f in fields(value):  # type: ignore[arg-type]
            yield from parts(getattr(value, f.name))
    elif isinstance(value, tuple):
        for item in value:
            yield from parts(item)


def test_the_samples_leave_no_field_untried() -> None:
    tried: dict[type, set[str]] = {}
    for part in (p for record in SAMPLES.values() for p in parts(record)):
        body = part.write("")
        tried.setdefault(type(part), set()).update(body)
    missing = {k.__name__: {s.json for s in slots(k)} - names for k, names in tried.items()}
    assert {k: v for k, v in missing.items() if v} == {}


@each_type
def test_the_required_fields_are_enough_and_each_is_missed(kind: EventType) -> None:
    full = SAMPLES[kind].to_body()
    required = [s.json for s in slots(RECORDS[kind]) if s.required]
    for name in required:
        with pytest.raises(RecordError, match=f"^{kind.value} v{RECORDS[kind].version}: {name} is missing") as caught:
            RECORDS[kind].from_body({k: v for k, v in full.items() if k != name})
        assert (caught.value.type, caught.value.field) == (kind.value, name)


@each_type
def test_a_field_of_the_wrong_type_is_named(kind: EventType) -> None:
    full = SAMPLES[kind].to_body()
    for slot in slots(RECORDS[kind]):
        if slot.shape.name == "any JSON":
            continue
        with pytest.raises(RecordError, match=f"^{kind.value} v{RECORDS[kind].version}: {slot.json}[^ ]*: ") as caught:
            RECORDS[kind].from_body({**full, slot.json: object()})
        assert caught.value.field.startswith(slot.json)


def test_a_field_deep_inside_is_named_by_its_path() -> None:
    body: Any = DECISION.to_body()
    body["candidates"][1]["target"]["name"] = 7
    with pytest.raises(RecordError, match=r"candidates\[1\]\.target\.name: text was expected, not a int") as caught:
        Decision.from_body(body)
    assert caught.value.field == "candidates[1].target.name"


@pytest.mark.parametrize("wrong", [True, "1", None, float("nan"), 1.5])
def test_a_whole_number_is_nothing_else(wrong: object) -> None:
    with pytest.raises(RecordError, match="epoch: whole number was expected"):
        SAMPLES[EventType.STREAM_ENDED].from_body({**SAMPLES[EventType.STREAM_ENDED].to_body(), "epoch": wrong})


def test_a_number_may_be_written_without_its_fraction() -> None:
    record = SAMPLES[EventType.TIMER_SET].from_body({"due_at": 12})
    assert repr(record) == "TimerSet(due_at=12.0)"


def test_what_does_not_fit_is_not_written_either() -> None:
    wrong: Any = {"id": "d", "policy": "p", "policy_version": 4, "candidates": (), "choice": None}
    with pytest.raises(RecordError, match=r"decision.made v1: policy_version: text was expected, not a int"):
        Decision(**wrong).to_body()


def test_a_new_word_reads_as_other_from_a_later_version_only() -> None:
    body: Any = SAMPLES[EventType.ATTEMPT_RECORDED].to_body() | {"why": "batch"}
    read = SAMPLES[EventType.ATTEMPT_RECORDED].from_body(body, version=2)
    assert getattr(read, "why") is AttemptWhy.OTHER  # noqa: B009  the base class does not declare it
    with pytest.raises(RecordError, match=r"why: one of primary, .* was expected, not 'batch'"):
        SAMPLES[EventType.ATTEMPT_RECORDED].from_body(body)


def test_a_later_version_without_what_we_need_says_to_upgrade() -> None:
    with pytest.raises(RecordError, match="pip install -U segue"):
        Decision.from_body({"id": "d"}, version=2)


def test_an_unknown_type_says_to_upgrade() -> None:
    with pytest.raises(RecordError, match=r"no record is known for moon\.landed[^x]*pip install -U segue"):
        record_of(Event(1, 3, 1, 0.0, "moon.landed"))


def test_records_are_frozen_and_keyword_only() -> None:
    record = SAMPLES[EventType.TIMER_SET]
    with pytest.raises(AttributeError, match="cannot assign"):
        record.due_at = 1.0  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        type(record)(1.0)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="missing 'due_at'"):
        type(record)()
    with pytest.raises(TypeError, match="no field 'due'"):
        type(record)(due_at=1.0, due=1)


def test_records_are_equal_by_their_fields() -> None:
    fired = SAMPLES[EventType.TIMER_FIRED]
    assert fired == type(fired)()
    assert fired != SAMPLES[EventType.STEP_COMPLETED]


def test_every_vocabulary_that_may_grow_has_a_word_for_what_is_not_known_yet() -> None:
    values = [v for record in SAMPLES.values() for part in parts(record) for v in vars(part).values()]
    words = {type(v) for v in values if isinstance(v, StrEnum)}
    assert len(words) > 8
    assert [w.__name__ for w in words if "other" not in w.__members__.values()] == []
