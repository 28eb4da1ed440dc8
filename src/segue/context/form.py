"""A part's text as the model reads it. Pure.

What is not the user's own words stands under a heading that says so, and whatever in it looks like a heading or like a
turn of the system's is defused. It is this text that is counted.
"""

from __future__ import annotations

import re

from .types import Kind, Part, Role

__all__ = ["bare", "form"]

_HEADINGS = {Kind.SUMMARY: "summary", Kind.STATE: "state", Kind.FILE: "document"}
_RECALLED = "[recalled] "
_POSES = re.compile(r"<(?=/?(?:system|user|assistant|summary|state|document|recalled)\b)|\[(?=recalled\b)", re.I)


def form(part: Part) -> str:
    """The text with its heading; the user's, the assistant's and a tool's own text as it is."""
    if part.role is not Role.USER:
        return part.text
    if part.kind is Kind.MEMORY:
        return f"{_RECALLED}{_defused(part.text)}"
    name = _HEADINGS.get(part.kind)
    if name is None:
        return part.text
    source = f' source="{part.source}"' if part.source and part.kind is Kind.FILE else ""
    return f"<{name}{source}>\n{_defused(part.text)}\n</{name}>"


def bare(text: str, kind: Kind) -> str:
    """The text without its heading: what `form` was given, as far as it is harmless."""
    name = _HEADINGS.get(kind)
    if kind is Kind.MEMORY:
        return text.removeprefix(_RECALLED)
    return text if name is None else text.removeprefix(f"<{name}>\n").removesuffix(f"\n</{name}>")


def _defused(text: str) -> str:
    return _POSES.sub(lambda found: found[0] + "_", text)
