"""A long text in pieces that can be ranked and shown by themselves: whole paragraphs, or sentences, or words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .code import begins_document
from .columns import rows
from .headings import LONE, heads_clause
from .questions import asks, leads
from .records import Value, atoms, blocks
from .terms import terms

__all__ = ["WHOLE", "is_long", "nearest", "pieces"]

WHOLE = 1000
"""A text of so many characters is one piece: 250 tokens of English. What costs more tokens counts for more."""
_AIM = 700
"""Where a piece may end, once it is as long."""
_SOME = 250
"""Where it may end before a heading."""
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])")
_NUMBER, _SIGNS = re.compile(r"\d{1,3}"), re.compile(r"[^\w\s]+")


def pieces(text: str) -> list[str]:
    """The pieces of a text in their order. A heading stands with what follows it, a question with its answer."""
    if not is_long(text):
        return [text]
    made: list[str] = []
    open_: list[tuple[str, str]] = []
    size = 0
    for bit, joint, apart in _bits(text):
        more = _size(bit)
        begins = size >= _SOME and joint == "\n\n" and _begins(bit, open_[-1][0])
        full = size + more > WHOLE or (size >= _AIM and "\n" in joint) or begins
        if open_ and (full or apart) and (at := _end(open_, bit, joint)):
            made.append(_joined(open_[:at]))
            open_ = open_[at:]
            size = sum(_size(one) + len(before) for one, before in open_)
        open_.append((bit, joint))
        size += more + len(joint)
    return [*made, _joined(open_)] if open_ else made


def nearest(piece: str, others: Sequence[str]) -> int:
    """Which piece says most of what another one says: a document was corrected."""
    said, of = set(terms(piece)), [set(terms(other)) for other in others]
    return max(range(len(of)), key=lambda at: len(said & of[at]) / (len(said | of[at]) or 1))


def _joined(bits: Sequence[tuple[str, str]]) -> str:
    """What stands in a text one after the other."""
    return "".join(f"{joint}{bit}" if at else bit for at, (bit, joint) in enumerate(bits))


def _end(bits: Sequence[tuple[str, str]], bit: str, joint: str) -> int:
    """How many of the bits make up a piece, where another one comes: those before the headings and questions that stand
    over it. None where nothing stands before these.
    """
    at, over = len(bits), 0
    while at and _over(*bits[at - 1], bit, joint):
        at -= 1
        bit, joint = bits[at]
        over += _size(bit) + len(joint)
        if over > _SOME:
            return len(bits)
    return at


def _over(bit: str, before: str, next_: str, joint: str) -> bool:
    """Whether something stands over what comes next, and is not parted from it."""
    if "\n" not in joint or (asks(bit) and asks(next_)):
        return False
    return asks(bit, next_) or heads_clause(bit, next_) or (joint == "\n\n" and _heads(bit, before))


def _begins(paragraph: str, last: str) -> bool:
    """Whether a paragraph begins something else: with a heading or a question, unless that is one of many."""
    first, _, below = paragraph.partition("\n")
    if below:
        return leads(first, below.partition("\n")[0])
    return _heads(paragraph, "\n\n") and not (asks(paragraph) and asks(last))


def _heads(bit: str, joint: str) -> bool:
    """Whether a paragraph is a heading or a question, and no more."""
    return joint == "\n\n" and "\n" not in bit and (asks(bit) or (len(bit) < 100 and LONE.match(bit) is not None))


def _bits(text: str) -> Iterator[tuple[str, str, bool]]:
    """What pieces are made of, each with what stands before it, and whether it begins one: paragraphs, of those that
    are too long the rows or sentences, and the values of JSON.
    """
    at = 0
    for block in blocks(text):
        if is_long(text[block.start : block.end]):
            yield from _prose(text[at : block.start])
            yield from _values(text, block)
            at = block.end
    yield from _prose(text[at:])


def _values(text: str, block: Value) -> Iterator[tuple[str, str, bool]]:
    """The values of JSON, of those that are too long the sentences."""
    gap = "\n"
    for start, end, apart in atoms(text, block, WHOLE, _size):
        bit = text[start:end]
        gap += bit[: len(bit) - len(bit.lstrip())]
        _, line, inside = gap.rpartition("\n")
        for no, part in enumerate(_sentences(bit.strip())):
            yield (part, " ", False) if no else ((inside if line else "") + part, line or inside, apart)
        gap = bit[len(bit.rstrip()) :]


def _prose(text: str) -> Iterator[tuple[str, str, bool]]:
    """Paragraphs, of those that are too long the rows or sentences."""
    for some, begins in _paragraphs(text):
        paragraph = "\n".join(some)
        if not is_long(paragraph):
            yield paragraph, "\n\n", begins
            continue
        joint, apart = "\n\n", begins
        for row in some:
            for line in row.split("\n") if is_long(row) else [row]:
                for part in _sentences(line):
                    yield part, joint, apart
                    joint, apart = " ", False
                joint = "\n"


def _sentences(line: str) -> Iterator[str]:
    """The sentences of a line that is too long, in parts where they are, too."""
    for sentence in _SENTENCE.split(line) if is_long(line) else [line]:
        yield from _cut(sentence)


def _paragraphs(text: str) -> Iterator[tuple[list[str], bool]]:
    """The lines of each paragraph, where a row of CSV is a line, and whether it begins another document of YAML."""
    lines, some, apart = [*map("\n".join, rows(text.split("\n")))], list[str](), False
    for at, row in enumerate(lines):
        begins = begins_document(lines, at)
        if some and (begins or not row.strip()):
            yield some, apart
            some, apart = [], False
        if row.strip():
            some.append(row)
            apart = apart or begins
    if some:
        yield some, apart


def _cut(sentence: str) -> Iterator[str]:
    """A sentence, or what is none, in parts of at most a piece: between words, where there are any."""
    rest = sentence.rstrip()
    while is_long(rest):
        most = WHOLE * WHOLE // max(_size(rest[:WHOLE]), WHOLE)
        at = rest.rfind(" ", most // 2, most)
        at = most if at < 0 else at
        yield rest[:at]
        rest = rest[at:].strip()
    if rest:
        yield rest


def is_long(text: str) -> bool:
    """Whether a text is more than one piece may be."""
    return len(text) > WHOLE or _size(text) > WHOLE


def _size(text: str) -> int:
    """Its characters, by what they cost: numbers, signs, and scripts whose letters are words or syllables more. It is
    no count of tokens: what is on record names pieces by number, and estimates change.
    """
    size = len(text) + 4 * len(_NUMBER.findall(text)) + len(_SIGNS.findall(text))
    return size if text.isascii() else size + 2 * sum(char >= "\u0370" for char in text)
