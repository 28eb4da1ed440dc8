"""What a model is told of a call: its result, cut to its limit, or what became of it in place of one. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple, cast

from pydantic_core import PydanticSerializationError, to_json

from ...core.records import ToolOutcome
from ...errors import UnserialisableResult
from ..media import Media, media_of

__all__ = ["Content", "Cut", "Told", "cut", "handle_of", "piece", "told", "words_of"]

Content = str | list[Any]
"""Text, or texts and files, as the content of a pydantic-ai tool return."""
_SAID = {
    ToolOutcome.DENIED: "denied", ToolOutcome.UNKNOWN: "interrupted", ToolOutcome.GIVEN: None,
    ToolOutcome.REFUSED: "failed", ToolOutcome.FAILED: "failed", ToolOutcome.MISSING: "failed",
}  # fmt: skip
"""Our outcomes in pydantic-ai's words."""


class Cut(NamedTuple):
    """A result that is shown in part."""

    handle: str
    chars: int
    shown: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What goes back to the model for one call."""

    content: Content
    outcome: ToolOutcome = ToolOutcome.GIVEN
    cut: Cut | None = None
    approval: str | None = None
    """The id of the question that a person was asked."""

    @property
    def said(self) -> dict[str, Any]:
        """As fields of a part of a message."""
        word = _SAID.get(self.outcome, "failed")
        return {"content": self.content} if word is None else {"content": self.content, "outcome": word}


def told(result: object) -> Content:
    """A result as a model reads it: text, or JSON; media as what they are, in their place.

    Raises UnserialisableResult for what cannot be shown: a Secret, say.
    """
    if isinstance(result, str):
        return result
    if isinstance(result, list | tuple):
        items = cast("Sequence[object]", result)
        if any(media_of(one) is not None for one in items):
            return [_item(one) for one in items]
    one = media_of(cast("object", result))
    return _json(cast("object", result)) if one is None else [_file(one)]


def words_of(content: Content) -> str:
    """The text of a result: its texts, a line each, where there are files among them."""
    return content if isinstance(content, str) else "\n".join(one for one in content if isinstance(one, str))


def _json(result: object) -> str:
    try:
        return to_json(result).decode()
    except PydanticSerializationError as error:
        raise UnserialisableResult(str(error), remedy="give the model what it may see") from error


def _item(one: object) -> object:
    media = media_of(one)
    if media is not None:
        return _file(media)
    return one if isinstance(one, str) else _json(one)


def _file(media: Media) -> dict[str, str]:
    """As pydantic-ai's BinaryContent."""
    return {"kind": "binary", "media_type": media.type, "data": b64encode(media.data).decode()}


def handle_of(text: str) -> str:
    """The name by which the whole of a text is recalled."""
    return blake2b(text.encode(errors="backslashreplace"), digest_size=6).hexdigest()


def cut(text: str, limit: int, handle: str, at: int = 0) -> tuple[str, int]:
    """Of a text from `at` on as much as `limit` holds, and where what is left out begins; that is its end for all.

    The first piece keeps the end of the text too: what went wrong stands there. Each piece says how to have the next.
    """
    rest = len(text) - at
    if rest <= limit:
        return text[at:], len(text)
    note = "\n[… {:,} of {:,} characters are left out here; recall {}@{} gives what follows …]\n"
    room = limit - len(note.format(rest, len(text), handle, len(text)))
    end = room // 4 if at == 0 else 0
    head = at + room - end
    left = len(text) - head - end
    tail = text[len(text) - end :] if end else ""
    return text[at:head] + note.format(left, len(text), handle, head) + tail, head


def piece(text: str, limit: int, handle: str, place: str) -> str:
    """What a model gets that wants the text from a place on."""
    at = int(place) if place.isdecimal() else 0
    return cut(text, limit, handle, at)[0] if at < len(text) else "(that was all of it)"
