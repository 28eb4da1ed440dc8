"""What a token is here: a short run of letters or digits, or one other sign, with the space before it.

No provider's own tokeniser is used: they differ, and their vocabularies must be fetched. What matters is that the
numbers add up: the tokens of a text are its pieces, in the usage, in the limits and in what a stream sends.
"""

from __future__ import annotations

import re

_PIECE = re.compile(r"\s*(?:[^\W_]{1,6}|\S)|\s+")


def split(text: str) -> list[str]:
    """The pieces of a text, in order. Joined they are the text."""
    return _PIECE.findall(text)


def count(text: str) -> int:
    """How many tokens a text has. 0 for the empty text."""
    return len(_PIECE.findall(text)) if text else 0


def head(text: str, tokens: int) -> str:
    """The first `tokens` tokens of a text."""
    return "".join(split(text)[:tokens])
