"""A batch belongs to all processes: who has its model and the key says what becomes of it, and has the turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, ask, flow
from segue.agent.batch.office import path_beside
from segue.core.budgets import nano
from segue.core.records import BudgetScope, ScopeKind
from segue.journal import Journal
from segue.models import Capability, Model
from segue.models.batches.outbox import Batch
from segue.testing.provider import Provider as Server
from segue.testing.provider import Served, serve
from tests.agent.test_batch_pools import asked, asks, keys, other, outbox, pool, under_way
from tests.agent.test_batches import SOON, opened

__all__ = ["keys"]
MODELS = {"east/m": Served(), "west/m": Served(), "other": Served()}
HASTY = replace(SOON, retry_s=0.2)
"""What is given up at all is given up within a moment."""
PATIENT = replace(SOON, retry_s=60.0)
MOMENT_S = 1.5


def keyless(model: Model, *names: str) -> Model:
    """The same, in a process that has no key of these deployments, or of any."""
    if not model.deployments:
        return replace(model, key_env="KEY_ABSENT")
    places = (replace(d, key_env="KEY_ABSENT") if not names or d.name in names else d for d in model.deployments)
    return replace(model, deployments=tuple(places))


def east(server: Server) -> Model:
    """The one place of its model."""
    return replace(pool(server), deployments=pool(server).deployments[:1])


def batches(path: Path) -> list[Batch]:
    return outbox(path).batches() if path_beside(str(path / "x.db")).exists() else []


def state(path: Path) -> str:
    with Journal.open_readonly(str(path / "x.db")) as journal:
        (row,) = journal.runs("id = ?", ("r",))
    return row.state


def faults(path: Path) -> str:
    """What the attempts of the run `r` have met."""
    with Journal.open_readonly(str(path / "x.db")) as journal:
        (row,) = journal.runs("id = ?", ("r",))
        return " ".join((event.body or b"").decode() for event in journal.events(row))


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def sent(path: Path, *models: Model) -> AsyncGenerator[None]:
    """A process queues a question of the run `r`, sends its batch, and is gone."""
    async with opened(path, *models, rules=PATIENT) as engine:
        await under_way(engine, path)
        await until(lambda: state(path) == "parked")
    yield


async def answer(engine: Engine) -> str:
    async with asyncio.timeout(20):
        return await (await engine.get("r")).result()


@pytest.mark.parametrize("beside", ["without its key", "without its model"])
async def test_what_was_sent_waits_for_a_process_that_can_fetch_it(tmp_path: Path, beside: str) -> None:
    """However little a process has that looks at it meanwhile."""
    async with serve(MODELS) as server:
        server.batches.pace_s = 1.0
        there = keyless(east(server)) if beside == "without its key" else other(server)
        async with sent(tmp_path, east(server)):
            async with opened(tmp_path, there, rules=HASTY):
                await asyncio.sleep(MOMENT_S)
                assert (state(tmp_path), len(batches(tmp_path))) == ("parked", 1)
            async with opened(tmp_path, east(server), rules=SOON) as engine:
                assert "hello" in await answer(engine)
        assert asked(server) == [("east/m", True)]


async def test_a_process_that_only_looks_on_takes_the_turn_from_nobody(tmp_path: Path) -> None:
    async with serve(MODELS) as server:
        server.batches.pace_s = 2.0
        async with sent(tmp_path, east(server)), opened(tmp_path, keyless(east(server)), rules=HASTY):
            await asyncio.sleep(0.5)  # it has the turn now, if it takes it
            async with opened(tmp_path, east(server), rules=SOON) as engine:
                assert "hello" in await answer(engine)
        assert asked(server) == [("east/m", True)]


@pytest.mark.parametrize("lacks", ["key", "model"])
async def test_whose_turn_it_is_lets_another_process_send_what_only_that_one_can(tmp_path: Path, lacks: str) -> None:
    """Two services, each with its own key; or an older process and a newer one, whose file has one model more."""
    async with serve(MODELS) as server:
        first = [east(server)] + ([keyless(other(server))] if lacks == "key" else [])
        second = [keyless(east(server)), other(server)]
        server.batches.pace_s = 1.5
        async with opened(tmp_path, *first, rules=PATIENT) as one:
            await under_way(one, tmp_path)
            async with opened(tmp_path, *second, rules=PATIENT) as two:
                run = await two.start(names, "other", id="r2")
                async with asyncio.timeout(20):
                    assert "bye" in await run.result()
                    assert "hello" in await answer(one)
        assert sorted(asked(server)) == [("east/m", True), ("other", True)]


@flow
async def names(model: str) -> str:
    return await ask("Say bye", batch=True, model=model, max_tokens=50)


async def test_a_batch_of_another_account_of_the_pool_is_not_sent_again(tmp_path: Path) -> None:
    async with serve(MODELS) as server, serve({"west/m": Served()}) as west:
        server.batches.pace_s = 1.0
        both = replace(pool(server), deployments=(pool(server).deployments[0], pool(west).deployments[1]))
        async with sent(tmp_path, both):
            async with opened(tmp_path, keyless(both, "east"), rules=HASTY):
                await asyncio.sleep(MOMENT_S)
            assert state(tmp_path) == "parked"
            async with opened(tmp_path, both, rules=SOON) as engine:
                assert "hello" in await answer(engine)
        assert (asked(server), asked(west)) == ([("east/m", True)], [])


async def test_another_key_of_the_same_account_fetches_what_was_sent(tmp_path: Path) -> None:
    async with serve(MODELS) as server:
        server.batches.pace_s = 0.5
        async with (
            sent(tmp_path, pool(server)),
            opened(tmp_path, keyless(pool(server), "east"), rules=HASTY) as engine,
        ):
            assert "hello" in await answer(engine)
        assert asked(server) == [("east/m", True)]


@pytest.mark.parametrize("now", ["without its key", "without its model"])
async def test_what_nobody_could_send_goes_elsewhere_after_a_while(tmp_path: Path, now: str) -> None:
    """It was collected when its process ended, and no process that has the key comes."""
    async with serve(MODELS) as server:
        async with opened(tmp_path, east(server), other(server), rules=replace(SOON, wait_s=60.0)) as engine:
            await engine.start(asks, "hello", id="r")
            await until(lambda: state(tmp_path) == "parked")
        left = [keyless(east(server)), other(server)] if now == "without its key" else [other(server)]
        async with opened(tmp_path, *left, rules=replace(SOON, retry_s=1.0)) as engine:
            await asyncio.sleep(0.7)
            assert state(tmp_path) == "parked", "a process that can send it has so long to come"
            assert "hello" in await answer(engine)
        assert asked(server) == [("other", True)]


@flow(budget_usd=1.0)
async def hurries(word: str) -> str:
    return await ask(f"Say {word}", batch=True, batch_within_s=3.0, max_tokens=50)


async def test_what_nobody_fetches_in_time_goes_by_the_ordinary_api_and_counts_in_full(tmp_path: Path) -> None:
    async with serve(MODELS) as server:
        server.batches.pace_s = 60.0
        plain = replace(other(server), capabilities=frozenset({Capability.JSON_SCHEMA}))
        async with opened(tmp_path, east(server), plain, rules=SOON) as engine:
            await engine.start(hurries, "hello", id="r")
            await until(lambda: any(one.sent_at for one in batches(tmp_path)))
        async with opened(tmp_path, keyless(east(server)), plain, rules=HASTY) as engine:
            assert "hello" in await answer(engine)
            (stood,) = engine.journal.standing_of([BudgetScope(kind=ScopeKind.RUN, name="r", limit_nano=nano(1.0))])
            await until(lambda: not batches(tmp_path))
        assert asked(server) == [("other", False)]
        assert stood.held == 0 and stood.estimated > 0, "what was sent may have been done"


async def test_it_is_on_record_why_a_process_cannot_go_on_with_a_batch(tmp_path: Path) -> None:
    async with serve(MODELS) as server:
        server.batches.pace_s = 60.0
        async with sent(tmp_path, east(server)), opened(tmp_path, keyless(east(server)), rules=HASTY):
            await until(lambda: batches(tmp_path)[0].complaint)
        (batch,) = batches(tmp_path)
        assert "m: KEY_ABSENT is not set in the environment (process " in str(batch.complaint)
        async with opened(tmp_path, east(server), rules=SOON):
            await until(lambda: batches(tmp_path)[0].complaint is None)


async def test_an_answer_stays_for_a_process_that_knows_its_model(tmp_path: Path) -> None:
    """One process carried its batch, another one has its run."""
    async with serve(MODELS) as server:
        server.batches.pace_s = 0.5
        async with sent(tmp_path, east(server)), opened(tmp_path, other(server), rules=HASTY) as another:
            async with opened(tmp_path, east(server), rules=SOON, recover=False):
                await until(lambda: not batches(tmp_path))
            await until(lambda: "its answer stays unread" in faults(tmp_path))
            async with opened(tmp_path, east(server), rules=SOON):
                assert "hello" in await answer(another)
        assert asked(server) == [("east/m", True)]


async def test_an_answer_that_nobody_can_read_in_time_counts_in_full(tmp_path: Path) -> None:
    async with serve(MODELS) as server:
        server.batches.pace_s = 0.5
        plain = replace(other(server), capabilities=frozenset({Capability.JSON_SCHEMA}))
        async with opened(tmp_path, east(server), plain, rules=SOON) as engine:
            await engine.start(hurries, "hello", id="r")
            await until(lambda: any(one.sent_at for one in batches(tmp_path)))
        async with opened(tmp_path, plain, rules=HASTY) as another:
            async with opened(tmp_path, east(server), rules=SOON, recover=False):
                await until(lambda: not batches(tmp_path))
            assert "hello" in await answer(another)
            (stood,) = another.journal.standing_of([BudgetScope(kind=ScopeKind.RUN, name="r", limit_nano=nano(1.0))])
        assert asked(server) == [("east/m", True), ("other", False)]
        assert stood.held == 0 and stood.estimated > 0


async def test_whoever_has_the_run_can_read_an_answer_without_the_key(tmp_path: Path) -> None:
    async with serve(MODELS) as server:
        server.batches.pace_s = 0.5
        async with (
            sent(tmp_path, east(server)),
            opened(tmp_path, keyless(east(server)), rules=HASTY) as another,
            opened(tmp_path, east(server), rules=SOON, recover=False),
        ):
            assert "hello" in await answer(another)
        assert asked(server) == [("east/m", True)]


def refusing(server: Server, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """From now on the batch API refuses a key."""
    desk: Any = vars(server)["_batch_apis"]["openai"]
    reply = desk.reply

    def replies(request: Any, path: str, place: str, ids: Any) -> Any:
        if request.headers.get("authorization", "").endswith(f" {key}"):
            said = b'{"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}'
            return 401, {"content-type": "application/json"}, said
        return reply(request, path, place, ids)

    monkeypatch.setattr(desk, "reply", replies)


async def test_where_a_key_is_refused_another_one_of_the_same_account_fetches_what_was_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_EAST", "stale")
    async with serve(MODELS) as server:
        server.batches.pace_s = 0.5
        async with sent(tmp_path, pool(server)):
            refusing(server, monkeypatch, "stale")
            async with opened(tmp_path, pool(server), rules=SOON) as engine:
                assert "hello" in await answer(engine)
        assert asked(server) == [("east/m", True)]


async def test_where_a_key_is_refused_a_process_with_a_better_one_has_the_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_ABSENT", "stale")
    async with serve(MODELS) as server:
        server.batches.pace_s = 0.5
        async with sent(tmp_path, east(server)):
            refusing(server, monkeypatch, "stale")
            async with opened(tmp_path, keyless(east(server)), rules=SOON):
                await until(lambda: "Incorrect API key" in str(batches(tmp_path)[0].complaint))
                async with opened(tmp_path, east(server), rules=SOON) as engine:
                    assert "hello" in await answer(engine)
        assert asked(server) == [("east/m", True)]
