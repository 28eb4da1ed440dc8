"""The words of a text as a predictor reads them: n-grams as hashes. No weights, no downloads.

Bounded: of a long text the beginning and the end are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ..cut import tokens

__all__ = ["excerpt", "grams"]

_HEAD, _TAIL = 240, 80
"""Tokens that are read of a text."""
_FIRST, _LAST = 2000, 600
"""Characters that are read of a text, before it is cut into tokens."""
_STEM = 5
"""Letters of a word that its stem has: `running` and `runner` are the same to it."""


def excerpt(text: str) -> str:
    """The beginning and the end of a long text, where instructions stand; a short one as it is."""
    return text if len(text) <= _FIRST + _LAST else f"{text[:_FIRST]}\n{text[-_LAST:]}"


def grams(text: str) -> NDArray[np.uint32]:
    """Hashes of the words, pairs and triples of words of a text, and of stems; sorted, each once."""
    read = _tokens(excerpt(text).lower())
    stems = ["0" if token.isdigit() else token[:_STEM] for token in read]
    found = np.array([*_in_a_row(read, 3), *_in_a_row(stems, 2, crc32(b"~"))], np.uint32)
    found.sort()
    return found[np.append(True, found[1:] != found[:-1])] if len(found) else found


def _in_a_row(words: Sequence[str], most: int, begun: int = 0) -> list[int]:
    """CRC-32 of each word, of each two, ... with a space between; each longer one goes on from the shorter. Loops in C:
    this is most of what `grams` takes.
    """
    said = " ".join(words).encode("utf-8", "replace").split() if words else []
    last = list(map(crc32, said, repeat(begun)))
    found = list(last)
    for more in range(1, most):
        last = list(map(crc32, said[more:], map(crc32, repeat(b" "), last)))
        found += last
    return found


def _tokens(text: str) -> list[str]:
    found = tokens(text)
    return found if len(found) <= _HEAD + _TAIL else found[:_HEAD] + found[-_TAIL:]
