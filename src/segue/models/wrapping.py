"""Answers that are no object: providers take only objects at the top, so the answer is one field of one. Pure.

OpenAI refuses a schema of a list, a number or a choice, and the arguments of a tool are an object everywhere. Whoever
asks never sees the wrapping: its schema goes in, and its JSON comes out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

__all__ = ["FIELD", "is_object", "is_open", "unwrapped", "wrapped"]

FIELD = "answer"
_SAYS_WHAT = frozenset({"type", "enum", "const", "$ref", "anyOf", "oneOf", "allOf"})
"""What says of which kind a value is."""


def is_object(schema: Mapping[str, Any]) -> bool:
    """Whether it can stand at the top as it is."""
    return schema.get("type") == "object"


def is_open(schema: object) -> bool:
    """Whether a part of it may be anything: an object with fields of any name, a value of any type.

    Anthropic's native mode knows neither.
    """
    if not isinstance(schema, Mapping):
        return False
    inside = cast("Mapping[str, Any]", schema)
    if inside.get("additionalProperties") or "patternProperties" in inside or not inside.keys() & _SAYS_WHAT:
        return True
    named = [one for of in ("properties", "$defs") for one in inside.get(of, {}).values()]
    listed = [one for of in ("anyOf", "oneOf", "allOf", "prefixItems") for one in inside.get(of, ())]
    return any(map(is_open, [*named, *listed, inside.get("items")]))


def wrapped(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object with the answer in it; one of an object stays."""
    if is_object(schema):
        return dict(schema)
    inner = {name: value for name, value in schema.items() if name != "$defs"}
    defs = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    return {
        "type": "object", "properties": {FIELD: inner}, "required": [FIELD], "additionalProperties": False, **defs,
    }  # fmt: skip


def unwrapped(text: str) -> str:
    """The answer in an object that a model has written; any other text as it is."""
    try:
        said: object = json.loads(text)
    except ValueError:
        return text
    if not isinstance(said, dict) or cast("dict[str, Any]", said).keys() != {FIELD}:
        return text
    return json.dumps(said[FIELD], ensure_ascii=False)
