"""`[batches]` of `segue.toml`: how batches are put together, and what is wrong with it, by line and key."""

from __future__ import annotations

import pytest

from segue.errors import ConfigError
from segue.models.batches import BatchRules
from segue.models.batches.toml import load_batch_rules, read_batch_rules
from segue.models.toml import read


def test_every_rule_can_be_written_down() -> None:
    text = """
[batches]
wait_s = 0
requests = 500
look_s = 30
look_s_max = 600.5
turn_s = 1
settle_s = 0.5
calls_at_once = 4
"""
    rules = BatchRules(
        wait_s=0, requests=500, look_s=30, look_s_max=600.5, turn_s=1, settle_s=0.5, calls_at_once=4
    )  # fmt: skip
    assert read_batch_rules(text) == rules


def test_what_is_not_there_is_as_ever() -> None:
    assert read_batch_rules("") == read_batch_rules("[batches]") == BatchRules()
    assert read_batch_rules("[batches]\nwait_s = 60") == BatchRules(wait_s=60)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("wait_s = -1", "line 3: batches.wait_s: -1 is too small: 0 or more, in seconds"),
        ("look_s = 0", "line 3: batches.look_s: 0 is too small: more than 0, in seconds"),
        ("requests = 0", "line 3: batches.requests: 0 is not from 1 to 50000"),
        ("requests = 100_000", "batches.requests: 100000 is not from 1 to 50000"),
        ("requests = 2.5", "batches.requests: a whole number was expected, not 2.5"),
        ("calls_at_once = true", "batches.calls_at_once: a whole number was expected, not true or false"),
        ("look_s = 'soon'", "batches.look_s: a number was expected, not a text"),
        ("look_s = inf", "batches.look_s: inf is no finite number"),
        ("poll_interval = 3", "poll_interval: there is no such key; did you mean look_s? Allowed: wait_s, requests"),
        ("waits = 3", "batches.waits: there is no such key; did you mean wait_s"),
        ("[batches.more]", "line 3: batches.more: there is no such key"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_line_and_key_and_what_is_allowed(line: str, says: str) -> None:
    with pytest.raises(ConfigError) as told:
        read_batch_rules(f"\n[batches]\n{line}\n")
    assert says in str(told.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as told:
        read_batch_rules("batches.wait_s = -1\nbatches.requests = 0\n")
    assert [line for line, *_ in told.value.mistakes] == [1, 2]


def test_it_is_a_table() -> None:
    with pytest.raises(ConfigError, match="line 1: batches: a table was expected, not 5"):
        read_batch_rules("batches = 5")


def test_a_file_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_batch_rules("/nowhere/segue.toml")


@pytest.mark.parametrize("provider", ["bedrock", "ollama"])
def test_a_model_whose_provider_has_no_batches_here_cannot_be_given_them(provider: str) -> None:
    text = f"""
[models.m]
provider = "{provider}"
capabilities = ["tools", "batch"]
window = 8_000
max_output = 1_000
"""
    with pytest.raises(ConfigError) as told:
        read(text)
    assert f"line 4: models.m.capabilities[1]: the batch API of {provider} is not spoken here" in str(told.value)
    assert "allowed for openai, openai-responses, anthropic, google, mistral, groq" in str(told.value)


@pytest.mark.parametrize("name", ["batch", "gaurds", "guard", "route", "model", "budget", "promts"])
def test_a_table_whose_name_is_like_another_is_a_mistake(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: there is no such table; did you mean"):
        read(f"[{name}.x]\nkind = 'pii'\n")
