"""What people have said of calls in whose way a recorded one stood: and which of those stand in nobody's way. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .empties import plain_dict, plain_set

IN_PLACE_OF = "in_place_of"
"""In what an operator said of a call: the recorded call that stood in its way."""


@dataclass(slots=True)
class Placed:
    """The words on such calls. Each is one on the call that it names, under whichever code: on no other."""

    let_go: set[str] = field(default_factory=plain_set)
    """Recorded calls that stand in no other one's way any more."""
    through: dict[str, set[str]] = field(default_factory=plain_dict)
    """Calls to be made that have not begun: what stands in no way of theirs, and is let go when they begin."""
    same: dict[str, str] = field(default_factory=plain_dict)
    """Calls of which it was said what they give: the recorded one that each stands for."""

    def hear(self, said: Mapping[str, Any], key: str, *, begun: bool) -> None:
        """A person's word on the call of this key, which has `begun` or not."""
        other = said.get(IN_PLACE_OF)
        if other is None:
            return
        if said.get("act") != "retry":
            self.same[key] = other
        elif not begun:
            self.through.setdefault(key, set()).add(other)
            return
        self.let_go.add(other)

    def begins(self, key: str) -> None:
        """This call begins, or has its outcome."""
        if key in self.through:
            self.let_go |= self.through.pop(key)
