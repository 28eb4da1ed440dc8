"""The words of a text as a predictor reads them: n-grams as hashes. No weights, no downloads.

Bounded: of a long text the beginning and the end are read.
"""

from __future__ import annotations

import re
from itertools import pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

__all__ = ["excerpt", "grams"]

_HEAD, _TAIL = 320, 120
"""Tokens that are read of a text."""
_FIRST, _LAST = 3000, 900
"""Characters that are read of a text, before it is cut into tokens."""
_TOKEN = re.compile(r"\w+|[^\w\s]")
_STEM = 5
"""Letters of a word that its stem has: `running` and `runner` are the same to it."""


def excerpt(text: str) -> str:
    """The beginning and the end of a long text, where instructions stand; a short one as it is."""
    return text if len(text) <= _FIRST + _LAST else f"{text[:_FIRST]}\n{text[-_LAST:]}"


def grams(text: str) -> NDArray[np.uint32]:
    """Hashes of the words, pairs and triples of words of a text, and of stems; sorted, each once."""
    tokens = _tokens(excerpt(text).lower())
    stems = ["0" if token.isdigit() else token[:_STEM] for token in tokens]
    said = [*tokens, *map(" ".join, pairwise(tokens))]
    said += map(" ".join, zip(tokens, tokens[1:], tokens[2:], strict=False))
    said += ["~" + stem for stem in stems]
    said += ["~" + " ".join(pair) for pair in pairwise(stems)]
    return np.unique(np.fromiter((crc32(gram.encode()) for gram in said), np.uint32, len(said)))


def _tokens(text: str) -> list[str]:
    tokens = _TOKEN.findall(text)
    return tokens if len(tokens) <= _HEAD + _TAIL else tokens[:_HEAD] + tokens[-_TAIL:]
