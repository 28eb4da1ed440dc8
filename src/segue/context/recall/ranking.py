"""How much each passage is wanted for a request: learned weights over the features. Pure.

The weights were learned from seven dialogues with known evidence (a softmax over the passages of each question), by
`python -m bench.recall`; how well they do on a dialogue that they were not learned from is measured there too, by
leaving each dialogue out in turn.
"""

from __future__ import annotations

import numpy as np

from .features import FEATURES, features, understood
from .passages import Passages
from .postings import Vector
from .weights import WEIGHTS

__all__ = ["ranked"]

_WEIGHTS = np.array([WEIGHTS[name] for name in FEATURES])


def ranked(request: str, passages: Passages) -> Vector:
    """A score for each passage: differences are what counts. Empty for none."""
    if not len(passages):
        return np.zeros(0)
    return features(understood(request, passages), passages) @ _WEIGHTS
