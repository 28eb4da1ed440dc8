"""How much each passage is wanted for a request: learned weights over the features. Pure.

The weights were learned from seven dialogues with known evidence (a softmax over the passages of each question), by
`python -m bench.recall`; how well they do on a dialogue that they were not learned from is measured there too, by
leaving each dialogue out in turn. They know chats: long passages, as of documents, are ranked by BM25, and
take turns with the short ones.
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
    """The scores in an order of short and long passages: short ones by the weights, long ones by BM25, in turns.

    The first place of a long one is after those short ones that have more of the words than any long one, and after as
    many of those that are wanted most; the others likewise, and a short one stands between two long ones. So a long one
    has at most twice as many before it as by the words, a short one at most one more long one than short ones. A long
    one counts with the question that it answers: that has the words which an answer takes for granted.
    """
    wanted = terms(_HOW_MANY.sub(" ", request)) or terms(request)
    fits = passages.stems.bm25_around(dict.fromkeys(wanted, 1.0), passages.with_question)
    if passages.long.all():
        return fits + _LESS * scores
    has = passages.stems.covered(wanted, passages.with_question) + _LESS * fits
    short, long = np.flatnonzero(~passages.long), np.flatnonzero(passages.long)
    short, long = short[np.argsort(-scores[short], kind="stable")], long[np.lexsort((-scores[long], -fits[long]))]
    most, turn = np.sort(-has[short]), np.arange(len(long))
    above = np.searchsorted(most, np.sort(-has[long]))
    after = np.maximum.accumulate(above - turn) + turn
    by_weights = np.searchsorted(after, np.arange(len(short)), "right")
    by_words = np.searchsorted(above, np.searchsorted(most, -has[short]), "right")
    place = np.empty(len(scores))
    place[short], place[long] = np.minimum(by_weights, by_words) - 0.5, turn
    order = np.lexsort((-scores, place))
    made = np.where(passages.long, scores[short[-1]], scores)
    made[order] = np.maximum.accumulate(made[order][::-1])[::-1] - _LESS * np.arange(len(order))
    return made


_HOW_MANY = re.compile(r"\bhow (?:many|much|often|long)\b", re.I)
"""It asks for a number, and is said in no text for it."""
_LESS = 1e-9
"""What parts one from the next, where both are wanted as much."""
