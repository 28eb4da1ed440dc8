"""Prices: exact in whole nano-dollars, never less than a call costs, and the same as the published tables say."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.budgets import worst_case
from segue.core.records import Usage
from segue.errors import InputError
from segue.models import InvalidModel
from segue.models.prices import price_of, priced, published, version
from segue.models.spec import FREE, Catalogue, Deployment, Model, Price, Provider, Tier

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
KINDS = ("cache_read", "cache_write", "audio_in", "audio_out")

nanos = st.integers(0, 10**12)
rates = st.fixed_dictionaries(
    {"per_million_in": nanos, "per_million_out": nanos},
    optional={f"per_million_{kind}": st.none() | nanos for kind in KINDS},
)


@st.composite
def usages(draw: st.DrawFn, most: int = 400_000) -> Usage:
    into, out = draw(st.integers(0, most)), draw(st.integers(0, most))
    read = draw(st.integers(0, into))
    write = draw(st.integers(0, into - read))
    heard, spoken = draw(st.integers(0, into)), draw(st.integers(0, out))
    return Usage(
        tokens_in=into, tokens_out=out, tokens_cache_read=read, tokens_cache_write=write,
        tokens_audio_in=heard, tokens_audio_out=spoken,
    )  # fmt: skip


@st.composite
def prices(draw: st.DrawFn) -> Price:
    above = draw(st.lists(st.integers(0, 300_000), unique=True, max_size=2))
    tiers = tuple(Tier(above=start, **draw(rates)) for start in sorted(above))
    factor = draw(st.integers(0, 100)) / 100
    return Price(**draw(rates), per_request=draw(nanos), batch_factor=factor, tiers=tiers)


def reference(price: Price, usage: Usage) -> Fraction:
    """The cost in nano-dollars, worked out token by token."""
    tariff: Any = price
    for tier in price.tiers:
        if usage.tokens_in > tier.above:
            tariff = tier
    cost = Fraction(price.per_request * usage.requests)
    fresh = usage.tokens_in - usage.tokens_cache_read - usage.tokens_cache_write
    heard, spoken = min(usage.tokens_audio_in, fresh), min(usage.tokens_audio_out, usage.tokens_out)
    for many, kind, plain in (
        (fresh - heard, "in", "in"),
        (heard, "audio_in", "in"),
        (usage.tokens_cache_read, "cache_read", "in"),
        (usage.tokens_cache_write, "cache_write", "in"),
        (usage.tokens_out - spoken, "out", "out"),
        (spoken, "audio_out", "out"),
    ):
        rate = getattr(tariff, f"per_million_{kind}")
        cost += Fraction(many * (getattr(tariff, f"per_million_{plain}") if rate is None else rate), 1_000_000)
    return cost


@given(prices(), usages())
def test_a_cost_is_exact_and_rounded_up_once(price: Price, usage: Usage) -> None:
    assert price.cost_nano(usage) == math.ceil(reference(price, usage))
    share = Fraction(str(price.batch_factor))
    assert price.cost_nano(usage, batch=True) == math.ceil(reference(price, usage) * share)


@given(prices(), usages(), st.booleans())
def test_no_call_costs_more_than_its_worst_case(price: Price, usage: Usage, batch: bool) -> None:
    """What is set aside before a call, from the bounds of its tokens alone, covers it, whatever kind they are of."""
    for tokens_in in (usage.tokens_in, None):
        aside = worst_case(price.rates(tokens_in, batch=batch), usage.tokens_in, usage.tokens_out)
        assert price.cost_nano(usage, batch=batch) <= aside


@given(rates, st.lists(usages(1000), min_size=1, max_size=5))
def test_calls_cost_what_they_cost_together_but_for_rounding(values: dict[str, Any], calls: list[Usage]) -> None:
    price = Price(**values)
    exact = sum((reference(price, call) for call in calls), Fraction(0))
    assert exact <= sum(price.cost_nano(call) for call in calls) < exact + len(calls)


@given(prices(), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_more_output_never_costs_less(price: Price, into: int, out: int, more: int) -> None:
    less = price.cost_nano(Usage(tokens_in=into, tokens_out=out))
    assert less <= price.cost_nano(Usage(tokens_in=into, tokens_out=out + more))


@given(st.integers(0, 10**12))
def test_dollars_are_whole_nano_dollars(amount: int) -> None:
    dollars = str(Decimal(amount).scaleb(-9))
    assert Price.dollars(dollars, dollars, cache_read=dollars, request=dollars) == Price(
        per_million_in=amount, per_million_out=amount, per_million_cache_read=amount, per_request=amount
    )


def test_a_float_means_what_it_prints_as() -> None:
    assert Price.dollars(0.1, 0.3) == Price.dollars("0.1", "0.3")
    assert Price.dollars(0.1, 0.3).per_million_in == 100_000_000
    with pytest.raises(InputError, match="no amount of money"):
        Price.dollars("cheap", 1)


def test_a_million_tokens_cost_what_the_price_says() -> None:
    price = Price.dollars(3, 15, cache_read="0.3", cache_write="3.75")
    spent = Usage(tokens_in=1_000_000, tokens_cache_read=600_000, tokens_cache_write=200_000, tokens_out=100_000)
    assert price.cost_nano(spent) == 600_000_000 + 180_000_000 + 750_000_000 + 1_500_000_000


def test_a_long_request_costs_its_tier_for_every_token() -> None:
    price = Price(per_million_in=1_000_000, per_million_out=0, tiers=(
        Tier(above=100, per_million_in=2_000_000, per_million_out=0),
        Tier(above=200, per_million_in=5_000_000, per_million_out=0),
    ))  # fmt: skip
    cost = {n: price.cost_nano(Usage(tokens_in=n)) for n in (100, 101, 200, 201)}
    assert cost == {100: 100, 101: 202, 200: 400, 201: 1005}
    assert [price.rates(n).per_million_in for n in (100, 101, 201, None)] == [10**6, 2 * 10**6, 5 * 10**6, 5 * 10**6]


@pytest.mark.parametrize(
    ("kind", "of"), [("cache_read", "in"), ("cache_write", "in"), ("audio_in", "in"), ("audio_out", "out")]
)
def test_the_dearest_kind_of_token_is_what_is_set_aside(kind: str, of: str) -> None:
    dear: Any = {f"per_million_{kind}": 9}
    for price in (
        Price(per_million_in=5, per_million_out=5, **dear),
        Price(per_million_in=5, per_million_out=5, tiers=(Tier(above=1, per_million_in=0, per_million_out=0, **dear),)),
    ):
        rates = price.rates()
        assert (rates.per_million_in, rates.per_million_out) == ((9, 5) if of == "in" else (5, 9))


def test_other_units_and_requests_are_counted() -> None:
    price = Price(per_million_in=0, per_million_out=0, per_request=7, other={"web_searches": 10_000_000})
    used = Usage(requests=3, other={"web_searches": 2, "unheard_of": 9})
    assert price.cost_nano(used) == 21 + 20_000_000
    assert price.cost_nano(used, batch=True) == 11 + 20_000_000


def test_a_usage_is_told_its_cost_and_where_the_price_is_from() -> None:
    charged = Price.dollars(1, 2, source="genai-prices", version="9").charged(Usage(tokens_in=1, tokens_out=1))
    assert (charged.cost_nano, charged.price_source, charged.price_version) == (3000, "genai-prices", "9")
    assert charged.tokens_in == 1 and FREE.charged(charged).cost_nano == 0


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"per_million_in": -1}, "per_million_in"),
        ({"per_million_cache_write": -1}, "per_million_cache_write"),
        ({"per_request": -1}, "per_request"),
        ({"batch_factor": 1.5}, "batch_factor"),
        ({"batch_factor": float("nan")}, "batch_factor"),
        ({"other": {"web_searches": -1}}, "other.web_searches"),
        ({"tiers": (Tier(above=5, per_million_in=0, per_million_out=0),) * 2}, "tiers"),
    ],
)
def test_a_price_that_cannot_be_is_refused(values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidModel) as error:
        Price(**{"per_million_in": 0, "per_million_out": 0} | values)
    assert error.value.field == field


# --- the published tables ---------------------------------------------------------------------------------------------

PROVIDERS = {
    "openai": "openai", "openai-responses": "openai", "anthropic": "anthropic", "google": "google", "bedrock": "aws",
    "mistral": "mistral", "groq": "groq",
}  # fmt: skip


def entries() -> Iterator[tuple[str, str, str]]:
    """Every model of the tables that we can call: our provider, theirs, and the model's id."""
    from genai_prices.data import providers

    known = {provider.id: provider for provider in providers}
    for ours, theirs in PROVIDERS.items():
        yield from ((ours, theirs, model.id) for model in known[theirs].models)


