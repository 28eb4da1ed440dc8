"""Which format a path speaks, and which place of a pool it names."""

from __future__ import annotations

from typing import Literal, NamedTuple

from .anthropic import Anthropic
from .embeddings import GoogleEmbeddings, OpenAIEmbeddings
from .formats import Format
from .google import Google
from .openai_chat import OpenAIChat
from .openai_responses import OpenAIResponses

_ENDINGS = {
    "/chat/completions": OpenAIChat.name,
    "/responses": OpenAIResponses.name,
    "/embeddings": OpenAIEmbeddings.name,
    "/messages": Anthropic.name,
    ":generateContent": Google.name,
    ":streamGenerateContent": Google.name,
    ":embedContent": GoogleEmbeddings.name,
    ":batchEmbedContents": GoogleEmbeddings.name,
}

BatchFormat = Literal["anthropic", "google", "mistral", "openai"]
_BATCHES: dict[str, BatchFormat] = {
    "/v1/messages/batches": "anthropic",
    "/v1/batch/jobs": "mistral",
    "/v1/files": "openai",
    "/v1/batches": "openai",
    "/openai/v1/files": "openai",
    "/openai/v1/batches": "openai",
    "/v1beta/batches": "google",
    "/v1beta/files": "google",
    "/upload/v1beta/files": "google",
}


class Route(NamedTuple):
    """Where a request goes: its format, None where the path is no call of a model, and its place in a pool.

    `batch`: in whose format it is about files and batches.
    """

    format: Format | None
    place: str
    path: str
    batch: BatchFormat | None = None


class Routes:
    """All formats, one instance each."""

    def __init__(self) -> None:
        every = (OpenAIChat, OpenAIResponses, OpenAIEmbeddings, Anthropic, Google, GoogleEmbeddings)
        self._formats: dict[str, Format] = {kind.name: kind() for kind in every}

    def of(self, path: str) -> Route:
        """By the ending of the path: what stands before it is left to the caller. `/@NAME/...` names a place."""
        place = ""
        if path.startswith("/@"):
            place, _, path = path[2:].partition("/")
            path = "/" + path
        tail = path[path.rfind(":") :] if "/models/" in path else path
        found = next((name for ending, name in _ENDINGS.items() if tail.endswith(ending)), None)
        batch: BatchFormat | None = next((name for begin, name in _BATCHES.items() if path.startswith(begin)), None)
        if path.endswith(":batchGenerateContent"):
            batch = "google"
        return Route(self._formats[found] if found else None, place, path, batch)
