"""What a model costs: prices per million tokens, and what a call took of them. Pure, in whole nano-dollars (1e-9 USD).

A price is exact, and so is a sum; only the last step, from millionths of a nano-dollar to whole ones, rounds: up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from ..core.budgets import MILLION, Rates, nano
from ..core.records import Usage
from .errors import InvalidModel

Dollars = str | float
"""An amount in USD. A float means what it prints as: 0.1 is a tenth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tariff:
    """Nano-dollars per million tokens, by kind. A kind without a price of its own costs what its total costs.

    Raises InvalidModel for a negative amount.
    """

    per_million_in: int
    per_million_out: int
    per_million_cache_read: int | None = None
    """Input that the provider had in its prompt cache."""
    per_million_cache_write: int | None = None
    """Input that it put there."""
    per_million_audio_in: int | None = None
    per_million_audio_out: int | None = None

    def __post_init__(self) -> None:
        """Hold what must be true."""
        for name in _KINDS:
            expect((getattr(self, name) or 0) >= 0, name, "a price is not negative")

    def dearest(self) -> tuple[int, int]:
        """The most that a million tokens of input, and of output, can cost."""
        into = (self.per_million_in, self.per_million_cache_read, self.per_million_cache_write)
        spoken = (self.per_million_out, self.per_million_audio_out)
        return max(rate or 0 for rate in (*into, self.per_million_audio_in)), max(rate or 0 for rate in spoken)

    def micro(self, usage: Usage) -> int:
        """What the tokens cost, in millionths of a nano-dollar: exact.

        Where audio was read from the cache, it is the cache that is paid; a provider does not say which input it was,
        so as much audio as there can be is taken for fresh.
        """
        read, write = usage.tokens_cache_read, usage.tokens_cache_write
        heard = min(usage.tokens_audio_in, usage.tokens_in - read - write)
        spoken = min(usage.tokens_audio_out, usage.tokens_out)
        return (
            (usage.tokens_in - read - write - heard) * self.per_million_in
            + read * _rate(self.per_million_cache_read, self.per_million_in)
            + write * _rate(self.per_million_cache_write, self.per_million_in)
            + heard * _rate(self.per_million_audio_in, self.per_million_in)
            + (usage.tokens_out - spoken) * self.per_million_out
            + spoken * _rate(self.per_million_audio_out, self.per_million_out)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Tier(Tariff):
    """What every token of a request costs whose input is longer than `above` tokens."""

    above: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Price(Tariff):
    """The price of a model.

    The seven fields from `per_million_in` to `per_request` are nano-dollars; `Price.dollars` takes dollars instead.
    """

    per_request: int = 0
    """For the call itself."""
    batch_factor: float = 0.5
    """What a call through the provider's batch API costs of the ordinary price: 0 to 1. It counts as it prints."""
    tiers: tuple[Tier, ...] = ()
    """Prices of long requests, shortest first."""
    other: Mapping[str, int] = field(default_factory=dict[str, int])
    """Nano-dollars for one of what `Usage.other` counts: `web_searches`, `characters`."""
    source: str = "catalogue"
    """Where it is from: `catalogue`, `genai-prices`, `local`."""
    version: str | None = None

    def __post_init__(self) -> None:
        """Hold what must be true."""
        Tariff.__post_init__(self)
        expect(self.per_request >= 0, "per_request", "a price is not negative")
        expect(0 <= self.batch_factor <= 1, "batch_factor", "a share of the price, from 0 to 1")
        bounds = [tier.above for tier in self.tiers]
        rising = all(a < b for a, b in zip([-1, *bounds], bounds, strict=False))
        expect(rising, "tiers", "each tier begins above the one before it")
        for name, each in self.other.items():
            expect(each >= 0, f"other.{name}", "a price is not negative")

    @classmethod
    def dollars(
        cls, into: Dollars, out: Dollars, *, cache_read: Dollars | None = None, cache_write: Dollars | None = None,
        audio_in: Dollars | None = None, audio_out: Dollars | None = None, request: Dollars = 0, **more: Any,
    ) -> Price:  # fmt: skip
        """From USD per million tokens; `request` is USD per call. `more` are the fields that are no dollars."""
        return cls(
            per_million_in=nano(into), per_million_out=nano(out), per_million_cache_read=_nano(cache_read),
            per_million_cache_write=_nano(cache_write), per_million_audio_in=_nano(audio_in),
            per_million_audio_out=_nano(audio_out), per_request=nano(request), **more,
        )  # fmt: skip

    def in_batch(self) -> Price:
        """The price of what goes through the provider's batch API, rounded up to whole nano-dollars a million."""
        share, kinds = self._share(True), _KINDS
        tiers = tuple(replace(tier, **_shared(tier, kinds, share)) for tier in self.tiers)
        per_request = _up(self.per_request * share)
        return replace(self, **_shared(self, kinds, share), per_request=per_request, tiers=tiers, batch_factor=1.0)

    def rates(self, tokens_in: int | None = None, *, batch: bool = False) -> Rates:
        """What a token costs at most: the dearest kind, of the dearest tier that so much input can reach (None: any).

        What `other` prices is not in it: how much a call uses of that is not bounded by tokens.
        """
        reached = [tier for tier in self.tiers if tokens_in is None or tokens_in > tier.above]
        into, out = zip(*(tariff.dearest() for tariff in (self, *reached)), strict=True)
        share = self._share(batch)
        return Rates(
            per_million_in=_up(max(into) * share),
            per_million_out=_up(max(out) * share),
            per_request=_up(self.per_request * share),
        )

    def cost_nano(self, usage: Usage, *, batch: bool = False) -> int:
        """What a call cost: exact, rounded up to a whole nano-dollar, the cache's prices applied."""
        tokens = Fraction(self._tariff(usage.tokens_in).micro(usage), MILLION) + self.per_request * usage.requests
        return _up(tokens * self._share(batch)) + sum(
            many * self.other.get(name, 0) for name, many in usage.other.items()
        )

    def charged(self, usage: Usage, *, batch: bool = False) -> Usage:
        """The usage with its cost, and where the price is from."""
        cost = self.cost_nano(usage, batch=batch)
        return replace(usage, cost_nano=cost, price_source=self.source, price_version=self.version)

    def _tariff(self, tokens_in: int) -> Tariff:
        return next((tier for tier in reversed(self.tiers) if tokens_in > tier.above), self)

    def _share(self, batch: bool) -> Fraction:
        return Fraction(str(self.batch_factor)) if batch else _WHOLE


_WHOLE = Fraction(1)
_KINDS = tuple(Tariff.__dataclass_fields__)


def _shared(tariff: Tariff, kinds: tuple[str, ...], share: Fraction) -> dict[str, int | None]:
    rates: dict[str, int | None] = {kind: getattr(tariff, kind) for kind in kinds}
    return {kind: None if rate is None else _up(rate * share) for kind, rate in rates.items()}


def expect(holds: bool, name: str, says: str) -> None:
    """Raise InvalidModel for a field that does not hold."""
    if not holds:
        raise InvalidModel.at(name, says)


def _rate(own: int | None, plain: int) -> int:
    return plain if own is None else own


def _nano(amount: Dollars | None) -> int | None:
    return None if amount is None else nano(amount)


def _up(amount: Fraction | int) -> int:
    return -(-amount.numerator // amount.denominator)


FREE = Price(per_million_in=0, per_million_out=0, batch_factor=1, source="local")
"""What runs on one's own machine costs nothing by the token."""
