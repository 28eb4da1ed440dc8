"""A catalogue holds what can be, says what cannot, and knows its models by name."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_ai.settings import ModelSettings

from segue.core.faults import FaultKind, classify, rebuild
from segue.models import InvalidModel, UnknownModel
from segue.models.health import Health, Place
from segue.models.settings import ELSEWHERE, SETTINGS
from segue.models.signals import made
from segue.models.spec import Capability, Catalogue, Deployment, Limits, Model, Price, Provider, local_models


def model(name: str = "fast", **fields: Any) -> Model:
    return Model(**{"name": name, "provider": Provider.OPENAI, "window": 1000, "max_output": 100} | fields)


def test_words_become_what_they_stand_for() -> None:
    made = model(provider="anthropic", capabilities=["tools", "json-schema"])
    assert made.provider is Provider.ANTHROPIC
    assert made.capabilities == {Capability.TOOLS, Capability.JSON_SCHEMA}
    assert made.can("tools", Capability.JSON_SCHEMA) and not made.can("tools", "vision")


def test_the_id_is_the_name_where_none_is_given() -> None:
    assert model().id == "fast" and model(id="gpt-4o-mini").id == "gpt-4o-mini"


def test_a_pool_is_never_empty() -> None:
    (only,) = model(url="https://example.org/v1", key_env="A_KEY", region="eu").pool()
    assert only == Deployment(name="fast", url="https://example.org/v1", key_env="A_KEY", region="eu")
    two = (Deployment(name="eu"), Deployment(name="us", weight=2.0))
    assert model(deployments=two).pool() == two


def test_a_quality_counts_for_its_kind_and_any_for_the_rest() -> None:
    made = model(quality={"any": 0.5, "code": 0.9})
    assert [made.expected("code"), made.expected("maths"), made.expected()] == [0.9, 0.5, 0.5]
    assert model().expected("code") is None


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"name": ""}, "name", "no name"),
        ({"name": "two words"}, "name", "no name"),
        ({"name": "x" * 101}, "name", "at most 100"),
        ({"provider": "opnai"}, "provider", "did you mean openai?"),
        ({"capabilities": ["visoin"]}, "capabilities", "did you mean vision?"),
        ({"window": 0}, "window", "at least 1"),
        ({"max_output": 0}, "max_output", "from 1 to the window, 1000"),
        ({"max_output": 1001}, "max_output", "1001 is not from 1"),
        ({"quality": {"code": 1.1}}, "quality.code", "from 0 to 1"),
        ({"quality": {"code": float("nan")}}, "quality.code", "from 0 to 1"),
        ({"settings": {"seed": {1, 2}}}, "settings", "plain JSON"),
        ({"settings": {"temperature": float("inf")}}, "settings", "plain JSON"),
        ({"settings": {"temprature": 1}}, "settings.temprature", "did you mean temperature?"),
        ({"settings": {"max_retries": 3}}, "settings.max_retries", "the option attempts="),
        ({"dimensions": 256}, "dimensions", "embeddings"),
        ({"dimensions": 0, "capabilities": ["embeddings"]}, "dimensions", "at least 1"),
        ({"url": "example.org"}, "url", "https://"),
        ({"key_env": "sk-abc-def"}, "key_env", "never the key itself"),
        ({"provider": "openai-compatible"}, "url", "needs its address"),
        (
            {"provider": "openai-compatible", "deployments": (Deployment(name="a"),)},
            "deployments.0.url",
            "needs its address",
        ),
        ({"deployments": (Deployment(name="a"), Deployment(name="a"))}, "deployments.1.name", "twice"),
        ({"deployments": (Deployment(name="a"),), "url": "http://x"}, "deployments", "or none of them"),
        ({"provider": "local"}, "id", "smollm2"),
        ({"provider": "local", "id": "smollm2", "window": 8192}, "window", "at most 4096"),
        ({"provider": "local", "id": "smollm2", "deployments": (Deployment(name="a"),)}, "deployments", "has none"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(fields: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(InvalidModel) as error:
        model(**fields)
    assert error.value.field == field and says in str(error.value)
    assert repr(fields.get("name", "fast")) in str(error.value)


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"id": 3}, "id", "a text was expected, not 3"),
        ({"capabilities": "vision"}, "capabilities", 'words were expected, as {"tools", "vision"}, not \'vision\''),
        ({"window": "8k"}, "window", "a whole number was expected, not '8k'"),
        ({"window": True}, "window", "a whole number"),
        ({"max_output": 1.5}, "max_output", "a whole number was expected, not 1.5"),
        ({"price": 3}, "price", "a price was expected, as Price.dollars(0.5, 1.5), not 3"),
        ({"limits": {"rpm": 3}}, "limits", "limits were expected, as Limits(rpm=60), not {'rpm': 3}"),
        ({"tags": {"tier": 1}}, "tags", 'tags were expected, as {"residency": "eu"}, not'),
        ({"quality": "good"}, "quality", "a number was expected, or one for each kind of task"),
        ({"quality": {"code": "good"}}, "quality", "a number was expected, or one for each kind of task"),
        ({"quality": {1: 0.5, "any": 0.4}}, "quality", "a number was expected, or one for each kind of task"),
        ({"tags": {1: "a", "tier": "b"}}, "tags", "tags were expected"),
        ({"quality": True}, "quality", "a number was expected, or one for each kind of task"),
        ({"quality": 2}, "quality.any", "2 is not from 0 to 1"),
        ({"deployments": ("a",)}, "deployments", 'were expected, as (Deployment(name="eu", url=...),), not'),
        ({"deployments": Deployment(name="a")}, "deployments", "deployments were expected"),
        ({"url": 3}, "url", "a text was expected"),
        ({"settings": [1]}, "settings", "named values"),
        ({"dimensions": "256", "capabilities": ["embeddings"]}, "dimensions", "a whole number"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_what_to_write(fields: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(InvalidModel) as error:
        model(**fields)
    assert error.value.field == field and says in str(error.value) and "model 'fast'" in str(error.value)


def test_limits_and_deployments_hold_their_kinds_too() -> None:
    with pytest.raises(InvalidModel, match="rpm: a whole number was expected, not '3'"):
        Limits(rpm="3")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidModel, match=r"limits: limits were expected, as Limits\(rpm=60\), not 3"):
        Deployment(name="eu", limits=3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidModel, match="weight: a number was expected, not 'much'"):
        Deployment(name="eu", weight="much")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidModel, match="name: a text was expected, not 3"):
        model(3)  # pyright: ignore[reportArgumentType]


def test_a_number_is_the_quality_for_all_kinds_and_a_list_a_pool() -> None:
    made = model(quality=0.6, deployments=[Deployment(name="eu")])
    assert made.quality == {"any": 0.6} and made.expected("code") == 0.6
    assert made.deployments == (Deployment(name="eu"),)


def test_one_that_embeds_needs_no_output_limit() -> None:
    vectors = Model(name="v", provider=Provider.OPENAI, window=8000, capabilities={"embeddings"})
    assert vectors.max_output == 0
    with pytest.raises(
        InvalidModel, match="max_output: how many tokens an answer may have: from 1 to the window, 8000"
    ):
        Model(name="v", provider=Provider.OPENAI, window=8000)


def test_a_key_in_place_of_its_variable_is_not_shown() -> None:
    with pytest.raises(InvalidModel) as error:
        Deployment(name="eu", key_env="sk-very-secret")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("name", ["rpm", "tpm", "concurrency"])
def test_a_limit_is_at_least_one(name: str) -> None:
    with pytest.raises(InvalidModel, match=f"{name}: 0 is too small"):
        Limits(**{name: 0})


@pytest.mark.parametrize("weight", [-1, float("inf"), float("nan")])
def test_a_weight_is_a_share(weight: float) -> None:
    with pytest.raises(InvalidModel, match="weight"):
        Deployment(name="eu", weight=weight)


def test_a_deployment_without_weight_is_for_when_the_others_are_out() -> None:
    last = Deployment(name="last", weight=0)
    health, pool = Health(None), model(deployments=(Deployment(name="eu"), last))
    taken = [health.try_acquire(pool, 1) for _ in range(50)]
    assert {place.deployment.name for place in taken if isinstance(place, Place)} == {"eu"}
    shut = rebuild(made(FaultKind.UNAUTHORISED, "no such key"))
    for place in taken:
        assert isinstance(place, Place)
        health.release(place, classify(shut), 0.1, 1)
    then = health.try_acquire(pool, 1)
    assert isinstance(then, Place) and then.deployment.name == "last"
    health.close()


def test_several_without_weight_share_what_comes_to_them() -> None:
    reserve = tuple(Deployment(name=name, weight=0) for name in ("one", "two", "three"))
    health, pool = Health(None), model(deployments=reserve)
    taken = [health.try_acquire(pool, 1) for _ in range(60)]
    assert {place.deployment.name for place in taken if isinstance(place, Place)} == {"one", "two", "three"}
    health.close()


def test_one_that_only_embeds_writes_nothing() -> None:
    made = model(capabilities=["embeddings"], max_output=0, dimensions=256)
    assert made.embeds and not model().embeds


def test_a_name_is_found_and_a_wrong_one_is_told_with_those_like_it() -> None:
    catalogue = Catalogue.of(model("fast"), model("faster"), model("slow"))
    assert catalogue.get("slow").name == "slow"
    assert [m.name for m in catalogue] == ["fast", "faster", "slow"]
    assert len(catalogue) == 3 and "fast" in catalogue and "x" not in catalogue
    with pytest.raises(UnknownModel, match="no model is called 'Fastr'; did you mean faster or fast") as error:
        catalogue.get("Fastr")
    assert error.value.remedy == "one of fast, faster, slow"
    with pytest.raises(UnknownModel) as error:
        catalogue.get("zebra")
    assert error.value.remedy == "one of fast, faster, slow"
    with pytest.raises(UnknownModel, match="empty"):
        Catalogue.of().get("fast")


def test_a_name_is_there_once() -> None:
    with pytest.raises(InvalidModel, match="two models are called 'fast'"):
        Catalogue.of(model("fast"), model("fast"))


def test_another_model_of_the_name_takes_its_place() -> None:
    catalogue = Catalogue.of(model("fast"), model("slow"))
    more = catalogue.with_(model("fast", window=5000), model("new"))
    assert [m.name for m in more] == ["fast", "slow", "new"] and more.get("fast").window == 5000
    assert catalogue.get("fast").window == 1000


def test_models_are_found_by_what_they_can() -> None:
    catalogue = Catalogue.of(model("a", capabilities=["tools"]), model("b", capabilities=["tools", "vision"]))
    assert [m.name for m in catalogue.able("tools", "vision")] == ["b"]
    assert len(catalogue.able()) == 2


CHANGES: list[dict[str, Any]] = [
    {"window": 2000}, {"id": "x"}, {"price": Price.dollars(1, 2)}, {"tags": {"residency": "eu"}},
    {"quality": {"any": 0.5}}, {"capabilities": ["tools"]}, {"settings": {"temperature": 0.5}},
    {"limits": Limits(rpm=5)}, {"deployments": (Deployment(name="eu"),)},
]  # fmt: skip


@given(st.permutations(range(len(CHANGES))))
def test_the_version_depends_on_the_content_and_not_on_the_order(order: list[int]) -> None:
    models = [model(f"m{n}", **CHANGES[n]) for n in range(len(CHANGES))]
    assert Catalogue.of(*(models[n] for n in order)).version == Catalogue.of(*models).version


def test_the_order_of_tags_is_no_other_version() -> None:
    one, other = ({"a": "1", "b": "2"}, {"b": "2", "a": "1"})
    assert Catalogue.of(model(tags=one)).version == Catalogue.of(model(tags=other)).version


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_any_change_is_another_version(change: dict[str, Any]) -> None:
    assert Catalogue.of(model(**change)).version != Catalogue.of(model()).version


def test_a_model_is_a_value() -> None:
    made = model(tags={"tier": "gold"}, price=Price.dollars("0.15", "0.6"))
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made
    assert hash(made) == hash(replace(made)) and len({made, replace(made)}) == 1
    with pytest.raises(AttributeError):
        made.window = 5  # type: ignore[misc]


def test_the_local_models_are_free_and_are_there_without_a_file() -> None:
    catalogue = local_models()
    assert [m.name for m in catalogue] == ["smollm2", "gemma3"]
    for one in catalogue:
        assert one.provider is Provider.LOCAL and one.price is not None
        assert one.price.rates().per_million_in == one.price.rates().per_million_out == 0


def test_settings_are_called_as_the_library_calls_them() -> None:
    theirs = set(ModelSettings.__annotations__)
    assert set(SETTINGS) | ELSEWHERE.keys() == theirs
    known: dict[str, Any] = dict.fromkeys((*SETTINGS, "openai_user", "anthropic_new", "bedrock_guardrail_config"), 1)
    known |= {"stop_sequences": ["."], "extra_headers": {"x-team": "a"}, "extra_body": {}}
    assert model(settings=known)


@pytest.mark.parametrize("provider", ["anthropic", "groq", "local"])
def test_a_provider_without_embeddings_has_no_model_that_embeds(provider: str) -> None:
    with pytest.raises(InvalidModel, match=f"capabilities: {provider} has no embeddings"):
        Model(name="smollm2", provider=provider, window=9, max_output=3, capabilities={"embeddings"})  # pyright: ignore[reportArgumentType]
