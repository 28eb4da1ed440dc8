"""`segue models`: the catalogue, what each model costs and can do, and with `--ping` whether it answers."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..core.budgets import usd
from ..errors import InputError
from ..models import Capability, UnknownModel
from ..models.batches import BatchRules
from ..models.batches.toml import load_batch_rules
from ..models.health import HealthView, Standing
from ..models.ping import Ping, hang_up, ping
from ..models.spec import Catalogue, Model, Price
from .columns import cut
from .exits import Exit
from .fares import fares, health_at
from .mistakes import all_told
from .paint import emit, out, pairs, tell
from .words import duration, first_line, plural, printable

if TYPE_CHECKING:
    from ..models.health import Health

Pings = dict[str, list[Ping]]
HealthOf = Callable[[Model], HealthView]
"""How a model fares; there is none where no model was asked yet."""

_UNKNOWN = "?"


def models(
    names: Sequence[str], config: str | None, as_json: bool, *, test: bool, db: str, reopen: Sequence[str] = ()
) -> Exit:
    """List the models of a catalogue, all or those that are named; `test` asks each of them for an answer.

    Beside them stands how they fare in the calls of the runs in `db`. `reopen`: models, or deployments as
    `MODEL/DEPLOYMENT`, that take calls again from now on.
    """
    all_told(config)
    catalogue, rules = Catalogue.load(config), load_batch_rules(config)
    chosen = [_named(catalogue, name) for name in dict.fromkeys(names)] or list(catalogue)
    closed = [_place(catalogue, name) for name in reopen]
    told = asyncio.run(_ping(chosen)) if test else None
    with health_at(db) as health:
        for model, deployment in closed:
            if health is None:
                said = f"no model was asked yet by runs of {db}: all are open"
                raise InputError(said, remedy="name the database of the runs that have asked it by --db")
            health.reopen(model, deployment)
        _list(catalogue, chosen, rules, told, health, as_json)
    failed = [one for pings in (told or {}).values() for one in pings if not one.ok]
    return Exit.FAILED if failed else Exit.DONE


def _list(  # noqa: PLR0917  called in one place
    catalogue: Catalogue, chosen: Sequence[Model], rules: BatchRules, told: Pings | None, health: Health | None,
    as_json: bool,
) -> None:  # fmt: skip
    if as_json:
        listed = [_as_json(model, told, health) for model in chosen]
        about = {"source": catalogue.source, "version": catalogue.version, "batches": asdict(rules)}
        print(json.dumps(about | {"models": listed}, ensure_ascii=False, indent=2))
    else:
        console = out()
        emit(console, table(chosen, told, None if health is None else health.view))
        tell(
            Text(f"{plural(len(chosen), 'model')} of {printable(catalogue.source or 'the built-in catalogue')}", "dim")
        )
        if any(model.can(Capability.BATCH) for model in chosen):
            tell(Text(_batches(rules), "dim"))
        if health is not None:
            _tell_pools(chosen, health)
        _tell_failures(told or {})


def _batches(rules: BatchRules) -> str:
    """When a batch is sent and looked at."""
    full = f" or has {rules.requests:,} requests" if rules.requests else ""
    sent = f"once nothing has come for {duration(rules.wait_s)}{full}"
    return f"a batch is sent {sent}, and looked at after {duration(rules.look_s)}"


def _named(catalogue: Catalogue, name: str) -> Model:
    try:
        return catalogue.get(name)
    except UnknownModel as error:
        raise InputError(error.message, remedy=error.remedy) from None


def _place(catalogue: Catalogue, name: str) -> tuple[Model, str | None]:
    """A model, and one of its deployments where that is named."""
    known = {f"{model.name}/{one.name}": (model, one.name) for model in catalogue for one in model.deployments}
    if name in known:
        return known[name]
    if name not in catalogue and "/" in name:
        model = _named(catalogue, name.rpartition("/")[0])
        has = ", ".join(f"{model.name}/{one.name}" for one in model.deployments) or "none"
        raise InputError(f"there is no deployment {name!r}; there are: {has}", remedy="name one of them, or the model")
    return _named(catalogue, name), None


async def _ping(chosen: Sequence[Model]) -> Pings:
    """Local models one after the other: they share this machine's cores; all others at once."""
    told: Pings = {}
    for model in chosen:
        if model.provider == "local":
            told[model.name] = await ping(model)
    others = [model for model in chosen if model.name not in told]
    try:
        answers = await asyncio.gather(*(ping(model) for model in others))
    finally:
        await hang_up()
    return told | {model.name: answer for model, answer in zip(others, answers, strict=True)}


