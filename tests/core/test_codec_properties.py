"""What the codec promises of all values."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.codec import codec, decode_arguments, encode_arguments, fingerprint, roundtrip
from segue.errors import InputError, UnserialisableResult

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@dataclass
class Point:
    """A shape with a set, whose order JSON does not know."""

    name: str
    tags: frozenset[str]
    at: datetime
    weights: tuple[float, ...] = ()


points = st.builds(
    Point,
    name=st.text(),
    tags=st.frozensets(st.text(max_size=5), max_size=5),
    at=st.datetimes(timezones=st.just(UTC)),
    weights=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3).map(tuple),
)


def shuffled(value: Any) -> Any:
    """The same JSON value with its keys in the opposite order."""
    if isinstance(value, dict):
        return {k: shuffled(v) for k, v in reversed(value.items())}
    return [shuffled(v) for v in value] if isinstance(value, list) else value


@given(plain)
def test_plain_values_come_back_the_same(value: Any) -> None:
    data, again = roundtrip(codec(Any), value)
    assert again == value and json.loads(data) == value


@given(st.text(), st.integers(), st.booleans())
def test_fast_paths_agree_with_json(text: str, number: int, flag: bool) -> None:
    for of, value in ((str, text), (int, number), (bool, flag)):
        data, again = roundtrip(codec(of), value)
        assert json.loads(data) == value == again and type(again) is of


@given(points)
def test_typed_values_come_back_the_same(point: Point) -> None:
    data, again = roundtrip(codec(Point), point)
    assert again == point
    assert codec(Point).encode(codec(Point).decode(data)) == data


@given(st.sets(st.text(), max_size=8))
def test_sets_are_written_sorted(values: set[str]) -> None:
    written = json.loads(codec(set[str]).encode(values))
    assert sorted(written, key=lambda v: json.dumps(v, ensure_ascii=False)) == written


@given(st.dictionaries(st.text(), plain, min_size=2, max_size=5))
def test_a_dict_keeps_its_order(value: dict[str, Any]) -> None:
    _, again = roundtrip(codec(dict[str, Any]), value)
    assert list(again) == list(value)


@given(plain)
def test_the_fingerprint_does_not_know_the_order_of_keys(value: Any) -> None:
    codecs = {"value": codec(Any)}
    one, _ = encode_arguments(codecs, {"value": value})
    other, _ = encode_arguments(codecs, {"value": shuffled(value)})
    assert fingerprint(one) == fingerprint(other)


@given(plain, plain)
def test_other_values_have_other_fingerprints(one: Any, other: Any) -> None:
    codecs = {"value": codec(Any)}
    prints = [fingerprint(encode_arguments(codecs, {"value": v})[0]) for v in (one, other)]
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (prints[0] == prints[1]) == same


@given(points, st.text())
def test_arguments_come_back_the_same(point: Point, text: str) -> None:
    codecs = {"point": codec(Point), "text": codec(str)}
    data, values = encode_arguments(codecs, {"point": point, "text": text})
    assert decode_arguments(codecs, data) == values == {"point": point, "text": text}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [1.0, math.nan], {"a": math.inf}])
def test_numbers_that_json_has_not_are_refused(value: Any) -> None:
    with pytest.raises(UnserialisableResult):
        roundtrip(codec(Any), value)
    with pytest.raises(InputError):
        encode_arguments({"value": codec(Any)}, {"value": value})


def test_unions_in_another_order_are_read_in_theirs() -> None:
    """Python takes them for equal: what is read may not rest on which of them was met before."""
    first, other = codec(date | str), codec(str | date)
    assert first.decode(b'"2026-01-15"') == date(2026, 1, 15)
    assert other.decode(b'"2026-01-15"') == "2026-01-15"
