"""A long text in pieces that can be ranked and shown by themselves: whole paragraphs, or sentences, or words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .terms import terms

__all__ = ["WHOLE", "nearest", "pieces"]

WHOLE = 1000
"""A text of so many characters is one piece: 250 tokens of English. Letters of other scripts count threefold."""
_AIM = 700
"""Where a piece may end, once it is as long."""
_SOME = 250
"""Where it may end before a heading."""
_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])")
_HEADING = re.compile(r"#{1,6} |\S[^\n.!?]{0,60}:?$")


def pieces(text: str) -> list[str]:
    """The pieces of a text in their order. A heading stands with what follows it."""
    if _size(text) <= WHOLE:
        return [text]
    made: list[str] = []
    open_, size = "", 0
    for bit, joint in _bits(text):
        more = _size(bit)
        full = size + more > WHOLE or (size >= _AIM and joint == "\n\n") or (size >= _SOME and _heads(bit, joint))
        if open_ and full and not _heads(open_, "\n\n"):
            made.append(open_)
            open_, size = "", 0
        open_ = f"{open_}{joint}{bit}" if open_ else bit
        size += more + len(joint)
    return [*made, open_] if open_ else made


def nearest(piece: str, text: str) -> str:
    """The piece of a text that says most of what another one says: a document was corrected."""
    said = set(terms(piece))
    return max(pieces(text), key=lambda one: len(said.intersection(terms(one))) / (len(set(terms(one)) | said) or 1))


def _heads(bit: str, joint: str) -> bool:
    """Whether a paragraph is a heading, and no more."""
    return joint == "\n\n" and "\n" not in bit and _HEADING.match(bit) is not None and len(bit) < 100


def _bits(text: str) -> Iterator[tuple[str, str]]:
    """Paragraphs, and of those that are too long the sentences, each with what stands before it."""
    for paragraph in _PARAGRAPH.split(text):
        if not paragraph.strip():
            continue
        if _size(paragraph) <= WHOLE:
            yield paragraph.strip("\n"), "\n\n"
            continue
        joint = "\n\n"
        for line in paragraph.strip("\n").split("\n"):
            for sentence in _SENTENCE.split(line) if _size(line) > WHOLE else [line]:
                for part in _cut(sentence):
                    yield part, joint
                    joint = " "
            joint = "\n"


def _cut(sentence: str) -> Iterator[str]:
    """A sentence, or what is none, in parts of at most a piece: between words, where there are any."""
    rest = sentence.rstrip()
    while _size(rest) > WHOLE:
        most = WHOLE if rest[:WHOLE].isascii() else WHOLE // 3
        at = rest.rfind(" ", most // 2, most)
        at = most if at < 0 else at
        yield rest[:at]
        rest = rest[at:].strip()
    if rest:
        yield rest


def _size(text: str) -> int:
    """Its characters; of scripts whose letters are words or syllables more."""
    return len(text) if text.isascii() else len(text) + 2 * sum(char >= "\u0370" for char in text)
