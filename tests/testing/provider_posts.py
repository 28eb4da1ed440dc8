"""Requests as they stand on the wire, and what the server says to them."""

from __future__ import annotations

import copy
from typing import Any

import httpx

from segue.testing.provider import Outcome, Served, serve

MODELS = {
    "m": Served(window=2_000, max_output=1_000),
    "thinker": Served(thinking=True),
    "strict": Served(prefill=False, alternate=True),
    "locked": Served(keys=frozenset({"k2"})),
}
HEADERS = {"authorization": "Bearer k", "x-api-key": "k", "anthropic-version": "2023-06-01", "x-goog-api-key": "k"}
CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
GENERATE = "/v1beta/models/{model}:generateContent"
EMBED = "/v1/embeddings"
OBJECT: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
STRICT = {**OBJECT, "additionalProperties": False}


def words(n: int) -> str:
    """A text of n tokens."""
    return " ".join(["word"] * n)


def user(text: str = "hello") -> dict[str, Any]:
    return {"role": "user", "content": text}


async def post(url: str, path: str, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
    """The model goes into the path where that has a place for it."""
    body = copy.deepcopy(body)
    if "{model}" in path:
        path = path.format(model=body.pop("model"))
    async with httpx.AsyncClient() as client:
        return await client.post(url + path, json=body, headers=HEADERS if headers is None else headers)


async def refused(path: str, body: Any, said: str, *, status: int = 400) -> Any:
    async with serve(MODELS) as provider:
        got = await post(provider.url, path, body)
        assert got.status_code == status, got.text
        error = got.json()["error"]
        assert said in error["message"], error["message"]
        assert provider.log[-1].outcome is Outcome.REJECTED
        assert provider.counts().tokens_in == provider.counts().tokens_out == 0
        return error


async def taken(path: str, body: Any) -> Any:
    async with serve(MODELS) as provider:
        got = await post(provider.url, path, body)
        assert got.status_code == 200, got.text
        return got.json()
