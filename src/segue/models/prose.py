"""The one JSON value in an answer that has words around it. Pure."""

from __future__ import annotations

import json
import re

__all__ = ["within"]

_FENCED = re.compile(r"```(?:[A-Za-z0-9]+[ \t]*\n|[ \t]*\n|json[ \t]+)(.*?)```", re.DOTALL | re.IGNORECASE)
_OPENS = re.compile(r"[{\[]")
_BRACKETS = re.compile(r"[{}\[\]]")


def within(text: str) -> str:
    """What is in the one fenced block, or the one object or array; the text itself where there is not just one."""
    if _is_json(text):
        return text
    if text.count("```") == 2:
        fenced = _FENCED.search(text)
        return fenced[1].strip() if fenced is not None and _is_json(fenced[1]) else text
    return _alone(text) if "```" not in text else text


def _alone(text: str) -> str:
    """An object or array, where no other bracket stands around it: a piece of what is broken is none."""
    opens = _OPENS.search(text)
    if opens is None or _BRACKETS.search(text[: opens.start()]):
        return text
    try:
        _, end = json.JSONDecoder().raw_decode(text, opens.start())
    except (ValueError, RecursionError):
        return text
    return text if _BRACKETS.search(text, end) else text[opens.start() : end]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
