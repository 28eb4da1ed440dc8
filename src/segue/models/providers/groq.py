"""Groq's API. Its SDK is built on the older httpx."""

from __future__ import annotations

import httpx
from groq import AsyncGroq
from pydantic_ai.models.groq import GroqModel
from pydantic_ai.providers.groq import GroqProvider

from ..spec import Deployment, Model
from . import Connection, base_url
from .wire import CONNECT_S, READ_S, closing, hooks


def connect(model: Model, deployment: Deployment, key: str | None) -> Connection:
    """The connection to one deployment."""
    http = httpx.AsyncClient(timeout=httpx.Timeout(READ_S, connect=CONNECT_S), event_hooks=hooks)
    url = base_url(deployment.url, cut=("/openai/v1",))
    sdk = AsyncGroq(base_url=url, api_key=key, http_client=http, max_retries=0)
    return Connection(GroqModel(model.id, provider=GroqProvider(groq_client=sdk)), closing(http))
