"""Agents of Pydantic AI that run durably: `Durable` is the capability, `agent(...)` the short form.

Nothing of Pydantic AI is imported before one of them is used.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ...errors import MissingExtra

if TYPE_CHECKING:
    from .capability import Durable
    from .short import DurableAgent, agent

_HOMES = {"Durable": "capability", "DurableAgent": "short", "agent": "short"}

__all__ = ["Durable", "DurableAgent", "agent"]


def __getattr__(name: str) -> Any:
    """Import it when it is first used."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    os.environ.setdefault("PYDANTIC_AI_NO_BANNER", "1")  # its banner would stand between the lines of our own output
    try:
        return getattr(import_module(f".{home}", __name__), name)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("pydantic_ai"):
            raise
        raise MissingExtra("agents take pydantic-ai-slim", remedy="pip install 'segue[ask]'") from error
