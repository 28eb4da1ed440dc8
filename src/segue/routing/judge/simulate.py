"""Simulated traffic whose truth is known exactly, to see whether intervals cover.

A world is made of finitely many kinds of asks and two moods of a run (in the hard one its asks are harder, dearer and
more of them, and of harder kinds), so that the value of any policy that looks at the kind is a finite sum. Costs and
latencies are lognormal around it: within a run, and each run has a factor of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from segue.core.records import Sampling

from .estimators import (
    WEIGHING,
    Estimator,
    Figure,
    agreement,
    design_effect,
    known,
    pairs,
    shadowed,
    weighted,
)
from .intervals import Array, kish
from .need import AGREEING_TO_ANSWER, REFUSE
from .rows import NANO, Logged, Measure, Outcome, Prediction
from .weighed import Places, Weighed

_MOODS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """A setting: how many runs, how correlated, how skewed, how much explored, which policy is judged."""

    runs: int = 400
    asks: float = 5.0
    """Mean asks per run, in the easy mood; half as many again in the hard one."""
    kinds: int = 6
    arms: int = 3
    exploration: float = 0.05
    """The share of the logging policy's traffic that is drawn evenly."""
    softness: float = 0.0
    """0: apart from exploring, it takes the best it knows; else the temperature at which it draws."""
    target: str = "dear"
    """`dear`: always the dearest arm; `cheap`: the cheapest; `other`: another than the log's in `moved` of the kinds;
    `soft`: a mixture of all; `same`: the policy that was logged."""
    moved: int = 1
    skew: float = 1.0
    """Standard deviation of log cost and log latency within a run."""
    common: float = 0.5
    """Standard deviation of the log factor that a run's asks share."""
    failures: float = 0.05
    """How often arms fail to answer, roughly."""
    shadowed: float = 0.0
    """The share of asks on which all other arms answer on the side."""
    models: str = "none"
    """What was predicted: `none`, `good`, `poor`."""
    tables: int = 7
    """The seed of the world's tables, which are no part of a repeat's chance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tables:
    """The world's truth: mean outcomes are (moods, kinds, arms), policies (kinds, arms), kinds (moods, kinds)."""

    kinds: Array
    means: Mapping[Measure, Array]
    logging: Array
    target: Array


def tables(world: World) -> Tables:
    """The truth of a world."""
    rng = np.random.default_rng(world.tables)
    shape = (world.kinds, world.arms)
    strength = np.linspace(0.0, 1.0, world.arms)
    hard = rng.uniform(0.0, 1.0, world.kinds)
    mood = np.array([0.0, 0.6])[:, None, None]
    reward = 1.0 / (1.0 + np.exp(-(1.0 + 2.0 * strength - 2.5 * hard[:, None] - mood + rng.normal(0.0, 0.3, shape))))
    cost = 1e-3 * (1.0 + 9.0 * strength) * np.exp(0.8 * hard[:, None] + mood)
    latency = (0.5 + 2.0 * strength) * np.exp(0.5 * hard[:, None] + 0.5 * mood)
    answered = 1.0 - world.failures * rng.uniform(0.2, 1.8, shape) * (1.0 + mood)
    kinds = rng.dirichlet(np.full(world.kinds, 4.0), size=_MOODS)
    logging = _logging(world, reward.mean(axis=0) - 40.0 * cost.mean(axis=0))
    means = {Measure.REWARD: reward, Measure.COST: cost, Measure.LATENCY: latency, Measure.ANSWERED: answered}
    return Tables(kinds=kinds, means=means, logging=logging, target=_target(world, logging))


def _logging(world: World, score: Array) -> Array:
    if world.softness > 0.0:
        drawn = np.exp((score - score.max(axis=1, keepdims=True)) / world.softness)
        drawn /= drawn.sum(axis=1, keepdims=True)
    else:
        drawn = np.eye(world.arms)[score.argmax(axis=1)]
    return (1.0 - world.exploration) * drawn + world.exploration / world.arms


