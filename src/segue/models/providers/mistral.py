"""Mistral's API."""

from __future__ import annotations

from typing import Any

from pydantic_ai.models.mistral import MistralModel
from pydantic_ai.providers.mistral import MistralProvider

from ..batches.mistral import MistralBatches
from ..spec import Deployment, Model
from . import Connection, Embedded, base_url
from .wire import client, closing


def connect(model: Model, deployment: Deployment, key: str | None) -> Connection:
    """The connection to one deployment."""
    http = client()
    provider = MistralProvider(api_key=key, base_url=base_url(deployment.url, cut=("/v1",)), http_client=http)
    found, sdk = MistralModel(model.id, provider=provider), provider.client
    return Connection(found, closing(http), _embed(sdk, model), MistralBatches(sdk, model.id))


def _embed(sdk: Any, model: Model) -> Any:
    async def embed(texts: list[str]) -> Embedded:
        answer = await sdk.embeddings.create_async(model=model.id, inputs=texts)
        ordered = sorted(answer.data, key=lambda item: item.index)
        return Embedded([list(item.embedding) for item in ordered], answer.usage.prompt_tokens or 0)

    return embed
