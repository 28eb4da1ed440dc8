"""The decisions of a call, as `segue show` tells them: who was chosen, why, and why not the others."""

from __future__ import annotations

import json
from typing import Any, cast

from rich.text import Text

from ..core.codec import loads
from ..core.keys import name_of
from ..core.records import Decision
from ..errors import RecordError
from .paint import Drawn
from .route import drawn
from .story import Call
from .words import printable

__all__ = ["chosen_in", "decisions_drawn", "decisions_json"]


def chosen_in(call: Call) -> Text | None:
    """What a delegation's choice came to, in a line; None for any other call."""
    if not call.decisions or name_of(call.key) != "choose" or call.value is None:
        return None
    said: Any = json.loads(call.value)
    if not isinstance(said, dict) or "decision" not in said:
        return None
    choice = cast("dict[str, Any]", said)
    if choice.get("name") is None:
        return Text("nobody", "yellow")
    text = Text("→ ").append(printable(choice["name"]), "bold")
    then: list[str] = choice.get("then") or []
    return text.append(f"  then {printable(', '.join(then[:3]))}{' …' if len(then) > 3 else ''}" if then else "", "dim")


def decisions_drawn(call: Call) -> list[Drawn]:
    """Each decision as a table, with its reasons."""
    shown: list[Drawn] = []
    for body in call.decisions:
        try:
            shown += ["", *drawn(Decision.from_body(loads(body)))]
        except RecordError:
            shown += ["", Text("a decision that cannot be read", "dim")]
    return shown


def decisions_json(call: Call) -> list[dict[str, Any]]:
    """Each as it is on record."""
    return [loads(body) for body in call.decisions]
