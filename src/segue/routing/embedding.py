"""Texts as vectors without weights and downloads: stems and pairs of them, hashed into so many dimensions.

Rows are of unit length. Two texts are alike as far as they share words that say something: those that every text has
(articles, pronouns, auxiliaries) weigh a fifth.
"""

from __future__ import annotations

import re
from itertools import pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from .words import LANGUAGES

__all__ = ["Hashed"]

_WORD = re.compile(r"\w+")
_HEAD, _TAIL = 3000, 1000
"""Characters that are read of a text."""
_STEM = 5
_SHORT = 3
"""Letters of a word that may say something."""
_COMMON, _PAIR = 0.2, 0.5
_SIGN = 1 << 31


class Hashed:
    """An `Embedder`: the hashing trick (Weinberger et al. 2009) over stems, with signs so that collisions cancel."""

    def __init__(self, dimensions: int = 512) -> None:
        self.dimensions = dimensions

    @property
    def name(self) -> str:
        """With its version."""
        return f"hashed-stems-1/{self.dimensions}"

    def embed(self, text: str) -> NDArray[np.float32]:
        """One row; all 0 for a text without words."""
        words = _WORD.findall(_excerpt(text).casefold())
        common = [len(word) < _SHORT or word in LANGUAGES for word in words]
        stems = [word[:_STEM] for word in words]
        telling = [stem for stem, plain in zip(stems, common, strict=True) if not plain]
        weights = {stem: _COMMON for stem, plain in zip(stems, common, strict=True) if plain}
        weights |= {f"{one} {other}": _PAIR for one, other in pairwise(telling)} | dict.fromkeys(telling, 1.0)
        row = np.zeros(self.dimensions, np.float32)
        for gram, weight in weights.items():
            at = crc32(gram.encode())
            row[at % self.dimensions] += weight if at & _SIGN else -weight
        length = float(np.linalg.norm(row))
        return row / np.float32(length) if length > 0.0 else row


def _excerpt(text: str) -> str:
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n{text[-_TAIL:]}"
