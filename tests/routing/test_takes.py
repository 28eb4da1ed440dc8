"""What calls take: means that follow what was seen, and say nothing of what was not."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from segue.routing import Features
from segue.routing.takes import Takes, task_of

MODELS = ("small", "large")


def seconds(takes: Takes, task: str, *models: str) -> list[float]:
    return [float(s) for s in takes.latency.predict(Features(task=task), models or MODELS)[0]]


def tokens(takes: Takes, task: str, *models: str) -> list[float]:
    return [float(t) for t in takes.tokens_out.predict(Features(task=task), models or MODELS)[0]]


def test_of_nothing_nothing_is_said() -> None:
    takes = Takes()
    assert all(map(math.isnan, seconds(takes, "sort") + tokens(takes, "sort")))
    takes.note("small", "sort", 10, 0.5)
    takes.note("small", "sort", 10, 0.5)
    assert all(map(math.isnan, tokens(takes, "sort")))


def test_seconds_are_a_model_s_own_and_lengths_those_of_the_task_too() -> None:
    takes = Takes()
    for _ in range(20):
        takes.note("small", "sort", 10, 0.5)
        takes.note("small", "write", 400, 4.0)
    fast, unknown = seconds(takes, "sort")
    assert abs(fast - 0.5) < 0.2 and math.isnan(unknown)  # nothing is known of how fast the other is
    assert abs(seconds(takes, "new task", "small")[0] - 2.0) < 1.5
    short, guessed = tokens(takes, "sort")
    assert abs(short - 10) < 2 and abs(guessed - 10) < 2  # but what is asked of both is as short
    assert all(n >= 300 for n in tokens(takes, "write"))


def test_what_changes_is_followed() -> None:
    takes = Takes()
    for _ in range(500):
        takes.note("small", "sort", 10, 0.5)
    for _ in range(90):
        takes.note("small", "sort", 10, 3.0)
    assert seconds(takes, "sort", "small")[0] > 1.5


@given(st.lists(st.tuples(st.sampled_from(MODELS), st.integers(0, 5000), st.floats(0, 1e4)), max_size=40))
def test_a_prediction_is_a_number_within_reason_or_none(calls: list[tuple[str, int, float]]) -> None:
    takes = Takes()
    for model, out, lasted in calls:
        takes.note(model, "t", out, lasted)
    for predictor in (takes.latency, takes.tokens_out):
        said = predictor.predict(Features(task="t"), (*MODELS, "other"))
        mean, sd, n = (np.asarray(column, float) for column in said)
        known = np.isfinite(mean)
        assert (mean[known] > 0).all() and (sd[known] > 0).all() and (n >= 0).all() and (n[known] > 0).all()


def test_many_models_and_tasks_stay_apart() -> None:
    takes = Takes()
    for model in range(40):
        for _ in range(4):
            takes.note(f"m{model}", f"t{model % 3}", 10 * (model + 1), 0.1 * (model + 1))
    mean = seconds(takes, "t0", *(f"m{model}" for model in range(0, 40, 3)))
    assert mean == sorted(mean) and mean[-1] > 10 * mean[0]


def test_a_task_is_what_stays_the_same() -> None:
    assert task_of(None, "Sort it.", 1) == "Sort it." and task_of("k", "Sort it.", 1) == "k/Sort it."
    assert task_of(None, "What is a pear?", 0) == "" and task_of("k", "What is a pear?", 0) == "k"
