"""Bytes in JSON: what a type writes of them it reads, whatever they are, and those that people give by hand too."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

from segue.core.codec import codec, encode_arguments, roundtrip
from segue.errors import UnserialisableResult


@dataclass
class Blob:
    data: bytes


@dataclass
class Weighed:
    data: bytes
    grams: float


class Pair(NamedTuple):
    data: bytes
    name: str


class Entry(TypedDict):
    data: bytes


class Text(BaseModel):
    data: bytes


class Based(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    data: bytes


class Strict(BaseModel, strict=True):
    data: bytes
    parts: tuple[int, ...] = (1, 2)


GIVEN = [b"abcd", b"hello", b"token123", b"", b"\xff\x00", bytes(range(256))]


def cases(data: bytes) -> list[tuple[Any, Any]]:
    """Types with bytes in them, each with a value of it."""
    return [
        (bytes, data),
        (list[bytes], [data, data]),
        (dict[str, bytes], {"a": data}),
        (bytes | None, data),
        (str | bytes, data),
        (bytes | str, data),
        (list[str | bytes], ["text", data]),
        (Blob, Blob(data)),
        (list[Blob], [Blob(data)]),
        (Blob | None, Blob(data)),
        (Weighed, Weighed(data, 1.5)),
        (Pair, Pair(data, "x")),
        (Entry, {"data": data}),
        (Text, Text(data=data)),
        (Based, Based(data=data)),
        (Blob | int, Blob(data)),
    ]


@pytest.mark.parametrize("case", range(len(cases(b""))))
@pytest.mark.parametrize("data", GIVEN, ids=range(len(GIVEN)))
def test_bytes_come_back(case: int, data: bytes) -> None:
    annotation, value = cases(data)[case]
    of = codec(annotation)
    assert roundtrip(of, value)[1] == value
    by_hand = roundtrip(codec(Any), value, marks=True)[0]
    assert of.decode(by_hand) == value
    assert of.decode(of.encode(of.decode(by_hand))) == value


def test_what_was_stored_before_reads_as_it_did() -> None:
    assert codec(bytes).decode(b'"YWJjZA=="') == b"abcd"
    assert codec(Blob).decode(b'{"data":"abcd"}') == Blob(b"abcd")
    assert codec(list[Blob]).decode(b'[{"data":"YWJjZA=="}]') == [Blob(b"abcd")]
    assert codec(str | bytes).decode(b'"YWJjZA=="') == "YWJjZA=="
    assert codec(Any).decode(b'"abcd"') == "abcd"


def test_what_could_be_stored_is_stored_as_it_was() -> None:
    assert codec(bytes).encode(b"abcd") == b'"YWJjZA=="'
    assert codec(Blob).encode(Blob(b"abcd")) == b'{"data":"abcd"}'
    assert codec(str | bytes).encode("abcd") == b'"abcd"'
    assert codec(Any).encode(b"abcd") == b'"abcd"'


def test_a_field_of_ones_own_may_be_called_as_the_mark_is() -> None:
    named = {"$base64": "YWJj"}
    assert codec(dict[str, str]).decode(json.dumps(named).encode()) == named
    assert codec(Any).decode(b'{"$base64":"no base64!"}') == {"$base64": "no base64!"}


def test_a_model_that_cannot_hold_them_is_told_what_it_needs() -> None:
    with pytest.raises(UnserialisableResult) as caught:
        roundtrip(codec(Strict), Strict(data=b"\xff"))
    assert 'ser_json_bytes="base64", val_json_bytes="base64"' in (caught.value.remedy or "")


def test_an_argument_keeps_its_bytes() -> None:
    data, _ = encode_arguments({"x": codec(str | bytes)}, {"x": b"ab"})
    assert codec(str | bytes).decode(json.dumps(json.loads(data)["x"]).encode()) == b"ab"
