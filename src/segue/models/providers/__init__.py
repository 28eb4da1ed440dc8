"""The providers: how each is connected to. A module of this folder is imported at the first call that needs it.

`connected(model, deployment)` gives pydantic-ai's model for a deployment, on a connection that calls of this event loop
share. Every SDK's own retries are off: whether and when to ask again is for the attempt pipeline to say.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakKeyDictionary

from ...errors import MissingExtra
from ..errors import NotAuthorised, RequestRefused
from ..spec import Deployment, Model, Provider

if TYPE_CHECKING:
    import pydantic_ai.models

    from ..batches.api import BatchApi

_MODULES: Mapping[Provider, str] = {
    Provider.OPENAI: "openai",
    Provider.OPENAI_RESPONSES: "openai",
    Provider.OLLAMA: "openai",
    Provider.OPENAI_COMPATIBLE: "openai",
    Provider.ANTHROPIC: "anthropic",
    Provider.GOOGLE: "google",
    Provider.BEDROCK: "bedrock",
    Provider.MISTRAL: "mistral",
    Provider.GROQ: "groq",
}
_KEYS: Mapping[Provider, tuple[str, ...]] = {
    Provider.OPENAI: ("OPENAI_API_KEY",),
    Provider.OPENAI_RESPONSES: ("OPENAI_API_KEY",),
    Provider.ANTHROPIC: ("ANTHROPIC_API_KEY",),
    Provider.GOOGLE: ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
    Provider.MISTRAL: ("MISTRAL_API_KEY",),
    Provider.GROQ: ("GROQ_API_KEY",),
    Provider.OLLAMA: ("OLLAMA_API_KEY",),
}
"""Where a key is looked for when the catalogue names no variable."""
_KEYLESS = frozenset({Provider.BEDROCK, Provider.OLLAMA, Provider.OPENAI_COMPATIBLE})
"""Bedrock finds its credentials itself; the other two often need none."""
NO_KEY = "none"
unsent: ContextVar[bool] = ContextVar("unsent", default=False)
"""True where nothing is sent, as when an answer is played back: then a connection needs no key."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An open way to one deployment."""

    model: pydantic_ai.models.Model
    close: Callable[[], Awaitable[None]]
    embed: Callable[[list[str]], Awaitable[Embedded]] | None = None
    """None: this provider has no embeddings, or not through this API."""
    batches: BatchApi | None = None
    """None: its batch API is not spoken here."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors in the order of the texts, and the tokens that they took; 0 where the provider does not say."""

    vectors: list[list[float]]
    tokens_in: int = 0


class _Connects(Protocol):
    def connect(self, model: Model, deployment: Deployment, key: str | None) -> Connection: ...


@dataclass(slots=True)
class _Open:
    """The connections of one event loop."""

    by_key: dict[tuple[object, ...], Connection] = field(default_factory=dict[tuple[object, ...], Connection])


_open: WeakKeyDictionary[asyncio.AbstractEventLoop, _Open] = WeakKeyDictionary()
_imported: dict[str, _Connects] = {}
"""By name, and whole: `sys.modules` has a module as soon as another thread has begun to import it."""


async def connected(model: Model, deployment: Deployment) -> Connection:
    """The connection to a deployment, made at the first call of this event loop.

    Raises NotAuthorised where the key is not in the environment, MissingExtra where the library is not installed.
    """
    try:
        key = key_of(model, deployment)
    except NotAuthorised:
        if not unsent.get():
            raise
        key = NO_KEY
    place = (model.provider, model.id, model.dimensions, deployment.url, deployment.region, key)
    opened = _open.setdefault(asyncio.get_running_loop(), _Open()).by_key
    if place not in opened:
        module = await imported(model)
        if place not in opened:  # while this one waited, another call may have
            opened[place] = module.connect(model, deployment, key)
    return opened[place]


async def imported(model: Model) -> _Connects:
    """What connects to its provider. The library is imported off the loop: that takes a second or two.

    Raises MissingExtra where it is not installed.
    """
    return _imported.get(_name(model)) or await asyncio.to_thread(_import, model)


async def close() -> None:
    """Close all connections of this event loop. The next call opens its own anew."""
    opened = _open.pop(asyncio.get_running_loop(), _Open())
    for connection in opened.by_key.values():
        await connection.close()


def key_of(model: Model, deployment: Deployment) -> str | None:
    """The deployment's key from the environment; None where the provider needs none. Raises NotAuthorised."""
    names = (deployment.key_env,) if deployment.key_env else _KEYS.get(model.provider, ())
    key = next((value for name in names if (value := os.environ.get(name, ""))), None)
    if key is None and (deployment.key_env or model.provider not in _KEYLESS):
        refused = NotAuthorised(
            f"{model.name}: {' or '.join(names)} is not set in the environment", remedy=f"export {names[0]}=…"
        )
        vars(refused)["unconnected"] = 1  # nothing was sent: it costs nothing
        raise refused
    return key


def base_url(url: str | None, *, end: str = "", cut: tuple[str, ...] = ()) -> str | None:
    """A catalogue's URL as an SDK wants it: without the ends that the SDK adds, with the one that it does not."""
    if url is None:
        return None
    url = url.rstrip("/")
    for tail in cut:
        url = url.removesuffix(tail)
    return url if url.endswith(end) else url + end


def address_of(model: Model, deployment: Deployment) -> str:
    """Where a deployment is called, in words: its URL without what is secret in it, or whose API it is."""
    if not deployment.url:
        return f"the API of {model.provider}"
    url = urlsplit(deployment.url)
    return urlunsplit((url.scheme, url.netloc.rpartition("@")[2], url.path, "", ""))


def no_embeddings(model: Model) -> RequestRefused:
    """The error where a provider has no embeddings."""
    return RequestRefused(
        f"{model.name}: {model.provider} has no embeddings here", remedy="choose a model of another provider"
    )


def _name(model: Model) -> str:
    return f"{__name__}.{_MODULES[model.provider]}"


def _import(model: Model) -> _Connects:
    try:
        module = cast("_Connects", importlib.import_module(_name(model)))
    except ImportError as error:
        raise MissingExtra(
            f"models of {model.provider} cannot be called here: {error}", remedy="pip install 'segue[models]'"
        ) from error
    return _imported.setdefault(_name(model), module)
