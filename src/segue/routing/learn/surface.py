"""The form of a request as numbers: how long it is, what its sentences, numbers and choices look like, and how often
words of some small groups stand in it. What makes a request hard for a weak model shows here more than in its subject.

Bounded: of a long text the beginning and the end are read. The groups of words are English.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..cut import spoken
from .text import excerpt

__all__ = ["SURFACE", "surface"]

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_SENTENCE = re.compile(r"[.?!]\s+|\n")
_CHOICE = re.compile(r"^[ \t]*\(?[A-Ja-j][.):][ \t]+(.*)$", re.MULTILINE)
"""A line `A. ...` or `(b) ...`."""
_FOREIGN = re.compile(r"[^\x00-\x7f]")
_CAPITALS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FORMAL = re.compile(r"[=+*/^$\\<>-]")
_MARKS = ("%", "$", ",", "?", "_", "([", ";:", '"“”', "'’", "-")
"""Counted one by one; those that stand together as one."""
_GROUPS = tuple(
    frozenset(words.split())
    for words in (
        "one two three four five six seven eight nine ten eleven twelve half twice double triple thrice dozen quarter "
        "third fifth",
        "more less fewer than times twice half older younger longer as most least same",
        "then after before first second third next last during while when",
        "not except never no none cannot neither nor without unless false incorrect",
        "total altogether all combined sum both together",
        "what which who whom whose where when why how",
        "if suppose assume given let unless otherwise",
        "each every per",
    )
)
"""Numbers, comparison, order, negation, sum, question, condition, rate."""
_FUNCTION = frozenset({
    "the", "of", "and", "to", "in", "a", "is", "that", "for", "it", "as", "was", "with", "on", "by", "at", "from", "be",
    "are", "this", "his", "her", "he", "she", "they",
})  # fmt: skip
_LONG = 7
"""Letters that a long word has more than."""
_HUGE = 1e9
"""No number counts as more."""


def surface(text: str) -> NDArray[np.float32]:
    """`SURFACE` values, mostly logarithms of counts. Any text has them, an empty one too."""
    read = excerpt(text)
    words, numbers, choices = spoken(read), _NUMBER.findall(read), _CHOICE.findall(read)
    lower = Counter(map(str.lower, words))
    counts = (len(text), *_sizes(read, words), *_groups(lower), *_marks(read), *_numbers(numbers))
    shape = (*_shape(words, lower), *_digits(numbers), _shared(read, choices))
    return np.array([*np.log1p((*counts, *_choices(read, choices))), *shape], np.float32)


def _sizes(text: str, words: Sequence[str]) -> tuple[int, ...]:
    """Words, lines, sentences, the longest one, capitals, capitalised words and how many of them differ."""
    sentences = [len(part) for part in _SENTENCE.split(text) if part.strip()]
    names = [word for word in words if word[0].isupper()]
    longest, several = max(sentences, default=0), len(set(names))
    return (len(words), text.count("\n"), len(sentences), longest, _capitals(text), len(names), several)


def _capitals(text: str) -> int:
    plain = text.encode("ascii", "ignore")
    others = 0 if len(plain) == len(text) else sum(map(str.isupper, _FOREIGN.findall(text)))
    return len(plain) - len(plain.translate(None, _CAPITALS)) + others


def _groups(lower: Counter[str]) -> list[int]:
    return [_among(lower, group) for group in (*_GROUPS, _FUNCTION)]


def _among(lower: Counter[str], group: frozenset[str]) -> int:
    return sum(lower[word] for word in group if word in lower)


def _marks(text: str) -> list[int]:
    foreign = len(text) - len(text.encode("ascii", "ignore"))
    return [len(_FORMAL.findall(text)), foreign, *(sum(map(text.count, marks)) for marks in _MARKS)]


def _numbers(numbers: Sequence[str]) -> tuple[float, ...]:
    """How many, how many of them are decimal fractions, and the largest."""
    return len(numbers), sum("." in number for number in numbers), max(map(_value, numbers), default=0.0)


def _digits(numbers: Sequence[str]) -> tuple[float, ...]:
    """Significant digits, in the mean and at most, and how far apart the numbers are."""
    digits = [len(number.replace(",", "").replace(".", "").strip("0")) for number in numbers] or [0]
    return sum(digits) / len(digits), max(digits), _deviation([math.log1p(_value(number)) for number in numbers])


def _deviation(values: Sequence[float]) -> float:
    """The standard deviation; of few values quicker than an array's."""
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))


def _value(number: str) -> float:
    return min(float(number.replace(",", "")), _HUGE)


def _choices(text: str, choices: Sequence[str]) -> tuple[float, ...]:
    """How many answers are offered, with numbers in how many, how long they are, and the rest of the text."""
    lengths = [len(choice) for choice in choices] or [0]
    numeric = sum(any(map(str.isdigit, choice)) for choice in choices)
    spread = max(lengths) - min(lengths)
    return len(choices), numeric, sum(lengths) / len(lengths), spread, max(0, len(text) - sum(lengths))


def _shared(text: str, choices: Sequence[str]) -> float:
    """Words that the question and the answers offered have in common."""
    if not choices:
        return 0.0
    asked = set(re.findall(r"\w+", _CHOICE.sub("", text).lower()))
    return math.sqrt(len(asked & set(re.findall(r"\w+", " ".join(choices).lower()))))


def _shape(words: Sequence[str], lower: Counter[str]) -> tuple[float, ...]:
    """Letters of a word, in the mean and at most; of all words the share that differs, is long, is a function word."""
    if not words:
        return (0.0,) * 5
    letters, many = list(map(len, words)), len(words)
    return (
        sum(letters) / many,
        max(letters) / 4,
        math.log1p(len(lower)) / math.log1p(many),
        sum(length > _LONG for length in letters) / many,
        _among(lower, _FUNCTION) / many,
    )


SURFACE = len(surface(""))
"""How many numbers `surface` gives."""
