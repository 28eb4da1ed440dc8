"""A batch goes to another deployment of its model where one has failed the question, before another model is asked."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from segue import Engine, ask, flow
from segue.agent.batch.office import path_beside
from segue.core.budgets import nano
from segue.core.records import AttemptRecorded, BudgetScope, ScopeKind, record_of
from segue.models import Deployment, Model, Price, Provider
from segue.models.batches import Outbox
from segue.testing.provider import Provider as Server
from segue.testing.provider import Served, serve
from tests.agent.test_batches import CAN, SOON, opened

PLACES = ("east", "west")
MODELS = {f"{place}/m": Served() for place in PLACES} | {"other": Served()}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EAST", "WEST", "OTHER"):
        monkeypatch.setenv(f"KEY_{name}", "test")


def pool(server: Server, weights: tuple[float, float] = (1e12, 1)) -> Model:
    """The first place is preferred."""
    deployments = (
        Deployment(name=p, url=f"{server.at(p)}/v1", key_env=f"KEY_{p.upper()}", weight=weight)
        for p, weight in zip(PLACES, weights, strict=True)
    )
    return Model(
        name="m", provider=Provider.OPENAI, capabilities=CAN, window=8000, max_output=1000, price=Price.dollars(1, 2),
        deployments=tuple(deployments),
    )  # fmt: skip


def other(server: Server) -> Model:
    return Model(
        name="other", provider=Provider.OPENAI, capabilities=CAN, window=8000, max_output=1000,
        price=Price.dollars(9, 9), url=server.openai_url, key_env="KEY_OTHER",
    )  # fmt: skip


@flow
async def asks(word: str) -> str:
    return await ask(f"Say {word}", batch=True, max_tokens=50)


def asked(server: Server) -> list[tuple[str, bool]]:
    return [(entry.model, bool(entry.batch)) for entry in server.log]


@pytest.mark.parametrize("trouble", ["unauthorised", "overloaded", "rate-limited"])
async def test_the_rest_of_the_pool_comes_before_another_model(tmp_path: Path, trouble: str) -> None:
    async with serve(MODELS) as server, opened(tmp_path, pool(server), other(server), rules=SOON) as engine:
        server.fail("east/m", trouble)
        assert "hello" in await engine.run(asks, "hello")
        assert asked(server) == [("east/m", True), ("west/m", True)]


async def test_once_all_have_failed_another_model_is_next(tmp_path: Path) -> None:
    async with serve(MODELS) as server, opened(tmp_path, pool(server), other(server), rules=SOON) as engine:
        for place in PLACES:
            server.fail(f"{place}/m", "unauthorised")
        assert "hello" in await engine.run(asks, "hello")
        assert asked(server) == [("east/m", True), ("west/m", True), ("other", True)]


async def test_a_deployment_without_its_key_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEY_EAST")
    async with serve(MODELS) as server, opened(tmp_path, pool(server), rules=SOON) as engine:
        assert "hello" in await engine.run(asks, "hello")
        assert asked(server) == [("west/m", True)]


async def test_a_model_without_its_key_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEY_EAST")
    monkeypatch.delenv("KEY_WEST")
    async with serve(MODELS) as server, opened(tmp_path, pool(server), other(server), rules=SOON) as engine:
        assert "hello" in await engine.run(asks, "hello")
        assert asked(server) == [("other", True)]


async def test_a_standby_is_asked_where_all_others_are_out(tmp_path: Path) -> None:
    async with serve(MODELS) as server, opened(tmp_path, pool(server, (0, 1)), rules=SOON) as engine:
        for n in range(6):
            await engine.start(asks, f"hello {n}", id=f"r{n}")
        for n in range(6):
            assert "hello" in await (await engine.get(f"r{n}")).result()
        assert asked(server) == [("west/m", True)] * 6
        server.fail("west/m", "unauthorised")
        assert "bye" in await engine.run(asks, "bye")
        assert asked(server)[6:] == [("west/m", True), ("east/m", True)]


async def test_a_pool_shares_what_goes_by_batches_by_weight(tmp_path: Path) -> None:
    async with serve(MODELS) as server, opened(tmp_path, pool(server, (1, 1)), rules=SOON) as engine:
        runs = [await engine.start(asks, f"hello {n}") for n in range(40)]
        assert all("hello" in said for said in [await run.result() for run in runs])
        shares = [name for name, _ in asked(server)]
    assert min(shares.count("east/m"), shares.count("west/m")) >= 5, "by chance once in five million"


@flow(budget_usd=1.0)
async def bounded(word: str) -> str:
    return await ask(f"Say {word}", batch=True, max_tokens=50)


def without_east(model: Model) -> Model:
    return replace(model, deployments=model.deployments[1:])


async def under_way(engine: Engine, path: Path) -> None:
    await engine.start(bounded, "hello", id="r")
    async with asyncio.timeout(20):
        while not (path_beside(str(path / "x.db")).exists() and any(b.sent_at for b in outbox(path).batches())):
            await asyncio.sleep(0.02)


def outbox(path: Path) -> Outbox:
    return Outbox(path_beside(str(path / "x.db")))


@pytest.mark.parametrize("heard", [True, False])
async def test_a_batch_whose_deployment_is_taken_out_of_the_pool_goes_on_elsewhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, heard: bool
) -> None:
    """The other one is of another account. What was sent counts in full."""
    async with serve(MODELS) as server, serve({"west/m": Served()}) as west:
        east, there = pool(server), pool(west)
        both = replace(east, deployments=(east.deployments[0], there.deployments[1]))
        server.batches.pace_s = 60.0
        async with opened(tmp_path, both, rules=SOON) as engine:
            await under_way(engine, tmp_path)
        if not heard:  # it died before it could note the provider's id of it
            (batch,) = outbox(tmp_path).batches()
            outbox(tmp_path).change(batch.id, provider_id=None, sent_at=None)
        with caplog.at_level(logging.WARNING, "segue"):
            patient = replace(SOON, retry_s=0.5)
            async with opened(tmp_path, without_east(both), rules=patient) as engine, asyncio.timeout(20):
                run = await engine.get("r")
                assert "hello" in await run.result()
                tried = [record_of(e) async for e in run.events(follow=False) if e.type == "attempt.recorded"]
                scope = BudgetScope(kind=ScopeKind.RUN, name="r", limit_nano=nano(1.0))
                (stood,) = engine.journal.standing_of([scope])
        assert asked(west) == [("west/m", True)]
    assert "east is no longer a deployment of m, and no other one knows its batch" in caplog.text
    first, second = (one for one in tried if isinstance(one, AttemptRecorded))
    assert first.fault is not None and "east is no longer a deployment of m" in first.fault.message
    assert second.usage is not None and second.usage.cost_nano and stood.held == 0
    assert stood.estimated > stood.spent - stood.estimated == second.usage.cost_nano


async def test_a_process_with_an_older_file_gives_up_no_batch_that_was_sent_just_now(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As while a deployment is added, process by process: who knows it goes on with its batch."""
    async with serve(MODELS) as server, serve({"west/m": Served()}) as west:
        both = replace(pool(server), deployments=(pool(server).deployments[0], pool(west).deployments[1]))
        server.batches.pace_s = 1.0
        async with opened(tmp_path, both, rules=SOON) as engine:
            await under_way(engine, tmp_path)
        with caplog.at_level(logging.WARNING, "segue"):
            async with opened(tmp_path, without_east(both), rules=SOON), asyncio.timeout(20):
                while "east is no longer a deployment of m" not in caplog.text:
                    await asyncio.sleep(0.02)
                await asyncio.sleep(1.0)
        async with opened(tmp_path, both, rules=SOON) as engine, asyncio.timeout(20):
            assert "hello" in await (await engine.get("r")).result()
        assert asked(server) == [("east/m", True)] and not asked(west)


async def test_another_deployment_of_the_same_account_gives_out_its_batch(tmp_path: Path) -> None:
    async with serve(MODELS) as server:
        server.batches.pace_s = 1.0
        async with opened(tmp_path, pool(server), rules=SOON) as engine:
            await under_way(engine, tmp_path)
        async with opened(tmp_path, without_east(pool(server)), rules=SOON) as engine, asyncio.timeout(20):
            assert "hello" in await (await engine.get("r")).result()
        assert asked(server) == [("east/m", True)]


async def test_what_waits_for_a_batch_of_a_deployment_that_is_gone_is_sent_elsewhere(tmp_path: Path) -> None:
    async with serve(MODELS) as server:
        async with opened(tmp_path, pool(server), rules=replace(SOON, wait_s=60.0)) as engine:
            run = await engine.start(asks, "hello", id="r")
            async with asyncio.timeout(20):
                while (await run.status()).state != "parked":
                    await asyncio.sleep(0.01)
        brief = replace(SOON, retry_s=0.5)  # a process with a newer file may know the deployment
        async with opened(tmp_path, without_east(pool(server)), rules=brief) as engine, asyncio.timeout(20):
            assert "hello" in await (await engine.get("r")).result()
        assert asked(server) == [("west/m", True)]
