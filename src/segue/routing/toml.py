"""Routes from `segue.toml`: one table `[routes.NAME]` for each. All mistakes are told at once, each with its line.

    [routes.cheap]
    policy = "cheapest"
    quality_min = 0.7
    explore = { floor = 0.02, ceiling = 0.1 }      # or one number: the floor

    [routes.trial]
    policy = "split"
    arms = { cheap = 0.9, strong = 0.1 }           # routes; or { name = { route = "cheap", share = 0.9 } }

A policy that is made of others names them: a route of this file, or a model, which is then pinned.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

from ..models.reading import Table, meant, open_config, read_config
from .errors import InvalidPolicy
from .policies import (
    NEVER,
    POLICIES,
    Affinity,
    Arm,
    Best,
    Cascade,
    Cheapest,
    Example,
    Examples,
    Explore,
    Fastest,
    Function,
    Hedge,
    Pinned,
    Policy,
    Shadow,
    Split,
    Weighted,
)

__all__ = ["load_routes", "read_routes"]

_WHAT = f"what it is for, one of {', '.join(POLICIES)}"
_OTHER_WORDS = {
    "candidates": "among", "hold": "hold_ms", "cost_max": "cost_usd_max", "exploration": "explore",
    "fallback": "otherwise", "kind": "policy",
    "latency_max": "latency_s_max", "max_cost": "cost_usd_max", "max_latency": "latency_s_max",
    "min_quality": "quality_min",
    "models": "among", "quality": "quality_min", "residency": "require.residency", "tags": "require", "type": "policy",
    "weights": "per_quality", "with": "shadows",
}  # fmt: skip
"""What other tools call our keys."""
_NUMBERS = ("quality_min", "caution", "cost_usd_max", "latency_s_max", "per_quality", "per_usd", "per_s")


def load_routes(path: str | os.PathLike[str] | None = None, models: Collection[str] = ()) -> dict[str, Policy]:
    """The routes of a file; without `path` of the one that SEGUE_CONFIG names, else of segue.toml in this folder.

    `models` are the names of the catalogue: with them, a model that is not there is a mistake. Raises ConfigError.
    """
    table = open_config(path)
    return {} if table is None else _routes(table, models)


def read_routes(text: str, models: Collection[str] = (), path: str = "segue.toml") -> dict[str, Policy]:
    """The routes of a file's text. Raises ConfigError."""
    return _routes(read_config(text, path), models)


def _routes(table: Table, models: Collection[str]) -> dict[str, Policy]:
    with table.mistakes.told():
        named = table.table("routes")
        reader = _Reader(dict(named.each()) if named else {}, models)
        made = {name: reader.route(name) for name in reader.tables}
    return {name: policy for name, policy in made.items() if policy is not None}


