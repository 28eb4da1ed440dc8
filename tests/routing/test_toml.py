"""`segue.toml` describes routes; every mistake in it is told with its line, its key and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.errors import ConfigError
from segue.routing import (
    Affinity,
    Best,
    Cascade,
    Cheapest,
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
    load_routes,
    read_routes,
)
from tests.routing.made import chosen, routed, three

MODELS = ("small", "mid", "large")
WHOLE = """
[models.small]
provider = "local"

[routes.cheap]
policy = "cheapest"
quality_min = 0.7
caution = 0.5
among = ["small", "mid"]
require = { residency = ["eu", "local"], tier = "gold" }
explore = { floor = 0.05, ceiling = 0.2 }
affinity = "session"

[routes.strong]
policy = "best"
cost_usd_max = 0.02
strict = true
explore = 0

[routes.quick]
policy = "fastest"
quality_min = 0.6
latency_s_max = 10
explore = 0.2

[routes.fair]
policy = "weighted"
per_usd = 10
per_s = 0.01

[routes.stairs]
policy = "cascade"
steps = ["small", "mid", "large"]
skip = false

[routes.trial]
policy = "split"
salt = "2026-11"

[routes.trial.arms]
cheap = 0.8
large = 0.1
other = { route = "strong", share = 0.1 }

[routes.watched]
policy = "shadow"
of = "cheap"
shadows = ["large"]
share = 0.1

[routes.hedged]
policy = "hedge"
of = "watched"
after_s = 2.5

[routes.fixed]
policy = "pinned"
model = "mid"
otherwise = "cheap"

[routes.like]
policy = "examples"
otherwise = "cheap"
similarity_min = 0.6
examples = [
  { text = "Fix this bug", use = "strong" },
  { text = "hello", use = "small" },
]

