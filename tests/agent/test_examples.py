"""Routes by example through `ask`: what is like an example goes where that goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue import flow
from segue.agent import answer
from segue.routing import Example, Examples, Pinned
from segue.routing.embedding import Hashed
from segue.testing.provider import serve
from tests.agent.routed import opened, served

LIKE = Examples(
    name="like",
    examples=(
        Example(text="I want a refund for my last order", use=Pinned(model="large")),
        Example(text="Where is my parcel? The delivery is late", use=Pinned(model="middle")),
    ),
    otherwise=Pinned(model="small"),
    similarity_min=0.4,
)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")


@flow
async def by_example(text: str) -> str:
    return (await answer(text, route="like")).model


@flow
async def by_policy(text: str) -> str:
    return (await answer(text, route=LIKE)).model


async def test_requests_like_these_go_there(tmp_path: Path) -> None:
    async with serve(served()) as server:
        async with opened(tmp_path, server, {"like": LIKE}) as engine:
            assert await engine.run(by_example, "Please refund the order from last week, I do not want it") == "large"
            assert await engine.run(by_example, "my parcel has not been delivered, it is late") == "middle"
            assert await engine.run(by_example, "Write a poem about autumn leaves") == "small"
        async with opened(tmp_path, server, {}) as engine:  # the policy itself, where no route has examples
            assert await engine.run(by_policy, "A refund of this order, please") == "large"


def test_texts_are_alike_by_the_words_that_say_something() -> None:
    at = Hashed()

    def like(one: str, other: str) -> float:
        return float(at.embed(one) @ at.embed(other))

    assert like("a refund for my order", "refund my orders") > 0.6
    assert like("what is the time of the day", "what is the colour of the sea") < 0.4
    assert like("", "anything") == 0.0 and abs(like("x y z", "x y z") - 1.0) < 1e-5
    assert abs(like("refund " * 5000, "refund") - 1.0) < 0.6
