"""How well the learned router does on labelled requests, beside random, the best single model and an oracle.

The router that is measured is the one that the engine runs, as it is by default. Test rows are never learned from.
"""

from __future__ import annotations

from .left_out import left_out
from .measures import Curve, apgr, curve, frontier_area, share_for
from .rows import Row, read
from .run import many, pair

__all__ = ["Curve", "Row", "apgr", "curve", "frontier_area", "left_out", "many", "pair", "read", "share_for"]
