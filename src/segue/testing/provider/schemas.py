"""JSON schemas: a value that fits one, made from a seed; a value that does not; and what strict modes refuse."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from .speech import Body, Json

_WORD = re.compile(r"[^\W_]+")
_FORMATS = {
    "date": "2026-01-15",
    "date-time": "2026-01-15T09:30:00Z",
    "time": "09:30:00Z",
    "duration": "PT5M",
    "email": "ada@example.org",
    "uri": "https://example.org/",
    "url": "https://example.org/",
    "uuid": "6f2c1a8e-9b1d-4c3e-8f7a-2d5b6c7e8f90",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "hostname": "example.org",
}
_DEEPEST = 12
"""A schema that refers to itself is filled in this deep, then by what it does not require."""


def example(schema: Mapping[str, Json], seed: str) -> Json:
    """A value that fits the schema, the same one for the same seed. Texts are made from the words of the seed.

    `pattern`, `not`, `if` and `patternProperties` are not looked at.
    """
    return _Maker(schema, seed).value(schema, "", 0)


class _Maker:
    """Fills one schema in."""

    def __init__(self, root: Mapping[str, Json], seed: str) -> None:
        self.root, self.seed = root, seed
        self.words = _WORD.findall(seed) or ["value"]

    def dice(self, path: str, sides: int) -> int:
        digest = hashlib.blake2b(f"{self.seed}\0{path}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % sides

    def value(self, schema: Json, path: str, depth: int) -> Json:
        if not isinstance(schema, Mapping):
            return {}
        rules = self.resolved(cast("Mapping[str, Json]", schema))
        if "const" in rules:
            return rules["const"]
        if rules.get("enum"):
            return rules["enum"][self.dice(path, len(rules["enum"]))]
        for union in ("anyOf", "oneOf"):
            if rules.get(union):
                return self.value(self.choice(rules[union], path, depth), path, depth + 1)
        return self.typed(rules, path, depth)

    def resolved(self, schema: Mapping[str, Json]) -> Body:
        rules = dict(schema)
        for _ in range(20):
            if "$ref" not in rules and "allOf" not in rules:
                break
            if ref := rules.pop("$ref", None):
                rules = {**_at(self.root, ref), **rules}
            for part in rules.pop("allOf", ()):
                rules = _merged(rules, part)
        return rules

    def choice(self, options: list[Json], path: str, depth: int) -> Json:
        plain = [o for o in options if _is_null(o)]
        if depth > _DEEPEST and plain:
            return plain[0]
        options = [o for o in options if not _is_null(o)] or options
        return options[self.dice(path, len(options))] if depth <= _DEEPEST else options[-1]

    def typed(self, rules: Body, path: str, depth: int) -> Json:
        kind = rules.get("type") or ("object" if "properties" in rules else "array" if "items" in rules else "string")
        if isinstance(kind, list):
            names = cast("list[str]", kind)
            kind = next((k for k in names if k != "null"), "null")
        match str(kind).lower():
            case "object":
                return self.fields(rules, path, depth)
            case "array":
                return self.items(rules, path, depth)
            case "integer" | "number" as number:
                return self.number(rules, path, whole=number == "integer")
            case "boolean":
                return bool(self.dice(path, 2))
            case "null":
                return None
            case _:
                return self.text(rules, path)

    def fields(self, rules: Body, path: str, depth: int) -> Body:
        required: list[str] = rules.get("required") or []
        known: Body = rules.get("properties") or {}
        wanted = required if depth > _DEEPEST else [*known, *(name for name in required if name not in known)]
        return {name: self.value(known.get(name, {"type": "string"}), f"{path}/{name}", depth + 1) for name in wanted}

    def items(self, rules: Body, path: str, depth: int) -> list[Json]:
        least, most = int(rules.get("minItems") or 0), int(rules.get("maxItems") or 1 << 30)
        size = least if depth > _DEEPEST else min(max(least, 1 + self.dice(path, 2)), most)
        first: list[Json] = rules.get("prefixItems") or []
        rest = rules.get("items", {"type": "string"})
        size = max(size, min(len(first), most))
        every = [first[i] if i < len(first) else rest for i in range(size)]
        return [self.value(item, f"{path}/{i}", depth + 1) for i, item in enumerate(every)]

    def number(self, rules: Body, path: str, *, whole: bool) -> Json:
        step = rules.get("multipleOf") or 1
        low, high = rules.get("minimum"), rules.get("maximum")
        if rules.get("exclusiveMinimum") is not None:
            low = rules["exclusiveMinimum"] + (step if whole else 0.5)
        if rules.get("exclusiveMaximum") is not None:
            high = rules["exclusiveMaximum"] - (step if whole else 0.5)
        low = low if low is not None else min(0, high - 100 if high is not None else 0)
        high = high if high is not None else low + 100
        first = -(-low // step) * step
        number = first + step * self.dice(path, max(1, int((high - first) // step) + 1))
        number = min(number, high) if number >= low else low
        return int(number) if whole else float(number)

    def text(self, rules: Body, path: str) -> str:
        if rules.get("format") in _FORMATS:
            return _FORMATS[rules["format"]]
        at = self.dice(path, len(self.words))
        text = " ".join(self.words[at : at + 3])
        text += " and more" * -(-max(0, int(rules.get("minLength") or 0) - len(text)) // 9)
        return text[: int(rules["maxLength"])] if rules.get("maxLength") is not None else text


def misfit(schema: Mapping[str, Json] | None, seed: str) -> Body:
    """An object that is valid JSON and does not fit the schema: its first required field is of another type."""
    value: Json = example(schema, seed) if schema else None
    if not isinstance(value, dict) or not value:
        return {"unexpected": ["field"]}
    fields = cast("Body", value)
    rules: Body = (
        {**_at(schema or {}, (schema or {}).get("$ref", ""))} if schema and "$ref" in schema else {**(schema or {})}
    )
    first = next((name for name in rules.get("required") or () if name in fields), next(iter(fields)))
    return {**fields, first: {"unexpected": ["field"]} if not isinstance(fields[first], dict) else "unexpected"}


def objects(schema: Json, path: str = "") -> Iterator[tuple[str, Body]]:
    """Every part of a schema that is an object itself, with the way to it as `properties/name/items`."""
    if isinstance(schema, list):
        for i, part in enumerate(cast("list[Any]", schema)):
            yield from objects(part, f"{path}/{i}")
    elif isinstance(schema, dict):
        rules = cast("Body", schema)
        yield path.strip("/"), rules
        for key in ("items", "anyOf", "allOf", "oneOf", "prefixItems", "additionalProperties", "not"):
            yield from objects(rules.get(key), f"{path}/{key}")
        for key in ("properties", "$defs", "definitions"):
            for name, part in cast("Body", rules.get(key) or {}).items():
                yield from objects(part, f"{path}/{key}/{name}")


def strict_problem(schema: Mapping[str, Json]) -> str | None:
    """What OpenAI's strict mode refuses in a schema, in its words after "Invalid schema for ...: "; None if nothing."""
    if schema.get("type") != "object":
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{schema.get('type')}\"'."
    for path, rules in objects(dict(schema)):
        where = "(" + ", ".join(f"'{part}'" for part in path.split("/") if part) + ")"
        for word in ("allOf", "not", "if", "patternProperties", "dependentRequired", "uniqueItems"):
            if word in rules:
                return f"In context={where}, '{word}' is not permitted."
        if rules.get("type") != "object":
            continue
        if rules.get("additionalProperties") is not False:
            return f"In context={where}, 'additionalProperties' is required to be supplied and to be false."
        names, required = list(rules.get("properties") or {}), rules.get("required")
        if names and (missing := [n for n in names if n not in (required or ())]):
            return (
                f"In context={where}, 'required' is required to be supplied and to be an array including every key"
                f" in properties. Missing '{missing[0]}'."
            )
    return None


def _at(root: Mapping[str, Json], ref: str) -> Body:
    """What `#/$defs/Name` points to; an empty schema where that is nothing."""
    found: Any = root
    for part in ref.removeprefix("#").strip("/").split("/"):
        found = cast("Body", found).get(part) if part and isinstance(found, Mapping) else found
    return dict(cast("Body", found)) if isinstance(found, Mapping) else {}


def _merged(one: Body, other: Json) -> Body:
    if not isinstance(other, Mapping):
        return one
    more = cast("Body", other)
    both = {**one, **more}
    both["properties"] = {**(one.get("properties") or {}), **(more.get("properties") or {})}
    both["required"] = [*(one.get("required") or ()), *(more.get("required") or ())]
    if one.get("allOf") and more.get("allOf"):
        both["allOf"] = [*one["allOf"], *more["allOf"]]
    return {k: v for k, v in both.items() if v not in ({}, [])}


def _is_null(schema: Json) -> bool:
    return isinstance(schema, Mapping) and cast("Body", schema).get("type") == "null"
