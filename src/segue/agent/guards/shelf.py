"""Guards from `segue.toml`: one table `[guards.NAME]` for each, in the order in which they look.

[guards.no-pii]
kind = "pii"                 # pii, credentials, injection, moderation, function
stage = "before"             # before, after; without: both
on_hit = "redact"            # block, redact, flag; without: block
on_fail = "open"             # closed, open; without: closed
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from ...errors import DefinitionError, UnguardedScript
from ...importing import imported
from ...models.reading import Table, meant, open_config
from ...runtime.scope import Surroundings
from ..gateway import Gateway, config_of, gateway, shared
from .builtin import LOOKS
from .guard import Guard, Look, looking
from .moderation import CATEGORIES, Moderation

__all__ = ["holding", "load_guards"]

_KINDS = (*LOOKS, "moderation", "function")
_MODERATION_S = 30.0
"""For the call of a model, where the file does not say."""


def load_guards(
    path: str | os.PathLike[str] | None = None, models: Collection[str] = (), routes: Collection[str] = ()
) -> tuple[Guard, ...]:
    """Those of a file; without `path` of the one that SEGUE_CONFIG names, else of segue.toml. Raises ConfigError.

    `models` are the names of the catalogue, `routes` those that there are: with them, another one is a mistake.
    """
    table = open_config(path)
    if table is None:
        return ()
    with table.mistakes.told():
        inside = table.table("guards")
        known = {"model": models, "route": routes}
        made = [_guard(name, one, known) for name, one in (inside.each() if inside is not None else ())]
    return tuple(guard for guard in made if guard is not None)


def holding(own: Sequence[Guard] = ()) -> tuple[Guard, ...]:
    """Those that look at a question: the engine's, then its own. What is asked within a look goes past the engine's, as
    a moderation does, and past those that look just now: guards that ask would else guard each other without end.
    """
    looks = looking()
    return tuple(guard for guard in own if guard.look not in looks) if looks else (*_engines(), *own)


def _engines() -> tuple[Guard, ...]:
    """Those of the current engine: what it was given as `resources={"guards": [...]}`, else of its file."""
    home = gateway()
    return shared("guards", lambda around: _configured(around, home))


def _configured(around: Surroundings, home: Gateway) -> tuple[Guard, ...]:
    given = around.given.get("guards")
    if given is not None:
        return tuple(Guard.of(one) for one in given)
    return load_guards(config_of(around), list(home.catalogue.models), list(home.router.routes))


def _guard(name: str, table: Table, known: Mapping[str, Collection[str]]) -> Guard | None:
    kind = table.word("kind", _KINDS, required=f"what it looks for, one of {', '.join(_KINDS)}")
    values: dict[str, Any] = {
        "stage": table.word("stage", ("both", "before", "after")),
        "on_hit": table.word("on_hit", ("block", "redact", "flag")),
        "on_fail": table.word("on_fail", ("closed", "open")),
        "timeout_s": _seconds(table),
    }
    if kind == "moderation" and values["timeout_s"] is None:
        values["timeout_s"] = _MODERATION_S
    look = None if kind is None else _look(kind, table, values["timeout_s"] or _MODERATION_S, known)
    table.done(hints={"policy": "on_hit", "action": "on_hit", "type": "kind", "timeout": "timeout_s"})
    if look is None or not table.fine:
        return None
    given = {field: value for field, value in values.items() if value is not None}
    given["written_at"] = f"[guards.{name}] of {table.mistakes.path}"
    try:
        return Guard(name=name, look=look, untrusted=kind == "injection", together=kind == "moderation", **given)
    except DefinitionError as error:
        return table.wrong("on_hit", error.message)


def _seconds(table: Table) -> float | None:
    seconds = table.number("timeout_s")
    return seconds if seconds is None or seconds > 0 else table.wrong("timeout_s", f"{seconds} is no time: more than 0")


def _look(kind: str, table: Table, timeout_s: float, known: Mapping[str, Collection[str]]) -> Look | None:
    if kind == "function":
        return _function(table)
    if kind != "moderation":
        return LOOKS[kind]()
    route, model = _known("route", table, known), _known("model", table, known)
    listed: object = table.ask("categories")
    listed = list(CATEGORIES) if listed is None else listed
    words = [one for one in cast("list[object]", listed) if isinstance(one, str)] if isinstance(listed, list) else []
    if not words or len(words) != len(cast("list[object]", listed)):
        return table.wrong("categories", "an array of texts was expected")
    return Moderation(route=route, model=model, categories=words, timeout_s=timeout_s)


def _known(key: str, table: Table, known: Mapping[str, Collection[str]]) -> str | None:
    """The name of a model or a route, which is to be one of those that are known, where any are."""
    name = table.text(key)
    if name is None or not known[key] or name in known[key]:
        return name
    close = meant(name, known[key])
    guess = f"; did you mean {close}? Allowed" if close else "; allowed"
    return table.wrong(key, f'there is no {key} "{name}"{guess}: {", ".join(known[key])}')


def _function(table: Table) -> Look | None:
    named = table.text("function", required="module:name of the function that looks")
    if named is None:
        return None
    module, _, name = named.partition(":")
    try:
        found: Any = getattr(imported(module), name)
    except UnguardedScript as error:
        return table.wrong("function", f"cannot be imported: {error.message}: {error.remedy}")
    except Exception as error:  # noqa: BLE001  the module is the user's: it may raise anything
        said = str(error) if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
        return table.wrong("function", f"cannot be imported: {said}")
    return cast("Look", found) if callable(found) else table.wrong("function", "is no function")