[routes.own]
policy = "function"
function = "mine.routing:choose"
"""


def mistake(text: str, models: tuple[str, ...] = MODELS) -> tuple[int, str, str]:
    """The one mistake of a file."""
    with pytest.raises(ConfigError) as caught:
        read_routes(text, models)
    assert len(caught.value.mistakes) == 1, caught.value.mistakes
    return caught.value.mistakes[0]


def test_every_kind_of_policy_is_read_whole() -> None:
    routes = read_routes(WHOLE, MODELS)
    kinds = [type(policy) for policy in routes.values()]
    assert kinds == [Cheapest, Best, Fastest, Weighted, Cascade, Split, Shadow, Hedge, Pinned, Examples, Function]
    assert [policy.name for policy in routes.values()] == list(routes)
    cheap = routes["cheap"]
    assert isinstance(cheap, Cheapest)
    assert (cheap.quality_min, cheap.caution, cheap.among) == (0.7, 0.5, ("small", "mid"))
    assert cheap.require == {"residency": ("eu", "local"), "tier": "gold"}
    assert (cheap.explore, cheap.affinity) == (Explore(floor=0.05, ceiling=0.2), Affinity.SESSION)
    strong, quick, fair = routes["strong"], routes["quick"], routes["fair"]
    assert isinstance(strong, Best)
    assert (strong.cost_usd_max, strong.strict, strong.explore.ceiling) == (0.02, True, 0.0)
    assert isinstance(quick, Fastest)
    assert quick.explore == Explore(floor=0.2, ceiling=0.2)
    assert isinstance(fair, Weighted)
    assert (fair.per_quality, fair.per_usd, fair.per_s, fair.explore) == (1.0, 10, 0.01, Explore())
    stairs = routes["stairs"]
    assert isinstance(stairs, Cascade)
    assert (stairs.steps, stairs.skip, stairs.explore.ceiling) == (MODELS, False, 0.0)


def test_policies_are_made_of_others_and_of_models() -> None:
    routes = read_routes(WHOLE, MODELS)
    trial, watched, hedged, like = (routes[name] for name in ("trial", "watched", "hedged", "like"))
    assert isinstance(trial, Split)
    assert [(arm.name, arm.share) for arm in trial.arms] == [("cheap", 0.8), ("large", 0.1), ("other", 0.1)]
    assert trial.arms[0].policy is routes["cheap"]
    assert isinstance(trial.arms[1].policy, Pinned)
    assert trial.arms[2].policy is routes["strong"]
    assert isinstance(hedged, Hedge)
    assert (hedged.of, hedged.after_s) == (watched, 2.5)
    assert isinstance(like, Examples)
    assert [example.use.title for example in like.examples] == ["strong", "pinned"]


def test_a_read_route_routes() -> None:
    assert chosen(routed(read_routes('[routes.r]\npolicy = "pinned"\nmodel = "mid"')["r"], three())) == "mid"


MISTAKES = [
    ("[routes.r]\npolicy = 'cheepest'", 2, "routes.r.policy", "did you mean cheapest"),
    ("[routes.r]\nquality_min = 0.5", 1, "routes.r.policy", "is missing: what it is for, one of cheapest, best"),
    ("[routes.r]\npolicy = 'best'\nmin_quality = 0.5", 3, "routes.r.min_quality", "did you mean quality_min"),
    ("[routes.r]\npolicy = 'best'\nquality_min = 1.5", 3, "routes.r.quality_min", "from 0 to 1"),
    ("[routes.r]\npolicy = 'best'\nquality_min = '1'", 3, "routes.r.quality_min", "a number was expected"),
    ("[routes.r]\npolicy = 'best'\nper_usd = 1", 3, "routes.r.per_usd", "there is no such key"),
    ("[routes.r]\npolicy = 'best'\naffinity = 'glue'", 3, "routes.r.affinity", "cache, session"),
    ("[routes.r]\npolicy = 'best'\nstrict = 1", 3, "routes.r.strict", "true or false was expected"),
    ("[routes.r]\npolicy = 'best'\nexplore = { floor = 0.5, ceiling = 0.1 }", 3, "routes.r.explore.ceiling", "from"),
    ("[routes.r]\npolicy = 'best'\nexplore = 2", 3, "routes.r.explore", "from 0 to below 1"),
    ("[routes.r]\npolicy = 'best'\nexplore = { least = 0.1 }", 3, "routes.r.explore.least", "floor, ceiling"),
    ("[routes.r]\npolicy = 'best'\namong = ['small',\n 'midd']", 4, "routes.r.among[1]", "did you mean mid"),
    ("[routes.r]\npolicy = 'best'\nrequire = { residency = 4 }", 3, "routes.r.require.residency", "a text was"),
    ("[routes.r]\npolicy = 'cascade'\nsteps = ['small', 'small']", 3, "routes.r.steps[1]", "there twice"),
    ("[routes.r]\npolicy = 'cascade'\nsteps_max = 0", 3, "routes.r.steps_max", "at least 1"),
    ("[routes.r]\npolicy = 'split'", 1, "routes.r.arms", "is missing: routes and their shares"),
    ("[routes.r]\npolicy = 'split'\narms = { small = -1 }", 3, "routes.r.arms.small", "not negative"),
    ("[routes.r]\npolicy = 'split'\narms = { small = 0 }", 3, "routes.r.arms", "share of more than 0"),
    ("[routes.r]\npolicy = 'split'\narms = { smal = 1 }", 3, "routes.r.arms.smal", "did you mean small"),
    ("[routes.r]\npolicy = 'split'\narms = { a = { share = 1 } }", 3, "routes.r.arms.a.route", "is missing"),
    ("[routes.r]\npolicy = 'split'\narms = { r = 1 }", 3, "routes.r.arms.r", "made of itself: r → r"),
    ("[routes.r]\npolicy = 'shadow'\nof = 'small'", 1, "routes.r.shadows", "is missing"),
    ("[routes.r]\npolicy = 'shadow'\nshadows = ['mid']", 1, "routes.r.of", "is missing"),
    ("[routes.r]\npolicy = 'hedge'\nof = 'small'\nafter_s = 0", 4, "routes.r.after_s", "more than 0"),
    ("[routes.r]\npolicy = 'pinned'", 1, "routes.r.model", "is missing"),
    ("[routes.r]\npolicy = 'pinned'\nmodel = 'bigg'", 3, "routes.r.model", "not in the catalogue"),
    ("[routes.r]\npolicy = 'examples'\notherwise = 'mid'", 1, "routes.r.examples", "is missing"),
    (
        "[routes.r]\npolicy = 'examples'\notherwise = 'mid'\nexamples = [\n  { text = 'a' },\n]",
        5, "routes.r.examples[0].use", "is missing",
    ),
    ("[routes.r]\npolicy = 'function'\nfunction = 'mine'", 3, "routes.r.function", "not of the form module:name"),
    ("[route.r]\npolicy = 'best'", 1, "route", "did you mean routes"),
    ("routes = 3", 1, "routes", "a table was expected"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "setting", "says"), MISTAKES, ids=[str(at) for at in range(len(MISTAKES))])
def test_a_mistake_is_told_with_its_line_its_key_and_what_is_allowed(
    text: str, line: int, setting: str, says: str
) -> None:
    found = mistake(text)
    assert found[:2] == (line, setting), found
    assert says in found[2]


def test_a_circle_is_told_where_it_closes() -> None:
    text = "[routes.a]\npolicy = 'hedge'\nof = 'b'\n[routes.b]\npolicy = 'hedge'\nof = 'a'"
    line, setting, says = mistake(text)
    assert (line, setting) == (6, "routes.b.of")
    assert "a → b → a" in says


def test_a_mistake_is_told_once_however_often_the_route_is_used() -> None:
    uses = "\n".join(f"[routes.u{at}]\npolicy = 'hedge'\nof = 'bad'" for at in range(3))
    assert mistake(f"{uses}\n[routes.bad]\npolicy = 'best'\nquality_min = 7")[0] == 12


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read_routes("[routes.a]\npolicy = 'x'\n[routes.b]\npolicy = 'best'\nstrictly = true\ncaution = -1", MODELS)
    assert [line for line, _, _ in caught.value.mistakes] == [2, 5]


def test_without_a_catalogue_any_model_may_be_named() -> None:
    routes = read_routes("[routes.r]\npolicy = 'cascade'\nsteps = ['x', 'y']\n[routes.p]\npolicy = 'hedge'\nof = 'z'")
    assert isinstance(routes["r"], Cascade)
    assert routes["r"].steps == ("x", "y")


def test_a_file_is_found_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEGUE_CONFIG", raising=False)
    assert load_routes() == {}
    (tmp_path / "segue.toml").write_text("[routes.r]\npolicy = 'best'")
    assert [type(policy) for policy in load_routes().values()] == [Best]
    bad = tmp_path / "bad.toml"
    bad.write_text("[routes.r]\npolicy = 'bst'")
    with pytest.raises(ConfigError, match=r"bad\.toml"):
        load_routes(bad)


words = st.sampled_from(["small", "best", "r", "cheap", ""])
scalars = st.one_of(st.booleans(), st.integers(-5, 5), st.floats(-2, 2), words)
KEYS = (
    "quality_min", "arms", "of", "shadows", "model", "examples", "otherwise", "explore", "among", "require", "function",
    "steps", "skip", "share", "salt",
)  # fmt: skip
KINDS = ("cheapest", "cascade", "split", "shadow", "hedge", "pinned", "examples", "function")


@given(
    st.sampled_from(KINDS),
    st.dictionaries(st.sampled_from(KEYS), st.one_of(scalars, st.lists(scalars, max_size=2)), max_size=6),
)
def test_whatever_stands_there_is_read_or_told(kind: str, values: dict[str, object]) -> None:
    def shown(value: object) -> str:
        if isinstance(value, list):
            return "[" + ", ".join(map(shown, value)) + "]"
        return str(value).lower() if isinstance(value, bool) else repr(value)

    lines = "\n".join(f"{key} = {shown(value)}" for key, value in values.items())
    try:
        routes = read_routes(f"[routes.r]\npolicy = '{kind}'\n{lines}", MODELS)
    except ConfigError as error:
        assert all(line >= 1 and setting.startswith("routes.r") for line, setting, _ in error.mistakes)
    else:
        assert isinstance(routes["r"], Policy)


def test_a_misspelt_policy_is_named_beside_what_is_missing() -> None:
    with pytest.raises(ConfigError) as wrong:
        read_routes('[routes.a]\npolcy = "cheapest"\nquality_min = 0.5\n')
    assert [what.partition(":")[0] for _, _, what in wrong.value.mistakes] == [
        "is missing", "there is no such key; did you mean policy?",
    ]  # fmt: skip