class _Reader:
    """Reads routes as they are asked for, each once: one may be made of others that stand further down."""

    def __init__(self, tables: Mapping[str, Table], models: Collection[str]) -> None:
        self.tables, self.models = tables, models
        self._made: dict[str, Policy | None] = {}
        self._open: list[str] = []

    def route(self, name: str) -> Policy | None:
        """A route of the file; None where it holds a mistake, which is noted."""
        if name not in self._made:
            self._open.append(name)
            self._made[name] = self._read(name, self.tables[name])
            self._open.pop()
        return self._made[name]

    def _read(self, name: str, table: Table) -> Policy | None:
        kind = table.word("policy", POLICIES, required=_WHAT)
        if kind is None:
            return table.doubted(hints=_OTHER_WORDS)
        values = {
            "name": name,
            "among": self._names(table, "among"),
            "require": _require(table),
            "hold_ms": table.whole("hold_ms"),
            "rescue": table.word("rescue", ("fail", "continue")),
            **_READ[kind](self, table),
        }
        table.done(hints=_OTHER_WORDS)
        return _made(POLICIES[kind], table, values)

    def use(self, table: Table, key: str, name: str | None) -> Policy | None:
        """A route that another one is made of, or a model that it is pinned to."""
        if name is None:
            return None
        if name in self._open:
            circle = " → ".join((*self._open[self._open.index(name) :], name))
            return table.wrong(key, f"the route would be made of itself: {circle}")
        if name in self.tables:
            return self.route(name)
        if not self.models or name in self.models:
            return Pinned(model=name)
        known = [*self.tables, *self.models]
        close = meant(name, known)
        hint = f"; did you mean {close}? Allowed" if close else "; allowed"
        return table.wrong(key, f'"{name}" is no route and no model{hint}: {_some(known)}')

    def model(self, table: Table, key: str, name: str | None) -> str | None:
        """The name of a model."""
        if name is None or not self.models or name in self.models:
            return name
        close = meant(name, self.models)
        hint = f"; did you mean {close}? Allowed" if close else "; allowed"
        return table.wrong(key, f'"{name}" is not in the catalogue{hint}: {_some(self.models)}')

    def _names(self, table: Table, key: str) -> tuple[str, ...]:
        if table.ask(key) is None:
            return ()
        if self.models:
            return tuple(table.words(key, self.models) or ())
        return tuple(table.words(key, _texts(table.values[key])) or ())

    def ranked(self, table: Table) -> dict[str, Any]:
        """The four that follow an objective."""
        numbers = _NUMBERS if table.values.get("policy") == Weighted.kind else _NUMBERS[:4]
        values: dict[str, Any] = {name: table.number(name) for name in numbers}
        affinity = table.word("affinity", Affinity)
        return values | {
            "strict": _flag(table, "strict"),
            "explore": _explore(table),
            "affinity": None if affinity is None else Affinity(affinity),
        }

    def cascade(self, table: Table) -> dict[str, Any]:
        """Models from the cheapest up."""
        values = {"steps": self._names(table, "steps"), "steps_max": table.whole("steps_max")}
        return values | {"skip": _flag(table, "skip"), "explore": _explore(table, NEVER)}

    def split(self, table: Table) -> dict[str, Any]:
        """Arms by name: a share, or a table of route and share."""
        arms: list[Arm | None] = []
        inside = table.table("arms")
        if inside is None and "arms" not in table.values:
            table.wrong("arms", "is missing: routes and their shares, as { cheap = 0.9, strong = 0.1 }")
        for name in inside.values if inside else ():
            arms.append(self._arm(inside, name))  # pyright: ignore[reportArgumentType]  it is there where it has names
        return {"arms": tuple(arms), "salt": table.text("salt")}

    def _arm(self, inside: Table, name: str) -> Arm | None:
        if not isinstance(inside.ask(name), dict):
            share = inside.number(name)
            policy = self.use(inside, name, name)
        else:
            one = cast("Table", inside.table(name))
            share = one.number("share", required="its share of the traffic, relative to the other arms")
            policy = self.use(one, "route", one.text("route", required="the route or model that it takes"))
            one.done(hints={"policy": "route", "model": "route", "weight": "share"})
        if share is not None and share < 0:
            return inside.wrong(name, "a share is not negative")
        return None if share is None or policy is None else Arm(name=name, policy=policy, share=share)

    def shadow(self, table: Table) -> dict[str, Any]:
        """Another route, and who answers beside it."""
        if "shadows" not in table.values:
            table.wrong("shadows", "is missing: the models that answer on the side")
        return {"of": self._of(table), "shadows": self._names(table, "shadows"), "share": table.number("share")}

    def hedge(self, table: Table) -> dict[str, Any]:
        """Another route, and when the next one is asked."""
        return {"of": self._of(table), "after_s": table.number("after_s")}

    def _of(self, table: Table) -> Policy | None:
        return self.use(table, "of", table.text("of", required="the route or model that answers"))

    def pinned(self, table: Table) -> dict[str, Any]:
        """One model."""
        model = self.model(table, "model", table.text("model", required="the model that answers"))
        return {"model": model, "otherwise": self.use(table, "otherwise", table.text("otherwise"))}

    def examples(self, table: Table) -> dict[str, Any]:
        """Texts, and where requests like them go."""
        made: list[Example | None] = []
        for one in table.tables("examples"):
            text = one.text("text", required="a request of the kind that is meant")
            use = self.use(one, "use", one.text("use", required="the route or model for requests like it"))
            one.done(hints={"route": "use", "model": "use", "prompt": "text"})
            made.append(None if text is None or use is None else Example(text=text, use=use))
        if not made and table.fine:
            table.wrong("examples", 'is missing: as [{ text = "Fix this bug", use = "strong" }]')
        otherwise = self.use(
            table, "otherwise", table.text("otherwise", required="the route or model for what is like none")
        )
        return {"examples": tuple(made), "otherwise": otherwise, "similarity_min": table.number("similarity_min")}

    def function(self, table: Table) -> dict[str, Any]:
        """A function of the user."""
        return {"function": table.text("function", required="module:name of the function that chooses")}


