"""What is mended in the streams of pydantic-ai's models, so that they say what a whole answer says."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar, cast

from pydantic_ai.messages import ModelResponse, ThinkingPart
from pydantic_ai.models import StreamedResponse
from pydantic_ai.profiles import DEFAULT_THINKING_TAGS, ModelProfile

from ..tags import Apart

EXACT = ModelProfile(ignore_streamed_leading_whitespace=False)
"""No blanks are left out: they are there in an answer that comes whole."""
_S = TypeVar("_S", bound=StreamedResponse)
_CUT = ("length", "content_filter")
"""Ends of an answer that is not whole."""


def remade(kind: type[_S], found: StreamedResponse) -> _S:
    """A stream that has not begun, as one of a class that is derived from its own."""
    return kind(**{one.name: getattr(found, one.name) for one in fields(found) if one.init})


class Tags:
    """Thoughts within the text of a chat completion: pydantic-ai sees a tag only in a piece of its own."""

    def __init__(self, profile: ModelProfile):
        self._apart = Apart(profile.get("thinking_tags", DEFAULT_THINKING_TAGS))

    def choices(self, choice: Any) -> list[Any]:
        """The choice of a chunk as several, each tag in one of its own; what else it says is in the last of them."""
        content, end = choice.delta.content, choice.finish_reason
        pieces = self._apart.take(content) if isinstance(content, str) else []
        if end:
            pieces += self._apart.rest(whole=end not in _CUT)
        if not isinstance(content, str | None) or pieces == list(filter(None, [content])):
            return [choice]
        kind, told = cast("Any", type(choice)), cast("Any", type(choice.delta))
        bare = [kind.model_construct(index=choice.index, delta=told.model_construct(content=one)) for one in pieces]
        return [*bare, choice.model_copy(update={"delta": choice.delta.model_copy(update={"content": None})})]

    def whole(self, response: ModelResponse) -> ModelResponse:
        """Without the thought that was text after all."""
        text = self._apart.unclosed
        found = (p for p in reversed(response.parts) if isinstance(p, ThinkingPart) and p.content == text)
        gone = None if text is None else next(found, None)
        return replace(response, parts=[part for part in response.parts if part is not gone]) if gone else response
