"""What a reconcile function answers about an interrupted `effect="once"` step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Applied:
    """The effect was applied; `result` is what the step would have returned."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class NotApplied:
    """The effect was not applied: the step is made again."""
