"""All mistakes of a configuration file at once: each room reads its own tables, and none stops at another's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..errors import ConfigError
from ..models.batches.toml import load_batch_rules
from ..models.reading import Table, config_error, open_config
from ..models.spec import Catalogue, local_models

if TYPE_CHECKING:
    from ..agent.prompts import Shelf

_MORE = frozenset({"routes", "guards", "prompts", "budgets"})
"""What is read in a room above that of the models, which costs a little time."""


def all_told(config: str | None) -> None:
    """Read every table of a file, and the prompts beside it.

    Raises ConfigError, which names each mistake with its line and its key; where there is none, PromptError for one in
    a prompt's own file.
    """
    table = open_config(config)
    beside = Path.cwd() if table is None else Path(table.mistakes.path).resolve().parent
    if not (beside / "prompts").is_dir() and (table is None or not table.values.keys() & _MORE):
        return
    from ..agent.budgets import load_budgets  # noqa: PLC0415  only where the file needs them
    from ..agent.guards import load_guards  # noqa: PLC0415
    from ..agent.prompts import Shelf  # noqa: PLC0415
    from ..routing import load_routes  # noqa: PLC0415

    found: dict[tuple[int, str, str], None] = {}

    def read(room: Callable[[], object]) -> None:
        try:
            room()
        except ConfigError as error:
            found.update(dict.fromkeys(error.mistakes))

    if table is None:
        return _prompts(Shelf.read())
    models = _names(table, "models") or list(local_models().models)
    read(lambda: Catalogue.load(config))
    read(lambda: load_batch_rules(config))
    read(lambda: load_routes(config, models))
    read(lambda: _functions(table))
    read(lambda: load_guards(config, models, [*_names(table, "routes"), "default"]))
    read(lambda: load_budgets(config))
    read(lambda: _prompts(Shelf.read(config)))
    if found:
        raise config_error(table.mistakes.path, sorted(found, key=_line))


def _functions(table: Table) -> None:
    """See that the functions of routes can be imported. They are not, until a question takes the route."""
    from ..routing import PolicyFailed  # noqa: PLC0415
    from ..routing.functions import load_function  # noqa: PLC0415

    with table.mistakes.told():
        routes = table.table("routes")
        for _, one in routes.each() if routes is not None else ():
            named = one.values.get("function")
            if one.values.get("policy") == "function" and isinstance(named, str) and ":" in named:
                try:
                    load_function(named)
                except PolicyFailed as error:
                    one.wrong("function", error.message)


def _prompts(shelf: Shelf) -> None:
    for error in shelf.wrong.values():
        raise error
    for prompt in shelf.prompts.values():
        prompt.check()
        _ = prompt.places


def _names(table: Table, key: str) -> list[str]:
    values: object = table.values.get(key)
    return list(cast("dict[str, object]", values)) if isinstance(values, dict) else []


def _line(mistake: tuple[int, str, str]) -> int:
    return mistake[0]
