"""Google's Gemini API."""

from __future__ import annotations

from typing import Any

from pydantic_ai.models.google import GoogleModel
from pydantic_ai.providers.google import GoogleProvider

from ..batches.google import GoogleBatches
from ..spec import Deployment, Model
from . import Connection, Embedded, base_url
from .wire import client, closing


def connect(model: Model, deployment: Deployment, key: str | None) -> Connection:
    """The connection to one deployment."""
    http = client()
    url = base_url(deployment.url, cut=("/v1beta", "/v1"))
    provider = GoogleProvider(api_key=key, http_client=http, base_url=url)
    found, sdk = GoogleModel(model.id, provider=provider), provider.client
    return Connection(found, closing(http), _embed(sdk, model), GoogleBatches(sdk, model.id))


def _embed(sdk: Any, model: Model) -> Any:
    async def embed(texts: list[str]) -> Embedded:
        size: Any = {"output_dimensionality": model.dimensions} if model.dimensions else None
        answer = await sdk.aio.models.embed_content(model=model.id, contents=texts, config=size)
        counts = [getattr(e.statistics, "token_count", 0) or 0 for e in answer.embeddings or ()]
        return Embedded([list(e.values or ()) for e in answer.embeddings or ()], int(sum(counts)))

    return embed
