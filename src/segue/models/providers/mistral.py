"""Mistral's API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mistralai.client.errors import ResponseValidationError
from pydantic_ai.messages import ModelResponseStreamEvent
from pydantic_ai.models import ModelRequestParameters, StreamedResponse
from pydantic_ai.models.mistral import MistralModel, MistralStreamedResponse
from pydantic_ai.providers.mistral import MistralProvider

from ..batches.mistral import MistralBatches
from ..spec import Deployment, Model
from ..unread import cannot_read
from . import Connection, Embedded, base_url
from .streamed import remade
from .wire import client, closing


class _Streamed(MistralStreamedResponse):
    """A stream whose text is text. pydantic-ai's own takes it for the beginning of JSON where a tool ends the loop."""

    def _map_text_delta(self, text: str) -> Iterator[ModelResponseStreamEvent]:
        yield from self._parts_manager.handle_text_delta(vendor_part_id="content", content=text)


class _Chat(MistralModel):
    async def _process_streamed_response(
        self, response: Any, model_request_parameters: ModelRequestParameters
    ) -> StreamedResponse:
        return remade(_Streamed, await super()._process_streamed_response(response, model_request_parameters))


def connect(model: Model, deployment: Deployment, key: str | None) -> Connection:
    """The connection to one deployment."""
    http = client()
    provider = MistralProvider(api_key=key, base_url=base_url(deployment.url, cut=("/v1",)), http_client=http)
    found, sdk = _Chat(model.id, provider=provider), provider.client
    return Connection(found, closing(http), _embed(sdk, model), MistralBatches(sdk, model.id))


def _embed(sdk: Any, model: Model) -> Any:
    async def embed(texts: list[str]) -> Embedded:
        try:
            answer = await sdk.embeddings.create_async(model=model.id, inputs=texts)
        except ResponseValidationError as odd:  # over a whole body: `wire` sees to half of one
            raise cannot_read(model.name, "embeddings", odd) from odd
        ordered = sorted(answer.data, key=lambda item: item.index)
        return Embedded([list(item.embedding) for item in ordered], answer.usage.prompt_tokens or 0)

    return embed
