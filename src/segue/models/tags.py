"""What a model thinks within the text of its answer, between tags: taken apart while it comes. Pure.

It gives what a text that came whole gives: each pair of tags holds a thought, wherever it stands; what follows a tag
that nothing closes is text, without the tag.
"""

from __future__ import annotations

__all__ = ["Apart"]


class Apart:
    """Splits a text that comes in pieces, so that each tag is a piece of its own."""

    def __init__(self, tags: tuple[str, str]):
        self._tags = tags
        self._held = ""
        self._thought: list[str] | None = None
        self.unclosed: str | None = None
        """A thought that nothing has closed, and that is text therefore. Known at the end."""

    def take(self, text: str) -> list[str]:
        """What can be told apart by now; the beginning of what may become a tag is held back."""
        text, pieces = self._held + text, list[str]()
        while (at := text.find(self._awaited)) >= 0:
            tag = self._awaited
            pieces += self._say(text[:at])
            pieces.append(tag)
            self._thought = [] if self._thought is None else None
            text = text[at + len(tag) :]
        keep = _begun(text, self._awaited)
        self._held = text[len(text) - keep :]
        return pieces + self._say(text[: len(text) - keep])

    def rest(self, *, whole: bool) -> list[str]:
        """What is left at the end. Of an answer that is `whole`, a thought that nothing has closed is said again: as
        text, in two pieces, neither of which is a tag.
        """
        pieces = self._say(self._held)
        self._held = ""
        if self._thought is None or not whole:
            return pieces
        self.unclosed, tag = "".join(self._thought), self._awaited
        self._thought = None
        cut = 2 if self.unclosed[1:] == self._awaited else 1
        return [*pieces, tag, *filter(None, (self.unclosed[:cut], self.unclosed[cut:]))]

    @property
    def _awaited(self) -> str:
        return self._tags[self._thought is not None]

    def _say(self, text: str) -> list[str]:
        if text and self._thought is not None:
            self._thought.append(text)
        return [text] if text else []


def _begun(text: str, tag: str) -> int:
    """How much of its end may be the beginning of the tag."""
    return next((n for n in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:n])), 0)
