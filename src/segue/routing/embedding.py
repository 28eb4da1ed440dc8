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

__all__ = ["Grams", "Hashed"]

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
        return _hashed(weights, self.dimensions)


def _excerpt(text: str) -> str:
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n{text[-_TAIL:]}"


class Grams:
    """An `Embedder` of short texts: the same trick over words and their runs of four letters.

    Plurals, endings and compounds of a word share most of their runs, so that a request of one line finds a
    description of one line.
    """

    def __init__(self, dimensions: int = 1024) -> None:
        self.dimensions = dimensions

    @property
    def name(self) -> str:
        """With its version."""
        return f"hashed-grams-1/{self.dimensions}"

    def embed(self, text: str) -> NDArray[np.float32]:
        """One row; all 0 for a text without words."""
        weights: dict[str, float] = {}
        telling: list[str] = []
        for word in _WORD.findall(_excerpt(text).casefold()):
            if len(word) < _SHORT or word in LANGUAGES:
                weights.setdefault(word, _OWN * _COMMON)
                continue
            weights[word] = _OWN
            telling.append(word[:_STEM])
            bounded = f"<{word}>"
            weights |= dict.fromkeys((bounded[at : at + _GRAM] for at in range(len(bounded) - _GRAM + 1)), _RUN)
        weights |= {f"{one} {other}": _PAIR for one, other in pairwise(telling)}
        return _hashed(weights, self.dimensions)


_GRAM = 4
_OWN, _RUN = 0.5, 0.5
"""What a whole word and a run of its letters weigh."""


def _hashed(weights: dict[str, float], dimensions: int) -> NDArray[np.float32]:
    row = np.zeros(dimensions, np.float32)
    for gram, weight in weights.items():
        at = crc32(gram.encode())
        row[at % dimensions] += weight if at & _SIGN else -weight
    length = float(np.linalg.norm(row))
    return row / np.float32(length) if length > 0.0 else row
