"""Guards from `segue.toml`: one table `[guards.NAME]` for each, in the order in which they look.

[guards.no-pii]
kind = "pii"                 # pii, credentials, injection, moderation, function
stage = "before"             # before, after; without: both
on_hit = "redact"            # block, redact, flag; without: block
on_fail = "open"             # closed, open; without: closed
"""

from __future__ import annotations

import importlib
import os
from typing import Any, cast

from ...errors import DefinitionError
from ...models.reading import Table, open_config
from ...runtime.scope import Surroundings
from ..gateway import config_of, shared
from .builtin import LOOKS
from .guard import Guard, Look
from .moderation import CATEGORIES, Moderation

__all__ = ["configured", "load_guards"]

_KINDS = (*LOOKS, "moderation", "function")
_MODERATION_S = 30.0
"""For the call of a model, where the file does not say."""


def load_guards(path: str | os.PathLike[str] | None = None) -> tuple[Guard, ...]:
    """Those of a file; without `path` of the one that SEGUE_CONFIG names, else of segue.toml. Raises ConfigError."""
    table = open_config(path)
    if table is None:
        return ()
    with table.mistakes.told():
        inside = table.table("guards")
        made = [_guard(name, one) for name, one in (inside.each() if inside is not None else ())]
    return tuple(guard for guard in made if guard is not None)


def configured() -> tuple[Guard, ...]:
    """Those of the current engine: what it was given as `resources={"guards": [...]}`, else of its file."""
    return shared("guards", _configured)


def _configured(around: Surroundings) -> tuple[Guard, ...]:
    given = around.given.get("guards")
    return load_guards(config_of(around)) if given is None else tuple(Guard.of(one) for one in given)


def _guard(name: str, table: Table) -> Guard | None:
    kind = table.word("kind", _KINDS, required=f"what it looks for, one of {', '.join(_KINDS)}")
    values: dict[str, Any] = {
        "stage": table.word("stage", ("both", "before", "after")),
        "on_hit": table.word("on_hit", ("block", "redact", "flag")),
        "on_fail": table.word("on_fail", ("closed", "open")),
        "timeout_s": table.number("timeout_s"),
    }
    if kind == "moderation" and values["timeout_s"] is None:
        values["timeout_s"] = _MODERATION_S
    look = None if kind is None else _look(kind, table, values["timeout_s"] or _MODERATION_S)
    table.done(hints={"policy": "on_hit", "action": "on_hit", "type": "kind", "timeout": "timeout_s"})
    if look is None or not table.fine:
        return None
    given = {field: value for field, value in values.items() if value is not None}
    try:
        return Guard(name=name, look=look, untrusted=kind == "injection", together=kind == "moderation", **given)
    except DefinitionError as error:
        return table.wrong("on_hit", error.message)


def _look(kind: str, table: Table, timeout_s: float) -> Look | None:
    if kind == "function":
        return _function(table)
    if kind != "moderation":
        return LOOKS[kind]()
    listed = cast("list[object]", table.ask("categories") or list(CATEGORIES))
    words = [word for word in listed if isinstance(word, str)]
    if not words or len(words) != len(listed):
        return table.wrong("categories", "an array of texts was expected")
    route, model = table.text("route"), table.text("model")
    return Moderation(route=route, model=model, categories=words, timeout_s=timeout_s)


def _function(table: Table) -> Look | None:
    named = table.text("function", required="module:name of the function that looks")
    if named is None:
        return None
    module, _, name = named.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        return table.wrong("function", f"cannot be imported: {error}")
    return cast("Look", found) if callable(found) else table.wrong("function", "is no function")
