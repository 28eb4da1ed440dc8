"""Shorter forms of a part: with its middle cut, cleared, or pointing at an earlier part that says the same. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from .types import HANDLE, Kind, Part

__all__ = ["REPEATED", "cleared", "cut", "ends_of", "pointing", "recalled_by", "repeats"]


def recalled_by(part: Part) -> str:
    """The handle by which the model can have a part back."""
    return part.hash[:HANDLE]


def cleared(part: Part) -> Part:
    """An old tool result, gone for room."""
    return replace(part, text=f"[old result of {part.tool or 'the tool'} cleared; recall {recalled_by(part)}]", data={})


def pointing(part: Part) -> Part:
    """A tool result that says what an earlier one has said: known by its words, since ids change with the format."""
    begins, ends = ends_of(part.text)
    return replace(part, text=f"[as before, the result that begins {begins!r} and ends {ends!r}]", data={})


def ends_of(text: str) -> tuple[str, str]:
    """How a tool result or a document begins and ends, by which another one is told from it."""
    return text[:_BEGINS], text[-_ENDS:]


_BEGINS, _ENDS = 60, 30


def cut(part: Part, room: int, count: Callable[[str], int]) -> Part:
    """A part with its middle cut, of at most `room` tokens; cleared where not even that fits."""
    note = f"\n[… the middle is cut; recall {recalled_by(part)} …]\n"
    keep = max(0, int(len(part.text) * room / max(1, count(part.text))) - len(note))
    while keep >= 16:
        text = part.text[: keep * 2 // 3] + note + part.text[len(part.text) - keep // 3 :]
        if count(text) <= room:
            return replace(part, text=text)
        keep = keep * 3 // 4
    return cleared(part)


REPEATED = frozenset({Kind.MEMORY, Kind.FILE, Kind.IMAGE, Kind.AUDIO, Kind.RESULT})
"""Kinds that are shown once, if they are given twice: results, documents, what was recalled."""


def repeats(part: Part) -> bool:
    """Whether a part is shown once, if it is given twice."""
    if part.pinned or part.asks or part.kind not in REPEATED:
        return False
    return part.kind is not Kind.RESULT or len(part.text) >= _WORTH


_WORTH = 120
"""Characters of a tool result that is worth pointing at instead of saying it again."""
