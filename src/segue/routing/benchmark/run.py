"""Train the router on some rows, ask it about others, and measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.shell import command
from ...errors import InputError
from ..learn.fit import fit
from .measures import Curve, apgr, curve, frontier_area, share_for
from .rows import Row, common_models, costs, scores, without

__all__ = ["SEEDS", "many", "pair"]

SEEDS = 5
"""Of everything that is drawn; the mean is printed."""
Numbers = NDArray[np.float64]
Report = Callable[[str], None]


def pair(train: Sequence[Row], test: Sequence[Row], report: Report = lambda _: None) -> dict[str, Any]:
    """Two models: which requests need the strong one? The strong one is the better one on the training rows."""
    train, test = _apart(train, test)
    models = common_models([*train, *test])
    if len(models) != 2:
        raise InputError(
            f"a pair is two models; these files have {len(models)} in common: {', '.join(models) or 'none'}",
            remedy=f"for more of them: {command('routes', 'bench', 'many')}",
        )
    learned = scores(train, models)
    weak, strong = np.argsort(learned.mean(0), kind="stable")
    truth = scores(test, models)
    expected, _ = _learned(train, test, models, report)
    gain = truth[:, strong] - truth[:, weak]
    report("measuring")

    def measured(preference: Numbers) -> Curve:
        return curve(preference, truth[:, weak], truth[:, strong])

    random = [measured(np.random.default_rng(seed).random(len(test))) for seed in range(SEEDS)]
    single = Curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]))  # it has no preference: mixed blindly, a straight line
    return {
        "learned": _gaps([measured(expected[:, strong] - expected[:, weak])]),
        "random": _gaps(random),
        "best_single": _gaps([single]) | {"accuracy": _round(truth[:, strong].mean())},
        "oracle": _gaps([measured(gain)]),
        "about": _about(train, test) | {"weak": models[weak], "strong": models[strong]},
    }


def many(train: Sequence[Row], test: Sequence[Row], report: Report = lambda _: None) -> dict[str, Any]:
    """Many models: quality and cost at the operating point, and what is saved at the best single model's quality."""
    train, test = _apart(train, test)
    models = common_models([*train, *test])
    if len(models) < 2:
        raise InputError("these files have fewer than two models in common", remedy="give files with the same models")
    truth, spent = scores(test, models), costs(test, models)
    if not np.isfinite(spent).all():
        raise InputError("a row has no 'usd' for a model", remedy="`many` needs the cost of each answer")
    best = int(np.argmax(scores(train, models).mean(0)))
    expected, usual = _learned(train, test, models, report)
    price = _expected_costs(train, test, models)
    report("measuring")
    low, high = float(spent.mean(0).min()), float(spent.mean(0).max())
    at_best = (float(spent[:, best].mean()), float(truth[:, best].mean()))

    def summary(choices: Sequence[NDArray[np.intp]]) -> dict[str, Any]:
        points = np.array([_taken(choice, truth, spent) for choice in choices])
        reaching = points[points[:, 1] >= at_best[1] - 1e-12]
        saved = 1 - float(reaching[:, 0].min()) / at_best[0] if len(reaching) and at_best[0] else 0.0
        usd, accuracy = points[0]
        return {
            "accuracy": _round(accuracy),
            "usd": _round(usd * len(test), 6),
            "aiq": _round(frontier_area(points[:, 0], points[:, 1], low, high)),
            "saved": _round(max(0.0, saved)),
        }

    singles = [np.full(len(test), best), *(np.full(len(test), m) for m in range(len(models)))]
    random = [summary([np.random.default_rng(s).integers(len(models), size=len(test))]) for s in range(SEEDS)]
    mean = {key: _round(float(np.mean([r[key] for r in random])), 6) for key in random[0]}
    mean |= {"aiq": mean["accuracy"], "saved": 0.0}  # it cannot trade one for the other
    return {
        "learned": summary([usual, *_sweep(expected, price)]),
        "random": mean,
        "best_single": summary(singles) | {"saved": 0.0, "model": models[best]},
        "oracle": summary(_sweep(truth, spent)),
        "about": _about(train, test) | {"models": models},
    }


def _learned(
    train: Sequence[Row], test: Sequence[Row], models: Sequence[str], report: Report
) -> tuple[Numbers, NDArray[np.intp]]:
    """What the router expects of each model on each test row, and whom it would ask if nothing but quality counted."""
    tasks = [row.task for row in train]
    trained = fit([row.prompt for row in train], scores(train, models), models, tasks=tasks, report=report)
    report("asking it")
    said = [trained.expected(row.prompt) for row in test]
    return np.array([one.mean for one in said], np.float64), np.array([np.argmax(one.mean) for one in said], np.intp)


def _apart(train: Sequence[Row], test: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Without the training rows that are also test rows: none of those is ever learned from."""
    kept = without(train, test)
    if not kept:
        raise InputError("all training rows are test rows too", remedy="give other files to --train")
    return kept, list(test)


def _expected_costs(train: Sequence[Row], test: Sequence[Row], models: Sequence[str]) -> Numbers:
    """What an answer will cost is not known before: a line over the length of the prompt, for each model."""
    paid = costs(train, models)
    lengths = np.array([[1.0, len(row.prompt)] for row in train])
    known = np.isfinite(paid).all(1)
    if known.sum() < 2:
        return np.zeros((len(test), len(models)))
    line, *_ = np.linalg.lstsq(lengths[known], paid[known], rcond=None)
    return np.maximum(np.array([[1.0, len(row.prompt)] for row in test]) @ line, 0.0)


def _sweep(quality: Numbers, cost: Numbers) -> list[NDArray[np.intp]]:
    """The choices of `weighted` policies, from quality alone to cost alone."""
    scale = float(np.mean(np.abs(cost))) or 1.0
    weights = [0.0, *(np.logspace(-4, 3, 200) / scale)]
    cheap = cost / scale * 1e-9  # among equals the cheaper
    return [np.argmax(quality - weight * cost - cheap, axis=1) for weight in weights]


def _taken(choice: NDArray[np.intp], truth: Numbers, spent: Numbers) -> tuple[float, float]:
    rows = np.arange(len(choice))
    return float(spent[rows, choice].mean()), float(truth[rows, choice].mean())


def _gaps(curves: Sequence[Curve]) -> dict[str, Any]:
    return {
        "apgr": _round(np.mean([apgr(one) for one in curves])),
        "cpt50": _round(100 * np.mean([share_for(one, 0.5) for one in curves]), 1),
        "cpt80": _round(100 * np.mean([share_for(one, 0.8) for one in curves]), 1),
    }


def _about(train: Sequence[Row], test: Sequence[Row]) -> dict[str, Any]:
    return {"train_rows": len(train), "test_rows": len(test), "seeds": SEEDS}


def _round(value: Any, digits: int = 4) -> float:
    return round(float(value), digits)