def test_the_tables_say_the_same_of_every_model() -> None:
    """Their own arithmetic, on the same usage: nothing is lost on the way into whole nano-dollars."""
    from genai_prices import Usage as Theirs
    from genai_prices import calc_price

    used = [(0, 0, 0, 0), (1, 1, 0, 0), (1_000, 500, 400, 100), (199_999, 1, 7, 0), (3_000_001, 777, 1_000_000, 13)]
    priced_models = 0
    for ours, theirs, name in entries():
        price = published(ours, name, at=AT)
        if price is None:
            continue
        priced_models += 1
        for into, out, read, write in used:
            their_usage = Theirs(input_tokens=into, output_tokens=out, cache_read_tokens=read, cache_write_tokens=write)
            told = calc_price(their_usage, name, provider_id=theirs, genai_request_timestamp=AT).total_price
            usage = Usage(tokens_in=into, tokens_out=out, tokens_cache_read=read, tokens_cache_write=write)
            wanted = math.ceil(Fraction(told) * 10**9)
            assert price.cost_nano(usage) == wanted, (ours, name, price)
    assert priced_models > 300


def test_a_batch_costs_half_where_the_provider_says_so() -> None:
    for provider, name in (
        ("openai", "gpt-4o-mini"),
        ("anthropic", "claude-haiku-4-5"),
        ("google", "gemini-2.5-flash"),
    ):
        price = published(provider, name, at=AT)
        assert price is not None and price.batch_factor == 0.5
    unsaid = published("bedrock", "amazon.nova-pro-v1:0", at=AT)
    assert unsaid is not None and unsaid.batch_factor == 1


