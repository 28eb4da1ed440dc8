"""The comparison of routers: each learns what there is to learn, none sees a test row, and it prints what was found."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from bench.__main__ import main
from bench.routers import ROUTERS, measured, splits
from segue.routing.benchmark import Row

WORDS = ["river", "stone", "cloud", "field", "lamp", "glass", "paper", "wheel", "house", "road"]


def rows(n: int, seed: int) -> list[Row]:
    """Requests of which those with `integral` are too much for the weak model."""
    draw = random.Random(seed)
    made: list[Row] = []
    for i in range(n):
        hard = draw.random() < 0.5
        words = draw.choices(WORDS, k=12) + (["integral"] if hard else ["greeting"])
        draw.shuffle(words)
        made.append(Row(f"{seed}-{i}", "t", " ".join(words), {"weak": 0.0 if hard else 1.0, "strong": 1.0}, None))
    return made


@pytest.mark.proof
def test_each_router_that_reads_words_finds_the_one_that_tells() -> None:
    found = measured(ROUTERS, rows(200, 1), rows(120, 2))
    assert found.pop("prompt length") < 0.7
    assert min(found.values()) > 0.7, found


@pytest.mark.proof
def test_without_anything_to_learn_none_does_better_than_chance() -> None:
    draw = random.Random(5)
    deaf = [Row(r.id, r.task, " ".join(draw.choices(WORDS, k=9)), r.scores, None) for r in rows(700, 3)]
    found = measured(ROUTERS, deaf[:400], deaf[400:])
    assert all(abs(value - 0.5) < 0.15 for value in found.values()), found


def test_no_prompt_is_on_both_sides_of_a_split() -> None:
    train, test = rows(40, 1), [*rows(20, 2), *rows(40, 1)[:5]]
    made = list(splits(train, test, 3))
    assert [name for name, _, _ in made] == ["as given", "seed 0", "seed 1", "seed 2"]
    for _, left, right in made:
        assert right and not {r.prompt for r in left} & {r.prompt for r in right}


def test_figures_of_files_are_printed_with_word_vectors_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files: list[str] = []
    for name, made in (("--train", rows(60, 1)), ("--test", rows(40, 2))):
        lines = [{"id": r.id, "task": r.task, "prompt": r.prompt, "scores": dict(r.scores)} for r in made]
        (tmp_path / name).write_text("\n".join(map(json.dumps, lines)))
        files += [name, str(tmp_path / name)]
    known = np.random.default_rng(0).normal(size=(len(WORDS) + 2, 8))
    vectors = tmp_path / "vectors.txt"
    named = zip([*WORDS, "integral", "greeting"], known, strict=True)
    vectors.write_text("\n".join(f"{word} {' '.join(map(str, numbers))}" for word, numbers in named))
    given = ["routers", *files, "--drawn", "1", "--vectors", str(vectors)]

    assert main([*given, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["apgr"]["seed 0"]) == {*ROUTERS, "word vectors, ridge"}
    assert found["apgr"]["as given"]["word vectors, ridge"] > 0.7

    assert main(given) == 0
    assert "Segue ahead by" in capsys.readouterr().out
