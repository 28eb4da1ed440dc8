"""Anthropic's Message Batches API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

from anthropic import AsyncAnthropic, omit

from .api import CANCELLED, EXPIRED, Request, Result, Standing, answered

__all__ = ["AnthropicBatches"]

_SKEW_S = 60.0
"""How far the provider's clock may be behind ours."""
_STATUS: Mapping[str, int] = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "timeout_error": 504, "api_error": 500,
    "overloaded_error": 529,
}  # fmt: skip
_BETA = "anthropic-beta"


class AnthropicBatches:
    """A `BatchApi`. A batch here carries no name of ours: one that nobody heard of is told by its time and size, and
    by the ids in its results once they are there.
    """

    whole: ClassVar[bool] = False

    def __init__(self, sdk: AsyncAnthropic) -> None:
        self._sdk = sdk

    async def submit(self, name: str, requests: Sequence[Request]) -> str:
        """As the protocol says."""
        betas = {beta for one in requests for beta in one.headers.get(_BETA, "").split(",") if beta}
        asked: Any = [{"custom_id": one.id, "params": one.body} for one in requests]
        headers = {_BETA: ",".join(sorted(betas))} if betas else None
        return (await self._sdk.messages.batches.create(requests=asked, extra_headers=headers)).id

    async def find(self, name: str, many: int, since: float, not_ours: Sequence[str]) -> tuple[str, bool] | None:
        """As the protocol says: the oldest that it may be."""
        found: str | None = None
        async for batch in self._sdk.messages.batches.list(limit=100, before_id=omit):
            counts = batch.request_counts
            total = counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
            if batch.created_at.timestamp() < since - _SKEW_S:
                break
            if total == many and batch.id not in not_ours:
                found = batch.id
        return None if found is None else (found, False)

    async def look(self, id: str) -> Standing:
        """As the protocol says."""
        batch = await self._sdk.messages.batches.retrieve(id)
        counts = batch.request_counts
        done = counts.succeeded + counts.errored + counts.canceled + counts.expired
        return Standing(ended=batch.processing_status == "ended", done=done, total=done + counts.processing)

    async def results(self, id: str) -> AsyncIterator[Result]:
        """As the protocol says."""
        async for line in await self._sdk.messages.batches.results(id):
            yield Result(line.custom_id, _said(line.result))


def _said(result: Any) -> dict[str, Any]:
    if result.type == "succeeded":
        return answered(200, result.message.to_dict(mode="json"))
    if result.type == "errored":
        body: dict[str, Any] = result.error.to_dict(mode="json")
        error: dict[str, Any] = body.get("error") or {}
        kind = str(error.get("type", "api_error"))
        return answered(_STATUS.get(kind, 500), body)
    return EXPIRED if result.type == "expired" else CANCELLED
