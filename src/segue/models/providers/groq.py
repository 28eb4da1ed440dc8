"""Groq's API. Its SDK is built on the older httpx."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import httpx
import httpx2
from groq import AsyncGroq
from groq.types.chat import ChatCompletionChunk
from pydantic_ai.messages import ModelResponse, ModelResponseStreamEvent
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.groq import GroqModel, GroqStreamedResponse
from pydantic_ai.providers.groq import GroqProvider

from ..batches.openai import GroqBatches
from ..spec import Deployment, Model
from . import Connection, base_url
from .streamed import EXACT, Tags, remade
from .wire import CONNECT_S, CONNECTIONS, READ_S, closing, hooks, look, tape, trust

LIMITS = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)


class Client(httpx.AsyncClient):
    """A client whose network may be put aside for a while: `wire.Client` for the older httpx."""

    async def send(self, request: httpx.Request, **how: Any) -> httpx.Response:
        """As httpx does, unless there is a tape."""
        answer = tape.get()
        if answer is None:
            return await super().send(request, **how)
        asked = httpx2.Request(
            request.method, str(request.url), headers=request.headers.multi_items(), content=request.content
        )
        said = await answer(asked)
        response = httpx.Response(
            said.status_code, headers=said.headers.multi_items(), content=said.content, request=request
        )
        await look(response)
        return response


class _Streamed(GroqStreamedResponse):
    """A stream whose thoughts are told apart however they come."""

    @cached_property
    def _tags(self) -> Tags:
        return Tags(self._model_profile)

    def _map_chunk(self, chunk: ChatCompletionChunk) -> Iterator[ModelResponseStreamEvent]:
        *first, last = self._tags.choices(chunk.choices[0]) if chunk.choices else [None]
        of: dict[str, Any] = {"id": chunk.id, "created": chunk.created, "model": chunk.model, "object": chunk.object}
        for one in first:
            yield from super()._map_chunk(ChatCompletionChunk.model_construct(choices=[one], **of))
        yield from super()._map_chunk(chunk if last is None else chunk.model_copy(update={"choices": [last]}))

    def get(self) -> ModelResponse:
        """The answer, as far as it has come."""
        return self._tags.whole(super().get())


class _Chat(GroqModel):
    async def _process_streamed_response(
        self, response: Any, model_request_parameters: ModelRequestParameters
    ) -> GroqStreamedResponse:
        return remade(_Streamed, await super()._process_streamed_response(response, model_request_parameters))


def connect(model: Model, deployment: Deployment, key: str | None) -> Connection:
    """The connection to one deployment."""
    timeout = httpx.Timeout(READ_S, connect=CONNECT_S)
    http = Client(verify=trust(), timeout=timeout, limits=LIMITS, event_hooks=hooks)
    url = base_url(deployment.url, cut=("/openai/v1",))
    sdk = AsyncGroq(base_url=url, api_key=key, http_client=http, max_retries=0)
    found = _Chat(model.id, provider=GroqProvider(groq_client=sdk), profile=EXACT)
    batches = GroqBatches(sdk, "/v1/chat/completions", keeps=False)
    return Connection(found, closing(http), batches=batches)
