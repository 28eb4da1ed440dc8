"""Learns the weights of recall from dialogues with known evidence: `python -m bench.recall FILE… [--write]`.

Prints how well they do on each dialogue when learned from the others (`segue context bench` has what to compare with).
`--write` writes the weights learned from all of them. A softmax over the passages of each question, with a small ridge.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from segue.context.benchmark import BUDGETS, Dialogue, measured, read
from segue.context.recall import weights
from segue.context.recall.features import FEATURES, features, understood
from segue.context.recall.passages import Passages

RIDGE = 1e-3
HEAD = '"""What was learned. Written by `python -m bench.recall`; each feature is explained in `features`."""\n\n'


def matrices(dialogue: Dialogue) -> list[np.ndarray]:
    passages = Passages(dialogue.turns)
    return [
        features(understood(question.text, passages), passages).astype(np.float32) for question in dialogue.questions
    ]


def fit(dialogues: Sequence[Dialogue], rows: Sequence[list[np.ndarray]]) -> np.ndarray:
    """The weights that make the evidence of these questions likely."""
    asked = [
        _hardest(matrix, question.evidence)
        for dialogue, of in zip(dialogues, rows, strict=True)
        for question, matrix in zip(dialogue.questions, of, strict=True)
    ]
    x = np.concatenate([matrix for matrix, _ in asked])
    y = np.concatenate([wanted for _, wanted in asked])
    group = np.repeat(np.arange(len(asked)), [len(matrix) for matrix, _ in asked])
    starts = np.searchsorted(group, np.arange(len(asked)))
    spread = x.std(0) + 1e-6
    x = (x - x.mean(0)) / spread

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        s = (x @ w.astype(np.float32)).astype(np.float64)
        e = np.exp(s - np.maximum.reduceat(s, starts)[group])
        p = e / np.add.reduceat(e, starts)[group]
        gradient = x.T @ ((p - y) / len(asked)).astype(np.float32)
        value = -float((np.log(p + 1e-30) * y).sum()) / len(asked)
        return value + RIDGE * float(w @ w), gradient.astype(np.float64) + 2 * RIDGE * w

    found = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 80})
    return found.x / spread


def _hardest(matrix: np.ndarray, evidence: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The evidence, what looks most like it, and every fifth of the rest; and how much of it each row is."""
    likely = np.argsort(-(matrix[:, FEATURES.index("around 3")] + matrix[:, FEATURES.index("near")]), kind="stable")
    places = np.unique(np.concatenate([likely[:100], likely[100::5], np.array(evidence)]))
    wanted = np.isin(places, evidence) / len(evidence)
    return matrix[places], wanted


def left_out(dialogues: Sequence[Dialogue], rows: Sequence[list[np.ndarray]]) -> dict[str, Any]:
    """Each dialogue by the weights that the others gave; the mean over all questions."""
    sums: dict[str, dict[str, np.ndarray]] = {}
    for at, dialogue in enumerate(dialogues):
        others = [n for n in range(len(dialogues)) if n != at]
        w = fit([dialogues[n] for n in others], [rows[n] for n in others])
        own = {q.text: m for q, m in zip(dialogue.questions, rows[at], strict=True)}
        said = measured([dialogue], ways={"ours": lambda text, _, own=own, w=w: own[text] @ w})
        for way in ("ours",):
            for budget in map(str, BUDGETS):
                figures = np.array([said[way][budget][name] for name in ("recall_all", "recall")])
                of = sums.setdefault(way, {})
                of[budget] = of.get(budget, np.zeros(2)) + figures * len(dialogue.questions)
    n = sum(len(d.questions) for d in dialogues)
    return {way: {b: (row / n).round(3).tolist() for b, row in of.items()} for way, of in sums.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    began, dialogues = time.perf_counter(), read(sorted(given.files))
    rows = [matrices(dialogue) for dialogue in dialogues]
    print(f"{sum(len(d.questions) for d in dialogues)} questions, {time.perf_counter() - began:.0f} s", flush=True)
    for way, of in left_out(dialogues, rows).items():
        print(f"{way:10}", "  ".join(f"{b}: {a:.3f} {r:.3f}" for b, (a, r) in of.items()), flush=True)
    w = fit(dialogues, rows)
    lines = "".join(f'    "{name}": {value:.4f},\n' for name, value in zip(FEATURES, w, strict=True))
    if given.write:
        Path(weights.__file__).write_text(f"{HEAD}WEIGHTS: dict[str, float] = {{\n{lines}}}\n", encoding="utf-8")
    else:
        print(lines)


if __name__ == "__main__":
    main()
