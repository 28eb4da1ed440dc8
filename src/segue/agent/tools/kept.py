"""Results that are shown in part: cut to their limit, and given back piece by piece by their handle."""

from __future__ import annotations

import json

from ...core.records import ToolOutcome
from .result import Content, Cut, Told, cut, handle_of, piece

__all__ = ["Kept", "handle_in"]


class Kept:
    """The whole of what was cut, of one question or of one run of an agent."""

    def __init__(self) -> None:
        self._whole: dict[str, tuple[str, int]] = {}
        """By its handle, and to how much it was cut."""

    def __bool__(self) -> bool:
        """Whether anything was cut."""
        return bool(self._whole)

    def limited(self, content: Content, limit: int | None) -> Told:
        """What is shown of a result."""
        if limit is None or not isinstance(content, str) or len(content) <= limit:
            return Told(content=content)
        handle = handle_of(content)
        self._whole[handle] = content, limit
        shown, _ = cut(content, limit, handle)
        return Told(content=shown, cut=Cut(handle, len(content), len(shown)))

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
