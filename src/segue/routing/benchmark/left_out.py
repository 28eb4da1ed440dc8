"""A task that the router has never seen: learn from the others, ask it about this one, and hold it to the best single
model of what it knows. It need not win there; it must know when it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..learn.fit import fit
from .rows import Row, common_models, scores, without

__all__ = ["ALL", "left_out"]

ALL = "all"
"""Each task in turn."""
_DRAWS = 2000
"""Of the rows, with replacement, for an interval."""
_SEED = 0

Report = Callable[[str], None]


def left_out(
    train: Sequence[Row], test: Sequence[Row], tasks: Sequence[str], report: Report = lambda _: None
) -> dict[str, Any]:
    """Of each task: how the router does on its test rows, learned from the training rows of all others.

    Both files may be the same: a row is never learned from when its task is asked about. Raises InputError for a task
    that has no test rows.
    """
    models = common_models([*train, *test])
    known = sorted({row.task for row in test if row.task})
    unknown = [task for task in tasks if task not in (ALL, *known)]
    if unknown or not known:
        raise InputError(f"no test row is of the task {(unknown or tasks)[0]!r}", remedy=f"one of {', '.join(known)}")
    wanted = known if ALL in tasks else list(dict.fromkeys(tasks))
    return {
        "left_out": {task: _one(task, train, test, models, report) for task in wanted},
        "about": {"train_rows": len(train), "test_rows": len(test), "models": models, "draws": _DRAWS, "seed": _SEED},
    }


def _one(task: str, train: Sequence[Row], test: Sequence[Row], models: Sequence[str], report: Report) -> dict[str, Any]:
    asked = [row for row in test if row.task == task]
    others = without([row for row in train if row.task != task], asked)
    if not others:
        raise InputError(f"without {task} there are no training rows", remedy="give files of several tasks to --train")
    learned = scores(others, models)
    report(f"without {task}: learning")
    trained = fit([row.prompt for row in others], learned, models, tasks=[row.task for row in others])
    report(f"without {task}: asking it")
    chosen = np.array([np.argmax(trained.expected(row.prompt).mean) for row in asked], np.intp)
    best = int(np.argmax(learned.mean(0)))
    truth = scores(asked, models)
    ours, single = truth[np.arange(len(asked)), chosen], truth[:, best]
    low, high = _interval(ours - single)
    return {
        "rows": len(asked),
        "learned": _round(ours.mean()),
        "best_single": _round(single.mean()),
        "model": models[best],
        "difference": _round((ours - single).mean()),
        "low": _round(low),
        "high": _round(high),
        "moved": _round((chosen != best).mean()),
    }


def _interval(gains: NDArray[np.float64]) -> tuple[float, float]:
    """95%, by drawing rows with replacement."""
    random = np.random.default_rng(_SEED)
    means = gains[random.integers(len(gains), size=(_DRAWS, len(gains)))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _round(value: Any) -> float:
    return round(float(value), 4)
