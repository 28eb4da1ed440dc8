"""Anthropic's Messages API."""

from __future__ import annotations

from anthropic import AsyncAnthropic
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

from ..batches.anthropic import AnthropicBatches
from ..spec import Deployment, Model
from . import Connection, base_url
from .wire import client, closing


def connect(model: Model, deployment: Deployment, key: str | None) -> Connection:
    """The connection to one deployment."""
    http = client()
    url = base_url(deployment.url, cut=("/v1",))
    sdk = AsyncAnthropic(base_url=url, api_key=key, http_client=http, max_retries=0)
    found = AnthropicModel(model.id, provider=AnthropicProvider(anthropic_client=sdk))
    return Connection(found, closing(http), batches=AnthropicBatches(sdk))
