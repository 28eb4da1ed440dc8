"""Groq's API. Its SDK is built on the older httpx."""

from __future__ import annotations

import httpx
from groq import AsyncGroq
from pydantic_ai.models.groq import GroqModel
from pydantic_ai.providers.groq import GroqProvider

from ..spec import Deployment, Model
from . import Connection, base_url
from .wire import CONNECT_S, CONNECTIONS, READ_S, closing, hooks, trust

LIMITS = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)


def connect(model: Model, deployment: Deployment, key: str | None) -> Connection:
    """The connection to one deployment."""
    timeout = httpx.Timeout(READ_S, connect=CONNECT_S)
    http = httpx.AsyncClient(verify=trust(), timeout=timeout, limits=LIMITS, event_hooks=hooks)
    url = base_url(deployment.url, cut=("/openai/v1",))
    sdk = AsyncGroq(base_url=url, api_key=key, http_client=http, max_retries=0)
    return Connection(GroqModel(model.id, provider=GroqProvider(groq_client=sdk)), closing(http))
