"""`segue.toml` describes models; every mistake in it is told with its line, its key and what is allowed."""

from __future__ import annotations

import copy
import os
import pickle
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.errors import ConfigError
from segue.models.reading import open_config
from segue.models.spec import Capability, Catalogue, Deployment, Limits, Model, Price, Provider, Tier, local_models
from segue.models.toml import read

WHOLE = """
[models.smart]
provider = "anthropic"
id = "claude-sonnet-4-5"
capabilities = ["tools", "vision", "thinking"]
window = 200_000
max_output = 64_000
key_env = "ANTHROPIC_API_KEY"
limits = { rpm = 50, tpm = 40_000, concurrency = 8 }
tags = { residency = "eu", tier = "gold" }
quality = { any = 0.8, code = 0.9 }
settings = { temperature = 0.2, stop_sequences = ["END"] }

[models.smart.price]
in = 3
out = 15.0
cache_read = 0.30
cache_write = 3.75
request = 0.001
batch_factor = 0.25
other = { web_searches = 0.01 }
tiers = [{ above = 200_000, in = 6, out = 22.5 }]

[models.vectors]
provider = "openai"
capabilities = ["embeddings"]
window = 8192
dimensions = 1536
price = { in = 0.02 }
quality = 0.5

[models.pool]
provider = "openai-compatible"
window = 1000
max_output = 100
price = { in = 0, out = 0 }

[[models.pool.deployments]]
name = "eu"
url = "https://eu.example.org/v1"
key_env = "EU_KEY"
region = "eu-1"
weight = 2
limits = { rpm = 10 }

[[models.pool.deployments]]
name = "us"
url = "https://us.example.org/v1"

[models.careful]
provider = "local"
id = "smollm2"
settings = { temperature = 0.0 }

[routes.default]
policy = "cheapest"
"""


def test_a_file_says_all_that_a_model_has() -> None:
    smart, vectors, pool, careful = read(WHOLE)
    assert smart == Model(
        name="smart",
        provider=Provider.ANTHROPIC,
        id="claude-sonnet-4-5",
        capabilities=frozenset({Capability.TOOLS, Capability.VISION, Capability.THINKING}),
        window=200_000,
        max_output=64_000,
        key_env="ANTHROPIC_API_KEY",
        limits=Limits(rpm=50, tpm=40_000, concurrency=8),
        tags={"residency": "eu", "tier": "gold"},
        quality={"any": 0.8, "code": 0.9},
        settings={"temperature": 0.2, "stop_sequences": ["END"]},
        price=Price.dollars(
            3, 15, cache_read="0.3", cache_write="3.75", request="0.001", batch_factor=0.25,
            other={"web_searches": 10_000_000},
            tiers=(Tier(above=200_000, per_million_in=6 * 10**9, per_million_out=22_500_000_000),),
        ),
    )  # fmt: skip
    assert vectors.price == Price.dollars("0.02", 0) and vectors.quality == {"any": 0.5}
    assert (vectors.max_output, vectors.dimensions, vectors.id) == (0, 1536, "vectors")
    assert pool.deployments == (
        Deployment(
            name="eu", url="https://eu.example.org/v1", key_env="EU_KEY", region="eu-1", weight=2, limits=Limits(rpm=10)
        ),
        Deployment(name="us", url="https://us.example.org/v1"),
    )
    assert (careful.window, careful.max_output) == (4096, 2048) and careful.can("json-schema")


def minimal(lines: str) -> str:
    """A good model in lines 1 to 4, and more lines of it from 5 on."""
    return f'[models.fast]\nprovider = "openai"\nwindow = 1000\nmax_output = 100\n{lines}\n'


