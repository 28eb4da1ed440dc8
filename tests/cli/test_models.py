"""`segue models`: what it lists, how it asks, and how it tells mistakes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from segue.cli.models import table
from segue.core.faults import FaultKind
from segue.models.health import Health, HealthView, Place, Standing
from segue.models.ping import Ping
from segue.models.signals import made
from segue.models.spec import Catalogue, Model, Price, Provider
from tests.cli.terminal import Terminal

FILE = """
[models.fast]
provider = "openai"
id = "gpt-4o-mini"
window = 128_000
max_output = 16_384
capabilities = ["tools", "json-schema"]

[models.smart]
provider = "anthropic"
id = "claude-sonnet-4-5"
window = 200_000
max_output = 64_000
key_env = "A_KEY_THAT_NOBODY_HAS"

[models.mine]
provider = "openai-compatible"
url = "http://127.0.0.1:9/v1"
window = 8192
max_output = 4096
"""


@pytest.fixture
def stocked(terminal: Terminal) -> Terminal:
    (terminal.folder / "segue.toml").write_text(FILE)
    return terminal


def test_without_a_file_the_local_models_are_listed(terminal: Terminal) -> None:
    done = terminal.segue("models")
    assert done.code == 0 and "2 models of the built-in catalogue" in done.err
    rows = [line.split() for line in done.out.splitlines()]
    assert rows[0] == ["model", "provider", "window", "output", "$", "in", "$", "out", "can"]
    assert rows[1] == ["smollm2", "local", "4,096", "2,048", "0", "0", "json-schema"]
    assert rows[2][0] == "gemma3"


def test_prices_are_dollars_with_a_sign_for_what_is_not_flat_and_what_is_not_known(stocked: Terminal) -> None:
    done = stocked.segue("models")
    fast, smart, mine = (line.split() for line in done.out.splitlines()[1:])
    assert fast == ["fast", "openai", "128k", "16,384", "0.15", "0.6", "json-schema", "tools"]
    assert smart[4:6] == ["3+", "15+"] and mine[4:6] == ["?", "?"]
    assert "3 models of segue.toml" in done.err


def test_json_is_the_catalogue(stocked: Terminal) -> None:
    body = stocked.segue("models", "--json").json
    assert body["source"] == "segue.toml" and len(body["version"]) == 16
    assert [one["name"] for one in body["models"]] == ["fast", "smart", "mine"]
    fast = body["models"][0]
    assert fast["price"]["per_million_in"] == 150_000_000 and fast["price"]["source"] == "genai-prices"
    assert fast["capabilities"] == ["json-schema", "tools"] and "ping" not in fast


def test_models_are_chosen_by_name(stocked: Terminal) -> None:
    body = stocked.segue("models", "mine", "fast", "mine", "--json").json
    assert [one["name"] for one in body["models"]] == ["mine", "fast"]
    wrong = stocked.segue("models", "fats")
    assert wrong.code == 2 and "no model is called 'fats'" in wrong.err and "did you mean fast?" in wrong.err


def test_a_deployment_of_a_pool_that_takes_no_calls_is_named(stocked: Terminal) -> None:
    (stocked.folder / "segue.toml").write_text(
        "[models.pool]\nprovider = 'openai'\nid = 'gpt-4o-mini'\nwindow = 1000\nmax_output = 100\n"
        "[[models.pool.deployments]]\nname = 'eu'\n[[models.pool.deployments]]\nname = 'us'\nweight = 0\n"
    )
    health = Health(stocked.folder / "segue.db-health")
    place = health.try_acquire(Catalogue.load(stocked.folder / "segue.toml").get("pool"), 10)
    assert isinstance(place, Place) and place.deployment.name == "eu"
    health.release(place, made(FaultKind.UNAUTHORISED, "the key was refused"), 0.1, 10)
    health.close()
    done = stocked.segue("models")
    assert done.out.splitlines()[1].split()[-1] == "open"
    assert "pool/eu is shut: its key was refused, " in done.err
    stands = stocked.segue("models", "--json").json["models"][0]["health"]
    assert stands["standing"] == "open"
    assert {name: one["standing"] for name, one in stands["deployments"].items()} == {"eu": "shut", "us": "open"}


def test_a_person_reopens_what_is_shut(stocked: Terminal) -> None:
    (stocked.folder / "segue.toml").write_text(
        "[models.pool]\nprovider = 'openai'\nid = 'gpt-4o-mini'\nwindow = 1000\nmax_output = 100\n"
        "[[models.pool.deployments]]\nname = 'eu'\n[[models.pool.deployments]]\nname = 'us'\n"
    )
    asked = stocked.segue("models", "--reopen", "pool").err
    assert "no model was asked yet" in asked and "do  name the database of the runs that have asked it by --db" in asked
    health, model = (
        Health(stocked.folder / "segue.db-health"),
        Catalogue.load(stocked.folder / "segue.toml").get("pool"),
    )
    for _ in "two":
        place = health.try_acquire(model, 10)
        if isinstance(place, Place):
            health.release(place, made(FaultKind.UNAUTHORISED, "the key was refused"), 0.1, 10)

    def stand() -> list[Standing]:
        return [view.standing for view in health.views(model).values()]

    assert stand() == [Standing.SHUT, Standing.SHUT]
    for name, says in (("pool/asia", "there are: pool/eu, pool/us"), ("pol", "did you mean pool?")):
        wrong = stocked.segue("models", "--reopen", name)
        assert wrong.code == 2 and says in wrong.err and stand() == [Standing.SHUT, Standing.SHUT]
    assert stocked.segue("models", "--reopen", "pool/us").code == 0
    assert stand() == [Standing.SHUT, Standing.OPEN]
    done = stocked.segue("models", "--reopen", "pool", "--json")
    assert done.json["models"][0]["health"]["standing"] == "open" and stand() == [Standing.OPEN, Standing.OPEN]
    health.close()


@pytest.mark.parametrize("how", ["option", "environment"])
def test_another_file_is_read(stocked: Terminal, how: str) -> None:
    (stocked.folder / "other.toml").write_text("[models.only]\nprovider = 'local'\nid = 'smollm2'\n")
    words = ["--config", "other.toml"] if how == "option" else []
    env = {"SEGUE_CONFIG": "other.toml"} if how == "environment" else {}
    body = stocked.segue("models", "--json", *words, env=env).json
    assert body["source"] == "other.toml" and [one["name"] for one in body["models"]] == ["only"]


def test_mistakes_are_told_with_their_lines(stocked: Terminal) -> None:
    (stocked.folder / "segue.toml").write_text(FILE.replace("max_output", "max_outptu", 1).replace('"tools"', '"tool"'))
    done = stocked.segue("models")
    assert done.code == 2 and done.out == "" and "Traceback" not in done.err
    assert "segue.toml, line 6: models.fast.max_outptu: there is no such key; did you mean max_output?" in done.err
    assert 'segue.toml, line 7: models.fast.capabilities[0]: "tool" is not known; did you mean tools?' in done.err
    assert "do  correct lines 2, 6, 7 of segue.toml" in done.err
    error = json.loads(stocked.segue("models", "--json").err)["error"]
    assert error["code"] == "config" and error["exit"] == 2 and "line 6" in error["message"]
    missing = stocked.segue("models", "--config", "none.toml")
    assert missing.code == 2 and "none.toml: there is no such file" in missing.err


def test_a_route_by_a_function_that_cannot_be_imported_is_a_mistake(stocked: Terminal) -> None:
    (stocked.folder / "choosing.py").write_text("def choose(request, features, candidates):\n    return 'fast'\n")
    (stocked.folder / "broken.py").write_text("1 / 0\n")
    (stocked.folder / "ends.py").write_text("import sys\nsys.exit(3)\n")
    for name, says in (
        ("choosing:choose", ""),
        ("choosing:chose", "cannot be found"),
        ("chosing:f", "cannot be found"),
        ("broken:f", "cannot be imported: ZeroDivisionError"),
        ("ends:f", "cannot be imported: SystemExit: 3"),
    ):
        route = f"\n[routes.mine]\npolicy = 'function'\nfunction = '{name}'\n"
        (stocked.folder / "segue.toml").write_text(FILE + route)
        done = stocked.segue("models")
        assert done.code == (2 if says else 0) and says in done.err
        assert ("routes.mine.function: " in done.err) is bool(says)


def test_a_policy_that_there_is_not_is_told_with_those_like_it(stocked: Terminal) -> None:
    (stocked.folder / "segue.toml").write_text(FILE + "\n[routes.chat]\npolicy = 'fastest'\n")
    wrong = stocked.segue("route", "hello", "--policy", "cheepest")
    assert wrong.code == 2 and "no route is called 'cheepest'; did you mean cheapest?" in wrong.err
    assert "one of chat, cheapest, best, fastest, cascade" in wrong.err
    assert "no route is called 'fast': it is a model" in stocked.segue("route", "hello", "--policy", "fast").err


MORE = """
[guards.judge]
kind = "moderation"
model = "fats"

