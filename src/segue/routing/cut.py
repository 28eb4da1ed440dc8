"""Texts cut into words. Each way is what a regular expression says; where a text is ASCII alone, as most are, its bytes
are cut by a table, several times as fast. Pure.
"""

from __future__ import annotations

import re
from itertools import chain

__all__ = ["spoken", "tokens", "words"]

_WORD = re.compile(r"[^\W\d_]+")
_SPOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_TOKEN = r"\w+|[^\w\s\x1c-\x1f]"
_TOKENS = {plain: re.compile(_TOKEN, re.ASCII if plain else 0) for plain in (False, True)}


def _only(more: bytes) -> bytes:
    """A table that makes a space of all but letters and these."""
    return bytes(at if at < 128 and (bytes([at]).isalpha() or at in more) else 32 for at in range(256))


_LETTERS, _SPEECH = _only(b""), _only(b"'")


def words(text: str) -> list[str]:
    """Runs of letters."""
    if not text.isascii():
        return _WORD.findall(text)
    return text.encode().translate(_LETTERS).decode().split()


def spoken(text: str) -> list[str]:
    """Runs of letters, and two such with an apostrophe between them: `don't` is one word."""
    if not text.isascii():
        return _SPOKEN.findall(text)
    cut = text.encode().translate(_SPEECH).decode()
    if "'" not in cut:
        return cut.split()
    return list(chain.from_iterable((_SPOKEN.findall(one) if "'" in one else (one,)) for one in cut.split()))


def tokens(text: str) -> list[str]:
    """Words with their digits and underscores, and each mark that stands between them."""
    return _TOKENS[text.isascii()].findall(text)