MISTAKES: list[tuple[str, int, str, str]] = [
    # unknown keys
    (minimal("windw = 5"), 5, "models.fast.windw", "no such key; did you mean window? Allowed: provider, id, url"),
    (minimal("\n# why\nbase_url = 'http://x'"), 7, "models.fast.base_url", "did you mean url?"),
    (minimal("temperature = 0.5"), 5, "models.fast.temperature", "did you mean settings.temperature?"),
    (minimal("max-output = 5"), 5, "models.fast.max-output", "did you mean max_output?"),
    (minimal("zzz = 5"), 5, "models.fast.zzz", "no such key; allowed: provider, id"),
    (minimal("price = { in = 1, out = 1, cached = 1 }"), 5, "models.fast.price.cached", "did you mean cache_read?"),
    (minimal("[models.fast.limits]\nrpn = 5"), 6, "models.fast.limits.rpn", "did you mean rpm? Allowed: rpm, tpm"),
    (minimal("limits.max_concurrency = 5"), 5, "models.fast.limits.max_concurrency", "did you mean concurrency?"),
    (
        minimal("[[models.fast.deployments]]\nname = 'a'\n[[models.fast.deployments]]\nname = 'b'\nurll = 'http://x'"),
        9,
        "models.fast.deployments[1].urll",
        "did you mean url?",
    ),
    ("[model.fast]\nprovider = 'openai'", 1, "model", "did you mean models?"),
    # wrong types
    (minimal("").replace("1000", "'1000'"), 3, "models.fast.window", "a whole number was expected, not a text"),
    (minimal("").replace("1000", "1000.5"), 3, "models.fast.window", "a whole number was expected, not 1000.5"),
    (minimal("").replace("1000", "true"), 3, "models.fast.window", "a whole number was expected, not true or false"),
    (minimal("").replace("1000", "2026-01-01"), 3, "models.fast.window", "not a date or time"),
    (minimal("id = 5"), 5, "models.fast.id", "a text was expected, not 5"),
    (minimal("id = ['x']"), 5, "models.fast.id", "a text was expected, not an array"),
    (minimal("capabilities = 'tools'"), 5, "models.fast.capabilities", "an array was expected, not a text"),
    (minimal("capabilities = [\n'tools',\n7]"), 7, "models.fast.capabilities[1]", "a text was expected, not 7"),
    (minimal("price = 0.15"), 5, "models.fast.price", "a table was expected, not 0.15"),
    (minimal("price = { in = '1', out = 1 }"), 5, "models.fast.price.in", "a number was expected, not a text"),
    (minimal("quality = 'good'"), 5, "models.fast.quality", "a number was expected, not a text"),
    (minimal("quality = { code = true }"), 5, "models.fast.quality.code", "not true or false"),
    (minimal("tags = { owner = 7 }"), 5, "models.fast.tags.owner", "a text was expected, not 7"),
    (minimal("deployments = ['eu']"), 5, "models.fast.deployments[0]", "a table was expected, not a text"),
    (minimal("settings = { top_k = 2026-01-01 }"), 5, "models.fast.settings", "plain JSON"),
    (minimal("settings = { seed = 1.5 }"), 5, "models.fast.settings.seed", "a whole number was expected"),
    (
        "[models.l]\nprovider = 'local'\nid = 'smollm2'\nsettings = { style = 'poem' }",
        4,
        "models.l.settings.style",
        "chat or text was expected",
    ),
    (
        minimal("settings = { temprature = 1 }"),
        5,
        "models.fast.settings.temprature",
        "there is no such setting; did you mean temperature? Allowed: temperature, top_p",
    ),
    (minimal("[models.fast.settings]\nstop = ['X']"), 6, "models.fast.settings.stop", "did you mean stop_sequences?"),
    (minimal("settings.max_tokens = 5"), 5, "models.fast.settings.max_tokens", "of a model max_output; allowed: temp"),
    (
        "[models.l]\nprovider = 'local'\nid = 'smollm2'\nsettings = { top_p = 0.5 }",
        4,
        "models.l.settings.top_p",
        "there is no such setting; allowed: temperature, seed, style, words",
    ),
    ("[models]\nfast = 'openai'", 2, "models.fast", "a table was expected, not a text"),
    ("models = 5", 1, "models", "a table was expected, not 5"),
    # words
    (minimal("").replace('"openai"', '"opnai"'), 2, "models.fast.provider", "did you mean openai? Allowed: openai, op"),
    (minimal("").replace('"openai"', '"zzz"'), 2, "models.fast.provider", '"zzz" is not known; allowed: openai'),
    (minimal("capabilities = ['visoin']"), 5, "models.fast.capabilities[0]", "did you mean vision? Allowed: tools"),
    (minimal("capabilities = ['function_calling']"), 5, "models.fast.capabilities[0]", "did you mean tools?"),
    (minimal("capabilities = ['tools', 'tools']"), 5, "models.fast.capabilities[1]", "is there twice"),
    # what is missing
    ("[models.fast]\nwindow = 5\nmax_output = 5", 1, "models.fast.provider", "is missing: whose API it is called by"),
    ("\n[models.fast]\nprovider = 'openai'\nmax_output = 5", 2, "models.fast.window", "is missing: how many tokens"),
    ("models.fast.provider = 'openai'\nmodels.fast.window = 5", 1, "models.fast.max_output", "is missing"),
    (minimal("price = { out = 1 }"), 5, "models.fast.price.in", "is missing: USD per million tokens"),
    (minimal("price = { in = 1 }"), 5, "models.fast.price.out", "is missing: USD per million tokens"),
    (minimal("[[models.fast.deployments]]\nregion = 'eu'"), 5, "models.fast.deployments[0].name", "is missing"),
    # what cannot be
    (minimal("").replace("1000", "0"), 3, "models.fast.window", "at least 1"),
    (minimal("").replace("100\n", "1001\n"), 4, "models.fast.max_output", "from 1 to the window, 1000"),
    (minimal("price = { in = -0.5, out = 1 }"), 5, "models.fast.price.in", "-0.5 is negative"),
    (minimal("[models.fast.price]\nin = 1\nout = 1\nrequest = -1"), 8, "models.fast.price.request", "negative"),
    (minimal("price = { in = 1, out = nan }"), 5, "models.fast.price.out", "no finite number"),
    (minimal("price = { in = 1, out = 1, batch_factor = 2 }"), 5, "models.fast.price.batch_factor", "from 0 to 1"),
    (
        minimal(
            "[models.fast.price]\nin = 1\nout = 1\ntiers = [\n{above = 5, in = 1, out = 1},\n{above = 5, in = -1}]"
        ),
        10,
        "models.fast.price.tiers[1].in",
        "negative",
    ),
    (minimal("limits = { rpm = 0 }"), 5, "models.fast.limits.rpm", "0 is too small: at least 1"),
    (minimal("quality = { code = 1.5 }"), 5, "models.fast.quality.code", "1.5 is not from 0 to 1"),
    (minimal("dimensions = 5"), 5, "models.fast.dimensions", "embeddings"),
    (minimal("url = 'example.org'"), 5, "models.fast.url", "begins with http:// or https://"),
    (minimal("key_env = 'sk-abc'"), 5, "models.fast.key_env", "never the key itself"),
    (
        minimal("[[models.fast.deployments]]\nname = 'a'\nweight = -1"),
        7,
        "models.fast.deployments[0].weight",
        "-1 is negative: 0 is for when all others are out",
    ),
    (
        minimal("[[models.fast.deployments]]\nname = 'a'\n[[models.fast.deployments]]\nname = 'a'"),
        8,
        "models.fast.deployments[1].name",
        "twice",
    ),
    ('[models."two words"]\nprovider = "openai"\nwindow = 5\nmax_output = 5', 1, 'models."two words"', "no name"),
    ("[models.x]\nprovider = 'local'", 1, "models.x.id", "allowed: smollm2, gemma3"),
    ("[models.x]\nprovider = 'local'\nid = 'llama'", 3, "models.x.id", "allowed: smollm2, gemma3"),
    ("[models.gemma3]\nprovider = 'local'\nwindow = 99_999", 3, "models.gemma3.window", "at most 4096"),
    (minimal("").replace("openai", "openai-compatible"), 1, "models.fast.url", "needs its address"),
    # what is there twice
    (minimal("id = 'a'\n\nid = 'b'"), 7, "models.fast.id", "is there twice: first in line 5"),
    (minimal("[models.slow]\n[models.fast]"), 6, "models.fast", "is there twice: first in line 1"),
    (minimal("price = { in = 1, in = 2 }"), 5, "models.fast.price.in", "is there twice"),
    # what is no TOML
    (minimal("id ="), 5, "models.fast.id", "no valid TOML: Invalid value"),
    (minimal("id = openai"), 5, "models.fast.id", "no valid TOML"),
    (minimal("[models.slow"), 5, "models.slow", "no valid TOML: Expected ']'"),
    (minimal("capabilities = ['tools',"), 5, "models.fast.capabilities", "no valid TOML"),
    (minimal('id = "a'), 5, "models.fast.id", "no valid TOML"),
    (minimal("= 5"), 5, "", "no valid TOML"),
    ("what is this", 1, "what", "no valid TOML"),
    ("x = " + "[" * 5000, 0, "", "nested too deeply"),
]


