"""A JSON Schema as a person reads it: its fields in words, and an answer to fill in. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

_WORDS = {
    "string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null",
    "array": "list", "object": "object",
}  # fmt: skip
_SAMPLES: dict[str, Any] = {
    "string": "…", "integer": 0, "number": 0.0, "boolean": True, "null": None, "array": [], "object": {},
}  # fmt: skip
_FORMATS: dict[str, str] = {
    "date-time": "2026-01-31T12:00:00Z", "date": "2026-01-31", "time": "12:00:00Z", "email": "ada@example.com",
}  # fmt: skip
_LIMITS = {
    "minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than", "exclusiveMaximum": "less than",
    "minLength": "characters, at least", "maxLength": "characters, at most", "pattern": "like",
}  # fmt: skip


class Field(NamedTuple):
    """One field of an answer."""

    name: str
    says: str


def fields(form: Mapping[str, Any]) -> list[Field]:
    """The fields of a form in order; one without a name where the answer is no object."""
    return list(_fields(form, form, ""))


def sample(form: Mapping[str, Any]) -> str:
    """An answer to fill in, as JSON."""
    return json.dumps(_sample(form, form, 5), ensure_ascii=False)


def _fields(schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[Field]:
    schema = _resolved(schema, root)
    properties = cast("dict[str, Any]", schema.get("properties", {}))
    if not properties:
        yield Field(path, _said(schema, root))
        yield from _of_items(schema, root, path)
        return
    needed = schema.get("required", [])
    for name, below in properties.items():
        inner = _resolved(below, root)
        whole = f"{path}.{name}" if path else name
        if inner.get("properties") and whole.count(".") < 3:
            yield from _fields(inner, root, whole)
        else:
            yield Field(whole, _said(inner, root) + ("" if name in needed else ", may be left out"))
            yield from _of_items(inner, root, whole)


def _of_items(schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[Field]:
    """The fields of the objects in a list, each behind `[]`."""
    for option in (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())):
        item = _resolved(_resolved(option, root).get("items") or {}, root)
        if item.get("properties") and path.count("[]") < 2 and path.count(".") < 3:
            yield from _fields(item, root, f"{path}[]")


def _said(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """A type in a few words."""
    choices = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    if choices:
        return "one of " + ", ".join(json.dumps(c, ensure_ascii=False) for c in choices)
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return " or ".join(dict.fromkeys(_said(_resolved(o, root), root) for o in options))
    kind = str(schema.get("type", ""))
    word = _WORDS.get(kind, "any JSON")
    if kind == "array" and schema.get("items"):
        word = f"list of {_said(_resolved(schema['items'], root), root)}"
    limits = [f"{says} {schema[name]}" for name, says in _LIMITS.items() if name in schema]
    more = f": {schema['description']}" if schema.get("description") else ""
    return ", ".join([f"{word} ({schema['format']})" if schema.get("format") else word, *limits]) + more


def _sample(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    schema = _resolved(schema, root)
    if "default" in schema:
        return schema["default"]
    choices = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    if choices:
        return choices[0]
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return _sample(options[0], root, depth)
    properties = cast("dict[str, Any]", schema.get("properties", {}))
    if properties and depth:
        needed = schema.get("required") or properties
        return {name: _sample(below, root, depth - 1) for name, below in properties.items() if name in needed}
    return _plain(schema, root, depth)


def _plain(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    kind = str(schema.get("type"))
    match kind:
        case "integer" | "number":
            return _number(schema, _SAMPLES[kind])
        case "string":
            text = str(_FORMATS.get(schema.get("format", ""), "…"))
            return text.ljust(int(schema.get("minLength", 0)), "…")
        case "array" if depth and "items" in schema:
            least = int(schema.get("minItems", 0))
            one = depth > 1 and schema.get("maxItems") != 0  # below, an object would be without its fields
            return [_sample(schema["items"], root, depth - 1)] * max(one, least)
        case _:
            return _SAMPLES.get(kind)


def _number(schema: Mapping[str, Any], zero: float) -> float:
    """One within its limits, as near to 0 as a whole step brings it."""
    if zero < (low := schema.get("minimum", zero)):
        return low
    if zero <= (above := schema.get("exclusiveMinimum", zero - 1)):
        below = schema.get("exclusiveMaximum", schema.get("maximum", above + 2))
        return above + 1 if above + 1 < below else (above + below) / 2
    if zero > (high := schema.get("maximum", zero)):
        return high
    below = schema.get("exclusiveMaximum", zero + 1)
    return zero if zero < below else below - 1


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference within the schema stands for."""
    for _ in range(8):
        name = str(schema.get("$ref", ""))
        if not name.startswith("#/$defs/"):
            break
        schema = root.get("$defs", {}).get(name.removeprefix("#/$defs/"), {})
    return schema
