"""Lines of results, as the providers write them and as they should not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.models.batches.google import _said  # pyright: ignore[reportPrivateUsage]
from segue.models.batches.lines import read, result, written

FINE: dict[str, Any] = {"choices": []}


def told(**line: Any) -> tuple[int, dict[str, Any]]:
    found = result({"custom_id": "a", **line})
    assert found.id == "a"
    return found.said["status"], found.said["body"]


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3)), st.integers(1, 7))
def test_what_was_written_is_read_in_whatever_pieces_it_comes(lines: list[dict[str, str]], size: int) -> None:
    data = written(lines)

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(data), size):
            yield data[at : at + size]

    async def all_of() -> list[dict[str, Any]]:
        return [line async for line in read(pieces())]

    assert asyncio.run(all_of()) == lines


def test_only_a_newline_ends_a_line_and_what_is_no_json_is_left_out() -> None:
    said = "one\u2028two\x85three"
    data = written([{"text": said}]) + b'{"cut": \n[1]\n\n' + json.dumps({"last": 1}).encode()

    async def pieces() -> AsyncIterator[bytes]:
        yield data

    async def all_of() -> list[dict[str, Any]]:
        return [line async for line in read(pieces())]

    assert asyncio.run(all_of()) == [{"text": said}, {"last": 1}]


@pytest.mark.parametrize(
    ("line", "status", "body"),
    [
        ({"response": {"status_code": 200, "body": FINE}, "error": None}, 200, FINE),
        ({"response": {"body": FINE}}, 200, FINE),
        ({"response": {"status_code": 429, "body": '{"message": "slow down"}'}}, 429, {"message": "slow down"}),
        ({"response": {"status_code": 500, "body": "<html>"}}, 500, {"message": "<html>"}),
        ({"response": {"status_code": 502, "body": None}}, 502, {}),
    ],
)
def test_a_response_is_what_it_says(line: dict[str, Any], status: int, body: dict[str, Any]) -> None:
    assert told(**line) == (status, body)


@pytest.mark.parametrize(
    ("line", "status", "code"),
    [
        ({"response": None, "error": {"code": "batch_expired", "message": "too late"}}, 408, "batch_expired"),
        ({"response": {"status_code": 0, "body": {}}, "error": None}, 409, "batch_error"),
        ({"error": "it broke"}, 409, "batch_error"),
        ({"error": {"type": "insufficient_quota"}}, 402, "insufficient_quota"),
        ({}, 409, "batch_error"),
    ],
)
def test_without_a_response_the_error_counts(line: dict[str, Any], status: int, code: str) -> None:
    found, body = told(**line)
    assert (found, body["error"]["code"]) == (status, code)
    assert body["error"]["message"]


@pytest.mark.parametrize(
    ("line", "status", "word"),
    [
        ({"error": {"code": 3, "message": "no"}}, 400, "INVALID_ARGUMENT"),
        ({"error": {"code": 8}}, 429, "RESOURCE_EXHAUSTED"),
        ({"error": {"code": 503, "status": "UNAVAILABLE"}}, 503, "UNAVAILABLE"),
        ({"error": {"code": 99}}, 409, "UNKNOWN"),
        ({}, 409, "UNKNOWN"),
    ],
)
def test_google_s_errors_are_those_of_rpc(line: dict[str, Any], status: int, word: str) -> None:
    said = _said(line)
    assert (said["status"], said["body"]["error"]["status"]) == (status, word)