IDS = [f"{number}-{setting}" for number, (_, _, setting, _) in enumerate(MISTAKES)]


@pytest.mark.parametrize(("text", "line", "setting", "says"), MISTAKES, ids=IDS)
def test_a_mistake_is_told_with_its_line_and_key(text: str, line: int, setting: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(text, "conf/segue.toml")
    found = error.value
    assert (found.path, found.line, found.setting) == ("conf/segue.toml", line, setting)
    place = f"conf/segue.toml, line {line}" if line else "conf/segue.toml"
    assert found.message.startswith(f"{place}: {setting}: " if setting else f"{place}: ")
    assert says in found.mistakes[0][2] and found.remedy and "conf/segue.toml" in found.remedy


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines() -> None:
    text = minimal("zzz = 1\ncapabilities = ['a', 'b']") + "[models.slow]\nprovider = 5\nwindow = 1\nmax_output = 1\n"
    with pytest.raises(ConfigError) as error:
        read(text)
    told = [(line, setting) for line, setting, _ in error.value.mistakes]
    assert told == [
        (5, "models.fast.zzz"),
        (6, "models.fast.capabilities[0]"),
        (6, "models.fast.capabilities[1]"),
        (8, "models.slow.provider"),
    ]
    assert len(error.value.message.splitlines()) == 4
    assert error.value.remedy == "correct lines 5, 6, 8 of segue.toml"


def test_a_key_in_the_file_is_not_shown() -> None:
    for line in ("key_env = 'sk-very-secret'", "key_env = ['sk-very-secret']", "api_key = 'sk-very-secret'"):
        with pytest.raises(ConfigError) as error:
            read(minimal(line))
        assert "secret" not in str(error.value)


PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_examples_of_the_page_are_read(number: int) -> None:
    text = BLOCKS[number].replace(
        "[models.rich.price]",
        "[models.rich]\nprovider = 'openai'\nwindow = 300_000\nmax_output = 5\n[models.rich.price]",
    )
    assert len(read(text)) >= 1


def test_the_page_names_every_key_and_every_word() -> None:
    with pytest.raises(ConfigError) as error:
        read("[models.x]\nzzz = 1\nprovider = 'zzz'\ncapabilities = ['zzz']\nprice = { zzz = 1 }\nlimits = { zzz = 1 }")
    allowed = [says.rpartition("llowed: ")[2].split(", ") for _, _, says in error.value.mistakes if "llowed: " in says]
    assert len(allowed) == 5
    assert [word for words in allowed for word in words if not re.search(rf"\b{word}\b", PAGE)] == []


def test_an_error_is_a_value() -> None:
    with pytest.raises(ConfigError) as error:
        read(minimal("zzz = 1"))
    again = pickle.loads(pickle.dumps(error.value))
    assert str(again) == str(error.value) and again.line == 5
    assert copy.copy(error.value).mistakes == error.value.mistakes


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and no SEGUE_CONFIG."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEGUE_CONFIG", raising=False)
    return tmp_path


