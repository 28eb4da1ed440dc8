"""What past traffic teaches: for each request how well which models did on it, 0 to 1. Pure, over `Traffic`.

In this order of weight: what was thought of an answer (`feedback`), then the checks that it passed or failed. An answer
that nobody judged teaches nothing: that a model answers is not that it answers well. A preference between two models
says what one is better by: a pair whose difference is right in the mean, around what is known of both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from ..core.faults import FaultKind
from ..core.records import AttemptRecorded, TargetKind
from .traffic import Ask, Traffic

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Lesson", "lessons", "score_of", "table_of"]

_ITS_FAULT = frozenset({FaultKind.BAD_OUTPUT, FaultKind.CONTENT_REFUSED})
"""What speaks against the model; that it was busy or down does not."""
_MIDDLE = 0.5


class Lesson(NamedTuple):
    """One request, and how well models did on it."""

    text: str
    task: str
    scores: Mapping[str, float]
    """By model, 0 to 1; of a preference, up to half a point beyond."""
    position: int
    """Of the last event that it rests on."""


def lessons(traffic: Traffic, priors: Mapping[str, float] | None = None) -> list[Lesson]:
    """All that can be learned, in the order of the asks; preferences last. `priors` are the models' before that."""
    asks = [ask for ask in traffic.asks if ask.request is not None]
    judged = {_task(ask) for ask in asks if ask.score is not None or any(a.checks for a in ask.attempts)}
    found: list[Lesson] = []
    for ask in asks:
        scores = _scores(ask, _task(ask) in judged)
        if scores and ask.request is not None:
            found.append(Lesson(ask.request.text, ask.request.task, scores, ask.position))
    return found + _preferences(traffic, found, priors or {})


def score_of(attempt: AttemptRecorded, judged: bool = True) -> float | None:
    """What an attempt shows of its model: the least of its checks, 0 where nothing usable came of it, else None.

    `judged` says whether answers to requests of this kind are checked at all: where they are not, failures alone would
    be seen, and they teach nothing.
    """
    checks = [check for check in attempt.checks if check.stage != "before"]
    if checks:
        return min((1.0 if c.passed else 0.0) if c.score is None else c.score for c in checks)
    failed = attempt.fault is not None and attempt.fault.kind in _ITS_FAULT
    return 0.0 if failed and judged else None


def table_of(rows: Sequence[Lesson]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """The models in them by name, and `(rows, models)` scores, NaN where nothing is known."""
    import numpy as np  # noqa: PLC0415  only who trains needs it

    models = tuple(sorted({name for row in rows for name in row.scores}))
    return models, np.array([[row.scores.get(name, np.nan) for name in models] for row in rows]).reshape(
        len(rows), len(models)
    )


def _task(ask: Ask) -> str:
    return ask.request.task if ask.request else ""


def _scores(ask: Ask, judged: bool) -> dict[str, float]:
    """By model, the mean over its attempts; of the one whose answer was used, what was thought of that."""
    by_model: dict[str, list[float]] = defaultdict(list)
    for attempt in ask.attempts:
        score = score_of(attempt, judged)
        if score is not None and attempt.target.kind is TargetKind.MODEL:
            by_model[attempt.target.name].append(score)
    scores = {name: fmean(values) for name, values in by_model.items()}
    opinion, taken = ask.score, ask.taken
    if opinion is not None and taken is not None and taken.target.kind is TargetKind.MODEL:
        scores[taken.target.name] = opinion
    return scores


def _preferences(traffic: Traffic, absolute: Sequence[Lesson], priors: Mapping[str, float]) -> list[Lesson]:
    known: dict[str, list[float]] = defaultdict(list)
    for lesson in absolute:
        for name, score in lesson.scores.items():
            known[name].append(score)

    def usual(name: str) -> float:
        return fmean(known[name]) if known[name] else priors.get(name, _MIDDLE)

    found: list[Lesson] = []
    for one in traffic.preferred:
        if one.ask.request is not None:
            middle, half = (usual(one.better) + usual(one.worse)) / 2, one.strength / 2
            scores = {one.better: middle + half, one.worse: middle - half}
            found.append(Lesson(one.ask.request.text, one.ask.request.task, scores, one.position))
    return found
