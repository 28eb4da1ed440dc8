"""The measures of routers. Pure.

Pairs as RouteLLM has them (Ong et al. 2024): the performance gap recovered, PGR, as a function of the share of calls
that go to the strong model. Many models as RouterBench has them (Hu et al. 2024): the area under the hull of quality
over cost, in the range of the costs of the single models.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Curve", "apgr", "curve", "frontier_area", "share_for"]

Numbers = NDArray[np.float64]


class Curve(NamedTuple):
    """The gap recovered, by the share of calls to the strong model; both from 0 to 1."""

    share: Numbers
    gap: Numbers


def curve(preference: Numbers, weak: Numbers, strong: Numbers) -> Curve:
    """Send the requests with the highest preference to the strong model, one after the other. Of equals all at once."""
    gain = strong - weak
    total = float(gain.mean())
    order = np.argsort(-preference, kind="stable")
    ends = np.flatnonzero(np.diff(preference[order], append=np.inf) != 0) + 1
    recovered = np.concatenate([[0.0], np.cumsum(gain[order])[ends - 1]]) / len(gain)
    share = np.concatenate([[0.0], ends / len(gain)])
    return Curve(share, recovered / total if total else np.zeros(len(share)))


def apgr(of: Curve) -> float:
    """The mean gap recovered over all shares."""
    return float(np.trapezoid(of.gap, of.share))


def share_for(of: Curve, gap: float) -> float:
    """The least share of strong calls that recovers so much of the gap; linear between the points."""
    at = int(np.argmax(of.gap >= gap)) if (of.gap >= gap).any() else len(of.gap) - 1
    if at == 0 or of.gap[at] < gap:
        return float(of.share[at])
    low, high = of.gap[at - 1], of.gap[at]
    part = (gap - low) / (high - low) if high > low else 1.0
    return float(of.share[at - 1] + part * (of.share[at] - of.share[at - 1]))


def frontier_area(cost: Numbers, quality: Numbers, low: float, high: float) -> float:
    """The mean quality over the costs from `low` to `high`, along the hull that mixing these points reaches.

    Below its cheapest point a router has nothing, and above its best one it stays.
    """
    points = _hull(cost, quality)
    if high <= low:
        return float(points[-1][1])
    grid = np.linspace(low, high, 2001)
    xs, ys = np.array([p[0] for p in points]), np.array([p[1] for p in points])
    reached = np.interp(grid, xs, ys)
    reached[grid < xs[0] - 1e-12 * max(1.0, abs(xs[0]))] = 0.0
    return float(np.trapezoid(reached, grid) / (high - low))


def _hull(cost: Numbers, quality: Numbers) -> list[tuple[float, float]]:
    """The upper hull, from the cheapest point to the best one."""
    hull: list[tuple[float, float]] = []
    for x, y in sorted(zip(cost.tolist(), quality.tolist(), strict=True), key=lambda p: (p[0], -p[1])):
        if hull and y <= hull[-1][1]:
            continue
        while len(hull) > 1 and (hull[-1][1] - hull[-2][1]) * (x - hull[-2][0]) <= (y - hull[-2][1]) * (
            hull[-1][0] - hull[-2][0]
        ):
            hull.pop()
        hull.append((x, y))
    return hull