def test_without_a_file_there_are_the_local_models(elsewhere: Path) -> None:
    assert Catalogue.load().models == local_models().models and Catalogue.load().source is None
    assert open_config() is None
    (elsewhere / "segue.toml").write_text("[routes.default]\npolicy = 'cheapest'\n")
    assert list(Catalogue.load().models) == ["smollm2", "gemma3"] and Catalogue.load().source == "segue.toml"


def test_the_file_of_this_folder_then_the_one_of_the_environment_then_the_one_that_is_named(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("segue", "other", "named"):
        (elsewhere / f"{name}.toml").write_text(f"[models.{name}]\nprovider = 'local'\nid = 'smollm2'\n")
    assert list(Catalogue.load().models) == ["segue"]
    monkeypatch.setenv("SEGUE_CONFIG", "other.toml")
    assert list(Catalogue.load().models) == ["other"]
    assert list(Catalogue.load(elsewhere / "named.toml").models) == ["named"]


def test_a_file_that_is_named_must_be_there(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: there is no such file") as error:
        Catalogue.load("none.toml")
    assert error.value.path == "none.toml" and error.value.remedy
    monkeypatch.setenv("SEGUE_CONFIG", "gone.toml")
    with pytest.raises(ConfigError, match=r"gone\.toml: there is no such file: SEGUE_CONFIG names it"):
        Catalogue.load()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        Catalogue.load(elsewhere)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read(elsewhere: Path) -> None:
    (elsewhere / "shut.toml").touch(mode=0)
    with pytest.raises(ConfigError, match="cannot be read"):
        Catalogue.load("shut.toml")


def test_a_file_that_is_no_utf8(elsewhere: Path) -> None:
    (elsewhere / "latin.toml").write_bytes(b"# fine\n# caf\xe9\n")
    with pytest.raises(ConfigError, match="line 2: this is no UTF-8"):
        Catalogue.load("latin.toml")


def test_a_byte_order_mark_and_line_ends_of_windows_do_no_harm(elsewhere: Path) -> None:
    (elsewhere / "windows.toml").write_bytes(b"\xef\xbb\xbf" + minimal("zzz = 1").replace("\n", "\r\n").encode())
    with pytest.raises(ConfigError, match=r"line 5: models\.fast\.zzz"):
        Catalogue.load("windows.toml")


def test_what_is_loaded_has_prices(elsewhere: Path) -> None:
    text = minimal("id = 'gpt-4o-mini'") + "[models.own]\nprovider = 'ollama'\nwindow = 5\nmax_output = 5\n"
    (elsewhere / "segue.toml").write_text(text)
    fast, own = Catalogue.load()
    assert fast.price is not None and fast.price.source == "genai-prices"
    assert own.price is not None and own.price.source == "local"
    assert list(read(text)) == [fast, own]


@pytest.mark.parametrize("provider", ["anthropic", "groq", "local"])
def test_a_provider_without_embeddings_has_no_model_that_embeds(provider: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(f"[models.smollm2]\nprovider = '{provider}'\nwindow = 9\nmax_output = 3\ncapabilities = ['embeddings']\n")
    assert "line 5: models.smollm2.capabilities[0]" in str(error.value)
    assert f"{provider} has no embeddings: leave it out; allowed for openai, " in str(error.value)


# --- anything ---------------------------------------------------------------------------------------------------------

scraps = st.sampled_from(
    [
        *(line for line in WHOLE.splitlines() if line),
        "in = -1",
        "= 5",
        "[[models.pool]]",
        '"""',
        "window = {",
        "}",
        "x = 1",
    ]
)


@given(st.lists(scraps, max_size=25))
def test_any_text_is_a_catalogue_or_an_error_with_lines(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        assert len(read(text)) > 0
    except ConfigError as error:
        assert error.mistakes and error.remedy
        assert all(0 <= line <= len(lines) for line, _, _ in error.mistakes)


values: Any = st.integers() | st.floats() | st.text(max_size=3) | st.booleans() | st.just([]) | st.just({})


@given(st.sampled_from(sorted(tomllib.loads(WHOLE)["models"]["smart"])), values)
def test_any_value_at_any_key_is_taken_or_told(key: str, value: Any) -> None:
    """The reader never breaks on a value of the wrong type."""
    from segue.models.reading import Mistakes, Table
    from segue.models.toml import _model

    table = Table(tomllib.loads(WHOLE)["models"]["smart"] | {key: value}, Mistakes("x", ""), ("models", "smart"))
    made = _model("smart", table)
    assert (made is None) == (not table.fine)