def test_another_providers_price_is_taken_without_its_rebate() -> None:
    """Google sells Claude too: the tables lend Anthropic's price, and nobody says that Google's batches cost half."""
    own, lent = published("anthropic", "claude-mythos-5-2", at=AT), published("google", "claude-mythos-5-2", at=AT)
    assert own is not None and own.batch_factor == 0.5
    assert lent is not None and lent.per_million_in == own.per_million_in and lent.batch_factor == 1


def test_a_published_price_says_where_it_is_from() -> None:
    price = published(Provider.OPENAI, "gpt-4o-mini", at=AT)
    assert price is not None and (price.source, price.version) == ("genai-prices", version())
    assert price.per_million_in == 150_000_000 and price.other["web_searches"] == 10_000_000


def test_a_price_changes_on_its_day() -> None:
    before = published("mistral", "mistral-small-latest", at=datetime(2026, 3, 15, tzinfo=UTC))
    after = published("mistral", "mistral-small-latest", at=datetime(2026, 3, 16, tzinfo=UTC))
    assert before is not None and after is not None
    assert (before.per_million_in, after.per_million_in) == (100_000_000, 150_000_000)


def test_the_dearest_hour_of_the_day_counts() -> None:
    from genai_prices.data import providers
    from genai_prices.types import StartDateConstraint

    (deepseek,) = (provider for provider in providers if provider.id == "deepseek")
    by_hour = [m for m in deepseek.models if isinstance(m.prices, list) and any(
        row.constraint is not None and not isinstance(row.constraint, StartDateConstraint) for row in m.prices
    )]  # fmt: skip
    assert by_hour
    for model in by_hour:
        price = published("openai-compatible", model.id, url="https://api.deepseek.com/v1", at=AT)
        hours = [model.get_prices(AT.replace(hour=hour)).input_mtok for hour in range(24)]
        dearest = max(rate for rate in hours if isinstance(rate, Decimal))
        assert price is not None and price.per_million_in == int(dearest * 10**9)


@pytest.mark.parametrize(
    ("provider", "id", "url"),
    [
        ("openai", "no-such-model", None),
        ("openai-compatible", "gpt-4o-mini", None),
        ("openai-compatible", "gpt-4o-mini", "http://127.0.0.1:8000/v1"),
        ("local", "smollm2", None),
    ],
)
def test_what_nobody_publishes_has_no_price(provider: str, id: str, url: str | None) -> None:
    assert published(provider, id, url=url, at=AT) is None


