"""OpenAI's Batch API, for chat completions and responses: a file of lines up, a batch, two files of lines down.

Groq's is the same but for how it lists; so is that of some servers that speak as OpenAI does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar, cast

from .api import CANCELLED, EXPIRED, NAME, PASSES, SKEW_S, Request, Result, Standing, refused
from .lines import STATUS, read, result, written

__all__ = ["GroqBatches", "OpenAIBatches"]

_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_KEPT_S = 30 * 24 * 3600
_BAD_LINE = 400
_CUT = {"expired": EXPIRED, "cancelled": CANCELLED}


class OpenAIBatches:
    """A `BatchApi`. Batches carry our name as metadata, so one that nobody heard of is found again."""

    whole: ClassVar[bool] = False

    def __init__(self, sdk: Any, endpoint: str, *, keeps: bool) -> None:
        """`sdk` is OpenAI's or one like it; `keeps`: whether the server takes it to be told how long to keep files."""
        self._sdk, self._endpoint, self._keeps = sdk, endpoint, keeps

    async def submit(self, name: str, requests: Sequence[Request]) -> str:
        """As the protocol says."""
        data = written({"custom_id": r.id, "method": "POST", "url": self._endpoint, "body": r.body} for r in requests)
        until = {"anchor": "created_at", "seconds": _KEPT_S}
        kept = {"expires_after": until} if self._keeps else {}
        file = await self._sdk.files.create(file=(f"{name}.jsonl", data, "application/jsonl"), purpose="batch", **kept)
        out = {"output_expires_after": until} if self._keeps else {}
        made = await self._sdk.batches.create(
            completion_window="24h", endpoint=self._endpoint, input_file_id=file.id, metadata={NAME: name}, **out
        )
        return str(made.id)

    async def find(self, name: str, many: int, since: float, not_ours: Sequence[str]) -> tuple[str, bool] | None:
        """As the protocol says; the newest stand first."""
        async for batch in self._listed():
            metadata: dict[str, str] = batch.metadata or {}
            if metadata.get(NAME) == name:
                return batch.id, True
            if batch.created_at < since - SKEW_S:
                break
        return None

    async def _listed(self) -> AsyncIterator[Any]:
        async for batch in self._sdk.batches.list(limit=100):
            yield batch

    async def look(self, id: str) -> Standing:
        """As the protocol says."""
        batch = await self._sdk.batches.retrieve(id)
        counts = batch.request_counts
        done, total = ((counts.completed or 0) + (counts.failed or 0), counts.total or 0) if counts else (0, 0)
        failed = _refusals(batch) if batch.status == "failed" else None
        rest = _CUT.get(batch.status)
        return Standing(ended=batch.status in _ENDED, done=done, total=total, failed=failed, rest=rest)

    async def results(self, id: str) -> AsyncIterator[Result]:
        """As the protocol says: the file of answers, then that of errors."""
        batch = await self._sdk.batches.retrieve(id)
        for file in filter(None, (batch.output_file_id, batch.error_file_id)):
            async with self._sdk.files.with_streaming_response.content(file) as content:
                async for line in read(content.iter_bytes()):
                    yield result(line)


class GroqBatches(OpenAIBatches):
    """Groq's, by Groq's own SDK, which knows nothing of the pages of a list."""

    async def _listed(self) -> AsyncIterator[Any]:
        asked: dict[str, str] = {}
        while True:
            page = await self._sdk.batches.list(extra_query=asked)
            for batch in page.data:
                yield batch
            paging: Any = getattr(page, "paging", None) or {}
            if not page.data or not (cursor := paging.get("next_cursor")):
                return
            asked = {"cursor": str(cursor)}


def _refusals(batch: Any) -> dict[int | None, dict[str, Any]]:
    """A batch whose file did not pass: what is said of a line is that request's own, and no fault of the others."""
    found: dict[int | None, dict[str, Any]] = {}
    for error in _errors(batch.errors):
        code, line = error.get("code") or "batch_failed", error.get("line")
        status = STATUS.get(code, PASSES if line is None else _BAD_LINE)
        found[line] = refused(status, code, f"the batch was refused: {error.get('message') or code}")
    found.setdefault(None, refused(PASSES, "batch_failed", "the batch was refused for another request in it"))
    return found


def _errors(said: Any) -> list[dict[str, Any]]:
    """OpenAI has them in an object, Groq's documentation in a list."""
    listed: Any = cast("list[Any]", said) if isinstance(said, list) else getattr(said, "data", None) or ()
    return [one if isinstance(one, dict) else one.to_dict() for one in listed]
