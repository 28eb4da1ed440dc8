"""The catalogue from `segue.toml`: one table `[models.NAME]` for each model. All mistakes are told at once.

Amounts of money are USD per million tokens there, and nano-dollars here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from ..core.budgets import nano
from .catalogue import MODELS, LocalModel
from .errors import InvalidModel
from .reading import Table, open_config, read_config
from .settings import mistaken
from .spec import (
    ANY,
    BATCHES,
    EMBEDS,
    Capability,
    Catalogue,
    Deployment,
    Limits,
    Model,
    Price,
    Provider,
    Tier,
    local_models,
)

T = TypeVar("T")

_OTHER_WORDS = {
    "api_base": "url", "api_key": "key_env", "base_url": "url", "concurrency": "limits.concurrency",
    "context": "window", "context_length": "window", "context_window": "window", "cost": "price", "endpoint": "url",
    "key": "key_env", "max_tokens": "max_output", "model": "id", "prices": "price", "pricing": "price",
    "priors": "quality", "rpm": "limits.rpm", "seed": "settings.seed", "temperature": "settings.temperature",
    "top_p": "settings.top_p", "tpm": "limits.tpm",
}  # fmt: skip
"""What other tools call our keys."""
_OTHER_CAPABILITIES = {
    "embedding": "embeddings", "function_calling": "tools", "functions": "tools", "image": "vision", "images": "vision",
    "json": "json-schema", "pdf": "documents", "reasoning": "thinking", "schema": "json-schema",
    "structured_output": "json-schema",
}  # fmt: skip
_ONLY_OF = {
    Capability.BATCH: (BATCHES, "the batch API of {} is not spoken here"),
    Capability.EMBEDDINGS: (EMBEDS, "{} has no embeddings"),
}
"""Capabilities that not every provider's model may have: whose may, and what is said of another one."""
_DOLLARS = {"input": "in", "output": "out", "cached": "cache_read", "prompt": "in", "completion": "out"}


def load(path: str | os.PathLike[str] | None = None) -> Catalogue:
    """What `Catalogue.load` gives. Raises ConfigError."""
    table = open_config(path)
    return local_models() if table is None else _catalogue(table)


def read(text: str, path: str = "segue.toml") -> Catalogue:
    """The catalogue of a file's text. Raises ConfigError."""
    return _catalogue(read_config(text, path))


def _catalogue(table: Table) -> Catalogue:
    with table.mistakes.told():
        named = table.table("models")
        models = [_model(name, one) for name, one in (named.each() if named else ())]
    made = Catalogue.of(*(model for model in models if model is not None)) if models else local_models()
    return replace(made, source=table.mistakes.path)


def _model(name: str, table: Table) -> Model | None:
    values: dict[str, Any] = _identity(name, table)
    ours = values["provider"] == Provider.LOCAL
    values |= _abilities(table, MODELS.get(values["id"] or name) if ours else None, required=not ours)
    values |= {"price": _price(table, embeds=Capability.EMBEDDINGS in values["capabilities"])}
    values |= {"tags": _tags(table), "quality": _quality(table), "settings": _settings(table, local=ours)}
    values |= {"limits": _limits(table), "deployments": _deployments(table)}
    table.done(hints=_OTHER_WORDS)
    return _made(Model, table, name=name, **values)


def _identity(name: str, table: Table) -> dict[str, Any]:
    provider = table.word("provider", Provider, required=f"whose API it is called by, one of {', '.join(Provider)}")
    values = {key: table.text(key) for key in ("id", "url", "key_env", "region")}
    if provider == Provider.LOCAL and table.fine and (values["id"] or name) not in MODELS:
        table.wrong("id", f"a local model is needed; allowed: {', '.join(MODELS)}")
    return values | {"provider": provider, "id": values["id"] or ""}


def _abilities(table: Table, local: LocalModel | None, *, required: bool) -> dict[str, Any]:
    """Sizes and capabilities; a local model knows its own."""
    able = table.words("capabilities", Capability, hints=_OTHER_CAPABILITIES)
    _expect_offered(table, able or [])
    if able is None:
        able = [Capability.JSON_SCHEMA] if local else []
    asks = "how many tokens request and answer may have together"
    window = table.whole("window", required=asks if required else None)
    window = local.window if window is None and local else window
    embeds = Capability.EMBEDDINGS in able
    asks = "how many tokens an answer may have"
    most = table.whole("max_output", required=asks if required and not embeds else None)
    if most is None:
        most = 0 if embeds else (window or 0) // 2
    return {"capabilities": able, "window": window, "max_output": most, "dimensions": table.whole("dimensions")}


