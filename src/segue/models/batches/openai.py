"""OpenAI's Batch API, for chat completions and responses: a file of lines up, a batch, two files of lines down."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from openai import AsyncOpenAI
from openai.types import Batch

from .api import Request, Result, Standing, answered, refused

__all__ = ["OpenAIBatches"]

_NAME = "segue"
"""The key of a batch's metadata that holds our name of it."""
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_SKEW_S = 3600.0
"""How far the provider's clock may be behind ours."""
_KEPT_S = 30 * 24 * 3600
_BAD_LINE = 400
_STATUS: Mapping[str, int] = {
    "batch_expired": 408, "batch_cancelled": 499, "token_limit_exceeded": 429, "rate_limit_exceeded": 429,
    "billing_hard_limit_reached": 402, "insufficient_quota": 402, "model_not_found": 404,
}  # fmt: skip
"""What codes without a status stand for."""
_CUT: Mapping[str, tuple[int, str, str]] = {
    "expired": (408, "batch_expired", "the batch expired before it came to this request"),
    "cancelled": (499, "batch_cancelled", "the batch was cancelled before it came to this request"),
}
_PASSES = 409
"""Of a batch that was refused for something that is no fault of a request: another batch may pass."""


class OpenAIBatches:
    """A `BatchApi`. Batches carry our name as metadata, so one that nobody heard of is found again."""

    def __init__(self, sdk: AsyncOpenAI, endpoint: str, *, keeps: bool) -> None:
        """`keeps`: whether the server takes it to be told how long to keep the files."""
        self._sdk, self._endpoint, self._keeps = sdk, endpoint, keeps

    async def submit(self, name: str, requests: Sequence[Request]) -> str:
        """As the protocol says."""
        lines = [{"custom_id": one.id, "method": "POST", "url": self._endpoint, "body": one.body} for one in requests]
        data = b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)
        until: Any = {"anchor": "created_at", "seconds": _KEPT_S}
        kept: dict[str, Any] = {"expires_after": until} if self._keeps else {}
        file = await self._sdk.files.create(file=(f"{name}.jsonl", data, "application/jsonl"), purpose="batch", **kept)
        out: dict[str, Any] = {"output_expires_after": until} if self._keeps else {}
        endpoint: Any = self._endpoint
        made = await self._sdk.batches.create(
            completion_window="24h", endpoint=endpoint, input_file_id=file.id, metadata={_NAME: name}, **out
        )
        return made.id

    async def find(self, name: str, many: int, since: float, not_ours: Sequence[str]) -> tuple[str, bool] | None:
        """As the protocol says; the newest stand first."""
        async for batch in self._sdk.batches.list(limit=100):
            if (batch.metadata or {}).get(_NAME) == name:
                return batch.id, True
            if batch.created_at < since - _SKEW_S:
                break
        return None

    async def look(self, id: str) -> Standing:
        """As the protocol says."""
        batch = await self._sdk.batches.retrieve(id)
        counts = batch.request_counts
        done, total = (counts.completed + counts.failed, counts.total) if counts else (0, 0)
        failed = _refusals(batch) if batch.status == "failed" else None
        rest = refused(*_CUT[batch.status]) if batch.status in _CUT else None
        return Standing(ended=batch.status in _ENDED, done=done, total=total, failed=failed, rest=rest)

    async def results(self, id: str) -> AsyncIterator[Result]:
        """As the protocol says: the file of answers, then that of errors."""
        batch = await self._sdk.batches.retrieve(id)
        for file in filter(None, (batch.output_file_id, batch.error_file_id)):
            async with self._sdk.files.with_streaming_response.content(file) as content:
                async for line in content.iter_lines():
                    if line.strip():
                        yield _result(json.loads(line))


def _result(line: dict[str, Any]) -> Result:
    response: dict[str, Any] | None = line.get("response")
    error: dict[str, Any] = line.get("error") or {}
    if response:
        headers = {"x-request-id": str(response["request_id"])} if response.get("request_id") else None
        return Result(
            line["custom_id"], answered(response.get("status_code", 200), response.get("body") or {}, headers)
        )
    code = str(error.get("code") or "batch_error")
    message = str(error.get("message") or "the batch has neither an answer nor an error for it")
    return Result(line["custom_id"], refused(_STATUS.get(code, _PASSES), code, message))


def _refusals(batch: Batch) -> dict[int | None, dict[str, Any]]:
    """A batch whose file did not pass: what is said of a line is that request's own, and no fault of the others."""
    found: dict[int | None, dict[str, Any]] = {}
    for error in (batch.errors.data if batch.errors else None) or ():
        code, line = error.code or "batch_failed", error.line
        status = _STATUS.get(code, _PASSES if line is None else _BAD_LINE)
        found[line] = refused(status, code, f"the batch was refused: {error.message or code}")
    found.setdefault(None, refused(_PASSES, "batch_failed", "the batch was refused for another request in it"))
    return found
