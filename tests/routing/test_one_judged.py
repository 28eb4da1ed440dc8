"""Past traffic tells how the one model did that answered: from that it is learned who is better at what."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.routing.learn.fit import RIDGE, _left_out, fit

TOPICS = (
    ("Compute the integral of x^{} from zero to one", "Solve the equation {}x + 3 = 9 for x"),
    ("Write a poem about the sea in {} lines", "Compose a short verse on autumn leaves with {} words"),
)


def requests(many: int, random: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """Texts, and which of the topics each is of."""
    topic = random.integers(0, 2, many)
    forms = random.integers(0, 2, many)
    return [TOPICS[t][f].format(random.integers(2, 99)) for t, f in zip(topic, forms, strict=True)], topic


@pytest.mark.parametrize("together", [0.0, 0.2], ids=["one answer a request", "now and then two"])
def test_who_is_better_at_what_is_learned_from_one_answer_a_request(together: float) -> None:
    random = np.random.default_rng(1)
    texts, topic = requests(250, random)
    scores = np.full((len(texts), 2), np.nan)
    for row, answered in enumerate(random.integers(0, 2, len(texts))):
        scores[row, answered] = float(answered == topic[row])
        if random.random() < together:
            scores[row, 1 - answered] = float(answered != topic[row])
    learned = fit(texts, scores, ["of sums", "of verse"])
    new, right = requests(60, random)
    assert [int(learned.expected(text).mean.argmax()) for text in new] == list(right)


@pytest.mark.parametrize("seed", range(5))
def test_luck_is_not_learned(seed: int) -> None:
    """Both are right as often, whatever is asked."""
    random = np.random.default_rng(seed)
    texts, _ = requests(250, random)
    scores = np.full((len(texts), 2), np.nan)
    scores[np.arange(len(texts)), random.integers(0, 2, len(texts))] = random.integers(0, 2, len(texts))
    learned = fit(texts, scores, ["one", "two"])
    new, _ = requests(60, random)
    expected = np.stack([learned.expected(text).mean for text in new])
    usual = int(learned.mean.argmax())
    assert np.mean(expected.argmax(1) == usual) > 0.9


def test_what_was_never_asked_is_left_to_who_is_best_at_large() -> None:
    random = np.random.default_rng(2)
    texts, topic = requests(250, random)
    scores = np.full((len(texts), 2), np.nan)
    for row, answered in enumerate(random.integers(0, 2, len(texts))):
        scores[row, answered] = float(answered == topic[row])
    learned = fit(texts, scores, ["of sums", "of verse"])
    code = "def f(x): return x**2  # why does this python code fail?"
    assert int(learned.expected(code).mean.argmax()) == int(learned.mean.argmax())


@given(st.integers(0, 2**32 - 1))
def test_what_is_said_without_a_group_is_what_would_be_learned_without_it(seed: int) -> None:
    """Of rows that speak of a model, and of others."""
    random = np.random.default_rng(seed)
    many = int(random.integers(4, 16))
    points = random.normal(size=(many, 3)).astype(np.float32)
    kernel = np.exp(-((points[:, None] - points) ** 2).sum(2)).astype(np.float32)
    pattern = random.random(many) < 0.6
    centred = np.where(pattern[:, None], random.normal(size=(many, 2)), 0.0).astype(np.float32)
    label = random.integers(0, 3, many)
    groups = [np.flatnonzero(label == k) for k in np.unique(label)]
    said = _left_out(kernel, centred, pattern, groups)
    for group in groups:
        rest = np.setdiff1d(np.flatnonzero(pattern), group)
        dual = np.linalg.solve(kernel[np.ix_(rest, rest)] + RIDGE * np.eye(len(rest)), centred[rest])
        assert said[group] == pytest.approx(kernel[np.ix_(group, rest)] @ dual, abs=1e-3)
