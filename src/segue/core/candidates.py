"""Whether somebody whom a person names can answer a question at all, by what its decisions have said of them. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Container, Iterable, Mapping
from typing import Any

from .records import Stage

__all__ = ["lacks_tag", "obstacle"]

_TAG = re.compile(r"its .+ is .+, not |it has no tag ")
"""How the reason begins of whoever lacks a tag that is required."""
_LASTING = frozenset({Stage.CAPABILITY.value, Stage.WINDOW.value, Stage.RESIDENCY.value})
_BATCHES = "it lacks batch"
"""What keeps somebody out of a batch only: whoever is named is asked by the ordinary API then."""


def lacks_tag(reason: str) -> bool:
    """Whether some required tag is why a model is left out."""
    return bool(_TAG.match(reason))


def obstacle(decisions: Iterable[Mapping[str, Any]], name: str, known: Container[str] = ()) -> str | None:
    """Why `name` cannot be asked, whatever passes meanwhile: they lack what the question needs, or there is nobody of
    that name, neither among those who were considered nor in `known`. `decisions` are the bodies of all `decision.made`
    of one call, in their order. None where nothing speaks against it, or there is none.
    """
    names, lasting = list[str](), None
    for decision in decisions:
        considered = {one["target"]["name"]: one for one in decision["candidates"]}
        names = list(considered)
        lasting = _lasting(considered.get(name, {}), lasting)
    if not names or name in names or name in known:
        return lasting
    near = difflib.get_close_matches(name, names, 3) or names[:6]
    return f"there is none of that name; there are: {', '.join(near)}{', …' if len(names) > len(near) else ''}"


def _lasting(one: Mapping[str, Any], known: str | None) -> str | None:
    """What stands against them after a decision more: a request that was shrunk may fit into their window by now."""
    reason = one.get("reason") or ""
    if one.get("eligible", bool(one)):
        return None
    stays = reason != _BATCHES and (one.get("excluded_at") in _LASTING or lacks_tag(reason))
    return reason if stays else known
