"""Groq's API. Its SDK is built on the older httpx."""

from __future__ import annotations

from typing import Any

import httpx
import httpx2
from groq import AsyncGroq
from pydantic_ai.models.groq import GroqModel
from pydantic_ai.providers.groq import GroqProvider

from ..batches.openai import GroqBatches
from ..spec import Deployment, Model
from . import Connection, base_url
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


def connect(model: Model, deployment: Deployment, key: str | None) -> Connection:
    """The connection to one deployment."""
    timeout = httpx.Timeout(READ_S, connect=CONNECT_S)
    http = Client(verify=trust(), timeout=timeout, limits=LIMITS, event_hooks=hooks)
    url = base_url(deployment.url, cut=("/openai/v1",))
    sdk = AsyncGroq(base_url=url, api_key=key, http_client=http, max_retries=0)
    found = GroqModel(model.id, provider=GroqProvider(groq_client=sdk))
    batches = GroqBatches(sdk, "/v1/chat/completions", keeps=False)
    return Connection(found, closing(http), batches=batches)
