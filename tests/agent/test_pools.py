"""A model with several deployments: each has its own health, limits and key, and they come before another model."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, flow
from segue.agent import answer, ask, embed
from segue.agent.guards import Guard
from segue.agent.guards.moderation import Moderation
from segue.core.records import AttemptRecorded, BudgetScope, ScopeKind, record_of
from segue.models import Capability, Catalogue, Deployment, Limits, Model, ModelError, Price, Provider
from segue.models.health import Health
from segue.routing import Cheapest
from segue.routing.policies import NEVER
from segue.testing.provider import Provider as Server
from segue.testing.provider import Served, serve

PLACES = ("east", "west", "north")
NONE = Limits()
IN_ORDER = (1e6, 1e-3, 1e-12)


def pool(server: Server, *, weights: tuple[float, ...] = (1e9, 1, 1), limits: Limits = NONE, places: int = 3) -> Model:
    """One model at three places, or fewer, with a key each; the first one is preferred."""
    given = zip(PLACES[:places], weights, strict=True)
    return Model(
        name="m", provider=Provider.OPENAI_COMPATIBLE, window=8000, max_output=1000, price=Price.dollars(1, 2),
        deployments=tuple(
            Deployment(name=p, url=f"{server.at(p)}/v1", key_env=f"KEY_{p.upper()}", weight=w, limits=limits)
            for p, w in given
        ),
    )  # fmt: skip


def other(server: Server) -> Model:
    return Model(
        name="other", provider=Provider.OPENAI_COMPATIBLE, window=8000, max_output=1000, price=Price.dollars(9, 9),
        url=server.openai_url, key_env="KEY_EAST",
    )  # fmt: skip


MODELS = {f"{p}/m": Served(keys=frozenset({f"key-{p}"})) for p in PLACES} | {"other": Served()}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in PLACES:
        monkeypatch.setenv(f"KEY_{place.upper()}", f"key-{place}")


def engine(path: Path, *models: Model) -> Engine:
    routes = {"cheap": Cheapest(name="cheap", explore=NEVER)}
    return Engine(str(path / "x.db"), resources={"catalogue": Catalogue.of(*models), "routes": routes})


@flow
async def question(text: str) -> list[str]:
    given = await answer(text, route="cheap", timeout_s=5, max_tokens=50)
    return [tried.model for tried in given.tried]


def calls(server: Server) -> dict[str, int]:
    return {name: server.counts(name).calls for name in MODELS}


@pytest.mark.parametrize("trouble", ["overloaded", "rate-limited", "reset", "unauthorised", "server-error"])
async def test_the_rest_of_the_pool_comes_before_another_model(tmp_path: Path, trouble: str) -> None:
    async with serve(MODELS) as server, engine(tmp_path, pool(server), other(server)) as runs:
        server.fail("east/m", trouble)
        assert await runs.run(question, "Who?") == ["m", "m"]
        assert calls(server)["east/m"] == 1
        assert calls(server)["other"] == 0


@flow(budget_usd=1.0)
async def vectors(text: str) -> int:
    return len(await embed(text))


@pytest.mark.parametrize("trouble", ["overloaded", "rate-limited", "unauthorised"])
async def test_vectors_come_from_the_rest_of_the_pool(tmp_path: Path, trouble: str) -> None:
    can = frozenset({Capability.EMBEDDINGS})
    async with serve(MODELS) as server:
        embeds = replace(pool(server, weights=IN_ORDER), id="m", capabilities=can, dimensions=64)
        async with engine(tmp_path, embeds) as runs:
            server.fail("east/m", trouble)
            server.fail("west/m", trouble)
            assert await runs.run(vectors, "Who?") == 64
            assert calls(server) == {"east/m": 1, "west/m": 1, "north/m": 1, "other": 0}


async def test_vectors_that_no_key_was_there_for_cost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEY_EAST")
    can = frozenset({Capability.EMBEDDINGS})
    async with serve(MODELS) as server:
        embeds = replace(pool(server, weights=IN_ORDER), id="m", capabilities=can, dimensions=64)
        async with engine(tmp_path, embeds) as runs:
            run = await runs.start(vectors, "Who?")
            assert await run.result() == 64
            records = [record_of(event) async for event in run.events() if event.type == "attempt.recorded"]
            refused, taken = [one for one in records if isinstance(one, AttemptRecorded)]
            assert (refused.usage and refused.usage.cost_nano) in (None, 0) and taken.usage is not None
            (stood,) = runs.journal.standing_of([BudgetScope(kind=ScopeKind.RUN, name=run.id)])
            assert (stood.spent, stood.estimated) == (taken.usage.cost_nano, 0)


@pytest.mark.parametrize("trouble", ["overloaded", "rate-limited", "unauthorised"])
async def test_the_rest_of_a_judges_pool_judges(tmp_path: Path, trouble: str) -> None:
    look = Moderation(model="m")
    guard = Guard(name="moderation", look=look, stage="before", together=True, timeout_s=30)

    @flow(name="guarded")
    async def guarded(text: str) -> str:
        return await ask(text, model="other", guards=[guard])

    fine = json.dumps({"flagged": False, "category": "none"})
    places = {name: replace(served, answer=lambda _: fine) for name, served in MODELS.items() if name != "other"}
    async with (
        serve(places | {"other": Served()}) as server,
        engine(tmp_path, pool(server, weights=IN_ORDER), other(server)) as runs,
    ):
        server.fail("east/m", trouble)
        server.fail("west/m", trouble)
        assert await runs.run(guarded, "Who?") == "You said: Who?"
        assert calls(server) == {"east/m": 1, "west/m": 1, "north/m": 1, "other": 1}


async def test_no_deployment_is_asked_twice_while_there_is_another(tmp_path: Path) -> None:
    async with serve(MODELS) as server, engine(tmp_path, pool(server), other(server)) as runs:
        for place in PLACES:
            server.fail(f"{place}/m", "overloaded")
        assert await runs.run(question, "Who?") == ["m", "m", "m", "other"]
        assert calls(server) == {"east/m": 1, "west/m": 1, "north/m": 1, "other": 1}


async def test_a_refused_key_shuts_its_own_deployment_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_EAST", "revoked")
    async with serve(MODELS) as server, engine(tmp_path, pool(server), other(server)) as runs:
        assert await runs.run(question, "Who?") == ["m", "m"]
        for n in range(6):
            assert await runs.run(question, f"Who else, {n}?") == ["m"]
        assert calls(server)["east/m"] == 1
        assert calls(server)["other"] == 0
        monkeypatch.setenv("KEY_EAST", "key-east")  # a person has acted: it is tried again at once
        assert await runs.run(question, "And now?") == ["m"]
        assert calls(server)["east/m"] == 2


async def test_each_deployment_has_the_key_and_the_health_of_its_own(tmp_path: Path) -> None:
    async with serve(MODELS) as server, engine(tmp_path, pool(server), other(server)) as runs:
        server.fail("east/m", "overloaded")
        for n in range(8):
            await runs.run(question, f"Who, {n}?")
        assert calls(server)["east/m"] < 8, "its breaker opened"
        assert {e.key for e in server.log.of("east/m")} == {"key-east"}
        health = Health(tmp_path / "x.db-health")
        views = health.views(pool(server))
        health.close()
    assert views["east"].error_rate == 1.0
    assert views["west"].error_rate == views["north"].error_rate == 0.0


async def test_each_deployment_keeps_its_own_limit(tmp_path: Path) -> None:
    models: dict[str, Any] = {n: Served(concurrency=2, first_token_s=0.1) for n in MODELS if n != "other"}
    async with serve(models) as server:
        async with engine(tmp_path, pool(server, weights=(1, 1, 1), limits=Limits(concurrency=2))) as runs:
            await asyncio.gather(*(runs.run(question, f"Who, {n}?") for n in range(18)))
        for place in PLACES:
            counts = server.counts(f"{place}/m")
            assert counts.limited == 0
            assert 1 <= counts.peak_active <= 2


async def test_a_busy_deployment_is_waited_for_where_the_other_key_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_WEST", "revoked")
    places = {**MODELS, "east/m": Served(keys=frozenset({"key-east"}), first_token_s=0.6)}
    async with serve(places) as server:
        two = pool(server, weights=(1e9, 1e-3), places=2, limits=Limits(concurrency=1))
        async with engine(tmp_path, two) as runs:
            given = await asyncio.gather(*(runs.run(question, f"Who, {n}?") for n in range(3)))
            assert [names[-1] for names in given] == ["m"] * 3
            assert server.counts("east/m").calls == 3


async def test_a_deployment_that_no_call_of_this_size_fits_is_no_spare(tmp_path: Path) -> None:
    """One blip of the other is waited out: the small one's limit says nothing of the model."""
    async with serve(MODELS) as server:
        whole = pool(server, weights=(1e9, 1), places=2)
        east, west = whole.deployments
        whole = replace(whole, deployments=(east, replace(west, limits=Limits(tpm=40))))
        async with engine(tmp_path, whole) as runs:
            server.next("east/m", "overloaded")
            assert await runs.run(question, "Who?") == ["m", "m"]
            assert calls(server) == {"east/m": 2, "west/m": 0, "north/m": 0, "other": 0}


