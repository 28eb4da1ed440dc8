"""Health of models: who may be called now, how often, and what the last calls taught. One file for a machine."""

from __future__ import annotations

from .admission import Place, Standing, Wait
from .breaker import BreakerRule
from .budget import BudgetRule
from .concurrency import ConcurrencyRule
from .health import Health, HealthView
from .state import Rules

__all__ = [
    "BreakerRule",
    "BudgetRule",
    "ConcurrencyRule",
    "Health",
    "HealthView",
    "Place",
    "Rules",
    "Standing",
    "Wait",
]