def model(provider: str, **fields: Any) -> Model:
    return Model(**{"name": "m", "provider": provider, "window": 1000, "max_output": 100} | fields)


def test_a_models_own_price_comes_first_then_what_is_its_own_machine_then_the_tables() -> None:
    own = Price.dollars(1, 2)
    assert price_of(model("openai", id="gpt-4o-mini", price=own)) is own
    assert price_of(model("ollama", id="llama3.2")) is FREE
    mini = price_of(model("openai-responses", id="gpt-4o-mini"), AT)
    assert mini == published("openai", "gpt-4o-mini", at=AT)
    assert price_of(model("openai-compatible", url="http://127.0.0.1:1/v1")) is None


def test_a_pool_costs_what_its_dearest_deployment_costs() -> None:
    urls = ("https://openrouter.ai/api/v1", "https://api.deepseek.com/v1")
    alone = [published("openai-compatible", "deepseek-chat", url=url, at=AT) for url in urls]
    pool = tuple(Deployment(name=f"d{n}", url=url) for n, url in enumerate(urls))
    price = price_of(model("openai-compatible", id="deepseek-chat", deployments=pool), AT)
    dearest = max(one.per_million_out for one in alone if one is not None)
    assert price is not None and price.per_million_out == dearest


def test_models_are_given_the_prices_that_they_lack() -> None:
    own = Price.dollars(1, 2)
    made = priced([model("openai", id="gpt-4o-mini"), model("openai", id="x", price=own)], AT)
    assert [one.price for one in made] == [published("openai", "gpt-4o-mini", at=AT), own]


def test_a_catalogue_has_the_prices_of_its_models_however_it_is_made() -> None:
    own, mini = Price.dollars(1, 2), published("openai", "gpt-4o-mini")
    models = [
        model("openai", name="listed", id="gpt-4o-mini"), model("openai", name="proxied", id="gpt-4o-mini", url="http://h"),
        model("openai", name="own", id="gpt-4o-mini", price=own), model("openai", name="unlisted", id="x"),
        model("ollama", name="home"),
    ]  # fmt: skip
    wanted = [mini, mini, own, None, FREE]
    assert mini is not None and [one.price for one in Catalogue.of(*models)] == wanted
    assert [one.price for one in Catalogue.of().with_(*models)] == wanted
    assert [one.price for one in Catalogue(models={one.name: one for one in models})] == wanted
    assert Catalogue.of(*models).get("unlisted") is models[3]


NO_LOOK = """
import sys
import segue
from segue.models import Catalogue, Model, Price

some = {"window": 9, "max_output": 3}
known = Model(name="a", provider="openai", id="gpt-4o-mini", price=Price.dollars(1, 2), **some)
home = Model(name="b", provider="ollama", **some)
Catalogue.load().with_(known, home)
print("genai_prices" in sys.modules)
Catalogue.of(Model(name="c", provider="openai", id="gpt-4o-mini", **some))
print("genai_prices" in sys.modules)
"""


def test_the_tables_are_not_read_for_a_catalogue_whose_prices_are_known_without(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", NO_LOOK], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_without_the_tables_a_price_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    version.cache_clear()
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    try:
        assert Catalogue.of(model("openai", id="gpt-4o-mini")).get("m").price is None
    finally:
        version.cache_clear()


OFFLINE = """
import json, socket, sys

def refuse(*args, **kwargs):
    raise SystemExit("asked the network")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import segue.models.spec, segue.models.toml, segue.models.prices, segue.models.ping
segue.models.spec.Catalogue.load()
heavy = {"genai_prices", "pydantic_ai", "tomlkit", "numpy", "httpx", "openai", "xllamacpp"}
before = sorted(heavy & set(sys.modules))
price = segue.models.prices.published("openai", "gpt-4o-mini")
after = sorted({"genai_prices", "pydantic_ai", "openai"} & set(sys.modules))
print(json.dumps([before, after, price is not None]))
"""


def test_the_tables_are_read_at_the_first_look_and_without_the_network(tmp_path: Any) -> None:
    done = subprocess.run([sys.executable, "-c", OFFLINE], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], ["genai_prices"], True]
