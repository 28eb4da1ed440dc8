"""Whether an answer that arrived is one: not refused, cut or empty, and JSON of its schema where one was given."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

from ..core.faults import Fault, FaultKind
from .exchange import Reply
from .signals import REMEDY, made

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
}
_DEPTH = 40
_FULL = frozenset({"model_context_window_exceeded", "model_length"})
"""The window was full: more room to write is not to be had. Anthropic's word, and Mistral's."""
_LOST = frozenset({"error", "failed", "cancelled", "insufficient_system_resource"})
"""The server broke off, under a 200: OpenRouter's and Mistral's word, those of OpenAI's responses, DeepSeek's."""
_UNFINISHED = frozenset(
    {"pause_turn", "in_progress", "queued", "OTHER", "MISSING_THOUGHT_SIGNATURE", "TOO_MANY_TOOL_CALLS"}
)
"""What came is not all, or nobody says why it ends."""


def judge(
    reply: Reply,
    schema: Mapping[str, Any] | None = None,
    *,
    tools: Collection[str] | None = None,
    cut_is_fine: bool = False,
) -> Fault | None:
    """What is wrong with an answer, or None.

    `tools` are the names that it may call; None: any. `cut_is_fine` takes a text that ended at its limit. What the
    schema says is checked as far as it can be told without a library: types, fields, constants, items, alternatives.
    """
    for fault in _judgements(reply, schema, tools, cut_is_fine):
        if fault is not None:
            return fault
    return None


def _judgements(
    reply: Reply, schema: Mapping[str, Any] | None, tools: Collection[str] | None, cut_is_fine: bool
) -> Iterator[Fault | None]:
    yield _refused(reply)
    yield _cut(reply, cut_is_fine and schema is None and not reply.tool_calls)
    yield _broken(reply)
    yield from (_called(call.tool_name, call.args, tools) for call in reply.tool_calls)
    if not reply.tool_calls:
        yield _empty(reply)
        yield _unlike(reply, schema) if schema is not None else None


def _refused(reply: Reply) -> Fault | None:
    if reply.finish != "content_filter" and not reply.refusal:
        return None
    why = reply.refusal or f"the provider stopped the answer: {reply.finish_raw or reply.finish}"
    return made(FaultKind.CONTENT_REFUSED, why, said=reply.finish_raw, remedy=REMEDY[FaultKind.CONTENT_REFUSED])


def _cut(reply: Reply, fine: bool) -> Fault | None:
    if reply.finish_raw in _FULL:
        return made(
            FaultKind.CONTEXT_TOO_LONG, "the window was full before the answer was whole", said=reply.finish_raw
        )
    if reply.finish != "length" or fine:
        return None
    return made(
        FaultKind.BAD_OUTPUT,
        f"the answer was cut at its limit, after {reply.usage.tokens_out} tokens",
        said=reply.finish_raw or "length",
        limit="max tokens",
        remedy="give it a larger max_tokens, or ask for less",
    )


def _broken(reply: Reply) -> Fault | None:
    if reply.finish_raw in _LOST:
        return made(FaultKind.OVERLOADED, f"the server broke off: {reply.finish_raw}", said=reply.finish_raw)
    if reply.finish != "error" and reply.finish_raw not in _UNFINISHED:
        return None
    return made(FaultKind.BAD_OUTPUT, f"the model broke off: {reply.finish_raw or 'error'}", said=reply.finish_raw)


def _called(name: str, args: object, tools: Collection[str] | None) -> Fault | None:
    if tools is not None and name not in tools:
        known = ", ".join(sorted(tools)) or "none"
        return made(FaultKind.BAD_OUTPUT, f"it called {name!r}; its tools are: {known}")
    if isinstance(args, str) and args.strip():
        try:
            args = json.loads(args)
        except ValueError as error:
            return made(FaultKind.BAD_OUTPUT, f"the arguments of {name} are no JSON: {error}")
    if args and not isinstance(args, dict):
        return made(FaultKind.BAD_OUTPUT, f"the arguments of {name} are no object")
    return None


def _empty(reply: Reply) -> Fault | None:
    shown = any(part.part_kind in ("file", "speech") for part in reply.message.parts)
    return None if reply.text.strip() or shown else made(FaultKind.BAD_OUTPUT, "the answer is empty")


def _unlike(reply: Reply, schema: Mapping[str, Any]) -> Fault | None:
    try:
        value = json.loads(reply.text)
    except ValueError as error:
        return made(FaultKind.BAD_OUTPUT, f"the answer is no JSON: {error}")
    wrong = next(misfits(value, schema), None)
    return made(FaultKind.BAD_OUTPUT, f"the answer does not fit: {wrong}") if wrong else None


def misfits(value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    """Where a value does not fit a JSON Schema: `items.0.name: not string`. What it does not know, passes."""
    return _misfits(value, schema, schema, "", 0)


def _misfits(value: Any, schema: Any, root: Mapping[str, Any], at: str, depth: int) -> Iterator[str]:
    if schema is False:
        yield f"{at or 'it'}: nothing may stand here"
    if not isinstance(schema, dict) or depth > _DEPTH:
        return
    rule = cast("dict[str, Any]", schema)
    if "$ref" in rule:
        yield from _misfits(value, _resolved(str(rule["$ref"]), root), root, at, depth + 1)
    yield from _of_kind(value, rule, at)
    yield from _of_choice(value, rule, root, at, depth)
    if isinstance(value, dict):
        yield from _of_fields(cast("dict[str, Any]", value), rule, root, at, depth)
    elif isinstance(value, list) and "items" in rule:
        for n, item in enumerate(cast("list[Any]", value)):
            yield from _misfits(item, rule["items"], root, f"{at}.{n}".lstrip("."), depth + 1)


def _of_kind(value: Any, rule: dict[str, Any], at: str) -> Iterator[str]:
    named: Any = rule.get("type", [])
    kinds: list[str] = [named] if isinstance(named, str) else list(named)
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield f"{at or 'it'}: not {' or '.join(kinds)}"
    if "enum" in rule and value not in rule["enum"]:
        yield f"{at or 'it'}: {value!r} is none of {rule['enum']}"
    if "const" in rule and value != rule["const"]:
        yield f"{at or 'it'}: not {rule['const']!r}"


def _of_choice(value: Any, rule: dict[str, Any], root: Mapping[str, Any], at: str, depth: int) -> Iterator[str]:
    for part in rule.get("allOf", ()):
        yield from _misfits(value, part, root, at, depth + 1)
    for name in ("anyOf", "oneOf"):
        options: list[Any] = rule.get(name, [])
        if options and all(any(True for _ in _misfits(value, one, root, at, depth + 1)) for one in options):
            yield next(iter(_misfits(value, options[0], root, at, depth + 1)))


def _of_fields(
    value: dict[str, Any], rule: dict[str, Any], root: Mapping[str, Any], at: str, depth: int
) -> Iterator[str]:
    fields: dict[str, Any] = rule.get("properties", {})
    for name in rule.get("required", ()):
        if name not in value:
            yield f"{at or 'it'}: the field {name!r} is missing"
    for name, held in value.items():
        inner = fields.get(name, rule.get("additionalProperties") if "patternProperties" not in rule else None)
        yield from _misfits(held, inner, root, f"{at}.{name}".lstrip("."), depth + 1)


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(kind, object))


def _resolved(ref: str, root: Mapping[str, Any]) -> Any:
    found: Any = root
    for step in ref.removeprefix("#").strip("/").split("/") if ref != "#" else ():
        if not isinstance(found, dict):
            return None
        found = cast("dict[str, Any]", found).get(step.replace("~1", "/").replace("~0", "~"))
    return found