def table(chosen: Sequence[Model], told: Pings | None, health: HealthOf | None) -> Table:
    """One row a model. Prices are USD per million tokens."""
    columns: list[tuple[str, str, Callable[[Model], RenderableType]]] = [
        ("model", "left", lambda m: cut(m.name)),
        ("provider", "left", lambda m: cut(m.provider)),
        ("window", "right", lambda m: Text(_tokens(m.window))),
        ("output", "right", lambda m: Text(_tokens(m.max_output))),
        ("$ in", "right", lambda m: Text(_dollars(m.price, "per_million_in"))),
        ("$ out", "right", lambda m: Text(_dollars(m.price, "per_million_out"))),
    ]
    if health is not None:
        columns.append(("health", "left", lambda m: Text(printable(fares(health(m))))))
    if told is not None:
        columns.append(("ping", "left", lambda m: _pinged(told[m.name])))
    columns.append(("can", "left", lambda m: Text(" ".join(sorted(m.capabilities)), "dim")))
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for head, side, _ in columns:
        gives_way = head in ("model", "provider", "can")
        made.add_column(head, justify="right" if side == "right" else "left", no_wrap=not gives_way)
    for model in chosen:
        made.add_row(*(cell(model) for _, _, cell in columns))
    return made


def _pinged(pings: Sequence[Ping]) -> Text:
    """The slowest time where all answered; else how many did not."""
    failed = [one for one in pings if not one.ok]
    if not failed:
        return Text(f"✓ {duration(max(one.seconds for one in pings))}", "green")
    return Text("✗ failed" if len(pings) == 1 else f"✗ {len(failed)} of {len(pings)}", "red")


def _tell_pools(chosen: Sequence[Model], health: Health) -> None:
    """Which deployments of a pool take no calls now: the pool stands as its best one does."""
    for model in chosen:
        for name, view in health.views(model).items() if model.deployments else ():
            if view.standing is not Standing.OPEN:
                tell(Text("! ", "yellow").append(f"{printable(f'{model.name}/{name}')} is {fares(view)}", "default"))


def _tell_failures(told: Pings) -> None:
    for one in (one for pings in told.values() for one in pings if not one.ok):
        name = one.model if one.deployment == one.model else f"{one.model}/{one.deployment}"
        says = first_line(one.says).removeprefix(f"{one.model}: ")
        tell(Text("✗ ", "red").append(f"{printable(name)}: {says}", "default"))
        if one.remedy:
            tell(pairs([("do", Text(printable(one.remedy)))], 2))


def _tokens(count: int) -> str:
    """`128k`, `1M`, `4,096`; nothing for a model that writes no answer."""
    if count == 0:
        return "–"
    for size, unit in ((1_000_000, "M"), (1000, "k")):
        if count >= size and count % size == 0:
            return f"{count // size:,}{unit}"
    return f"{count:,}"


def _dollars(price: Price | None, kind: str) -> str:
    if price is None:
        return _UNKNOWN
    amount: Decimal = usd(getattr(price, kind)).normalize()
    return f"{amount:f}" + ("+" if price.tiers else "")


def _as_json(model: Model, told: Pings | None, health: Health | None) -> dict[str, Any]:
    body = model.body()
    if health is not None:
        body["health"] = _plain(health.view(model))
        if model.deployments:
            body["health"]["deployments"] = {name: _plain(view) for name, view in health.views(model).items()}
    if told is not None:
        answers = told[model.name]
        body["ping"] = [{name: getattr(one, name) for name in Ping.__dataclass_fields__} for one in answers]
    return body


def _plain(view: HealthView) -> dict[str, Any]:
    return view._asdict() | {"wait_s": view.wait_s if math.isfinite(view.wait_s) else None}
