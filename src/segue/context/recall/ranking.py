"""How much each passage is wanted for a request: learned weights over the features. Pure.

The weights were learned from seven dialogues with known evidence (a softmax over the passages of each question), by
`python -m bench.recall`; how well they do on a dialogue that they were not learned from is measured there too, by
leaving each dialogue out in turn. They know chats: long passages, as of documents, are ranked by BM25.
"""

from __future__ import annotations

import re

import numpy as np

from .features import FEATURES, features, understood
from .passages import Passages
from .postings import Vector
from .terms import terms
from .weights import WEIGHTS

__all__ = ["ranked"]

_WEIGHTS = np.array([WEIGHTS[name] for name in FEATURES])


def ranked(request: str, passages: Passages) -> Vector:
    """A score for each passage: differences are what counts. Empty for none."""
    if not len(passages):
        return np.zeros(0)
    scores = features(understood(request, passages), passages) @ _WEIGHTS
    return _with_long(request, passages, scores) if passages.long.any() else scores


def _with_long(request: str, passages: Passages, scores: Vector) -> Vector:
    """The scores with those of long passages by BM25: one that fits about as well as the short one that fits best is
    wanted as much as the short one that is wanted most.
    """
    wanted = terms(_HOW_MANY.sub(" ", request)) or terms(request)
    long, own = passages.long, passages.stems.bm25(dict.fromkeys(wanted, 1.0))
    most = float(own.max(initial=0.0)) or 1.0
    top, fits = float(scores[~long].max(initial=-np.inf)), _AS_WELL * float(own[~long].max(initial=0.0))
    by_words = _BY_WORDS * (own - fits) / most + _BY_WEIGHTS * (scores - scores[long].max())
    return np.where(long, (top if np.isfinite(top) else 0.0) + by_words, scores)


_HOW_MANY = re.compile(r"\bhow (?:many|much|often|long)\b", re.I)
"""It asks for a number, and is said in no text for it."""
_BY_WORDS, _BY_WEIGHTS = 30.0, 1.0
"""What counts of a long passage."""
_AS_WELL = 0.75
"""In a short one a word counts for more. All three were measured on chats with long answers, on dialogues beside pages
of documents, and on these alone.
"""
