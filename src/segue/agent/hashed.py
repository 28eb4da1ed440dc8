"""An embedding without weights: n-grams, hashed. For notebooks and tests: it sees words, not meanings."""

from __future__ import annotations

from functools import lru_cache
from math import sqrt

from ..errors import MissingExtra

__all__ = ["DIMENSIONS", "HASHED", "hashed"]

HASHED = "hashed"
"""Its name, as a model of `embed`."""
DIMENSIONS = 512


def hashed(text: str) -> list[float]:
    """A vector of unit length. The same text has the same one, in any process. Raises MissingExtra without numpy."""
    made = [0.0] * DIMENSIONS
    for gram in _grams(text):
        made[gram % DIMENSIONS] += 1.0 if gram & (1 << 31) else -1.0
    length = sqrt(sum(x * x for x in made)) or 1.0
    return [x / length for x in made]


@lru_cache(maxsize=256)
def _grams(text: str) -> list[int]:
    """The router's own n-grams: words, their pairs and triples, and stems."""
    try:
        from ..routing.learn.text import grams  # noqa: PLC0415  numpy, and only who embeds so needs it
    except ImportError as error:
        raise MissingExtra(f"hashed embeddings take numpy: {error}", remedy="pip install 'segue[routing]'") from error
    return grams(text).tolist()
