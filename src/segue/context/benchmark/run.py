"""The measure: is the evidence of a question in the context assembled for it, at a budget of tokens?

Every way to choose goes through the same packing and the same assembly, and is counted by the same tokens. What is not
shown whole does not count. The evidence is read after the assembly, and by nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..assembly import assemble
from ..recall.packing import packed, parts_of
from ..recall.passages import Passages
from ..recall.postings import Vector
from ..recall.ranking import ranked
from ..recall.terms import terms
from ..tokens import Tokens, estimate, exact
from ..types import Budget, Kind, Part, Role, Target
from .dialogues import Dialogue, Question

__all__ = ["BUDGETS", "WAYS", "measured"]

BUDGETS = (1000, 2000, 4000)
Score = Callable[[str, Passages], Vector]

WAYS: Mapping[str, Score] = {
    "ours": ranked,
    "recency": lambda _, passages: np.arange(len(passages), dtype=np.float64),
    "bm25": lambda request, passages: passages.stems.bm25(dict.fromkeys(terms(request), 1.0)),
    "embedding": lambda request, passages: passages.near(terms(request)),
}


def measured(
    dialogues: Sequence[Dialogue],
    report: Callable[[str], None] = lambda _: None,
    *,
    ways: Mapping[str, Score] = WAYS,
    budgets: Sequence[int] = BUDGETS,
) -> dict[str, Any]:
    """For each way and budget: `recall_all` (questions with all evidence shown) and `recall` (the share of it).

    Both by category too. `about` says what was measured, with which tokens, and how long a ranking took.
    """
    tokens = exact("o200k_base") or estimate()
    hits: dict[str, dict[str, list[tuple[str, float]]]] = {w: {str(b): [] for b in budgets} for w in ways}
    seconds = dict.fromkeys(ways, 0.0)
    for dialogue in dialogues:
        passages = Passages(dialogue.turns)
        for at, question in enumerate(dialogue.questions):
            report(f"{dialogue.name}: {at + 1} of {len(dialogue.questions)} questions")
            for way, score in ways.items():
                began = time.perf_counter()
                scores = score(question.text, passages)
                seconds[way] += time.perf_counter() - began
                for budget in budgets:
                    share = covered(dialogue, question, scores, budget, tokens)
                    hits[way][str(budget)].append((question.category, share))
    asked = sum(len(dialogue.questions) for dialogue in dialogues)
    said: dict[str, Any] = {w: {b: _figures(found) for b, found in hits[w].items()} for w in ways}
    return said | {
        "about": {
            "dialogues": len(dialogues), "questions": asked, "turns": sum(len(d.turns) for d in dialogues),
            "tokenizer": tokens.name, "ms": {w: round(1000 * s / max(asked, 1), 2) for w, s in seconds.items()},
        }
    }  # fmt: skip


def covered(dialogue: Dialogue, question: Question, scores: Vector, budget: int, tokens: Tokens) -> float:
    """The share of the evidence that is in the assembled context."""
    asked = Part(role=Role.USER, text=question.text, asks=True)
    limit = Budget(window=budget, reserved_out=0)
    room = limit.input - tokens(question.text) - limit.per_part
    places = packed(dialogue.turns, scores, room, tokens)
    parts = parts_of(dialogue.turns, places, scores)
    made = assemble([*parts, asked], limit, Target(model="any"), tokens)
    shown = {name for part in made.parts if part.kind is Kind.MEMORY for name in (part.source or "").split()}
    return sum(dialogue.turns[place].id in shown for place in question.evidence) / len(question.evidence)


def _figures(found: Sequence[tuple[str, float]]) -> dict[str, Any]:
    by: dict[str, list[float]] = {}
    for category, share in found:
        by.setdefault(category, []).append(share)
    shares = [share for _, share in found]
    return _shares(shares) | {"by_category": {name: _shares(by[name]) for name in sorted(by)}}


def _shares(shares: Sequence[float]) -> dict[str, float]:
    n = max(len(shares), 1)
    return {"recall_all": round(sum(s == 1 for s in shares) / n, 4), "recall": round(sum(shares) / n, 4)}
