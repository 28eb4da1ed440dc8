"""The outcome of a step `compact`, as `segue show` tells it: what was summed up and by whom, or why not. Pure."""

from __future__ import annotations

import json
from typing import Any, cast

from rich.text import Text

from ..core.keys import name_of
from ..core.redaction import mask
from .words import plural, printable, shorten

__all__ = ["line_of_summary"]

_RECORD = {"upto", "text", "work", "wrong", "children", "model", "covered"}


def line_of_summary(key: str, value: bytes | None, width: int) -> Text | None:
    """What became of a thread's older turns, in one line; None where the call is another one."""
    if value is None or name_of(key) != "compact":
        return None
    given: Any = mask(json.loads(value))
    if given is None:
        return Text("nothing to sum up", "dim")
    if not isinstance(given, dict) or not cast("dict[str, Any]", given).keys() >= _RECORD:
        return None
    room = cast("dict[str, Any]", given)
    if room["wrong"]:
        return Text(shorten(f"not summed up: {printable(room['wrong'])}", width), "yellow")
    if room["text"]:
        told = f"turns up to {room['upto']:,}, {room['covered']:,} tokens"
        text = Text(printable(room["model"]), "dim").append(f"  {told}  ", "dim")
        return text.append(shorten(printable(json.dumps(room["text"], ensure_ascii=False)), width), "default")
    said = [f"summed up before, to turn {room['upto']:,}"] if room["upto"] else []
    said += [plural(len(room["children"]), "other run") + " in flight"] if room["children"] else []
    return Text(", ".join(said) or "nothing to sum up", "dim")
