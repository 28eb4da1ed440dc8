"""Turns of a conversation as they stand in the journal: read as parts, shown shorter, recalled by a handle. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..context import Context, Kind, Part, Role
from ..context.form import bare, form

__all__ = [
    "IS_CUT", "RECALL", "Place", "Told", "Unread", "covered", "parts_in", "recalled", "shown_as", "stands", "told",
    "unread", "with_unread",
]  # fmt: skip

STANDS = "segue_part"
"""Where the metadata of a message say which part stands in it: no turn, but a state, a summary, a memory."""

UNREAD = "segue_unread"
"""Where the metadata of a turn's first message say which turns before it were not read."""

RECALL: dict[str, Any] = {
    "name": "recall",
    "description": "Gives back an old tool result that was cleared or cut, by the handle in its place.",
    "parameters_json_schema": {
        "type": "object", "properties": {"handle": {"type": "string"}}, "required": ["handle"],
        "additionalProperties": False,
    },
}  # fmt: skip
"""The tool that is offered where results had to give way."""

IS_CUT = re.compile(r"; recall \w+@\d+ gives what follows …\]")
"""What stands in a result that is shown in part."""

Place = tuple[int, int]
"""Of a part among the turns: which message, and which part of it."""


def parts_in(turns: Sequence[Mapping[str, Any]], first: int = 0) -> Iterator[tuple[Place, Part]]:
    """The parts of messages, each with its place; `first` is the number of the first message."""
    for at, message in enumerate(turns, first):
        one = message if isinstance(message, Told) else told([message])[0]
        for place, part in enumerate(one.parts):
            yield (at, place), part


class Told(dict[str, Any]):
    """A message as JSON that knows its parts."""

    __slots__ = ("noted", "parts")
    parts: tuple[Part, ...]
    noted: dict[object, Told]
    """The same with notes in place of documents that are shown elsewhere, by which ones."""

    def __init__(self, message: Mapping[str, Any]):
        super().__init__(message)
        self.noted = {}


def told(messages: Iterable[Mapping[str, Any]]) -> list[Told]:
    """Messages with their parts. What is plain text is read here; all else by pydantic-ai."""
    from ..models.conversation import MAKER  # noqa: PLC0415  heavy, and only who asks needs it

    made: list[Told] = []
    for message in messages:
        one = Told(message)
        one.parts = (_plain(message, MAKER),) if _is_plain(message) else tuple(_read(message))
        made.append(one)
    return made


def _is_plain(message: Mapping[str, Any]) -> bool:
    parts = message["parts"]
    kind = "user-prompt" if message["kind"] == "request" else "text"
    return (
        len(parts) == 1 and parts[0].keys() == {"part_kind", "content"} and parts[0]["part_kind"] == kind
        and isinstance(parts[0]["content"], str) and STANDS not in (message.get("metadata") or ())
    )  # fmt: skip


def _plain(message: Mapping[str, Any], maker_: str) -> Part:
    text = message["parts"][0]["content"]
    metadata: Any = message.get("metadata") or {}
    maker: Any = metadata.get(maker_) or {}
    if message["kind"] == "request":
        return Part.said(Role.USER, text, who=maker.get("who"))
    return Part.said(Role.ASSISTANT, text, model=maker.get("model"), who=maker.get("who"))


def _read(message: Mapping[str, Any]) -> Iterator[Part]:
    from pydantic_ai.messages import ModelMessagesTypeAdapter, ModelRequest  # noqa: PLC0415  heavy

    from ..context.messages import parts_of  # noqa: PLC0415  it imports the same

    (read,) = ModelMessagesTypeAdapter.validate_python([message])
    stands = (read.metadata or {}).get(STANDS) if isinstance(read, ModelRequest) else None
    for part in parts_of([read]):
        yield part if stands is None else _part(part.text, stands)


def stands(part: Part, covers: int = 0) -> dict[str, Any]:
    """A message in which a part stands that is no turn: the state of the work, a summary, what was recalled.

    A summary `covers` turns of so many tokens.
    """
    told = {"kind": part.kind.value, "source": part.source, "made_of": list(part.made_of), "relevance": part.relevance}
    said = {"part_kind": "user-prompt", "content": form(part)}
    return {"kind": "request", "parts": [said], "metadata": {STANDS: {**told, "model": part.model, "covers": covers}}}


def covered(turns: Iterable[Mapping[str, Any]]) -> int:
    """The tokens of the turns that a summary among these messages stands for; 0: there is none."""
    for message in turns:
        metadata: Any = message.get("metadata") or {}
        stood: Any = metadata.get(STANDS) or {}
        if stood.get("covers"):
            return int(stood["covers"])
    return 0


class Unread(NamedTuple):
    """Turns of a thread that a question did not go back to: from which one to which."""

    first: int
    last: int


def with_unread(message: Told, turns: Unread) -> Told:
    """The first message that was read, with what stands before it and was not."""
    made = Told({**message, "metadata": {**(message.get("metadata") or {}), UNREAD: [*turns]}})
    made.parts = message.parts
    return made


def unread(turns: Iterable[Mapping[str, Any]]) -> Unread | None:
    """The turns before these messages that were not read; None where all were, or a summary stands for the others."""
    for message in turns:
        metadata: Any = message.get("metadata") or {}
        if UNREAD in metadata:
            return Unread._make(metadata[UNREAD])
    return None


def _part(text: str, told: Mapping[str, Any]) -> Part:
    kind = Kind(told["kind"])
    return Part(
        role=Role.USER, kind=kind, text=bare(text, kind), source=told["source"], made_of=tuple(told["made_of"]),
        relevance=told["relevance"], model=told["model"],
    )  # fmt: skip


def shown_as(
    turns: Sequence[dict[str, Any]], changed: Mapping[Place, Part | None], first: int = 0
) -> Iterator[dict[str, Any]]:
    """The turns with what is not shown as it was: in its place something shorter, or nothing."""
    touched = {at for at, _ in changed}
    for at, message in enumerate(turns, first):
        if at not in touched:
            yield message
            continue
        parts: list[dict[str, Any]] = []
        for place, part in enumerate(message["parts"]):
            shown = changed.get((at, place), ...)
            if shown is ...:
                parts.append(part)
            elif shown is not None:
                parts.append({**part, "content": form(shown)})
        if parts:
            yield {**message, "parts": parts}


def recalled(turns: Sequence[Mapping[str, Any]], handle: str) -> str | None:
    """What was said in a turn, by the handle that stands in its place; None where nothing has it."""
    part = Context(part for _, part in parts_in(turns)).part(handle.strip())
    return None if part is None else part.text
