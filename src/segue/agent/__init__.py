"""Models and people as steps of a flow: `ask` a model for a typed value, let a person `approve`.

Tool-using agents and delegation come to live here too.
"""

from __future__ import annotations

from .approve import SIGNAL, Approval, approve
from .ask import Answer, answer, ask
from .budgets import Allowance, Budgets
from .embed import Embedded, embed, embedding
from .form import Check
from .gateway import Gateway, use_models
from .media import Media
from .prompts import Prompt, prompt
from .request import Tried
from .stream import Stream, relay, relayed, stream

__all__ = [
    "SIGNAL", "Allowance", "Answer", "Approval", "Budgets", "Check", "Embedded", "Gateway", "Media", "Prompt", "Stream",
    "Tried", "answer", "approve", "ask", "embed", "embedding", "prompt", "relay", "relayed", "stream", "use_models",
]  # fmt: skip
