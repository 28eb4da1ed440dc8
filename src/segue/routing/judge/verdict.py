"""The verdict on a policy: per measure a claim, a cautious answer, or a refusal that says what is missing.

Weights are formed of rows with propensities only. Without enough of those, shadow pairs answer; without those, the
models' own expectation is given, labelled as such and never as a claim.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import cast

import numpy as np

from .arms import by_arms
from .astray import LITTLE, MUCH, Astray, astray_beside, astray_of
from .estimators import (
    WEIGHING,
    Estimator,
    Figure,
    agreement,
    by_models,
    design_effect,
    known,
    logged_mean,
    pairs,
    shadowed,
    weighted,
)
from .intervals import kish
from .need import (
    AGREEING_TO_ANSWER,
    AGREEING_TO_CLAIM,
    CLAIM,
    CLUSTERS_TO_ANSWER,
    CLUSTERS_TO_CLAIM,
    REFUSE,
    UNREACHED,
    Have,
    Need,
    need,
    per_day,
)
from .rows import Logged, Measure, Onward, Target
from .weighed import Weighed, shadows_of, weigh

_SAMPLING_BIAS = 0.01
_TINY_UNREACHED = 1e-6
_UNSEEN = 3.0
"""Of so many effective asks none may have shown a thing that one in as many times fewer does: the rule of three."""
_ENOUGH_FAILED = 5
"""Asks that ended with a first call that did not do, for which others may be taken to do so."""
_UNSAID = "of none of these asks it is known: checks, or feedback, say it"
_NO_CHANCE = "these choices were not drawn: no weights can be formed"
_SPLIT = "what follows it is on record once a split has dealt it a share of the traffic"
_ARM = "what a split has dealt is judged, and not what the route did before"
_FIRST = "of each ask it is the first call alone: what a cascade's further steps would take is not in it"
_ALONE = "of each ask it is the first call alone: what a hedge's second one would take, or spare, is not in it"
_ALIKE = "shadows are taken to be asked irrespective of what came of the choice"


class Standing(StrEnum):
    """How firmly a finding stands."""

    CLAIMED = "claimed"
    """On an effective sample of 200 or more."""
    CAUTIOUS = "cautious"
    """Intervals hold, but are wide, or something else limits it: see the notes."""
    MODELLED = "model estimate"
    """What the models expect: no experiment stands behind it."""
    REFUSED = "refused"
    """On an effective sample below 30: no figure is given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What is found of one measure. Figures are per ask, in the measure's unit."""

    measure: Measure
    standing: Standing
    basis: Estimator | None
    """What `best` was come to by."""
    figures: tuple[Figure, ...] = ()
    """All estimates on that basis, none where it is refused or modelled."""
    now: float | None = None
    """The mean of what was logged, on the same rows."""
    effective: float = 0.0
    """The effective sample: weights and correlated clusters taken into account."""
    agreeing: float = 0.0
    """Of it, where the policy differs most from what was logged; at least 10 are asked for, 30 for a claim."""
    rows: int = 0
    modelled: float | None = None
    """What the models expect, where they are complete."""
    models_off: float | None = None
    """By how much the models were too low about what was logged, in the mean."""
    need: Need | None = None
    """What is missing for a claim, unless it is one."""
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> Figure | None:
        """The figure to read first: doubly robust, or what the basis gives."""
        return next((f for f in self.figures if f.estimator is self.basis), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """The verdict, measure by measure, and what it rests on."""

    findings: Mapping[Measure, Finding]
    rows: int
    weighable: int
    """Rows with propensities."""
    clusters: int
    """The runs, or the keys of a sticky split: asks of one are not independent of each other."""
    keyed: bool
    """Whether they are keys of a split."""
    exploration: float
    """The mean share that the logged policies explored with."""
    unreached: float
    """The policy's chance of candidates that the log could not have drawn, in the mean over rows with propensities."""
    days: float | None

    def to_json(self) -> dict[str, object]:
        """Plain values, for `--json`; what is not finite is None."""
        plain = {k: v for k, v in asdict(self).items() if k != "findings"}
        findings = {m.value: asdict(f) | {"says": says(f)} for m, f in self.findings.items()}
        return cast("dict[str, object]", _finite(plain | {"findings": findings}))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    rate: float | None
    within_days: float
    level: float


def judge(
    rows: Sequence[Logged], target: Target, *, onward: Onward | None = None, hedged: Onward | None = None,
    climbs: bool = False, hedges: bool = False, within_days: float = 14.0, level: float = 0.95,
) -> Judgement:  # fmt: skip
    """What `target` would have got on this traffic. Raises InputError where it gives no distribution.

    `onward` says how it would have gone on after a call that did not do, `hedged` whether it would have hedged the
    calls so; without, as was logged. `climbs`: it goes on by rules of its own, which shadows and models know nothing
    of; `hedges`: a second one is asked where the first takes long, of which they know nothing either. `within_days` is
    the time within which the share of exploration that is asked for should allow a claim.
    """
    every = weigh(rows, target, onward, hedged)
    dealt, ends = by_arms(every, rows), onward is None or _ends(rows)
    mask = np.array([row.weighable for row in rows], dtype=np.bool_)
    drawn, rate = dealt.w.only((mask | dealt.drawn) & ~dealt.aside), per_day(rows)
    asked = _Asked(rate=rate, within_days=within_days, level=level)
    findings: dict[Measure, Finding] = {}
    for m in Measure:
        found = _weighted(drawn, m, asked, climbs=climbs and not ends) if len(drawn) else None
        if found is not None and dealt.aside.any():
            found = replace(found, notes=(*found.notes, f"{_ARM}: {len(drawn)} of {len(rows)} asks"))
        if found is None or (found.standing is Standing.REFUSED and not dealt.drawn.any()):
            found = _unweighted(every, rows, m, found, asked, ends=ends, climbs=climbs, hedges=hedges)
        findings[m] = found
    return Judgement(
        findings=findings,
        rows=len(rows),
        weighable=len(drawn),
        clusters=every.clusters,
        keyed=every.keyed,
        exploration=every.exploration,
        unreached=float(drawn.unreached.mean()) if len(drawn) else 1.0,
        days=None if rate is None else len(rows) / rate,
    )


def _ends(rows: Sequence[Logged]) -> bool:
    """Whether asks are over after their first call, whatever came of it: some have failed, and none has gone on."""
    known = [row.went_on for row in rows if row.went_on is not None]
    return len(known) >= _ENOUGH_FAILED and not any(known)


def _weighted(w: Weighed, m: Measure, ask: _Asked, *, climbs: bool) -> Finding:
    """By importance weights: a claim, a cautious answer or a refusal."""
    seen = known(w, m)
    if not len(seen):
        return Finding(measure=m, standing=Standing.REFUSED, basis=None, notes=(_UNSAID,))
    effect = design_effect(seen, m)
    effective = kish(seen.weight) / effect
    matching = agreement(seen).count
    unreached = float(seen.unreached.mean())
    runs = kish(seen.sums(seen.weight)[:, 0])
    standing, notes = _standing(seen, effective, matching, runs, unreached)
    astray = astray_of(seen, m, unseen=_UNSEEN / max(1.0, effective) if climbs else 0.0)
    standing, notes = _parted(standing, notes, astray)
    share = len(seen) / len(w)
    if share < 1.0:
        notes.append(f"known for {share:.0%} of these asks; the others are taken to be alike")
    missing = standing is not Standing.CLAIMED and astray.worst <= LITTLE  # that is no matter of more asks
    have = Have(effect=effect, known=share)
    have = have if unreached > UNREACHED else replace(have, effective=effective, agreeing=matching, clusters=runs)
    return Finding(
        measure=m,
        standing=standing,
        basis=Estimator.DR,
        figures=() if standing is Standing.REFUSED else tuple(_figures(seen, m, ask.level, astray)),
        now=_number(logged_mean(seen, m)),
        effective=effective,
        agreeing=matching,
        rows=len(seen),
        need=need(w, have, ask.rate, ask.within_days) if missing else None,
        notes=tuple(notes),
    )


def _figures(w: Weighed, m: Measure, level: float, astray: Astray) -> Iterator[Figure]:
    for estimator in WEIGHING:
        yield weighted(w, m, estimator, level).widened(astray.unknown, m)


def _standing(
    w: Weighed, effective: float, matching: float, runs: float, unreached: float
) -> tuple[Standing, list[str]]:
    """How firmly weights stand, and what limits them."""
    if unreached > UNREACHED:
        why = f"{unreached:.1%} of its choices could not have been drawn by the policies that were logged"
        return Standing.REFUSED, [why]
    few = f"the evidence comes from {runs:.0f} {'keys that a split sticks to' if w.keyed else 'runs'}, effectively"
    refusals = {
        f"the effective sample is {math.floor(effective)}, below {REFUSE:.0f}": effective < REFUSE,
        f"where it differs most, only {matching:.0f} choices agree with it": matching < AGREEING_TO_ANSWER,
        few: runs < CLUSTERS_TO_ANSWER,
    }
    if any(refusals.values()):
        return Standing.REFUSED, [why for why, holds in refusals.items() if holds]
    limits = {
        f"the effective sample is {math.floor(effective)}, below {CLAIM:.0f}": effective < CLAIM,
        f"where it differs most, only {matching:.0f} choices agree with it": matching < AGREEING_TO_CLAIM,
        few: runs < CLUSTERS_TO_CLAIM,
        f"{unreached:.2%} of its choices could not have been drawn": unreached > _TINY_UNREACHED,
        "propensities were estimated from too few draws": _sampling_bias(w) > _SAMPLING_BIAS,
    }
    notes = [why for why, holds in limits.items() if holds]
    return (Standing.CAUTIOUS if notes else Standing.CLAIMED), notes


def _parted(standing: Standing, notes: list[str], astray: Astray) -> tuple[Standing, list[str]]:
    """The same, with what follows from these."""
    if astray.worst > MUCH:
        return Standing.REFUSED, [*notes, astray.says(), _SPLIT]
    if astray.worst > LITTLE:
        return Standing.CAUTIOUS if standing is Standing.CLAIMED else standing, [*notes, astray.says()]
    return standing, notes


def _sampling_bias(w: Weighed) -> float:
    """How much too heavy weights are in the mean for propensities that rest on draws: about (1 - p) / (draws · p)."""
    p, weight = w.at_choice(w.logged), w.weight
    total = float(weight.sum())
    return float((weight * (1.0 - p) / (w.samples * p)).sum()) / total if total > 0.0 else 0.0


def _unweighted(
    w: Weighed,
    rows: Sequence[Logged],
    m: Measure,
    refused: Finding | None,
    ask: _Asked,
    *,
    ends: bool,
    climbs: bool,
    hedges: bool,
) -> Finding:
    """By shadow pairs, else by the models, else a refusal. `ends`: an ask is over after its first call."""
    none = Finding(measure=m, standing=Standing.REFUSED, basis=None, notes=(_NO_CHANCE,) if len(w) else ("no rows",))
    if not len(w):
        return none
    found = refused or replace(none, need=need(w, Have(), ask.rate, ask.within_days))
    modelled, off = (_number(v) for v in by_models(w, m))
    found = replace(found, basis=None, now=_number(logged_mean(w, m)), modelled=modelled, models_off=off)
    if (astray := astray_of(w, m)).worst > MUCH:  # what shadows and models know is one call
        return _left_open(found, astray)
    beside = pairs(w, shadows_of(rows, w, m), m)
    same = not beside.differs.any()  # then all that came of an ask is its own
    first = (*([_FIRST] if climbs and not same else []), *([_ALONE] if hedges and not same else []))
    effective = kish(w.sums(np.ones(len(w)))[:, 0]) if same else beside.effective
    shown = same or (beside.runs >= CLUSTERS_TO_ANSWER and not hedges)  # nobody is asked beside a shadow
    if found.now is not None and effective >= REFUSE and shown:
        figure = shadowed(beside, m, ask.level)
        unseen = _UNSEEN / len(w) if climbs and not ends else 0.0
        astray = Astray(0.0) if ends else astray_beside(w, rows, m, figure.value.value, unseen)
        if astray.worst > MUCH:
            return _left_open(found, astray)
        notes = [*found.notes, *([] if same else [_ALIKE])]
        claims = effective >= CLAIM and (same or beside.runs >= CLUSTERS_TO_CLAIM)
        standing, notes = _parted(Standing.CLAIMED if claims else Standing.CAUTIOUS, notes, astray)
        return replace(
            found,
            standing=standing,
            basis=Estimator.SHADOWS,
            figures=(figure.widened(astray.unknown, m),),
            effective=effective,
            agreeing=effective,
            rows=int(beside.paired.sum()),
            need=None if claims else found.need,
            notes=(*notes, *first),
        )
    if modelled is None:
        return found
    return replace(found, standing=Standing.MODELLED, basis=Estimator.MODELS, notes=(*found.notes, *first))


def _left_open(found: Finding, astray: Astray) -> Finding:
    """Refused: of so much it is not on record what would have followed the first call."""
    notes = found.notes if _SPLIT in found.notes else tuple(_parted(Standing.REFUSED, list(found.notes), astray)[1])
    return replace(found, modelled=None, models_off=None, need=None, notes=notes)


def says(found: Finding) -> str:
    """A finding for a reader, in a sentence or two."""
    best, name = found.best, found.measure.value
    if best is not None:
        value, change = best.value, best.difference
        said = f"{name}: {value.value:.4g} [{value.low:.4g}, {value.high:.4g}] per ask, now {found.now or 0.0:.4g}"
        said += f"; change {change.value:+.4g} [{change.low:+.4g}, {change.high:+.4g}]"
        said += f" ({found.standing.value}, {best.estimator.value}, effective sample {math.floor(found.effective)})"
    elif found.standing is Standing.MODELLED:
        said = f"{name}: {found.modelled or 0.0:.4g} per ask is what the models expect; no experiment stands behind it"
        said += "" if found.models_off is None else f" (they were {-found.models_off:+.2g} off about what was logged)"
    else:
        said = f"{name}: refused"
    said += "".join(f"; {note}" for note in found.notes)
    return said if found.need is None else f"{said}. To claim: {found.need.says()}"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _finite(value: object) -> object:
    """Plain values: numbers that are not finite are None, enums their values, tuples lists."""
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in cast("dict[object, object]", value).items()}
    if isinstance(value, tuple | list):
        return [_finite(v) for v in cast("Sequence[object]", value)]
    return value
