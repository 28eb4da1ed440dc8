"""One call to one deployment of a model, through pydantic-ai or to the model in this process.

It is made once: nothing here asks again, and every SDK's own retries are off. What goes wrong is raised as an error of
`models.errors`, which carries its kind of fault, what the provider said and how long it asks to wait. A vendor's
library is imported at the first call that needs it.
"""

from __future__ import annotations

import asyncio
import importlib
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Protocol

from ..core.faults import FaultKind, rebuild
from ..core.records import Usage
from .errors import RequestRefused, TooSlow
from .exchange import OUTPUT_TOOL, Call, Delta, OutputMode, Reply
from .providers import address_of, close, connected, imported, no_embeddings
from .signals import error_of, made
from .spec import Deployment, Model, Provider
from .unread import read

__all__ = [
    "OUTPUT_TOOL", "Call", "Delta", "OutputMode", "Reply", "call", "close", "embed", "ready", "ready_to_embed",
    "stream",
]  # fmt: skip


async def call(c: Call) -> Reply:
    """Ask once and wait for the whole answer; what came may still be no answer, which `verdict.judge` says.

    Raises RateLimited, Overloaded, TooSlow (after `timeout_s`), Unreachable, ContextTooLong, ContentRefused,
    RequestRefused, NotAuthorised, BadOutput, or MissingExtra. Cancelling the await closes the connection.
    """
    async with _faults(c.model, c.deployment):
        ask = await _way(c)
        began = asyncio.get_running_loop().time()
        async with _limit(c, began + c.timeout_s, c.timeout_s):
            return await ask.call(c, began)


async def ready(c: Call) -> None:
    """Import and connect what a call takes, so that the call itself begins at once. Raises as `call` does."""
    async with _faults(c.model, c.deployment):
        await _way(c)


async def ready_to_embed(model: Model) -> None:
    """Import what embedding takes, so that a request is sent as soon as it has a place. Raises MissingExtra."""
    if model.provider is not Provider.LOCAL:
        await imported(model)


async def stream(c: Call) -> AsyncGenerator[Delta | Reply, None]:
    """Ask once and give the answer as it comes; the last item is the Reply, whole. Raises as `call` does.

    No item within `first_token_s`, none for `stall_s`, or no end within `timeout_s`: TooSlow. A stream that ends
    without the provider's own sign of the end raises Unreachable: what came before it is no answer. Close it
    (`aclosing`) when leaving early, so that the provider stops at once.
    """
    async with _faults(c.model, c.deployment):
        ask = await _way(c)
    began = asyncio.get_running_loop().time()
    async with aclosing(ask.stream(c, began)) as items:
        first = True
        while True:
            async with _faults(c.model, c.deployment), _limit(c, *_due(c, began, first)):
                item = await anext(items, None)
            if item is None:
                return
            first = first and isinstance(item, Delta) and not item.text  # a part that has only begun is no token
            yield item


async def embed(
    model: Model, deployment: Deployment, texts: Sequence[str], timeout_s: float = 60.0
) -> tuple[list[list[float]], Usage]:
    """One vector for each text, in their order. Raises as `call` does; RequestRefused where there are no embeddings."""
    if model.provider is Provider.LOCAL or not texts:
        raise no_embeddings(model) if texts else RequestRefused(f"{model.name}: there are no texts to embed")
    async with _faults(model, deployment):
        connection = await connected(model, deployment)
        if connection.embed is None:
            raise no_embeddings(model)
        try:
            async with asyncio.timeout(timeout_s):
                with read(model.name, "embeddings"):
                    found = await connection.embed(list(texts))
        except TimeoutError as late:
            raise _late(model, timeout_s, "no embeddings") from late
    if len(found.vectors) != len(texts) or not all(found.vectors):
        fault = made(FaultKind.BAD_OUTPUT, f"{model.name}: {len(found.vectors)} vectors for {len(texts)} texts")
        raise rebuild(fault)
    with read(model.name, "embeddings"):
        if not all(math.isfinite(sum(v)) and max(map(abs, v)) <= _FLOAT32_MAX for v in found.vectors):
            raise ValueError("a vector with what is no finite number of 32 bits")
    return found.vectors, _embedded(model, texts, found.tokens_in)


_FLOAT32_MAX = (2 - 2**-23) * 2.0**127
"""As which vectors are kept."""


def _embedded(model: Model, texts: Sequence[str], said: object) -> Usage:
    """What it said that it took, where that can be; else an estimate: the vectors themselves are good."""
    known = said if isinstance(said, int) and said > 0 else None
    usage = Usage(tokens_in=known or sum(max(1, -(-len(text) // 4)) for text in texts), estimated=known is None)
    return usage if model.price is None else model.price.charged(usage)


class _Way(Protocol):
    """How calls are made: over a provider's API, or in this process. `began` is on the loop's clock."""

    async def call(self, c: Call, began: float) -> Reply: ...
    def stream(self, c: Call, began: float) -> AsyncGenerator[Delta | Reply, None]: ...


_ways: dict[str, Any] = {}
"""By name, and whole: `sys.modules` has a module as soon as another thread has begun to import it."""


async def _way(c: Call) -> _Way:
    """Imports and connects before the call's time begins, and off the event loop where that takes long."""
    name = f"{__package__}.calls_{'local' if c.model.provider is Provider.LOCAL else 'remote'}"
    if name not in _ways:
        _ways[name] = await asyncio.to_thread(importlib.import_module, name)
    if c.model.provider is not Provider.LOCAL:
        await connected(c.model, c.deployment)
    return _ways[name]


def _due(c: Call, began: float, first: bool) -> tuple[float, float]:
    """By when the next item must be here, and the limit that says so."""
    limits = [(began + c.timeout_s, c.timeout_s)]
    if first and c.first_token_s is not None:
        limits.append((began + c.first_token_s, c.first_token_s))
    elif not first and c.stall_s is not None:
        limits.append((asyncio.get_running_loop().time() + c.stall_s, c.stall_s))
    return min(limits)


@asynccontextmanager
async def _limit(c: Call, due: float, seconds: float) -> AsyncGenerator[None, None]:
    """TooSlow when it is not done by then, naming the limit."""
    limit = asyncio.timeout(due - asyncio.get_running_loop().time())
    try:
        async with limit:
            yield
    except TimeoutError as late:
        if not limit.expired():
            raise
        raise _late(c.model, seconds, "no answer, or no next piece of it,") from late


def _late(model: Model, seconds: float, what: str) -> TooSlow:
    remedy = "another model, or a longer timeout_s"
    if model.provider is Provider.LOCAL:  # what it writes, and at what pace, is the same each time
        remedy = f"a smaller max_tokens, so that it ends in time; {remedy}"
    return TooSlow(f"{model.name}: {what} within {seconds:.3g} s", remedy=remedy)


@asynccontextmanager
async def _faults(model: Model, deployment: Deployment) -> AsyncGenerator[None, None]:
    """What a library raises becomes an error of ours, which names the model, and its address where nobody is there."""
    try:
        yield
    except Exception as error:
        ours = error_of(error, model=model.name, address=address_of(model, deployment))
        if ours is error:
            raise
        raise ours from error
