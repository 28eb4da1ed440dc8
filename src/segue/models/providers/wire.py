"""The HTTP clients of the providers' SDKs: one per deployment, with short times to connect, and eyes on what comes.

An SDK takes every 200 for an answer: an error inside of it becomes a validation error, a proxy's page a decoding error,
and what was really said is lost. A hook looks at such answers first and gives them the status that they stand for, so
that the SDK raises them as any other error, with body and headers.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import cache
from typing import Any

import httpx2
from pydantic_core import from_json

from ..evidence import HALVED, PART, UNTOLD, WITHIN, evidence_in, holds_error

CONNECT_S = 5.0
_SOONER = 0.9
"""Of a call's own limit: what was never connected is known as that, and costs nothing."""
READ_S = 600.0
"""The longest silence that a connection bears; the call's own limits are shorter."""
BAD_GATEWAY = 502
CONNECTIONS = 1000
_NO_END = "EOF while parsing"
"""What pydantic says of JSON that is right up to where it ends."""
_BATCHES = ("/batches", "/files", "/batch/jobs", ":batchGenerateContent")
"""What is read there may speak of errors of others: of one request of many."""
_KEPT = ("request-id", "x-request-id", "cf-ray", "retry-after")

heard: ContextVar[dict[str, str] | None] = ContextVar("heard", default=None)
"""A dict here receives the headers of the answer to a call: its id, its rate limits."""


tape: ContextVar[Callable[[httpx2.Request], Awaitable[httpx2.Response]] | None] = ContextVar("tape", default=None)
"""What stands here answers in the place of the network: a call is written down, or played back."""


class Client(httpx2.AsyncClient):
    """A client whose network may be put aside for a while."""

    async def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        """As httpx does, unless there is a tape."""
        answer = tape.get()
        if answer is None:
            return await super().send(request, **how)
        response = await answer(request)
        await look(response)
        return response


def client() -> httpx2.AsyncClient:
    """A client for one deployment, that its owner closes."""
    return Client(
        verify=trust(),
        timeout=httpx2.Timeout(READ_S, connect=CONNECT_S),
        limits=httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        event_hooks={"request": [_connects_soon], "response": [look]},
    )


@cache
def trust() -> ssl.SSLContext:
    """The certificates that are trusted, read once for all clients: it takes longer than all else of making one."""
    return httpx2.create_ssl_context()


async def look(response: Any) -> None:
    """A hook of httpx and httpx2: keep what the headers say, and unmask an error that comes as success."""
    noted = heard.get()
    if noted is not None:
        noted.update(kept(response.headers))
    if response.status_code != 200 or response.headers.get("content-type", "").startswith(
        ("text/event-stream", "application/vnd.amazon.eventstream")
    ):
        return
    if any(part in response.request.url.path for part in _BATCHES):
        return
    body = (await _read(response)).strip()
    begun = body.startswith((b"{", b"["))
    half = begun and _is_half(body)
    none = half or not begun
    if none or (b'"error' in body and holds_error(body)):
        response.status_code = evidence_in(body).status or BAD_GATEWAY
        response.headers[WITHIN] = UNTOLD if none else "200"
        if half:
            response.headers[HALVED] = "1"


def _is_half(body: bytes) -> bool:
    """Whether a JSON value ends before its end. Its last byte does not say so: there is a brace in any text."""
    if not body.endswith((b"}", b"]")):
        return True
    try:
        from_json(body)
    except ValueError as error:
        return _NO_END in str(error)
    return False


async def _read(response: Any) -> bytes:
    try:
        return await response.aread()
    except Exception as error:
        if response.num_bytes_downloaded:
            error.add_note(PART)
        raise


async def _connects_soon(request: Any) -> None:
    """SDKs send one number for all phases: it must not allow as long a wait for the connection."""
    timeout: dict[str, float | None] = dict(request.extensions.get("timeout") or {})
    connect = timeout.get("connect")
    timeout["connect"] = CONNECT_S if connect is None else min(connect * _SOONER, CONNECT_S)
    request.extensions = {**request.extensions, "timeout": timeout}


def kept(headers: Mapping[str, str]) -> dict[str, str]:
    """Of an answer's headers those that say something about the call or its limits."""
    return {n.lower(): v for n, v in headers.items() if n.lower() in _KEPT or "ratelimit" in n.lower()}


def closing(*clients: Any) -> Callable[[], Awaitable[None]]:
    """What closes these clients."""

    async def close() -> None:
        for one in clients:
            await one.aclose()

    return close


hooks = {"request": [_connects_soon], "response": [look]}
"""For a client of another httpx."""
