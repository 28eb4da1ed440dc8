"""`python -m bench routers`: the learned router beside plain ones on the same rows, of a pair of models.

Each learns the strong model's gain from the training rows, and is measured by APGR on the test rows: the split as
given, then splits of the same sizes drawn from both files. Trained on equal rows and asked about equal rows, so that
the differences say more than figures of different splits.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from segue.errors import InputError
from segue.routing.benchmark import Row, apgr, curve, read
from segue.routing.benchmark.rows import common_models, scores
from segue.routing.embedding import Hashed
from segue.routing.learn.fit import fit

from .report import console

sparse: Any = import_module("scipy.sparse")  # without types
svds: Any = import_module("scipy.sparse.linalg").svds
Numbers = NDArray[np.float64]
Router = Callable[[Sequence[Row], Sequence[Row], Numbers], Numbers]
"""From training rows, test rows and their scores (weak, strong): how much each test row needs the strong model."""
ALPHAS: list[float] = np.logspace(-3, 3, 25).tolist()
TOPICS, NEIGHBOURS = 100, 40


def ours(train: Sequence[Row], test: Sequence[Row], learned: Numbers) -> Numbers:
    """The router that the engine runs, as it is by default."""
    trained = fit([row.prompt for row in train], learned, ["weak", "strong"], tasks=[row.task for row in train])
    said = np.array([trained.expected(row.prompt).mean for row in test], np.float64)
    return said[:, 1] - said[:, 0]


def length(train: Sequence[Row], test: Sequence[Row], learned: Numbers) -> Numbers:
    """The longer the prompt, the stronger the model."""
    return np.array([len(row.prompt) for row in test], np.float64)


def tfidf_ridge(train: Sequence[Row], test: Sequence[Row], learned: Numbers) -> Numbers:
    """TF-IDF of words and pairs, its first hundred topics (SVD), and a ridge."""
    known, asked = _tfidf([row.prompt for row in train], [row.prompt for row in test])
    _, _, topics = svds(known, k=min(TOPICS, min(known.shape) - 1), random_state=0)
    return _ridge(known @ topics.T, asked @ topics.T, learned[:, 1] - learned[:, 0])


def tfidf_nearest(train: Sequence[Row], test: Sequence[Row], learned: Numbers) -> Numbers:
    """The mean gain of the forty nearest training rows by TF-IDF."""
    known, asked = _tfidf([row.prompt for row in train], [row.prompt for row in test])
    return _nearest((asked @ known.T).toarray(), learned[:, 1] - learned[:, 0])


def hashed_ridge(train: Sequence[Row], test: Sequence[Row], learned: Numbers) -> Numbers:
    """A ridge over the embedding that Segue's policies use."""
    known, asked = _hashed(train), _hashed(test)
    return _ridge(known, asked, learned[:, 1] - learned[:, 0])


def hashed_nearest(train: Sequence[Row], test: Sequence[Row], learned: Numbers) -> Numbers:
    """The nearest forty by that embedding."""
    return _nearest(_hashed(test) @ _hashed(train).T, learned[:, 1] - learned[:, 0])


def vectors_ridge(path: Path) -> Router:
    """A ridge over the mean of word vectors, from a file in GloVe's format: a word and its numbers on each line."""
    lines = (line.split(" ") for line in path.read_text().splitlines())
    vectors = {word: np.array(numbers, np.float64) for word, *numbers in lines}
    nothing = np.zeros(len(next(iter(vectors.values()))))

    def mean(row: Row) -> Numbers:
        found = [vectors[word] for word in re.findall(r"[a-z]+|\d+|[^\w\s]", row.prompt.lower()) if word in vectors]
        return np.mean(found, 0) if found else nothing

    def router(train: Sequence[Row], test: Sequence[Row], learned: Numbers) -> Numbers:
        known, asked = (np.array([mean(row) for row in rows]) for rows in (train, test))
        return _ridge(known, asked, learned[:, 1] - learned[:, 0])

    return router


ROUTERS: dict[str, Router] = {
    "Segue": ours,
    "TF-IDF, SVD, ridge": tfidf_ridge,
    "TF-IDF, nearest 40": tfidf_nearest,
    "own embedding, ridge": hashed_ridge,
    "own embedding, nearest 40": hashed_nearest,
    "prompt length": length,
}


def _hashed(rows: Sequence[Row]) -> Numbers:
    embedder = Hashed()
    return np.array([embedder.embed(row.prompt) for row in rows], np.float64)


def _tfidf(train: Sequence[str], test: Sequence[str]) -> tuple[Any, Any]:
    """Rows of unit length over the words and pairs that two training texts have; counts by their logarithm."""
    counted = [_grams(text) for text in train]
    texts = Counter(gram for grams in counted for gram in grams)
    column = {gram: i for i, gram in enumerate(sorted(g for g, n in texts.items() if n > 1))}
    rarity = {gram: math.log((1 + len(train)) / (1 + texts[gram])) + 1 for gram in column}

    def matrix(rows: Sequence[Counter[str]]) -> Any:
        made: list[tuple[int, int, float]] = []
        for at, grams in enumerate(rows):
            weights = {g: (1 + math.log(n)) * rarity[g] for g, n in grams.items() if g in column}
            norm = math.sqrt(sum(w * w for w in weights.values())) or 1.0
            made += [(at, column[g], w / norm) for g, w in weights.items()]
        if not made:
            return sparse.csr_matrix((len(rows), len(column)))
        at, to, weight = zip(*made, strict=True)
        return sparse.csr_matrix((weight, (at, to)), shape=(len(rows), len(column)))

    return matrix(counted), matrix([_grams(text) for text in test])


