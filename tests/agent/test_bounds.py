"""What the options of `ask` and `embed` may be: a wrong one is told by its name, before anybody is asked."""

from __future__ import annotations

import math
from typing import Any

import pytest

from segue import ask, embed
from segue.errors import InputError

WRONG: list[tuple[str, Any]] = [
    ("max_tokens", 0), ("max_tokens", "10"), ("max_tokens", 1.5), ("attempts", "3"), ("attempts", True),
    ("repairs", None), ("repairs", -1), ("rounds", 0), ("memory_tokens", -5), ("timeout_s", 0), ("timeout_s", "3"),
    ("timeout_s", math.nan), ("first_token_s", 0), ("stall_s", -1), ("escalate_s", 0), ("batch_within_s", 0),
    ("batch", "yes"), ("stream", "no"), ("refused", "maybe"), ("needs", "vision"), ("needs", [3]), ("require", "eu"),
    ("settings", 3), ("system", None), ("history", "hello"), ("memory", "user:ann"), ("tools", 3), ("guards", 3),
    ("model", 3), ("key", 3), ("role", None), ("asked_by", 3), ("escalate", 3), ("check", 3), ("check", "short"),
    ("budget_usd", -1), ("budget_usd", True), ("budget_usd", "x"), ("budget_usd", 1e300),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
async def test_a_wrong_option_is_told_by_its_name_before_anybody_is_asked(name: str, value: Any) -> None:
    said = f"ask: {name} " if value not in ("x", 1e300) else "is no amount of money"
    options: Any = {"model": "nobody", name: value}
    with pytest.raises(InputError, match=said):
        await ask("hello", **options)


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
