"""The arrays that the stages pass on: one element per candidate, in the order of the candidates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Flags = NDArray[np.bool_]
Rows = NDArray[np.intp]
"""Places in another array."""


def listed(column: Vector) -> list[float]:
    """As Python's own numbers, which are quicker one by one."""
    return column.tolist()


def numbered(rows: Rows) -> list[int]:
    """As Python's own numbers."""
    return rows.tolist()
