"""How a request may be delegated, for type checkers: each option has a default."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypedDict

from ...routing import Policy
from ...runtime.thread import Thread
from ..options import Options

__all__ = ["DelegateOptions"]


class DelegateOptions(TypedDict, total=False):
    """What `delegate` takes beside the request, the candidates, `returns` and `check`."""

    route: str | Policy | None
    """By which policy it is chosen who gets it."""
    needs: Collection[str]
    """Capabilities that they must have."""
    require: Mapping[str, str] | None
    """Tags that they must have."""
    attempts: int
    """How many may try it in all."""
    depth: int
    """Delegations below each other, from which on agents and flows are left out."""
    loops: int
    """How often whoever has the request already may come again."""
    chooser: str | None
    """A route: its model chooses among those that are close to the best."""
    close: float
    """How close, 0 to 1."""
    choose_prompt: str
    """What the chooser is told."""
    prompt: str
    """What a model that gets the request is told."""
    fill: str | None
    """A route: its model fills in the arguments of whoever takes several."""
    fill_prompt: str
    """What it is told."""
    thread: str | Thread | None
    """The conversation that it belongs to."""
    escalate: str | None
    """A person who gets it where nobody is left."""
    budget_usd: float | None
    """What the chosen one is expected to cost at most."""
    options: Options
    """Those of `ask`, for models."""
    key: str | None
    """Names the call in its run."""
