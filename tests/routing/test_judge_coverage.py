"""95% intervals cover the truth of simulated traffic in at least 93% of repeats; the soak test takes 500 of them."""

from __future__ import annotations

import numpy as np
import pytest

from segue.routing.judge import Measure
from segue.routing.judge.simulate import World, coverage, tables, traffic, truth

WORLDS = {
    "little exploration, skewed costs": World(runs=1200, exploration=0.02),
    "exploration of 5%": World(runs=2000, exploration=0.05),
    "very skewed costs": World(runs=2500, exploration=0.05, skew=1.4),
    "long correlated runs": World(runs=60, asks=30.0, exploration=0.05, softness=0.2, common=0.8, skew=0.7),
    "few long runs": World(runs=40, asks=60.0, exploration=0.3, common=0.7),
    "the cheapest": World(runs=600, exploration=0.05, target="cheap"),
    "the cheapest, in little traffic": World(runs=150, exploration=0.03, target="cheap"),
    "another for some kinds": World(runs=600, exploration=0.05, target="other", moved=2),
    "another for one kind": World(runs=1000, exploration=0.05, target="other", moved=1),
    "a soft mixture": World(runs=150, exploration=0.05, softness=0.3, target="soft"),
    "rare failures": World(runs=600, exploration=0.2, failures=0.01, skew=1.2),
    "good models": World(runs=800, exploration=0.05, models="good", skew=0.6),
    "poor models": World(runs=800, exploration=0.05, models="poor"),
    "shadows of 2%": World(runs=600, exploration=0.0, shadowed=0.02),
    "shadows of 10%, rare failures": World(
        runs=500, exploration=0.0, target="other", moved=3, shadowed=0.1, failures=0.01
    ),
}
each_world = pytest.mark.parametrize("name", WORLDS)


def told(name: str, repeats: int, least: float) -> list[str]:
    """What covers less than it should, in `name`'s world."""
    found, _ = coverage(WORLDS[name], repeats)
    assert found, "every repeat was refused"
    few = 0.5 * repeats
    return [
        f"{measure.value} {estimator.value} {what}: {c.covered} of {c.given}"
        for (measure, estimator, what), c in found.items()
        if c.given >= few and c.share < least
    ]


@pytest.mark.proof
@each_world
def test_intervals_cover_in_a_few_repeats(name: str) -> None:
    """Of 12 repeats, a true 95% loses more than 4 once in a hundred thousand times."""
    assert told(name, 12, 0.66) == []


@pytest.mark.soak
@each_world
def test_intervals_cover_at_least_93_percent_of_500_repeats(name: str) -> None:
    assert told(name, 500, 0.93) == []


def test_the_truth_of_a_world_is_what_its_traffic_gets_in_the_mean() -> None:
    world = World(runs=40_000, exploration=0.5, target="same", skew=0.2, common=0.2)
    w, facts = traffic(world, 0), truth(world)
    for measure in Measure:
        assert float(np.nanmean(w.outcomes[measure])) == pytest.approx(facts[measure][0], rel=0.01)
        assert facts[measure][1] == pytest.approx(0.0, abs=1e-12)


@each_world
def test_the_policies_of_a_world_are_distributions(name: str) -> None:
    t = tables(WORLDS[name])
    for policy in (t.logging, t.target, t.kinds):
        assert policy.sum(axis=1) == pytest.approx(1.0)
        assert (policy >= 0.0).all()
