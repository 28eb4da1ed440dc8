"""Prices as the providers publish them, from the tables of genai-prices. Offline: what is installed is what is read.

The package is imported at the first look: it holds two thousand models. It is asked for the prices of one moment; where
a price depends on the hour of the day, the dearest hour counts, so that a budget holds at any time.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any, cast

from ..core.budgets import nano
from .spec import Model, Provider
from .tariff import FREE, Price, Tier

SOURCE = "genai-prices"
_FINE = 1_000_000

_OF_PROVIDER = {
    Provider.OPENAI: "openai",
    Provider.OPENAI_RESPONSES: "openai",
    Provider.ANTHROPIC: "anthropic",
    Provider.GOOGLE: "google",
    Provider.BEDROCK: "aws",
    Provider.MISTRAL: "mistral",
    Provider.GROQ: "groq",
}
_OWN = frozenset({Provider.LOCAL, Provider.OLLAMA})
"""These run on a machine of the user's: no token costs anything."""

_TARIFF = {
    "per_million_in": "input_mtok",
    "per_million_out": "output_mtok",
    "per_million_cache_read": "cache_read_mtok",
    "per_million_cache_write": "cache_write_mtok",
    "per_million_audio_in": "input_audio_mtok",
    "per_million_audio_out": "output_audio_mtok",
}
_OTHER = {"web_searches": ("web_searches_kcount", 1000), "characters": ("input_mchars", 1_000_000)}
"""What `Usage.other` counts: the key of its price, and how many that is for."""


def price_of(model: Model, at: datetime | None = None) -> Price | None:
    """The price of a model: its own, else nothing for one's own machine, else the published one. None: not known.

    `at` is the moment that it is for; None: now.
    """
    if model.price is not None:
        return model.price
    if model.provider in _OWN:
        return FREE
    found = (published(model.provider, model.id, url=d.url, at=at) for d in model.pool())
    return _dearest([price for price in found if price is not None])


def priced(models: Iterable[Model], at: datetime | None = None) -> Iterator[Model]:
    """The models with their prices, as `price_of` knows them."""
    for model in models:
        price = price_of(model, at)
        yield model if price is model.price else replace(model, price=price)


def published(provider: Provider | str, id: str, *, url: str | None = None, at: datetime | None = None) -> Price | None:
    """The published price of a provider's model; None where the tables have none.

    An OpenAI-compatible server is known by its address. Another address of a known provider, as a gateway or a proxy,
    has the provider's prices.
    """
    tables = _tables()
    name = _OF_PROVIDER.get(Provider(provider))
    if tables is None or (name is None and url is None):
        return None
    try:
        owner, found = tables.find_provider_model(id, None, name, None if name else url)
    except LookupError:
        return None
    own = any(model is found for model in owner.models)  # else it is another provider's: its rebates do not count here
    return _read(found, at or datetime.now(UTC), rebates=own)


@cache
def version() -> str | None:
    """The version of genai-prices; None where it is not installed."""
    try:
        return str(importlib.import_module("genai_prices").__version__)
    except ImportError:
        return None


def _tables() -> Any:
    """The tables as the package has them, or as the user's own `UpdatePrices` fetched them; we never fetch."""
    if version() is None:
        return None
    return importlib.import_module("genai_prices.data_snapshot").get_snapshot()


def _read(found: Any, at: datetime, *, rebates: bool) -> Price | None:
    rows = [row.__dict__ for row in _rows(found.prices, at)]
    rates = {ours: _rate(rows, theirs) for ours, theirs in _TARIFF.items()}
    if rates["per_million_in"] is None and rates["per_million_out"] is None:
        return None  # it is priced by the second, the page or the image: not by what a call of ours counts
    return Price(
        **_whole(rates),
        per_request=_each(rows, "requests_kcount", 1000) or 0,
        batch_factor=_batch_factor(found, rows, at) if rebates else 1.0,
        tiers=tuple(Tier(above=start, **_whole(_tier(rows, start))) for start in _starts(rows)),
        other={name: each for name, (key, per) in _OTHER.items() if (each := _each(rows, key, per)) is not None},
        source=SOURCE,
        version=_stamped(),
    )


def _stamped() -> str:
    """The version of the package, and the day of newer tables that the user's program fetched."""
    tables = _tables()
    return f"{version()}+{tables.timestamp:%Y-%m-%d}" if tables.from_auto_update else str(version())


def _rows(prices: Any, at: datetime) -> Iterator[Any]:
    """Those that count on this day, at any hour: the last that has begun, and later ones for hours of the day."""
    if not isinstance(prices, list):
        yield prices
        return
    rows = cast("list[Any]", prices)
    for row in reversed(rows):
        if row.constraint is None or _begun(row.constraint, at):
            yield row.prices
            return
        if not hasattr(row.constraint, "start_date"):
            yield row.prices
    yield rows[0].prices


def _begun(constraint: Any, at: datetime) -> bool:
    return hasattr(constraint, "start_date") and bool(constraint.active(at))


def _rate(rows: list[dict[str, Any]], key: str, start: int | None = None) -> int | None:
    """Nano-dollars of the dearest row; with `start`, beyond that many tokens of input."""
    found = [nano(_at(row[key], start)) for row in rows if row.get(key) is not None]
    return max(found, default=None)


def _at(price: Any, start: int | None) -> Decimal:
    if isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if start is not None and tier.start <= start]
    return reached[-1] if reached else price.base


def _starts(rows: list[dict[str, Any]]) -> list[int]:
    """Where the tiers of any kind of token begin."""
    tiered = (row[key] for row in rows for key in _TARIFF.values() if row.get(key) is not None)
    return sorted({tier.start for price in tiered if not isinstance(price, Decimal) for tier in price.tiers})


def _tier(rows: list[dict[str, Any]], start: int) -> dict[str, int | None]:
    return {ours: _rate(rows, theirs, start) for ours, theirs in _TARIFF.items()}


def _whole(rates: dict[str, int | None]) -> dict[str, Any]:
    """Without a price of their own: input or output costs nothing, as the output of an embedding."""
    return rates | {name: rates[name] or 0 for name in ("per_million_in", "per_million_out")}


def _each(rows: list[dict[str, Any]], key: str, per: int) -> int | None:
    price = _rate(rows, key)
    return None if price is None else -(-price // per)


def _batch_factor(found: Any, rows: list[dict[str, Any]], at: datetime) -> float:
    """The share of the price that a batch costs, of the kind of token with the least rebate; 1 where none is known."""
    for variant in found.price_variants or ():
        begun = variant.constraint is None or _begun(variant.constraint, at)
        if variant.when == {"processing": "batch"} and begun:
            row: dict[str, Any] = variant.prices.__dict__
            pairs = ((_at(row[key], None), _rate(rows, key)) for key in _TARIFF.values() if row.get(key) is not None)
            shares = [Fraction(nano(price), whole) for price, whole in pairs if whole]
            return min(1.0, math.ceil(max(shares, default=Fraction(1)) * _FINE) / _FINE)
    return 1.0


def _dearest(prices: list[Price]) -> Price | None:
    """Of a pool whose servers have prices of their own: the one whose output costs most."""
    return max(prices, key=lambda p: (p.rates().per_million_out, p.rates().per_million_in), default=None)
