"""What a provider's batch API can do, as the batcher sees it. Each that is spoken has a module beside this one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

__all__ = [
    "BYTES_MAX", "CANCELLED", "EXPIRED", "NAME", "PASSES", "REQUESTS_MAX", "SKEW_S", "BatchApi", "Request", "Result",
    "Standing", "answered", "refused", "undelivered",
]  # fmt: skip

REQUESTS_MAX, BYTES_MAX = 50_000, 95_000_000
"""Of one batch, with some room for what is around the bodies: OpenAI takes 50,000 requests and 200 MB, Groq 50,000 and
100 MB, Anthropic 100,000 and 256 MB, Mistral a million and 512 MB, Google 2 GB.
"""
NAME = "segue"
"""The key of a batch's metadata that holds our name of it, where a batch has metadata."""
SKEW_S = 3600.0
"""How far a provider's clock may be behind ours, where that only makes a search longer."""
PASSES = 409
"""Of a batch that was refused for something that is no fault of a request: another batch may pass."""


class Request(NamedTuple):
    """One request of a batch: the body as an ordinary call would send it."""

    id: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    """Those that ask for a beta of the API."""


class Result(NamedTuple):
    """What came of one request: a response's status and body as JSON."""

    id: str
    said: dict[str, Any]


def answered(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A response as JSON, whole or an error."""
    return {"status": status, "body": dict(body), **({"headers": dict(headers)} if headers else {})}


def refused(status: int, code: str, message: str) -> dict[str, Any]:
    """A response in which the batch's service says that nothing was done, nor billed, whatever its status would mean of
    a call.
    """
    return {**answered(status, {"error": {"type": code, "code": code, "message": message}}), "billed": False}


def undelivered(why: str, after_s: float = 0.0) -> dict[str, Any]:
    """In place of a response, where a batch was certainly never taken, and its requests had better go elsewhere; the
    same place asks for a pause of so many seconds.
    """
    return {"undelivered": why, **({"retry_after_s": after_s} if after_s else {})}


EXPIRED = refused(408, "batch_expired", "the batch expired before it came to this request")
CANCELLED = refused(499, "batch_cancelled", "the batch was cancelled before it came to this request")
"""Of the requests of a batch that was cut short."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where a batch of the provider's stands."""

    ended: bool
    done: int = 0
    total: int = 0
    failed: Mapping[int | None, dict[str, Any]] | None = None
    """Where it was refused as a whole: a response by the line that it is about, from 1; None is for all others."""
    rest: Mapping[str, Any] | None = None
    """The response of requests that the results say nothing of, where that is known: it was cut short."""


class BatchApi(Protocol):
    """The batch API of one deployment. All of it raises what its SDK does."""

    whole: ClassVar[bool]
    """Whether its results come all at once, when the last byte of them is there."""

    async def submit(self, name: str, requests: Sequence[Request]) -> str:
        """Send a batch under a name of ours. Gives the provider's id of it."""
        ...

    async def find(self, name: str, many: int, since: float, not_ours: Sequence[str]) -> tuple[str, bool] | None:
        """A batch of this name and size that was sent at `since` or later; and whether it is surely that one.

        `not_ours` are ids that were looked into and are not.
        """
        ...

    async def look(self, id: str) -> Standing:
        """Where it stands."""
        ...

    def results(self, id: str) -> AsyncIterator[Result]:
        """What came of its requests, in any order; of some nothing may be there."""
        ...
