"""Requests and results as lines of JSON: what the batch APIs of all but Anthropic take and give."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import Any, cast

from .api import PASSES, Result, answered, refused

__all__ = ["STATUS", "read", "result", "written"]

STATUS: Mapping[str, int] = {
    "batch_expired": 408, "batch_cancelled": 499, "token_limit_exceeded": 429, "rate_limit_exceeded": 429,
    "billing_hard_limit_reached": 402, "insufficient_quota": 402, "model_not_found": 404,
}  # fmt: skip
"""What codes without a status stand for."""


def written(lines: Iterable[Mapping[str, Any]]) -> bytes:
    """A file of lines."""
    return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)


async def read(chunks: AsyncIterable[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The lines of a file. Of those that are no JSON nothing is told: their requests have no line in the results.

    Only a newline ends a line: a text may hold what else Python takes for an end of one.
    """
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if (found := _object(line)) is not None:
                yield found
    if (found := _object(rest)) is not None:
        yield found


def result(line: Mapping[str, Any]) -> Result:
    """What came of a request that OpenAI's form of results has a line of; Groq's and Mistral's are alike."""
    name, response, error = str(line.get("custom_id")), line.get("response"), line.get("error")
    if isinstance(response, dict) and (status := cast("dict[str, Any]", response).get("status_code", 200)):
        said = cast("dict[str, Any]", response)
        headers = {"x-request-id": str(said["request_id"])} if said.get("request_id") else None
        return Result(name, answered(int(status), _body(said.get("body")), headers))
    known: dict[str, Any] = cast("dict[str, Any]", error) if isinstance(error, dict) else {"message": error}
    code = str(known.get("code") or known.get("type") or "batch_error")
    message = str(known.get("message") or "the batch has neither an answer nor an error for it")
    return Result(name, refused(STATUS.get(code, PASSES), code, message))


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found: Any = json.loads(line)
    except ValueError:
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def _body(said: Any) -> dict[str, Any]:
    """The body of a response, which some write as a text."""
    if isinstance(said, str):
        return _object(said.encode()) or {"message": said}
    return cast("dict[str, Any]", said) if isinstance(said, dict) else {}
