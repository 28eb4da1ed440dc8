"""Judge before you deploy: what another policy would have cost, answered and taken on past traffic, with intervals.

Pure functions over plain rows: `logged` makes a row of a decision and its outcome, `judge(rows, target)` gives the
verdict. Importance weights are formed only where the log holds chances; else shadow pairs answer, else the models,
labelled. `simulate` is traffic with a known truth, on which the intervals are measured.
"""

from __future__ import annotations

from .estimators import Estimator, Figure
from .intervals import Interval
from .need import Need
from .rows import Logged, Measure, Outcome, Prediction, Target, left_out, logged
from .verdict import Finding, Judgement, Standing, judge, says

__all__ = [
    "Estimator", "Figure", "Finding", "Interval", "Judgement", "Logged", "Measure", "Need", "Outcome", "Prediction",
    "Standing", "Target", "judge", "left_out", "logged", "says",
]  # fmt: skip
