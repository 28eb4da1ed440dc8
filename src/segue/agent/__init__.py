"""Models and people in a flow: `ask` a model for a typed value; `approve`, `ask_human`, `escalate` ask a person.

`delegate` lets whoever can do it best handle a request; tool-using agents come to live here too.
"""

from __future__ import annotations

from . import memory as memory
from .ask import Answer, answer, ask
from .budgets import Allowance, Budgets
from .delegation import Delegate, Delegation, Person, delegate, delegated
from .embed import Embedded, embed, embedding
from .form import Check
from .gateway import Gateway, use_models
from .handoff import Role, Turned, converse
from .media import Media
from .people import Approval, InboxItem, Notice, approve, ask_human, escalate
from .prompts import Prompt, prompt
from .request import Tried
from .stream import Stream, relay, relayed, stream

__all__ = [
    "Allowance", "Answer", "Approval", "Budgets", "Check", "Delegate", "Delegation", "Embedded", "Gateway",
    "InboxItem", "Media", "Notice", "Person", "Prompt", "Role", "Stream", "Tried", "Turned", "answer", "approve",
    "ask", "ask_human", "converse", "delegate", "delegated", "embed", "embedding", "escalate", "memory", "prompt",
    "relay", "relayed", "stream", "use_models",
]  # fmt: skip
