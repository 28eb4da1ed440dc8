"""Values to JSON and back; fingerprints that do not depend on the order of keys or on the process."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from segue.core.codec import (
    codec,
    decode_arguments,
    dumps,
    encode_arguments,
    loads,
    roundtrip,
)
from segue.errors import InputError, UnserialisableResult

text = st.text(st.characters(exclude_categories=["Cs"]))
any_text = st.text()
atoms = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
plain = st.recursive(atoms, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4))


class Leaf(BaseModel):
    name: str
    sizes: set[int] = set()
    when: datetime | None = None


@dataclass
class Node:
    leaf: Leaf
    price: Decimal
    children: list[Node]


leaves = st.builds(Leaf, name=text, sizes=st.sets(st.integers()), when=st.none() | st.datetimes())
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=3)
nodes = st.recursive(
    st.builds(Node, leaf=leaves, price=decimals, children=st.just([])),
    lambda inner: st.builds(Node, leaf=leaves, price=decimals, children=st.lists(inner, max_size=3)),
)
TYPED: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (Any, plain),
    (str, text),
    (int, st.integers()),
    (bool, st.booleans()),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (bytes, st.binary()),
    (set[int], st.sets(st.integers())),
    (frozenset[str], st.frozensets(text)),
    (set[tuple[int, str]], st.sets(st.tuples(st.integers(), text))),
    (dict[str, list[int | None]], st.dictionaries(text, st.lists(st.none() | st.integers()))),
    (dict[int, str], st.dictionaries(st.integers(), text)),
    (tuple[int, ...], st.lists(st.integers()).map(tuple)),
    (UUID, st.uuids()),
    (timedelta, st.timedeltas()),
    (Leaf, leaves),
    (Node, nodes),
    (list[Leaf | None], st.lists(st.none() | leaves)),
]


@pytest.mark.parametrize(("type_", "values"), TYPED, ids=[str(t) for t, _ in TYPED])
def test_a_value_survives_the_journey(type_: Any, values: st.SearchStrategy[Any]) -> None:
    of = codec(type_)

    @given(values)
    def survives(value: Any) -> None:
        data, read = roundtrip(of, value)
        assert read == value
        json.loads(data)
        assert roundtrip(of, read) == (data, read), "what was read is written as it was"

    survives()


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    code = (
        "from segue.core.codec import codec, encode_arguments, fingerprint\n"
        "data, _ = encode_arguments({'a': codec(set[str]), 'b': codec(dict[str, float])},"
        " {'a': {'x', 'y', 'zz', 'w'}, 'b': {'k': 0.1}})\n"
        "print(fingerprint(data))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(seen) == 1


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), any_text, min_size=1))
def test_arguments_come_back_or_are_refused(bound: dict[str, str]) -> None:
    codecs = {name: codec(str) for name in ("a", "b", "c")}
    try:
        data, values = encode_arguments(codecs, bound)
    except InputError as error:
        assert any(0xD800 <= ord(c) < 0xE000 for v in bound.values() for c in v), error
        return
    assert values == bound
    assert decode_arguments(codecs, data) == bound
    assert decode_arguments({"a": codecs["a"]}, data).keys() <= {"a"}, "parameters that are gone are dropped"


@given(any_text)
def test_a_result_comes_back_or_is_refused(value: str) -> None:
    for type_ in (str, Any, list[str]):
        try:
            data, read = roundtrip(codec(type_), [value] if type_ == list[str] else value)
        except UnserialisableResult:
            assert any(0xD800 <= ord(c) < 0xE000 for c in value)
        else:
            assert codec(type_).decode(data) == read


@pytest.mark.parametrize("type_", [float, Any, list[float], dict[str, Any], float | None, Decimal])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(type_: Any, value: float) -> None:
    wrapped: Any = {list[float]: [value], dict[str, Any]: {"a": {"b": [value]}}}.get(type_, value)
    with pytest.raises(UnserialisableResult):
        roundtrip(codec(type_), Decimal(value) if type_ is Decimal else wrapped)


@given(st.dictionaries(any_text, any_text | st.integers() | st.none()))
def test_a_record_takes_any_text(body: dict[str, Any]) -> None:
    data = dumps(body)
    data.decode("utf-8")
    assert loads(data) == body