[routes.chat]
policy = "cheapst"

[prompts.greet]
rollout = { v1 = 1, v2 = 1 }
versions = { v1 = "Hi {{name}}." }

[budgets.tenants]
acme = { usd = 100, per = "week" }
trial = 1e300

[batches]
wait = 3
"""


def test_mistakes_of_every_table_are_told_at_once(stocked: Terminal) -> None:
    (stocked.folder / "segue.toml").write_text(FILE.replace("max_output", "max_outptu", 1) + MORE)
    done = stocked.segue("models")
    assert done.code == 2 and done.out == "" and "Traceback" not in done.err
    told = [line.split(": ")[1] for line in done.err.splitlines() if "segue.toml, line" in line]
    assert told == [
        "models.fast.max_output", "models.fast.max_outptu", "guards.judge.model", "routes.chat.policy",
        "prompts.greet.rollout.v2", "budgets.tenants.acme.per", "budgets.tenants.trial", "batches.wait",
    ]  # fmt: skip
    assert 'line 24: guards.judge.model: there is no model "fats"; did you mean fast?' in done.err
    stocked.folder.joinpath("segue.toml").write_text(FILE)
    (stocked.folder / "prompts").mkdir()
    (stocked.folder / "prompts" / "greet.md").write_text("Hi\n{{your name}}")
    done = stocked.segue("models")
    assert done.code == 2 and "greet.md, line 2: '{{your name}}' is no place" in done.err


def test_a_ping_that_fails_says_why_and_ends_with_one(stocked: Terminal) -> None:
    done = stocked.segue("models", "smart", "--ping")
    assert done.code == 1 and "✗ failed" in done.out
    assert "✗ smart: A_KEY_THAT_NOBODY_HAS is not set" in done.err and "export A_KEY_THAT_NOBODY_HAS=" in done.err
    body = stocked.segue("models", "smart", "--ping", "--json")
    assert body.code == 1
    (answer,) = body.json["models"][0]["ping"]
    assert answer["ok"] is False and answer["deployment"] == "smart" and "is not set" in answer["says"]


def test_a_server_that_is_not_there_is_told(stocked: Terminal) -> None:
    done = stocked.segue("models", "mine", "--ping")
    assert done.code == 1 and "✗ mine: " in done.err and "Traceback" not in done.err


def test_local_weights_that_are_not_there_are_told(terminal: Terminal, tmp_path: Path) -> None:
    done = terminal.segue("models", "smollm2", "--ping", env={"SEGUE_CACHE": str(tmp_path / "empty")})
    assert done.code == 1
    assert "the weights of smollm2 are not in" in done.err and "python -m segue.models.weights smollm2" in done.err


def model(name: str = "m", **fields: object) -> Model:
    return Model(**{"name": name, "provider": Provider.OPENAI, "window": 1000, "max_output": 100, **fields})  # type: ignore[arg-type]


def drawn(health: Callable[[Model], HealthView] | None, told: dict[str, list[Ping]] | None, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    price = Price.dollars("0.0005", 12)
    console.print(
        table([model(price=price), model("embedder", capabilities=["embeddings"], max_output=0)], told, health)
    )
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_health_and_pings_stand_beside() -> None:
    good, bad = (
        Ping(model="m", deployment="a", ok=True, seconds=0.25),
        Ping(model="m", deployment="b", ok=False, seconds=1),
    )
    views = {
        "m": HealthView(Standing.BROKEN, "five failures in a row", 0, 8.0, None, 0.5),
        "embedder": HealthView(Standing.OPEN, "", None, 0.0, 1.2, 0.0),
    }
    out = drawn(lambda m: views[m.name], {"m": [good, bad], "embedder": [good]}, width=150)
    head, first, second = out.splitlines()
    assert head.split()[-3:] == ["health", "ping", "can"]
    assert "broken: five failures in a row, 50% fail, again in 8.0 s" in first
    assert "✗ 1 of 2" in first and "0.0005" in first and "12" in first
    assert "open, p95 1.2 s" in second and "✓ 250 ms" in second and " – " in second
    assert "health" not in drawn(None, None) and "ping" not in drawn(None, None)


def test_how_models_fare_is_read_from_beside_the_database(stocked: Terminal) -> None:
    assert "health" not in stocked.segue("models").out
    health = Health(stocked.folder / "segue.db-health")
    place = health.try_acquire(Catalogue.load(stocked.folder / "segue.toml").get("fast"), 10)
    assert isinstance(place, Place)
    health.release(place, made(FaultKind.UNAUTHORISED, "the key was refused"), 0.1, 10)
    health.close()
    done = stocked.segue("models")
    assert "shut" in done.out.splitlines()[1] and "open" in done.out.splitlines()[3]
    listed = stocked.segue("models", "--json").json["models"]
    assert [m["health"]["standing"] for m in listed] == ["shut", "open", "open"]