def _target(world: World, logging: Array) -> Array:
    if world.target == "same":
        return logging
    if world.target == "soft":
        mixed = np.random.default_rng(world.tables + 1).dirichlet(np.ones(world.arms), size=world.kinds)
        return 0.5 * logging + 0.5 * mixed
    best = logging.argmax(axis=1)
    if world.target == "other":
        best[: world.moved] = (best[: world.moved] + 1) % world.arms
    else:
        best[:] = world.arms - 1 if world.target == "dear" else 0
    return np.eye(world.arms)[best]


def truth(world: World) -> dict[Measure, tuple[float, float]]:
    """Per measure: what the target gets per ask, and the difference to what the logging policy gets."""
    t = tables(world)
    asks = t.kinds * (world.asks * np.array([1.0, 1.5]))[:, None]
    asks /= asks.sum()

    def mean(policy: Array, of: Array) -> float:
        return float((asks[:, :, None] * policy[None] * of).sum())

    return {m: (mean(t.target, of), mean(t.target, of) - mean(t.logging, of)) for m, of in t.means.items()}


def traffic(world: World, seed: int) -> Weighed:
    """Traffic of a world, as arrays; rewards of a third of the asks are not known."""
    return drawn(world, seed)[0]


def drawn(world: World, seed: int) -> tuple[Weighed, Mapping[Measure, Array]]:
    """Traffic, and what came of the shadows: (n, K), NaN for who was not asked on the side."""
    rng, t = np.random.default_rng(seed), tables(world)
    mood = rng.integers(0, _MOODS, world.runs)
    size = 1 + rng.poisson(world.asks * np.where(mood == 1, 1.5, 1.0) - 1.0)
    cluster = np.repeat(np.arange(world.runs), size)
    n, z = len(cluster), mood[cluster]
    kind = (t.kinds.cumsum(axis=1)[z] < rng.random(n)[:, None]).sum(axis=1).clip(0, world.kinds - 1)
    choice = (t.logging.cumsum(axis=1)[kind] < rng.random(n)[:, None]).sum(axis=1).clip(0, world.arms - 1)
    would = _would(world, {m: of[z, kind] for m, of in t.means.items()}, rng, cluster)
    asked = rng.random(n)[:, None] < world.shadowed
    chosen = np.arange(world.arms) == choice[:, None]
    w = Weighed(
        cluster=cluster.astype(np.int64),
        arms=np.tile(np.arange(world.arms), (n, 1)),
        target=t.target[kind],
        logged=t.logging[kind],
        choice=choice.astype(np.int64),
        outcomes={m: y[chosen] for m, y in would.items()},
        predictions={m: _predicted(world, t, m)[kind] for m in Measure},
        features=np.eye(world.kinds)[kind],
        samples=np.full(n, np.inf),
        apart=np.zeros(n),
        raced=np.zeros(n),
        moved=np.zeros(n, np.bool_),
        exploration=world.exploration,
    )
    return w, {m: np.where(asked & ~chosen, y, np.nan) for m, y in would.items()}


def _would(
    world: World, mean: Mapping[Measure, Array], rng: np.random.Generator, cluster: Places
) -> dict[Measure, Array]:
    """(n, K) what would come of each arm: binary, or lognormal with factors of the run, the ask and the arm."""
    shape = mean[Measure.REWARD].shape
    reward = (rng.random(shape) < mean[Measure.REWARD]).astype(np.float64)
    reward[rng.random(shape[0]) > 2 / 3] = np.nan
    found = {Measure.REWARD: reward}
    found[Measure.ANSWERED] = (rng.random(shape) < mean[Measure.ANSWERED]).astype(np.float64)
    for m in (Measure.COST, Measure.LATENCY):
        shared = world.common * rng.normal(size=world.runs)[cluster][:, None]
        alone = world.skew * (rng.normal(size=(shape[0], 1)) + rng.normal(size=shape)) / np.sqrt(2.0)
        found[m] = mean[m] * np.exp(shared + alone - (world.common**2 + world.skew**2) / 2.0)
    return found


