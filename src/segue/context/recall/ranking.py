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
    """The scores with those of long passages: among themselves by BM25 and by the weights. The best one, if it has as
    much of the words as any short one, is wanted as much as the short one that is wanted most.
    """
    wanted = terms(_HOW_MANY.sub(" ", request)) or terms(request)
    long, has, own = passages.long, passages.stems.covered(wanted), passages.stems.bm25(dict.fromkeys(wanted, 1.0))
    short = ~long
    top = float(scores[short].max()) if short.any() else 0.0
    lacks = (has - has[short].max(initial=0.0)) / (float(has.max(initial=0.0)) or 1.0)
    among = (own - own[long].max()) / (float(own.max(initial=0.0)) or 1.0)
    return np.where(long, top + _BY_WORDS * (lacks + among) + scores - scores[long].max(), scores)


_HOW_MANY = re.compile(r"\bhow (?:many|much|often|long)\b", re.I)
"""It asks for a number, and is said in no text for it."""
_BY_WORDS = 30.0
"""What its words count for, beside the weights: measured on chats with long answers, on dialogues beside pages of
documents or with few long turns, and on pages alone.
"""
