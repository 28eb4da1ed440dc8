"""What a model sees: a context of parts, fitted to the chosen model's window, with a manifest of what became of it.

`assemble` fits parts to a budget and is pure: the same input gives the same assembly. `tokens_of` counts for a model,
`plan` and `accepted` are the two halves of a compaction, `Work` is the state that no summary may lose, `Memory` recalls
past turns, runs and documents. `ready` is all of it at once: messages to send, and the `context.assembled` record.
numpy, SQLite and pydantic-ai are imported by what needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import ContextOverflow, InvalidContext, UnknownNote
from .types import Assembly, Budget, Context, Kind, Part, Role, Shown, Target

if TYPE_CHECKING:
    from .assembly import assemble, with_margin
    from .compaction import Compaction, accepted, compact, plan, wrong_with
    from .differ import Difference, differences
    from .manifest import Call, manifest_of
    from .memory import Memory
    from .messages import messages_of, parts_of
    from .notes import Note, Said, Scope, ScopeKind, Turns, View
    from .sending import Ready, budget_for, ready
    from .tokens import Tokens, estimate, exact, tokens_of
    from .work import Work, latest

_HOMES = {
    "assembly": ("assemble", "with_margin"),
    "compaction": ("Compaction", "accepted", "compact", "plan", "wrong_with"),
    "differ": ("Difference", "differences"),
    "manifest": ("Call", "manifest_of"),
    "memory": ("Memory",),
    "messages": ("messages_of", "parts_of"),
    "notes": ("Note", "Said", "Scope", "ScopeKind", "Turns", "View"),
    "sending": ("Ready", "budget_for", "ready"),
    "tokens": ("Tokens", "estimate", "exact", "tokens_of"),
    "work": ("Work", "latest"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Assembly", "Budget", "Call", "Compaction", "Context", "ContextOverflow", "Difference", "InvalidContext", "Kind",
    "Memory", "Note", "Part", "Ready", "Role", "Said", "Scope", "ScopeKind", "Shown", "Target", "Tokens", "Turns",
    "UnknownNote", "View", "Work", "accepted", "assemble", "budget_for", "compact", "differences", "estimate", "exact",
    "latest", "manifest_of", "messages_of", "parts_of", "plan", "ready", "tokens_of", "with_margin", "wrong_with",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import what is heavy when it is first used."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)