_READ: Mapping[str, Callable[[_Reader, Table], dict[str, Any]]] = {
    **dict.fromkeys((Cheapest.kind, Best.kind, Fastest.kind, Weighted.kind), _Reader.ranked),
    Cascade.kind: _Reader.cascade,
    Split.kind: _Reader.split,
    Shadow.kind: _Reader.shadow,
    Hedge.kind: _Reader.hedge,
    Pinned.kind: _Reader.pinned,
    Examples.kind: _Reader.examples,
    Function.kind: _Reader.function,
}


def _require(table: Table) -> dict[str, str | tuple[str, ...]]:
    inside = table.table("require")
    wanted: dict[str, str | tuple[str, ...]] = {}
    for key in inside.values if inside is not None else ():
        value = cast("Table", inside).ask(key)
        if isinstance(value, list):
            wanted[key] = tuple(cast("Table", inside).words(key, _texts(cast("list[object]", value))) or ())
        else:
            wanted[key] = cast("Table", inside).text(key) or ""
    return wanted


def _explore(table: Table, default: Explore | None = None) -> Explore | None:
    """A floor, or a table of floor and ceiling; 0 is never."""
    given = table.ask("explore")
    if given is None:
        return default
    usual = Explore()
    if not isinstance(given, dict):
        floor = table.number("explore")
        if floor is not None and not 0 <= floor < 1:
            return table.wrong("explore", f"{floor} is no share: from 0 to below 1")
        if not floor:
            return NEVER
        return _made(Explore, table, {"floor": floor, "ceiling": max(floor, usual.ceiling)})
    inside = cast("Table", table.table("explore"))
    floor, ceiling = inside.number("floor"), inside.number("ceiling")
    inside.done(hints={"min": "floor", "max": "ceiling"})
    if floor is None:
        floor = usual.floor if ceiling is None else min(usual.floor, ceiling)
    return _made(Explore, table, {"floor": floor, "ceiling": max(floor, usual.ceiling) if ceiling is None else ceiling})


def _flag(table: Table, key: str) -> bool | None:
    value = table.ask(key)
    if value is None or isinstance(value, bool):
        return value
    return table.wrong(key, "true or false was expected")


def _texts(values: object) -> list[str]:
    """The texts of an array: where nothing is known of the catalogue, all are allowed."""
    given = cast("list[object]", values if isinstance(values, list) else [])
    return [value for value in given if isinstance(value, str)]


def _some(names: Collection[str]) -> str:
    return ", ".join(list(names)[:12]) + (", …" if len(names) > 12 else "")


def _broken(kind: Callable[..., Any], given: Mapping[str, Any]) -> bool:
    """Whether something is left out that holds a mistake where it stands: another route, an arm, an example."""
    asked = (name for name, one in inspect.signature(kind).parameters.items() if one.default is one.empty)
    return any(given.get(name) is None or None in _tuple(given[name]) for name in asked)


def _tuple(value: object) -> tuple[object, ...]:
    return cast("tuple[object, ...]", value) if isinstance(value, tuple) else ()


def _made(kind: Callable[..., Any], table: Table, values: Mapping[str, Any]) -> Any:
    """What a table describes, left to its defaults where it says nothing; None where it holds a mistake."""
    given = {name: value for name, value in values.items() if value is not None}
    if not table.fine or _broken(kind, given):
        return None
    try:
        return kind(**given)
    except InvalidPolicy as error:
        at = (*table.at, *error.field.split("."))
        table.mistakes.add(at, error.message.partition(": ")[2])
        return None
