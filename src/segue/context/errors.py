"""What can be wrong with a context. All are the user's turn.

UsageError
├── InvalidContext          a part, a budget or a note that cannot be; says what must change
│   └── UnknownNote         no note of this number stands: there is none, or it was corrected or forgotten
└── ContextOverflow         what must stay does not fit into the window; names the largest part
"""

from __future__ import annotations

from ..core.faults import FaultKind
from ..errors import UsageError

__all__ = ["ContextOverflow", "InvalidContext", "UnknownNote"]


class InvalidContext(UsageError):
    """A part, a budget or a note cannot be as it is described."""

    code = "invalid-context"


class UnknownNote(InvalidContext):
    """No note of this number stands: there is none, or it was corrected or forgotten."""

    code = "unknown-note"


class ContextOverflow(UsageError):
    """The system's, the pinned parts and the request do not fit into the window together. Nothing was sent."""

    code = "context-overflow"
    fault_kind = FaultKind.CONTEXT_TOO_LONG
    tokens: int = 0
    """That they take."""
    room: int = 0
    """That there was."""
