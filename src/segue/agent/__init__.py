"""Models and people as steps of a flow: `ask` a model for a typed value, let a person `approve`.

Tool-using agents and delegation come to live here too.
"""

from __future__ import annotations

from .approve import SIGNAL, Approval, approve
from .ask import Answer, Tried, answer, ask, complete

__all__ = ["SIGNAL", "Answer", "Approval", "Tried", "answer", "approve", "ask", "complete"]
