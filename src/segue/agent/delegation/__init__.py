"""Delegation: a request goes to whoever can do it best, and the decision is on record.

`delegate` chooses among models, tools, agents, flows and people by the routing pipeline, lets the chosen one do it, and
goes on with the next when that fails. Who has a request already is known from the keys of the journal, over child runs
too: loops and depth are bounded.
"""

from __future__ import annotations

from .choosing import Choice
from .delegate import Delegation, Handled, delegate, delegated
from .delegates import Delegate, Person
from .errors import DelegationLoop, Undelegated

__all__ = [
    "Choice", "Delegate", "Delegation", "DelegationLoop", "Handled", "Person", "Undelegated", "delegate", "delegated",
]  # fmt: skip
