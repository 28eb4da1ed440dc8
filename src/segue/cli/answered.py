"""A question of `ask` and its outcome, as `segue show` tells them: what was said, not the record of it. Pure."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, cast

from rich.text import Text

from ..core.codec import dumps
from ..core.keys import name_of
from ..core.redaction import mask
from .words import first_line, pretty, printable, shorten

__all__ = ["Answered", "answer_rows", "answered", "arguments", "line_of"]

_RECORD = {"value", "tried", "said", "calls"}


class Answered(NamedTuple):
    """What models came to: the value, or the tools that the last one calls; and each of their calls in order."""

    value: Any
    tried: list[dict[str, Any]]
    tools: list[dict[str, Any]]


def answered(key: str, value: bytes | None) -> Answered | None:
    """The answer in a call's value; None where the call is another one, or somebody has given it another value."""
    if value is None or name_of(key) != "ask":
        return None
    given: Any = mask(json.loads(value))
    if not isinstance(given, dict):
        return None
    record = cast("dict[str, Any]", given)
    if set(record) != _RECORD or not record["tried"]:
        return None
    whole = record["value"] if record["said"] is None else record["tried"][-1]["text"]  # an agent's is a turn
    return Answered(whole, record["tried"], record["calls"])


def arguments(key: str, args: bytes) -> str:
    """What a call was made with; of a question what it says: most of its fields are empty."""
    given: Any = json.loads(args)
    if name_of(key) != "ask" or not isinstance(given, dict):
        return pretty(args)
    said = _filled(cast("dict[str, Any]", given))
    if isinstance(said.get("question"), dict):
        said["question"] = _filled(said["question"])
    return pretty(dumps(said))


def _filled(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value or type(value) in (int, float)}


def line_of(one: Answered, width: int) -> Text:
    """In one line: the model, what it said."""
    text = Text(printable(one.tried[-1]["model"]), "dim").append("  ")
    if one.tools:
        names = ", ".join(str(tool["name"]) for tool in one.tools)
        return text.append("calls ", "dim").append(shorten(printable(names), width), "default")
    return text.append(shorten(printable(dumps(one.value).decode()), width), "default")


def answer_rows(one: Answered) -> list[tuple[str, Text]]:
    """In full: the answer, then a line for each call of a model."""
    rows = [("calls", Text(printable(f"{tool['name']}({tool['args']})"))) for tool in one.tools]
    rows = rows or [("answer", Text(pretty(dumps(one.value))))]
    for call in one.tried:
        tokens = f"{call['tokens_in']:,} tokens in, {call['tokens_out']:,} out, {call['seconds']:.1f} s"
        text = Text(printable(call["model"])).append(f"  {tokens}", "dim")
        if call["error"]:
            text.append(f"\n{first_line(call['error'])}", "red")
        rows.append(("turned down" if call["error"] else "by", text))
    return rows
