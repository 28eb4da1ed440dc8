"""What the options of `ask` and `embed` may be: a wrong one is told by its name, before anybody is asked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, ask, embed
from segue.errors import InputError
from segue.models import Catalogue, Model, Provider, UnknownModel
from segue.routing import Cheapest, UnknownRoute

WRONG: list[tuple[str, Any]] = [
    ("max_tokens", 0), ("max_tokens", "10"), ("max_tokens", 1.5), ("attempts", "3"), ("attempts", True),
    ("repairs", None), ("repairs", -1), ("rounds", 0), ("memory_tokens", -5), ("timeout_s", 0), ("timeout_s", "3"),
    ("timeout_s", math.nan), ("first_token_s", 0), ("stall_s", -1), ("escalate_s", 0), ("batch_within_s", 0),
    ("batch", "yes"), ("stream", "no"), ("refused", "maybe"), ("needs", "vision"), ("needs", [3]), ("require", "eu"),
    ("settings", 3), ("system", None), ("history", "hello"), ("memory", "user:ann"), ("tools", 3), ("guards", 3),
    ("model", 3), ("key", 3), ("route", 3), ("needs", ["visoin"]), ("settings", {"seed": math.nan}), ("examples", 3),
    ("settings", {"seed": object()}), ("settings", {"seed": 1.5}), ("settings", {"style": "poem"}),
    ("settings", {"temperature": "hot"}), ("settings", {"words": ["a"]}), ("settings", {"words": "ab"}),
    ("examples", "ab"), ("examples", {"a": "b"}), ("max_tokens", 10**30), ("attempts", 2**31), ("budget_usd", "0.5"),
    ("history", [3]), ("require", {"residency": 1}), ("settings", {"stop_sequences": "x"}),
    ("settings", {"top_p": "x"}), ("settings", {"extra_headers": {"x": 3}}), ("settings", {"extra_body": 3}),
    ("role", None), ("asked_by", 3), ("escalate", 3), ("check", 3), ("check", "short"),
    ("escalate", " "), ("route", ""), ("model", ""), ("sticky", 3),
    ("budget_usd", -1), ("budget_usd", True), ("budget_usd", "x"), ("budget_usd", 1e300),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
async def test_a_wrong_option_is_told_by_its_name_before_anybody_is_asked(name: str, value: Any) -> None:
    said = f"ask: {name}\\b" if value != 1e300 else "is no amount of money"
    options: Any = {"model": "nobody", name: value}
    with pytest.raises(InputError, match=said):
        await ask("hello", **options)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"temprature": 1}, "settings.temprature: there is no such setting; did you mean temperature"),
        ({"seed": 1, "max_tokens": 9}, r"settings.max_tokens: .* it is the option max_tokens="),
        ({3: 1}, "settings.3: there is no such setting"),
    ],
)
async def test_a_setting_that_nobody_knows_is_told_before_anybody_is_asked(settings: Any, says: str) -> None:
    with pytest.raises(InputError, match=says) as error:
        await ask("hello", model="nobody", settings=settings)
    assert error.value.remedy is not None and "it may have temperature, top_p" in error.value.remedy


@pytest.mark.parametrize(
    ("options", "says"),
    [({"attempts": 0}, "embed: attempts is"), ({"timeout_s": math.nan}, "embed: timeout_s is")],
)
async def test_those_of_embed_too(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        await embed(["a"], model="hashed", **options)


@pytest.mark.parametrize("texts", [None, 3, b"bytes", {"a": 1}])
async def test_texts_are_texts(texts: Any) -> None:
    with pytest.raises(InputError, match="a list of texts was expected"):
        await embed(texts, model="hashed")


@pytest.mark.parametrize(
    ("examples", "says"),
    [
        (["a", "b"], r"ask: examples\[0\] is no pair, but a str"),
        ([("a", 1), ("a",)], r"ask: examples\[1\] is no pair, but a tuple"),
        ([("a", 1, 2)], r"ask: examples\[0\] is no pair"),
        (
            [("a", "x")],
            r"ask: examples\[0\]: its answer is none of the type that is wanted: it: Input should be a valid",
        ),
    ],
)
async def test_an_example_is_a_pair_whose_answer_fits(examples: Any, says: str) -> None:
    with pytest.raises(InputError, match=says) as error:
        await ask("hello", model="nobody", returns=int, examples=examples)
    assert error.value.remedy is not None and 'examples=[("It broke.", "complaint")]' in error.value.remedy


@pytest.mark.parametrize("returns", [object(), [1], list[object()]])
async def test_what_it_returns_is_a_type(returns: Any) -> None:
    with pytest.raises(InputError, match=r"returns is a type, and .* has no schema"):
        await ask("hello", model="nobody", returns=returns)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((3,), "a prompt is a text, or a prompt by its name, no int"),
        ((None,), "no NoneType"),
        (("",), "nothing is asked: the prompt is empty"),
        (("What?", object()), "object cannot be shown to a model: it is no JSON"),
        (("What?\ud800",), "a text holds half of a character, at 5"),
        (("What?", "\ud800"), "a text holds half of a character, at 0"),
    ],
)
async def test_what_cannot_be_shown_to_a_model_is_told_before_it_is_asked(given: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        await ask(*given, model="nobody")


async def test_the_space_of_vectors_is_a_name() -> None:
    like: Any = 3
    with pytest.raises(InputError, match="embed: like is a space"):
        await embed("a", model="hashed", like=like)


async def test_a_model_or_route_that_there_is_not_is_told_with_those_like_it(tmp_path: Path) -> None:
    fast, faster = (
        Model(name=name, provider=Provider.OPENAI, window=1000, max_output=100) for name in ("fast", "slow")
    )
    given: Any = {"catalogue": Catalogue.of(fast, faster), "routes": {"cheap": Cheapest(name="cheap")}}
    async with Engine(str(tmp_path / "x.db"), resources=given):
        for options, says in {
            ("model", "fsat"): "no model is called 'fsat'; did you mean fast[?]\n  do: one of fast, slow",
            ("model", "cheap"): "no model is called 'cheap': it is a route\n  do: say route='cheap'",
            ("route", "chaep"): "no route is called 'chaep'; did you mean cheap[?]\n  do: one of default, cheap",
            ("route", "fast"): "no route is called 'fast': it is a model\n  do: say model='fast'",
        }.items():
            wrong: Any = dict([options])
            for question in (ask("hello", **wrong), embed("hello", **wrong)):
                with pytest.raises((UnknownModel, UnknownRoute), match=says):
                    await question