def _expect_offered(table: Table, able: list[str]) -> None:
    """See that a model has no capability that its provider does not offer."""
    provider = table.values.get("provider")
    for capability, (offered, says) in _ONLY_OF.items():
        if capability in able and provider in list(Provider) and provider not in offered:
            allowed = f"allowed for {', '.join(one for one in Provider if one in offered)}"
            place = (*table.at, "capabilities", table.values["capabilities"].index(capability))
            table.mistakes.add(place, f"{says.format(provider)}: leave it out; {allowed}")


def _price(table: Table, *, embeds: bool) -> Price | None:
    inside = table.table("price")
    if inside is None:
        return None
    values = _rates(inside, embeds=embeds)
    tiers: list[Tier | None] = []
    for one in inside.tables("tiers"):
        above = one.whole("above", required="from how many tokens of input on it counts")
        rates = _rates(one, embeds=embeds)
        one.done(hints=_DOLLARS)
        tiers.append(_made(Tier, one, above=above, **rates))
    share = inside.number("batch_factor")
    values |= {"per_request": _dollars(inside, "request") or 0, "tiers": tuple(tiers), "other": _other(inside)}
    inside.done(hints=_DOLLARS)
    return _made(Price, inside, **values, **({} if share is None else {"batch_factor": share}))


def _rates(table: Table, *, embeds: bool) -> dict[str, Any]:
    into = _dollars(table, "in", required="USD per million tokens of input")
    out = _dollars(table, "out", required=None if embeds else "USD per million tokens of output")
    kinds = ("cache_read", "cache_write", "audio_in", "audio_out")
    finer = {f"per_million_{kind}": _dollars(table, kind) for kind in kinds}
    return {"per_million_in": into or 0, "per_million_out": out or 0, **finer}


def _other(table: Table) -> dict[str, int]:
    inside = table.table("other")
    return {} if inside is None else {key: _dollars(inside, key) or 0 for key in inside.values}


def _dollars(table: Table, key: str, *, required: str | None = None) -> int | None:
    amount = table.number(key, required=required)
    if amount is not None and amount < 0:
        return table.wrong(key, f"{amount} is negative: a price is 0 or more, in USD")
    return None if amount is None else nano(amount)


def _limits(table: Table) -> Limits | None:
    inside = table.table("limits")
    if inside is None:
        return Limits()
    values = {key: inside.whole(key) for key in ("rpm", "tpm", "concurrency")}
    inside.done(hints={"requests_per_minute": "rpm", "tokens_per_minute": "tpm", "max_concurrency": "concurrency"})
    return _made(Limits, inside, **values)


def _deployments(table: Table) -> tuple[Deployment | None, ...]:
    made: list[Deployment | None] = []
    for one in table.tables("deployments"):
        name = one.text("name", required="what it is called in the pool")
        values = {key: one.text(key) for key in ("url", "key_env", "region")}
        weight, limits = one.number("weight"), _limits(one)
        one.done(hints=_OTHER_WORDS)
        more = {} if weight is None else {"weight": weight}
        made.append(_made(Deployment, one, name=name, limits=limits, **values, **more))
    return tuple(made)


def _tags(table: Table) -> dict[str, str]:
    inside = table.table("tags")
    return {} if inside is None else {key: inside.text(key) or "" for key in inside.values}


def _quality(table: Table) -> dict[str, float]:
    """A number counts for any kind of task."""
    if not isinstance(table.ask("quality"), dict):
        one = table.number("quality")
        return {} if one is None else {ANY: one}
    inside = table.table("quality")
    return {} if inside is None else {kind: inside.number(kind) or 0.0 for kind in inside.values}


def _settings(table: Table, *, local: bool) -> dict[str, Any]:
    inside = table.table("settings")
    if inside is None:
        return {}
    for key, value in inside.values.items():
        wrong = mistaken({key: value}, local=local)
        if wrong is not None:
            _, says, allowed = wrong
            tail = f"{' Allowed' if says.endswith('?') else '; allowed'}: {allowed}" if allowed else ""
            inside.wrong(key, says + tail)
    return dict(inside.values)


def _made(kind: Callable[..., T], table: Table, **values: Any) -> T | None:
    """What a table describes; None where it holds a mistake, of which each is noted at its key."""
    if not table.fine:
        return None
    try:
        return kind(**values)
    except InvalidModel as error:
        place = tuple(int(part) if part.isdigit() else part for part in error.field.split("."))
        named_by_table = place == ("name",) and "name" not in table.values
        table.mistakes.add(table.at if named_by_table else (*table.at, *place), error.says)
        return None
