"""What the letters of a text cost by their script: the more, the fewer tokens a vocabulary has for it. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter

__all__ = ["KINDS", "scripts"]

_NEAR, _MARKED, _FAR, _WIDE, _RARE, _BYTES, _EMOJI, _BEYOND = KINDS = range(8)
"""Near: Latin with the accents of Western Europe, Greek, Cyrillic, Armenian. Marked: other letters of Latin and of
Cyrillic. Far: Hebrew, Arabic, the scripts of India, Thai, Burmese, Khmer, Georgian. Wide: Chinese, Japanese, Korean,
and signs. Rare: about two tokens each (phonetic letters, Ethiopic, Lao, Tibetan, Syriac). Bytes: those of which a
vocabulary knows the bytes alone, as it does of any script that is not named here. Beyond: the same beyond 65,536.
"""
_BLOCKS = (
    (0x80, _NEAR), (0x100, _MARKED), (0x250, _RARE), (0x370, _NEAR), (0x48A, _MARKED), (0x530, _NEAR), (0x590, _FAR),
    (0x700, _RARE), (0x800, _BYTES), (0x900, _FAR), (0xE80, _RARE), (0x1000, _FAR), (0x1100, _BYTES), (0x1200, _RARE),
    (0x1380, _BYTES), (0x1780, _FAR), (0x1800, _BYTES), (0x1E00, _FAR), (0x1F00, _RARE), (0x2000, _FAR),
    (0x2070, _WIDE), (0x2800, _BYTES), (0x2B00, _WIDE), (0x2C00, _BYTES), (0x2E80, _WIDE), (0x3400, _BYTES),
    (0x4E00, _WIDE), (0xA000, _BYTES), (0xAC00, _WIDE), (0xD7B0, _BYTES), (0xFE00, _WIDE), (0xFE70, _BYTES),
    (0xFF00, _WIDE), (0x10000, _BEYOND), (0x1F000, _EMOJI), (0x1FB00, _BEYOND),
)  # fmt: skip
"""The first code point of each run of blocks, and what is there."""
_FIRST, _KIND = [first for first, _ in _BLOCKS], [kind for _, kind in _BLOCKS]


def scripts(text: str) -> tuple[int, ...]:
    """How many characters that are not of ASCII it has, of each of `KINDS`."""
    counts = [0] * len(KINDS)
    for character, times in Counter(text).items():
        code = ord(character)
        if code >= 0x80:
            counts[_KIND[bisect_right(_FIRST, code) - 1]] += times
    return tuple(counts)
