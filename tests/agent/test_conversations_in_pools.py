"""The turns of a conversation go to the deployment that has its prompt cache, as long as that one takes calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from segue import Engine, ask, flow
from segue.models import Catalogue, Deployment, Model, Price, Provider
from segue.testing.provider import Provider as Server
from segue.testing.provider import Served, serve

PLACES = ("east", "west", "north")
MODELS = {f"{place}/m": Served() for place in PLACES}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")


@flow
async def turn(text: str, thread: str | None) -> str:
    return await ask(text, thread=thread, max_tokens=50)


def opened(path: Path, server: Server, **weights: float) -> Engine:
    deployments = (Deployment(name=p, url=f"{server.at(p)}/v1", weight=weights.get(p, 1.0)) for p in PLACES)
    model = Model(
        name="m", provider=Provider.OPENAI_COMPATIBLE, window=8000, max_output=1000, price=Price.dollars(1, 2),
        deployments=tuple(deployments),
    )  # fmt: skip
    given: dict[str, Any] = {"catalogue": Catalogue.of(model)}
    return Engine(str(path / "x.db"), resources=given)


def asked(server: Server) -> list[str]:
    return [entry.model.partition("/")[0] for entry in server.log if entry.status == 200]


async def test_each_conversation_stays_where_it_was_and_all_others_are_shared(tmp_path: Path) -> None:
    async with serve(MODELS) as server, opened(tmp_path, server) as engine:
        for thread in ("ann", "bob", "cy"):
            before = len(asked(server))
            for n in range(6):
                await engine.run(turn, f"Turn {n}", thread)
            assert len(set(asked(server)[before:])) == 1
        before = len(asked(server))
        for n in range(30):
            await engine.run(turn, f"Alone {n}", None)
        assert set(asked(server)[before:]) == set(PLACES)


async def test_one_that_fails_is_left_and_the_conversation_stays_where_it_went(tmp_path: Path) -> None:
    async with serve(MODELS) as server, opened(tmp_path, server) as engine:
        await engine.run(turn, "First", "ann")
        (home,) = asked(server)
        server.fail(f"{home}/m", "overloaded")
        for n in range(5):
            await engine.run(turn, f"Turn {n}", "ann")
        left = set(asked(server)[1:])
        assert len(left) == 1 and home not in left


async def test_nobody_stays_with_a_standby(tmp_path: Path) -> None:
    async with serve(MODELS) as server, opened(tmp_path, server, east=1.0, west=0.0, north=0.0) as engine:
        server.fail("east/m", "overloaded")
        await engine.run(turn, "First", "ann")
        assert asked(server)[0] in {"west", "north"}
        server.heal()
        while asked(server)[-1] != "east":  # once its breaker lets it try again
            await engine.run(turn, "Next", "ann")
