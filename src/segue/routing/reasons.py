"""Why a decision came out as it did, in sentences: from its record alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import cast

from ..core.records import Candidate, Decision, Json, Sampling

__all__ = ["reasons", "wanted"]

_WANT = {
    "cheapest": "the cheapest",
    "best": "the best",
    "fastest": "the fastest",
    "weighted": "the best balance",
}


def wanted(objective: Mapping[str, Json]) -> str:
    """What a policy wants: `the cheapest, quality at least 0.7`."""
    kind = str(objective.get("kind", "?"))
    said = [_WANT.get(kind, _KINDS.get(kind, kind))]
    for name, words in (
        ("quality_min", "quality at least {}"),
        ("cost_usd_max", "at most ${}"),
        ("latency_s_max", "at most {} s"),
        ("per_usd", "{} of quality for a dollar"),
        ("per_s", "{} of quality for a second"),
    ):
        value = objective.get(name)
        if isinstance(value, int | float):
            said.append(words.format(_plain(value)))
    if objective.get("strict"):
        said.append("strictly")
    among = objective.get("among")
    if isinstance(among, list | tuple):
        said.append(f"among {', '.join(map(str, cast('list[object]', among)))}")
    said += _require(objective.get("require"))
    return ", ".join(said)


def _plain(value: float) -> str:
    """Six figures, and never `1e-05`."""
    return f"{Decimal(f'{value:g}'):f}"


_KINDS = {
    "cascade": "cheap first, then climb",
    "split": "a split",
    "shadow": "shadowed",
    "hedge": "hedged",
    "pinned": "one model",
    "examples": "by examples",
    "function": "by a function",
}


def reasons(decision: Decision) -> list[str]:
    """Why this choice, what comes after it, and who was never considered; the choice first."""
    names = tuple(candidate.target.name for candidate in decision.candidates)
    said = [*_choice(decision), *_around(decision)]
    return [(one if one.startswith(names) else one[:1].upper() + one[1:]) + "." for one in said]


def _choice(decision: Decision) -> Iterator[str]:
    chosen = decision.chosen
    able = [c for c in decision.candidates if c.eligible]
    if chosen is None:
        yield f"nobody is eligible: all {len(decision.candidates)} candidates are excluded"
        return
    name = chosen.target.name
    if decision.pinned_by:
        yield f"{name}: the {decision.pinned_by} left no choice"
    elif len(able) == 1:
        yield f"{name} is the only one that is eligible"
    elif decision.explored:
        yield f"{name} was drawn to explore: it had a chance of {share(chosen.propensity)}"
    else:
        yield f"{name}: {_because(decision, chosen, able)}"
    floor = decision.objective.get("quality_min")
    quality = chosen.quality
    if isinstance(floor, int | float) and quality is not None and quality.mean < floor:
        best = max((c.quality.mean for c in able if c.quality), default=0.0)
        if best < floor:
            yield f"nobody is expected to reach a quality of {floor:g}: the best there is comes first"


def _because(decision: Decision, chosen: Candidate, able: list[Candidate]) -> str:
    kind = str(decision.objective.get("kind"))
    floor = decision.objective.get("quality_min")
    of = f"of {len(able)} that are eligible"
    if isinstance(floor, int | float) and floor > 0:
        fit = sum(c.quality is not None and c.quality.mean >= floor for c in able)
        of = f"of {fit} whose quality is expected to reach {floor:g}" if fit else of
    if kind in _WANT:
        return (
            f"{_WANT[kind]} {of}" if chosen.propensity >= 0.5 else f"drawn with a chance of {share(chosen.propensity)}"
        )
    if kind == "cascade":
        return f"the first step that is not known to be a waste; stage {decision.stage}"
    arm = decision.objective.get("arm")
    return f"arm {arm} of the split" if arm is not None else f"by {decision.policy}"


def _around(decision: Decision) -> Iterator[str]:
    example = decision.objective.get("similarity")
    if isinstance(example, int | float):
        at = decision.objective.get("example")
        yield f"it is like example {at} ({example:.2f})" if at is not None else f"it is like no example ({example:.2f})"
    names = [c.target.name for c in decision.candidates]
    for split in decision.splits:
        yield f"it fell into arm {split.arm} of {split.name}, which has {share(split.share)} of the traffic"
    if decision.shadows:
        yield f"{', '.join(names[at] for at in decision.shadows)} answers on the side, and nobody is shown that"
    if decision.hedge is not None:
        yield f"{names[decision.hedge]} is asked too after {decision.hedge_after_s or 0:.2f} s without an answer"
    if decision.order and decision.chosen is not None:
        rest = [names[at] for at in decision.order]
        yield f"if it fails: {', then '.join(rest[:4])}{' …' if len(rest) > 4 else ''}"
    elif (instead := decision.objective.get("instead")) and decision.chosen is not None:
        yield f"if it fails: {instead}"
    if decision.exploration > 0:
        how = f", estimated from {decision.samples} draws" if decision.sampling is Sampling.ESTIMATED else ""
        yield f"{share(decision.exploration)} of such requests go elsewhere, so that those are learned about{how}"


def share(value: float) -> str:
    """`2.5%`, `98%`, `<0.1%`."""
    if 0 < value < 0.001:
        return "<0.1%"
    return f"{100 * value:.1f}".rstrip("0").rstrip(".") + "%"


def _require(require: Json) -> list[str]:
    said: list[str] = []
    for key, value in cast("Mapping[str, object]", require if isinstance(require, Mapping) else {}).items():
        allowed = cast("list[object]", value) if isinstance(value, list | tuple) else [value]
        said.append(f"{key} {' or '.join(map(str, allowed))}")
    return said
