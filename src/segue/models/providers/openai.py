"""OpenAI's two APIs, Ollama, and every server that speaks as OpenAI does."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from openai import AsyncOpenAI, omit
from pydantic_ai.messages import ModelResponse, ModelResponseStreamEvent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel, OpenAIStreamedResponse
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.ollama import OllamaProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

from ..batches.openai import OpenAIBatches
from ..spec import Deployment, Model, Provider
from . import NO_KEY, Connection, Embedded, base_url
from .streamed import EXACT, Tags
from .wire import client, closing

OLLAMA_URL = "http://localhost:11434/v1"
_ENDS = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True, **EXACT)
"""A stream that ends without saying that it has ended was cut."""


class _Streamed(OpenAIStreamedResponse):
    """A stream whose thoughts are told apart however they come."""

    @cached_property
    def _tags(self) -> Tags:
        return Tags(self._model_profile)

    def _map_part_delta(self, choice: Any) -> Iterable[ModelResponseStreamEvent]:
        for one in self._tags.choices(choice):
            yield from super()._map_part_delta(one)

    def get(self) -> ModelResponse:
        """The answer, as far as it has come."""
        return self._tags.whole(super().get())


class _Chat(OpenAIChatModel):
    @property
    def _streamed_response_cls(self) -> type[OpenAIStreamedResponse]:
        return _Streamed


def connect(model: Model, deployment: Deployment, key: str | None) -> Connection:
    """The connection to one deployment."""
    http = client()
    url = base_url(deployment.url)
    if model.provider is Provider.OLLAMA:
        url = base_url(deployment.url or OLLAMA_URL, end="/v1")
    sdk = AsyncOpenAI(base_url=url, api_key=key or NO_KEY, http_client=http, max_retries=0)
    provider = _provider(model, sdk)
    keeps = model.provider is not Provider.OPENAI_COMPATIBLE
    if model.provider is Provider.OPENAI_RESPONSES:
        batches = OpenAIBatches(sdk, "/v1/responses", keeps=keeps)
        return Connection(OpenAIResponsesModel(model.id, provider=provider), closing(http), _embed(sdk, model), batches)
    chat = _Chat(model.id, provider=provider, profile=_ENDS)
    batches = OpenAIBatches(sdk, "/v1/chat/completions", keeps=keeps)
    return Connection(chat, closing(http), _embed(sdk, model), batches)


def _provider(model: Model, sdk: AsyncOpenAI) -> Any:
    if model.provider is Provider.OLLAMA:
        return OllamaProvider(openai_client=sdk)
    if model.provider is Provider.OPENAI_COMPATIBLE:
        return OpenAICompatibleProvider(Provider.OPENAI_COMPATIBLE.value, openai_client=sdk)
    return OpenAIProvider(openai_client=sdk)


def _embed(sdk: AsyncOpenAI, model: Model) -> Any:
    async def embed(texts: list[str]) -> Embedded:
        size = model.dimensions if model.provider is Provider.OPENAI else None
        answer = await sdk.embeddings.create(
            input=texts, model=model.id, dimensions=size or omit, encoding_format="float"
        )
        ordered = sorted(answer.data, key=lambda item: item.index)
        usage: Any = answer.usage  # some servers send none
        return Embedded([item.embedding for item in ordered], getattr(usage, "prompt_tokens", 0) or 0)

    return embed
