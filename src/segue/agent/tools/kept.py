"""Results that are shown in part: cut to their limit, and given back piece by piece by their handle."""

from __future__ import annotations

import json

from ...core.records import ToolOutcome
from .result import Content, Cut, Told, cut, handle_of, piece, words_of

__all__ = ["Kept", "handle_in", "nothing_by"]


class Kept:
    """The whole of what was cut, of one question or of one run of an agent."""

    def __init__(self) -> None:
        self._whole: dict[str, tuple[str, int]] = {}
        """By its handle, and to how much it was cut."""

    def __bool__(self) -> bool:
        """Whether anything was cut."""
        return bool(self._whole)

    def limited(self, content: Content, limit: int | None) -> Told:
        """What is shown of a result. Files stand behind its text, where that is cut."""
        text = words_of(content)
        if limit is None or len(text) <= limit:
            return Told(content=content)
        handle = handle_of(text)
        self._whole[handle] = text, limit
        shown, _ = cut(text, limit, handle)
        files = [] if isinstance(content, str) else [one for one in content if not isinstance(one, str)]
        return Told(content=[shown, *files] if files else shown, cut=Cut(handle, len(text), len(shown)))

    def piece(self, handle: str) -> str | None:
        """The piece that a handle stands for; None where nothing has it."""
        name, _, place = handle.strip().partition("@")
        if name not in self._whole:
            return None
        text, limit = self._whole[name]
        return piece(text, limit, name, place)


def handle_in(args: str) -> str | Told:
    """The handle that the arguments of `recall` name, or what is told of others."""
    try:
        return str(json.loads(args)["handle"])
    except (ValueError, TypeError, KeyError):
        return Told(content='these arguments do not fit: give {"handle": "…"}', outcome=ToolOutcome.REFUSED)


def nothing_by(handle: str) -> Told:
    """What is told of a handle that stands for nothing."""
    return Told(content=f"there is nothing by the handle {handle[:64]!r}", outcome=ToolOutcome.MISSING)
