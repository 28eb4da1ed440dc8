"""Models and people as steps of a flow: `ask` a model for a typed value, let a person `approve`.

Tool-using agents and delegation come to live here too.
"""

from __future__ import annotations

from .approve import SIGNAL, Approval, approve
from .ask import Answer, answer, ask
from .budgets import Allowance, Budgets
from .form import Check
from .gateway import Gateway, use_models
from .request import Tried
from .stream import Stream, relay, relayed, stream

__all__ = [
    "SIGNAL", "Allowance", "Answer", "Approval", "Budgets", "Check", "Gateway", "Stream", "Tried", "answer", "approve",
    "ask", "relay", "relayed", "stream", "use_models",
]  # fmt: skip