def _predicted(world: World, t: Tables, m: Measure) -> Array:
    """(kinds, arms): what the world's models expect."""
    if world.models == "none":
        return np.full((world.kinds, world.arms), np.nan)
    mean = t.means[m].mean(axis=0)
    return mean if world.models == "good" else np.full_like(mean, mean.max() * 0.9)


def rows(w: Weighed, *, per_day: float = 1000.0) -> list[Logged]:
    """The same traffic as rows, as a journal would give them; features begin with the kind's place."""
    found: list[Logged] = []
    for i in range(len(w)):
        reward, answered = w.outcomes[Measure.REWARD][i], w.outcomes[Measure.ANSWERED][i]
        said = {m: q[i] for m, q in w.predictions.items()}
        predictions = tuple(
            Prediction(**{m.value: float(q[j]) for m, q in said.items()}) for j in range(w.arms.shape[1])
        )
        outcome = Outcome(
            answered=bool(answered),
            reward=None if np.isnan(reward) else float(reward),
            cost_nano=round(float(w.outcomes[Measure.COST][i]) / NANO),
            latency_s=float(w.outcomes[Measure.LATENCY][i]),
        )
        row = Logged(
            cluster=f"run-{w.cluster[i]}",
            candidates=tuple(f"arm-{a}" for a in w.arms[i]),
            propensities=tuple(w.logged[i].tolist()),
            choice=int(w.choice[i]),
            sampling=Sampling.EXACT,
            outcome=outcome,
            predictions=() if np.isnan(said[Measure.COST]).any() else predictions,
            features=tuple(w.features[i].tolist()),
            exploration=w.exploration,
            at=86_400.0 * i / per_day,
        )
        found.append(row)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """Of the repeats in which an interval was given: how many covered the truth, and how many were below or above."""

    given: int
    covered: int
    truth_above: int
    width: float
    """The median width, over the truth."""

    @property
    def share(self) -> float:
        """Covered of given."""
        return self.covered / max(1, self.given)


Key = tuple[Measure, Estimator, str]


def coverage(world: World, repeats: int, seed: int = 0) -> tuple[dict[Key, Coverage], float]:
    """How often 95% intervals of each measure and estimator cover the value and the difference, over repeats.

    Also the median effective sample. A repeat that the verdict would refuse gives none. With shadows, those are
    measured, and no weights are formed.
    """
    held: dict[Key, list[tuple[bool, bool, float]]] = {}
    sizes: list[float] = []
    facts = truth(world)
    for repeat in range(repeats):
        w, beside = drawn(world, seed + repeat)
        for m in Measure:
            effective, figures = _figures(w, beside[m], m, with_shadows=world.shadowed > 0.0)
            sizes.append(effective)
            for figure in figures:
                both = (("value", figure.value), ("difference", figure.difference))
                for (what, found), true in zip(both, facts[m], strict=True):
                    entry = (found.holds(true), true > found.high, (found.high - found.low) / facts[m][0])
                    held.setdefault((m, figure.estimator, what), []).append(entry)
    return {key: _counted(entries) for key, entries in held.items()}, float(np.median(sizes))


def _figures(w: Weighed, beside: Array, m: Measure, *, with_shadows: bool) -> tuple[float, list[Figure]]:
    """The effective sample and the figures that the verdict would give."""
    if with_shadows:
        p = pairs(w, beside, m)
        return p.effective, [shadowed(p, m)] if p.effective >= REFUSE else []
    seen = known(w, m)
    effective = kish(seen.weight) / design_effect(seen, m)
    if effective < REFUSE or agreement(seen).count < AGREEING_TO_ANSWER:
        return effective, []
    return effective, [weighted(seen, m, name) for name in WEIGHING]


def _counted(entries: list[tuple[bool, bool, float]]) -> Coverage:
    return Coverage(
        given=len(entries),
        covered=sum(e[0] for e in entries),
        truth_above=sum(e[1] for e in entries),
        width=float(np.median([e[2] for e in entries])),
    )