def _grams(text: str) -> Counter[str]:
    words = re.findall(r"\w\w+", text.lower())
    return Counter([*words, *(f"{a} {b}" for a, b in pairwise(words))])


def _ridge(known: Numbers, asked: Numbers, gain: Numbers) -> Numbers:
    """Its strength is the one with the least error when each training row is left out."""
    middle, level = known.mean(0), float(gain.mean())
    left, values, right = np.linalg.svd(known - middle, full_matrices=False)
    toward = left.T @ (gain - level)

    def error(alpha: float) -> float:
        kept = values**2 / (values**2 + alpha)
        residual = gain - level - left @ (kept * toward)
        return float(np.mean((residual / (1 - 1 / len(gain) - (left**2) @ kept)) ** 2))

    alpha = min(ALPHAS, key=error)
    return (asked - middle) @ (right.T @ (values / (values**2 + alpha) * toward))


def _nearest(alike: Numbers, gain: Numbers) -> Numbers:
    nearest = np.argsort(-alike, axis=1, kind="stable")[:, :NEIGHBOURS]
    return gain[nearest].mean(1)


def splits(train: Sequence[Row], test: Sequence[Row], drawn: int) -> Iterator[tuple[str, list[Row], list[Row]]]:
    """The split as given, then so many of the same sizes; no prompt is on both sides of one."""

    def apart(left: Sequence[Row], right: Sequence[Row]) -> tuple[list[Row], list[Row]]:
        prompts = {row.prompt for row in right}
        return [row for row in left if row.prompt not in prompts], list(right)

    yield "as given", *apart(train, test)
    pool = [*train, *test]
    for seed in range(drawn):
        mixed = random.Random(seed).sample(pool, len(pool))
        yield f"seed {seed}", *apart(mixed[: len(train)], mixed[len(train) :])


def measured(routers: dict[str, Router], train: Sequence[Row], test: Sequence[Row]) -> dict[str, float]:
    """APGR of each on one split. Raises InputError where the rows are not of two models."""
    models = common_models([*train, *test])
    if len(models) != 2:
        raise InputError(
            f"a pair is two models; these files have {len(models)} in common",
            remedy="give files of a pair",
        )
    order = np.argsort(scores(train, models).mean(0), kind="stable")
    learned, truth = scores(train, models)[:, order], scores(test, models)[:, order]
    return {name: apgr(curve(of(train, test, learned), truth[:, 0], truth[:, 1])) for name, of in routers.items()}


def main(given: Sequence[str] | None = None) -> int:
    """Measure and print."""
    said = _parser().parse_args(sys.argv[1:] if given is None else given)
    routers = ROUTERS | ({"word vectors, ridge": vectors_ridge(said.vectors)} if said.vectors else {})
    found: dict[str, dict[str, float]] = {}
    with Console(stderr=True).status("reading") as status:
        train, test = read(said.train), read(said.test)
        for name, left, right in splits(train, test, said.drawn):
            status.update(f"split {name}")
            found[name] = measured(routers, left, right)
    if said.json:
        print(json.dumps({"apgr": found, "rows": {"train": len(train), "test": len(test)}}, indent=1))
    else:
        console().print(_table(found))
    return 0


def _table(found: dict[str, dict[str, float]]) -> Table:
    """One line a router: the split as given; the drawn ones' mean; by how much Segue is ahead, and in how many."""
    given, *drawn = found.values()
    table = Table(box=None, pad_edge=False)
    for column in ("router", "as given", f"mean of {len(drawn)} drawn", "Segue ahead by", "ahead in"):
        table.add_column(column, justify="left" if column == "router" else "right")
    for name, value in given.items():
        cells = [name, f"{value:.3f}"]
        if drawn:
            ahead = [one["Segue"] - one[name] for one in drawn]
            cells.append(f"{statistics.fmean(one[name] for one in drawn):.3f}")
            if name != "Segue":
                cells += [f"{statistics.fmean(ahead):+.3f}", f"{sum(a > 0 for a in ahead)} of {len(ahead)}"]
        table.add_row(*cells)
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench routers", description=__doc__)
    add = parser.add_argument
    add("--train", type=Path, action="append", required=True, metavar="FILE", help="rows to learn from")
    add("--test", type=Path, action="append", required=True, metavar="FILE", help="rows to ask about")
    add("--drawn", type=int, default=5, help="how many splits to draw besides (5)")
    add("--vectors", type=Path, metavar="FILE", help="word vectors in GloVe's format, for one more router")
    add("--json", action="store_true", help="figures as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
