"""Segue: AI workflows that survive anything. One journal is state, trace, ledger and training data at once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agent import (
        ApprovalRule,
        Media,
        agent,
        approve,
        ask,
        ask_human,
        delegate,
        embed,
        escalate,
        memory,
        prompt,
        tool,
    )
    from .config import EngineOptions
    from .core.recovery import Retry
    from .core.secret import Secret
    from .core.streams import Ended, Piece, Retracted
    from .errors import RunCancelled, RunFailed, RunStuck, SegueError, StepFailed
    from .runtime.children import detach
    from .runtime.continuing import continue_as_new
    from .runtime.effects import Applied, NotApplied
    from .runtime.engine import Engine
    from .runtime.fan import as_completed, gather, map  # noqa: A004  the field's term
    from .runtime.flow import Flow, flow
    from .runtime.run import Run
    from .runtime.scope import step_scope
    from .runtime.status import RunStatus
    from .runtime.step import Step, step
    from .runtime.thread import Thread
    from .runtime.values import cleanup, now, random, uuid
    from .runtime.waits import sleep, timeout, wait_for

_HOMES = {
    "agent": (
        "ApprovalRule", "Media", "agent", "approve", "ask", "ask_human", "delegate", "embed", "escalate", "memory",
        "prompt", "tool",
    ),
    "config": ("EngineOptions",),
    "core.recovery": ("Retry",),
    "core.secret": ("Secret",),
    "core.streams": ("Ended", "Piece", "Retracted"),
    "errors": ("RunCancelled", "RunFailed", "RunStuck", "SegueError", "StepFailed"),
    "runtime.children": ("detach",),
    "runtime.continuing": ("continue_as_new",),
    "runtime.effects": ("Applied", "NotApplied"),
    "runtime.engine": ("Engine",),
    "runtime.fan": ("as_completed", "gather", "map"),
    "runtime.flow": ("Flow", "flow"),
    "runtime.run": ("Run",),
    "runtime.scope": ("step_scope",),
    "runtime.status": ("RunStatus",),
    "runtime.step": ("Step", "step"),
    "runtime.thread": ("Thread",),
    "runtime.values": ("cleanup", "now", "random", "uuid"),
    "runtime.waits": ("sleep", "timeout", "wait_for"),
}  # fmt: skip
_HOME = {name: room for room, names in _HOMES.items() for name in names}

__all__ = [
    "Applied", "ApprovalRule", "Ended", "Engine", "EngineOptions", "Flow", "Media", "NotApplied", "Piece",
    "Retracted", "Retry", "Run", "RunCancelled", "RunFailed", "RunStatus", "RunStuck", "Secret", "SegueError",
    "Step", "StepFailed", "Thread", "agent", "approve", "as_completed", "ask", "ask_human", "cleanup",
    "continue_as_new", "delegate", "detach", "embed", "escalate", "flow", "gather", "map", "memory", "now", "prompt",
    "random", "sleep", "step", "step_scope", "timeout", "tool", "uuid", "wait_for",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a room when it is first used."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'segue' has no attribute {name!r}")
    room = import_module(f".{home}", __name__)
    return room if name == home else getattr(room, name)  # `agent` is the room itself, which can be called
