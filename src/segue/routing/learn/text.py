"""What a predictor reads of a text: n-grams as hashes, and a few numbers about its surface. No weights, no downloads.

Bounded: of a long text the beginning and the end are read.
"""

from __future__ import annotations

import re
from itertools import pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

__all__ = ["SURFACE", "grams", "surface"]

_HEAD, _TAIL = 320, 120
"""Tokens that are read of a text."""
_TOKEN = re.compile(r"\w+|[^\w\s]")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_STEM = 5
"""Letters of a word that its stem has: `running` and `runner` are the same to it."""
SURFACE = 14
"""How many numbers `surface` gives."""


def grams(text: str) -> NDArray[np.uint32]:
    """Hashes of the words, pairs and triples of words of a text, and of stems; sorted, each once."""
    tokens = _tokens(text.lower())
    stems = ["0" if token.isdigit() else token[:_STEM] for token in tokens]
    said = [*tokens, *map(" ".join, pairwise(tokens))]
    said += map(" ".join, zip(tokens, tokens[1:], tokens[2:], strict=False))
    said += ["~" + stem for stem in stems]
    said += ["~" + " ".join(pair) for pair in pairwise(stems)]
    return np.unique(np.fromiter((crc32(gram.encode()) for gram in said), np.uint32, len(said)))


def surface(text: str) -> NDArray[np.float32]:
    """How long it is, how many numbers, sentences and marks it has: `SURFACE` values, mostly logarithms."""
    words = re.findall(r"\w+", text)
    numbers = _NUMBER.findall(text)
    largest = max((min(float(number), 1e9) for number in numbers), default=0.0)
    counts = (
        len(text), len(words), len(numbers), largest, text.count("\n"), len(re.findall(r"[.?!]", text)),
        len(re.findall(r"[=+*/^$\\<>-]", text)), text.count("%") + text.count("$"), sum(map(str.isupper, text)),
        text.count(","), text.count("?"),
    )  # fmt: skip
    distinct = np.log1p(len(set(words))) / np.log1p(len(words)) if words else 0.0
    letters = sum(map(len, words)) / len(words) if words else 0.0
    return np.array([*np.log1p(counts), letters, distinct, "if" in words], np.float32)


def _tokens(text: str) -> list[str]:
    tokens = _TOKEN.findall(text)
    return tokens if len(tokens) <= _HEAD + _TAIL else tokens[:_HEAD] + tokens[-_TAIL:]
