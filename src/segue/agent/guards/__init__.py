"""Guards: a look at each request before it is sent, and at each answer before it is used, with a policy on a hit."""

from __future__ import annotations

from .guard import Finding, Guard
from .shelf import holding, load_guards
from .stage import Guarding

__all__ = ["Finding", "Guard", "Guarding", "holding", "load_guards"]
