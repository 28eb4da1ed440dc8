"""What a reply adds to an answer that was begun: one that says the beginning once more has it left out. Pure."""

from __future__ import annotations

__all__ = ["Onward", "added", "adds"]

_TELLS = 20
"""Characters: a beginning that is shorter may well come once more in what goes on from it."""


class Onward:
    """The text of a reply that is to go on from what was `begun`, while it comes.

    Models that are shown the beginning of an answer often say all of it anew. It is held only while it may be that.
    """

    def __init__(self, begun: str):
        self._begun = begun.lstrip()
        self._held: str | None = "" if len(self._begun) >= _TELLS else None

    def take(self, text: str) -> str:
        """What may go out now that this has come."""
        if self._held is None:
            return text
        self._held += text
        said = self._held.lstrip()
        if self._begun.startswith(said) and said != self._begun:
            return ""
        new = said[len(self._begun) :] if said.startswith(self._begun) else self._held
        self._held = None
        return new

    def rest(self) -> str:
        """What is held at the end: nothing of a reply that said the beginning once more, or some of it, and no more."""
        held, self._held = self._held or "", None
        return "" if len(held.strip()) >= _TELLS else held


def added(begun: str, text: str) -> str:
    """What a whole reply adds to what was begun; blank where it adds nothing, and ends before that did."""
    onward = Onward(begun)
    return onward.take(text) + onward.rest()


def adds(begun: str, text: str) -> bool:
    """Whether a whole reply says something of its own: some more, or that what was begun was all."""
    return bool(added(begun, text).strip()) or (text.strip() == begun.strip() and len(begun.strip()) >= _TELLS)
