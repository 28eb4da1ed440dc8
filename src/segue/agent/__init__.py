"""Models and people in a flow: `ask` a model for a typed value; `approve`, `ask_human`, `escalate` ask a person.

Tool-using agents and delegation come to live here too.
"""

from __future__ import annotations

from .ask import Answer, answer, ask
from .budgets import Allowance, Budgets
from .embed import Embedded, embed, embedding
from .form import Check
from .gateway import Gateway, use_models
from .media import Media
from .people import Approval, InboxItem, Notice, approve, ask_human, escalate
from .prompts import Prompt, prompt
from .request import Tried
from .stream import Stream, relay, relayed, stream
from .tools import ApprovalRule, Tool, tool

__all__ = [
    "Allowance", "Answer", "Approval", "ApprovalRule", "Budgets", "Check", "Embedded", "Gateway", "InboxItem",
    "Media", "Notice", "Prompt", "Stream", "Tool", "Tried", "answer", "approve", "ask", "ask_human", "embed",
    "embedding", "escalate", "prompt", "relay", "relayed", "stream", "tool", "use_models",
]  # fmt: skip
