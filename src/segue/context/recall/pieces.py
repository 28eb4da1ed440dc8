"""A long text in pieces that can be ranked and shown by themselves: whole paragraphs, or sentences, or words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .headings import LONE
from .terms import terms

__all__ = ["WHOLE", "nearest", "pieces"]

WHOLE = 1000
"""A text of so many characters is one piece: 250 tokens of English. What costs more tokens counts for more."""
_AIM = 700
"""Where a piece may end, once it is as long."""
_SOME = 250
"""Where it may end before a heading."""
_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])")
_NUMBER, _SIGNS = re.compile(r"\d{1,3}"), re.compile(r"[^\w\s]+")


def pieces(text: str) -> list[str]:
    """The pieces of a text in their order. A heading stands with what follows it."""
    if not _long(text):
        return [text]
    made: list[str] = []
    open_, size = "", 0
    for bit, joint in _bits(text):
        more = _size(bit)
        full = size + more > WHOLE or (size >= _AIM and "\n" in joint) or (size >= _SOME and _heads(bit, joint))
        if open_ and full and not _heads(open_, "\n\n"):
            made.append(open_)
            open_, size = "", 0
        open_ = f"{open_}{joint}{bit}" if open_ else bit
        size += more + len(joint)
    return [*made, open_] if open_ else made


def nearest(piece: str, others: Sequence[str]) -> int:
    """Which piece says most of what another one says: a document was corrected."""
    said, of = set(terms(piece)), [set(terms(other)) for other in others]
    return max(range(len(of)), key=lambda at: len(said & of[at]) / (len(said | of[at]) or 1))


def _heads(bit: str, joint: str) -> bool:
    """Whether a paragraph is a heading, and no more."""
    return joint == "\n\n" and "\n" not in bit and LONE.match(bit) is not None and len(bit) < 100


def _bits(text: str) -> Iterator[tuple[str, str]]:
    """Paragraphs, and of those that are too long the sentences, each with what stands before it."""
    for paragraph in _PARAGRAPH.split(text):
        if not paragraph.strip():
            continue
        if not _long(paragraph):
            yield paragraph.strip("\n"), "\n\n"
            continue
        joint = "\n\n"
        for line in paragraph.strip("\n").split("\n"):
            for sentence in _SENTENCE.split(line) if _long(line) else [line]:
                for part in _cut(sentence):
                    yield part, joint
                    joint = " "
            joint = "\n"


def _cut(sentence: str) -> Iterator[str]:
    """A sentence, or what is none, in parts of at most a piece: between words, where there are any."""
    rest = sentence.rstrip()
    while _long(rest):
        most = WHOLE * WHOLE // max(_size(rest[:WHOLE]), WHOLE)
        at = rest.rfind(" ", most // 2, most)
        at = most if at < 0 else at
        yield rest[:at]
        rest = rest[at:].strip()
    if rest:
        yield rest


def _long(text: str) -> bool:
    return len(text) > WHOLE or _size(text) > WHOLE


def _size(text: str) -> int:
    """Its characters, by what they cost: numbers, signs, and scripts whose letters are words or syllables more. It is
    no count of tokens: what is on record names pieces by number, and estimates change.
    """
    size = len(text) + 4 * len(_NUMBER.findall(text)) + len(_SIGNS.findall(text))
    return size if text.isascii() else size + 2 * sum(char >= "\u0370" for char in text)
