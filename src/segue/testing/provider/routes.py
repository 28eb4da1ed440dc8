"""Which format a path speaks, and which place of a pool it names."""

from __future__ import annotations

from typing import NamedTuple

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


class Route(NamedTuple):
    """Where a request goes: its format, None where the path is no call of a model, and its place in a pool."""

    format: Format | None
    place: str
    path: str


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
        return Route(self._formats[found] if found else None, place, path)
