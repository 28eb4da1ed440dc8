"""Models and people in a flow: `ask` a model for a typed value; `approve`, `ask_human`, `escalate` ask a person;
`agent` makes an agent that uses tools, and `Durable` makes one of Pydantic AI durable; `delegate` lets whoever can do
it best handle a request.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

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
from .tools import ApprovalRule, Tool, tool

if TYPE_CHECKING:
    from .durable import Durable, DurableAgent, agent

__all__ = [
    "Allowance", "Answer", "Approval", "ApprovalRule", "Budgets", "Check", "Delegate", "Delegation", "Durable",
    "DurableAgent", "Embedded", "Gateway", "InboxItem", "Media", "Notice", "Person", "Prompt", "Role", "Stream", "Tool",
    "Tried", "Turned", "agent", "answer", "approve", "ask", "ask_human", "converse", "delegate", "delegated", "embed",
    "embedding", "escalate", "memory", "prompt", "relay", "relayed", "stream", "tool", "use_models",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Agents are imported when they are first used: with them comes a library."""
    if name not in ("Durable", "DurableAgent", "agent"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".durable", __name__), name)


class _Room(ModuleType):
    """This room, and what it is named for: `segue.agent(...)` makes an agent."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return import_module(".durable", __name__).agent(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
