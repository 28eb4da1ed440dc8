"""Amazon Bedrock's Converse API. botocore blocks: pydantic-ai runs it in threads."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import boto3  # pyright: ignore[reportMissingTypeStubs]
from botocore.config import Config  # pyright: ignore[reportMissingTypeStubs]
from botocore.session import Session  # pyright: ignore[reportMissingTypeStubs]
from botocore.tokens import FrozenAuthToken  # pyright: ignore[reportMissingTypeStubs]
from pydantic_ai.models.bedrock import BedrockConverseModel
from pydantic_ai.providers.bedrock import BedrockProvider

from ..spec import Deployment, Model
from . import Connection, Embedded
from .wire import CONNECT_S

READ_S = 120.0
"""The longest silence: a thread cannot be cancelled, it ends when botocore gives up."""
_CONNECTIONS = 50


def connect(model: Model, deployment: Deployment, key: str | None) -> Connection:
    """The connection to one deployment. Its key, if the catalogue names one, is a Bedrock API key (a bearer token)."""
    config = Config(
        read_timeout=READ_S, connect_timeout=CONNECT_S, max_pool_connections=_CONNECTIONS,
        retries={"total_max_attempts": 1, "mode": "standard"}, signature_version="bearer" if key else None,
    )  # fmt: skip
    session: Any = boto3.Session(botocore_session=_Token(key) if key else None, region_name=deployment.region)
    sdk: Any = session.client("bedrock-runtime", endpoint_url=deployment.url, config=config)
    provider = BedrockProvider(bedrock_client=sdk)

    async def close() -> None:
        await asyncio.to_thread(sdk.close)

    return Connection(BedrockConverseModel(model.id, provider=provider), close, _embed(sdk, model))


class _Token(Session):
    """A session that signs with a Bedrock API key, of this deployment and no other."""

    def __init__(self, token: str):
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self._token = token

    def get_auth_token(self, **_options: Any) -> FrozenAuthToken:
        return FrozenAuthToken(self._token)

    def get_credentials(self) -> None:
        return None


def _embed(sdk: Any, model: Model) -> Any:
    """Titan takes one text a call, Cohere many."""
    many = "cohere" in model.id

    def invoke(body: dict[str, Any]) -> dict[str, Any]:
        answer = sdk.invoke_model(modelId=model.id, body=json.dumps(body), accept="application/json")
        return json.loads(answer["body"].read())

    async def embed(texts: list[str]) -> Embedded:
        if many:
            said = await asyncio.to_thread(invoke, {"texts": texts, "input_type": "search_document"})
            return Embedded(said["embeddings"])
        size = {"dimensions": model.dimensions} if model.dimensions else {}
        each = [await asyncio.to_thread(invoke, {"inputText": text, **size}) for text in texts]
        return Embedded([one["embedding"] for one in each], sum(one.get("inputTextTokenCount", 0) for one in each))

    return embed
