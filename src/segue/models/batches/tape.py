"""A call written down, and an answer played back: through the same adapters that make ordinary calls.

What a batch sends is, byte for byte, the body that the call would have sent; what comes back is read as its answer
would have been, errors included. So there is no second mapping of messages, schemas, tools or faults.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from ..calls import call
from ..exchange import Call, Reply
from ..providers import unsent
from ..providers.wire import tape

__all__ = ["Written", "played", "written"]

_ASKS = "anthropic-beta"


@dataclass(frozen=True, slots=True)
class Written:
    """What a call would send."""

    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict[str, str])


class _NotSent(Exception):
    """In the place of an answer."""


async def written(c: Call) -> Written:
    """What the call would send. Raises as `models.calls.call` does, for what is refused before anything is sent."""
    seen: list[httpx2.Request] = []

    async def keep(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        raise _NotSent

    token = tape.set(keep)
    try:
        await call(c)
    except Exception:
        if not seen:
            raise
    finally:
        tape.reset(token)
    (request,) = seen
    return Written(json.loads(request.content), {n: v for n, v in request.headers.items() if n.lower() == _ASKS})


async def played(c: Call, said: Mapping[str, Any]) -> Reply:
    """The reply that a response stands for: `status`, `body` and perhaps `headers`. Raises as the call would have. It
    takes no key: whoever carries the run out may be another process than who carries the batches.
    """

    async def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(said["status"], headers=said.get("headers"), json=said["body"], request=request)

    token, no_key = tape.set(answer), unsent.set(True)
    try:
        return await call(c)
    finally:
        unsent.reset(no_key)
        tape.reset(token)
