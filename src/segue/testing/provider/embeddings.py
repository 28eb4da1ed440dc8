"""Embeddings: OpenAI's `POST /v1/embeddings`, and Google's `:embedContent` and `:batchEmbedContents`.

A vector is made of the words of a text, each a direction of its own, so texts that share words are near each other.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from array import array
from functools import lru_cache
from typing import Any, ClassVar, cast

from . import openai_checks as openai
from . import tokens
from .formats import asked_tokens
from .google import Google
from .google_rules import bad, camel
from .http import Request
from .marks import Ids
from .openai_chat import OpenAIChat
from .served import Served
from .speech import Answer, Asked, Body, Json, Refused, Turn, Usage
from .spoiling import Frame

MOST_TEXTS = 2_048
MOST_AT_GOOGLE = 100
_WORD = re.compile(r"\w+")
_PARAMETERS = frozenset({"dimensions", "encoding_format", "input", "model", "user"})


def vector(text: str, dimensions: int) -> list[float]:
    """The embedding of a text, of length 1. The same text has the same one, always."""
    found = [0.0] * dimensions
    for word in _WORD.findall(text.lower()) or [text]:
        for number in _directions(word):
            found[number % dimensions] += 1.0 if number & (1 << 40) else -1.0
    length = math.sqrt(sum(x * x for x in found)) or 1.0
    return [x / length for x in found]


@lru_cache(maxsize=50_000)
def _directions(word: str) -> tuple[int, ...]:
    digest = hashlib.blake2b(word.encode(), digest_size=24).digest()
    return tuple(int.from_bytes(digest[i : i + 6], "big") for i in range(0, 24, 6))


class OpenAIEmbeddings(OpenAIChat):
    """Embeddings of one text or many, as numbers or base64."""

    name: ClassVar[str] = "openai-embeddings"
    embeds: ClassVar[bool] = True

    def read(self, request: Request, body: Body, served: Served) -> Asked:
        """What is asked: each text is a turn."""
        if served.strict_parameters:
            openai.known(body, _PARAMETERS)
        openai.one_of(body.get("encoding_format") or "float", ("float", "base64"), "encoding_format")
        openai.within(body, "dimensions", 1, served.dimensions)
        if "input" not in body:
            raise openai.bad("Missing required parameter: 'input'.", "input", "missing_required_parameter")
        given: Json = body["input"]
        texts = cast("list[Any]", given if isinstance(given, list) else [given])
        if texts and all(isinstance(number, int) for number in texts):
            texts = [texts]
        if not texts or len(texts) > MOST_TEXTS or any(not _is_text(text) for text in texts):
            raise openai.bad(
                "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference."
            )
        turns = tuple(Turn("user", text if isinstance(text, str) else "") for text in texts)
        numbers = sum(len(text) for text in texts if not isinstance(text, str))
        longest = max(tokens.count(text) if isinstance(text, str) else len(text) for text in texts)
        if longest > served.window:
            raise openai.bad(
                f"This model's maximum context length is {served.window} tokens, however you requested {longest} tokens"
                f" ({longest} in your prompt; 0 for the completion). Please reduce your prompt; or completion length.",
            )
        size = body.get("dimensions") or served.dimensions
        mistral = served.mistral or "mistral" in request.headers.get("user-agent", "")
        return Asked(
            model=body["model"], body=body, turns=turns, extra_tokens=numbers, dimensions=size, mistral=mistral
        )

    def whole(self, asked: Asked, said: Answer, usage: Usage | None, ids: Ids) -> Body:
        """A list of embeddings; of none, where the answer is empty. Mistral's has an id, which its SDK demands."""
        packed = asked.body.get("encoding_format") == "base64"
        vectors = [vector(turn.text, asked.dimensions) for turn in asked.turns] if said.text else []
        data = [
            {"object": "embedding", "index": i, "embedding": _packed(found) if packed else found}
            for i, found in enumerate(vectors)
        ]
        body: Body = {"id": ids.of("embd-", length=32)} if asked.mistral else {}
        body |= {"object": "list", "data": data, "model": asked.model}
        told = usage and {"prompt_tokens": usage.tokens_in, "total_tokens": usage.tokens_in}
        return {**body, "usage": told} if told else body

    def frames(self, asked: Asked, said: Answer, usage: Usage | None, ids: Ids) -> list[Frame]:
        """There are no streams of embeddings."""
        return []


class GoogleEmbeddings(Google):
    """Embeddings of one content or a batch."""

    name: ClassVar[str] = "google-embeddings"
    embeds: ClassVar[bool] = True

    def unknown(self, model: str) -> Refused:
        """404."""
        refused = super().unknown(model)
        refused.message = refused.message.replace("generateContent", "embedContent")
        return refused

    def read(self, request: Request, body: Body, served: Served) -> Asked:
        """What is asked: each content is a turn."""
        body = camel(body)
        listed: list[Body] = body.get("requests") or ([body] if "content" in body else [])
        if not listed:
            raise bad("* BatchEmbedContentsRequest.requests: requests must not be empty.\n")
        if len(listed) > MOST_AT_GOOGLE:
            most = f"at most {MOST_AT_GOOGLE} requests can be in one batch"
            raise bad(f"* BatchEmbedContentsRequest.requests: {most}\n")
        turns: list[Turn] = []
        for i, item in enumerate(listed):
            parts: list[Body] = cast("Body", item.get("content") or {}).get("parts") or []
            if not parts or not any(part.get("text") for part in parts):
                raise bad(f"* BatchEmbedContentsRequest.requests[{i}].content: content must not be empty.\n")
            turns.append(Turn("user", "\n".join(str(part.get("text") or "") for part in parts)))
        size = listed[0].get("outputDimensionality") or served.dimensions
        asked = Asked(model=self.model(request, body), body=body, turns=tuple(turns), dimensions=size)
        if asked_tokens(asked) > served.window * len(turns):
            raise bad(f"The input token count exceeds the maximum number of tokens allowed ({served.window}).")
        return asked

    def whole(self, asked: Asked, said: Answer, usage: Usage | None, ids: Ids) -> Body:
        """One embedding or a list; none, where the answer is empty."""
        vectors = [{"values": vector(turn.text, asked.dimensions)} for turn in asked.turns] if said.text else []
        body: Body = {"embeddings": vectors}
        if "requests" not in asked.body:
            body = {"embedding": vectors[0] if vectors else {}}
        return {**body, "usageMetadata": {"promptTokenCount": usage.tokens_in}} if usage else body

    def frames(self, asked: Asked, said: Answer, usage: Usage | None, ids: Ids) -> list[Frame]:
        """There are no streams of embeddings."""
        return []


def _is_text(value: Any) -> bool:
    if isinstance(value, str):
        return value != ""
    numbers = cast("list[Any]", value if isinstance(value, list) else [])
    return bool(numbers) and all(isinstance(number, int) for number in numbers)


def _packed(numbers: list[float]) -> str:
    return base64.b64encode(array("f", numbers).tobytes()).decode()