@pytest.mark.parametrize("pauses_first", [True, False])
async def test_a_refused_key_does_not_hide_that_another_deployment_has_asked_for_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, pauses_first: bool
) -> None:
    """Whichever of them is met first, the question is answered after the pause."""
    monkeypatch.setenv("KEY_WEST", "revoked")
    weights = (1e9, 1e-3) if pauses_first else (1e-3, 1e9)
    async with serve(MODELS) as server, engine(tmp_path, pool(server, weights=weights, places=2)) as runs:
        server.next("east/m", "rate-limited")  # for a second
        assert await runs.run(question, "Who?") == ["m", "m", "m"]
        assert calls(server) == {"east/m": 2, "west/m": 1, "north/m": 0, "other": 0}


async def test_whoever_rests_is_waited_for_only_where_the_question_may_go_there(tmp_path: Path) -> None:
    """The other one is about to take calls again, but is not allowed: the pause of the one that is counts."""
    async with serve(MODELS) as server:
        here = replace(other(server), name="here", id="other", tags={"residency": "eu"})
        there = replace(pool(server), name="there", tags={"residency": "us"})
        catalogue = Catalogue.of(here, there)
        routes = {"cheap": Cheapest(name="cheap", explore=NEVER)}
        async with Engine(str(tmp_path / "x.db"), resources={"catalogue": catalogue, "routes": routes}):
            for place in PLACES:
                server.next(f"{place}/m", *["rate-limited"] * 2)
            with pytest.raises(ModelError):
                await answer("Who?", model="there", attempts=3)
            server.next("other", "rate-limited")
            before = sum(calls(server)[f"{place}/m"] for place in PLACES)
            given = await answer("Who?", route="cheap", require={"residency": "eu"}, timeout_s=5, max_tokens=50)
            assert [tried.model for tried in given.tried] == ["here", "here"]
            assert sum(calls(server)[f"{place}/m"] for place in PLACES) == before
