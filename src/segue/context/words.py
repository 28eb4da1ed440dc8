"""The words of a part of a manifest, which has hashes only. A value."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Words"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """What one part of a manifest says, as far as it is on record."""

    text: str | None = None
    """All of it; None where it is not known."""
    shown: str | None = None
    """Of a part that was cut: the shorter form that stood in its place."""
    tool: str = ""
    """Of a call: of which tool it is; its text are the arguments."""
    why: str = ""
    """Why it is not known, or not what was shown."""
    says: str = ""
    """The same for all parts that say the same, whatever the id of their call; empty where that is not known."""
