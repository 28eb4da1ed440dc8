"""Documents that are given with one question after another of a thread: in a call each of them is shown once. Pure.

It is shown where it was given last, and in each place before that a note says which one it is. Old turns give way to
newer ones, so a note goes before what it points at, and never points at what is not shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from ..context import Assembly, Part, Role
from ..context.fitting import counts
from ..context.shorter import ends_of, recalled_by
from ..context.tokens import Tokens
from ..core.records import Fate
from .turns import Told, told

if TYPE_CHECKING:
    from .request import Question

__all__ = ["GIVEN", "LONG", "Shows", "below", "in_pieces", "once", "places", "with_pieces", "with_whole"]

LONG = 400
"""Characters of a part that is shown once: the note in its place has about 150, and must be worth it."""

GIVEN = "segue_given"
"""Where the metadata of a message say from where to where in its text the long parts of a question stand."""

Span = tuple[int, int]


def places(before: str, parts: Iterable[str]) -> dict[str, Any]:
    """Metadata that say where the long ones of these parts stand, each in a line of its own behind `before`."""
    found: list[Span] = []
    at = len(before)
    for part in parts:
        at += 1
        if len(part) >= LONG:
            found.append((at, at + len(part)))
        at += len(part)
    return {GIVEN: found} if found else {}


def in_pieces(message: Mapping[str, Any]) -> list[str]:
    """What a message with documents says, in order: each document, and each text before, between and after them.
    Between two pieces is a line break. Empty where it has no documents.
    """
    return [text for text, _ in _pieces(message)]


def with_pieces(message: Mapping[str, Any], said: Sequence[str]) -> dict[str, Any]:
    """The message with these in place of its pieces: its documents stand where they stand now."""
    spans, at = list[Span](), 0
    for text, (_, is_document) in zip(said, _pieces(message), strict=True):
        if is_document:
            spans.append((at, at + len(text)))
        at += len(text) + 1
    (part,) = message["parts"]
    parts = [{**part, "content": "\n".join(said)}]
    return {**message, "parts": parts, "metadata": {**message["metadata"], GIVEN: spans}}


def _pieces(message: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """The pieces, and whether each is a document."""
    spans = _spans(message)
    if not spans:
        return []
    text, last, found = message["parts"][0]["content"], 0, list[tuple[str, bool]]()
    for start, end in spans:
        if start > last:
            found.append((text[last : start - 1], False))
        found.append((text[start:end], True))
        last = end + 1
    return [*found, (text[last:], False)] if last <= len(text) else found


class Shows:
    """Which documents are shown whole, as one goes over what was said: down from the newest, so that they stand
    `below`, or up from the oldest.
    """

    def __init__(self, where: Literal["above", "below"]):
        self.where = where
        self.instead: dict[int, tuple[Part, Part]] = {}
        """Of a text with notes in it, by its id: the part as it was, and that which shows its documents."""
        self._whole: dict[tuple[str, str], tuple[str, Part]] = {}

    def take(self, text: str, by: Part) -> None:
        """A document that is shown whole, in this part."""
        self._whole[ends_of(text)] = (text, by)

    def text(self, text: str, by: Part) -> str:
        """A part of a question as it is shown."""
        shown = self._repeated(text, by)
        if shown is None:
            return text
        note = self._note(text)
        self.instead[id(note)] = (by, shown)
        return note

    def message(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """A message as it is shown."""
        if GIVEN not in (message.get("metadata") or ()):
            return message
        return self.told(message if isinstance(message, Told) else told([message])[0])

    def told(self, one: Told) -> Told:
        """The same, of one that knows its parts."""
        spans = _spans(one)
        if not spans:
            return one
        (part,) = one.parts
        gone: list[Span] = []
        shown = part
        for start, end in reversed(spans) if self.where == "below" else spans:
            repeated = self._repeated(part.text[start:end], part)
            if repeated is not None:
                gone.append((start, end))
                shown = repeated
        if not gone:
            return one
        name = (self.where, *sorted(gone))
        made = one.noted.get(name)
        if made is None:
            made = one.noted[name] = self._noted(one, spans, gone)
        self.instead[id(made.parts[0].text)] = (part, shown)
        return made

    @classmethod
    def nothing(cls, one: Told) -> Told:
        """A message as it is shown where all of its documents stand below."""
        shows = cls("below")
        for start, end in _spans(one):
            shows.take(one.parts[0].text[start:end], one.parts[0])
        return shows.told(one)

    def _repeated(self, text: str, by: Part) -> Part | None:
        """The part that shows it. The next one that begins and ends like it must be the same, or a note would mislead:
        then it is shown anew.
        """
        if len(text) < LONG:
            return None
        found = self._whole.get(ends_of(text))
        if found is not None and found[0] == text and len(self._note(text)) < len(text):
            return found[1]
        self.take(text, by)
        return None

    def _note(self, text: str) -> str:
        begins, ends = ends_of(text)
        return f"[as {self.where}, the document that begins {begins!r} and ends {ends!r}]"

    def _noted(self, message: Told, spans: Sequence[Span], gone: Sequence[Span]) -> Told:
        text = message.parts[0].text
        said, last, kept = "", 0, list[Span]()
        for start, end in spans:
            said += text[last:start]
            own = text[start:end]
            if (start, end) in gone:
                said += self._note(own)
            else:
                kept.append((len(said), len(said) + len(own)))
                said += own
            last = end
        said += text[last:]
        metadata = {**message["metadata"], GIVEN: kept}
        return told([{**message, "parts": [{**message["parts"][0], "content": said}], "metadata": metadata}])[0]


def _spans(message: Mapping[str, Any]) -> list[Span]:
    metadata: Any = message.get("metadata") or {}
    return [(start, end) for start, end in metadata.get(GIVEN, ())]


def below(question: Question) -> Shows:
    """What turns before this question find shown below them."""
    shows, who = Shows("below"), question.asked_by or None
    for text in reversed(question.parts):
        if len(text) >= LONG:
            shows.take(text, Part.said(Role.USER, text, who=who))
    return shows


def once(question: Question) -> tuple[Question, dict[int, tuple[Part, Part]]]:
    """The question with each document once, and what stood where notes are now."""
    who = question.asked_by or None
    above, shows = Shows("above"), below(question)
    parts = [above.text(text, Part.said(Role.USER, text, who=who)) for text in question.parts]
    history: list[Any] = [shows.message(one) for one in reversed(question.history)]
    instead = above.instead | shows.instead
    return (replace(question, parts=parts, history=history[::-1]) if instead else question), instead


def with_whole(made: Assembly, instead: Mapping[int, tuple[Part, Part]], tokens: Tokens) -> Assembly:
    """The assembly with the parts that notes stand in as they were."""
    if not instead:
        return made
    shown = list(made.shown)
    for at, one in enumerate(shown):
        found = instead.get(id(one.part.text))
        if found is None:
            continue
        whole = replace(found[0], pinned=True) if one.part.pinned else found[0]
        (size,) = counts([whole], tokens, made.budget.per_part)
        if one.as_ is None:
            shown[at] = one._replace(part=whole, tokens=size)
        else:
            why = f"duplicate of {recalled_by(found[1])}"
            shown[at] = one._replace(part=whole, tokens=size, fate=Fate.CUT, why=why)
    return replace(made, shown=tuple(shown))
