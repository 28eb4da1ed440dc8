"""Processes with keys of other accounts, old keys or none, and a provider that hangs: none of them speaks for a batch
that another one can carry, nor keeps it from there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, ask, flow, step, wait_for
from segue.core.records import EventType
from segue.errors import ConfigError, RunFailed
from segue.journal import Journal
from segue.models import Catalogue, Model
from segue.models.batches import Item, Outbox
from segue.models.batches.openai import OpenAIBatches
from segue.models.batches.ways import NoWay, Ways
from segue.routing import Cheapest, Pinned
from segue.routing.policies import NEVER
from segue.testing.provider import Provider as Server
from segue.testing.provider import serve
from tests.agent.test_batch_pools import asked, asks, keys, other, outbox, pool
from tests.agent.test_batch_turns import (
    HASTY,
    MODELS,
    PATIENT,
    SOON,
    answer,
    batches,
    east,
    faults,
    keyless,
    names,
    refusing,
    sent,
    state,
    until,
)  # fmt: skip
from tests.agent.test_batches import opened

__all__ = ["keys"]


def of_its_own(server: Server) -> Model:
    """The model by the same name, in the account of another service."""
    return replace(east(server), deployments=(replace(east(server).deployments[0], url=f"{server.at('west')}/v1"),))


async def test_what_another_account_does_not_know_waits_for_the_one_that_does(tmp_path: Path) -> None:
    async with serve(MODELS) as mine, serve(MODELS) as theirs:
        mine.batches.pace_s = 1.0
        async with sent(tmp_path, east(mine)), opened(tmp_path, of_its_own(theirs), rules=HASTY, recover=False):
            due = batches(tmp_path)[0].look_at
            await until(lambda: batches(tmp_path)[0].complaint)
            await asyncio.sleep(0.5)  # it has looked, and has the turn as often as it may
            assert batches(tmp_path)[0].look_at == due, "for those who can look"
            async with opened(tmp_path, east(mine), rules=SOON) as engine:
                assert "hello" in await answer(engine)
        assert (asked(mine), asked(theirs)) == ([("east/m", True)], [])


async def test_what_one_account_may_have_taken_is_not_sent_by_another(tmp_path: Path) -> None:
    async with serve(MODELS) as mine, serve(MODELS) as theirs:
        mine.batches.pace_s = 1.0
        async with sent(tmp_path, east(mine)):
            (batch,) = batches(tmp_path)
            outbox(tmp_path).change(batch.id, provider_id=None, sent_at=None, look_at=0.0)  # its process died just then
            async with opened(tmp_path, of_its_own(theirs), rules=HASTY):
                await until(lambda: "was sent with another key" in str(batches(tmp_path)[0].complaint))
                await asyncio.sleep(2 * SOON.settle_s)
            async with opened(tmp_path, east(mine), rules=SOON) as engine:
                assert "hello" in await answer(engine)
        assert (asked(mine), asked(theirs)) == ([("east/m", True)], [])


async def test_the_mark_of_an_account_holds_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_EAST", "sk-quite-secret")
    async with serve(MODELS) as server, sent(tmp_path, east(server)):
        (batch,) = batches(tmp_path)
        assert len(batch.account or "") == 16
    assert all(b"quite-secret" not in file.read_bytes() for file in tmp_path.iterdir() if file.is_file())


async def test_an_old_key_sends_nothing_for_those_who_have_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_ABSENT", "stale")
    async with serve(MODELS) as server:
        refusing(server, monkeypatch, "stale")
        server.batches.pace_s = 2.0
        async with opened(tmp_path, keyless(east(server)), other(server), rules=PATIENT) as old:
            await old.start(names, "other", id="r2")
            await until(lambda: any(one.sent_at for one in batches(tmp_path)))  # it has the turn
            async with opened(tmp_path, east(server), rules=PATIENT, recover=False) as new:
                runs = [await new.start(names, "m", id=f"n{at}") for at in range(3)]
                async with asyncio.timeout(20):
                    assert all("bye" in said for said in [await run.result() for run in runs])
        assert asked(server).count(("east/m", True)) == 3


async def test_a_refused_key_is_told_where_none_comes_with_a_better_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_EAST", "stale")
    async with serve(MODELS) as server:
        refusing(server, monkeypatch, "stale")
        async with opened(tmp_path, east(server), rules=replace(SOON, retry_s=1.0)) as engine:
            run = await engine.start(names, "m")
            await until(lambda: batches(tmp_path) and batches(tmp_path)[0].complaint)
            assert "Incorrect API key provided" in str(batches(tmp_path)[0].complaint)
            with pytest.raises(RunFailed, match="Incorrect API key provided"):
                async with asyncio.timeout(20):
                    await run.result()


@step
async def noted() -> None:
    pass


@flow
async def asks_when_told() -> str:
    await wait_for("go")
    await noted()
    return await ask("Say hello", batch=True, max_tokens=50)


async def told_later(path: Path, model: Model, process: Model, **options: Any) -> None:
    """A run of a process that has the model waits for a signal, and goes on in another process."""
    async with opened(path, model, rules=PATIENT) as engine:
        await engine.start(asks_when_told, id="r")
        await until(lambda: state(path) == "parked")
    another = Engine(str(path / "x.db"), linger_s=0.05, **options) if options else opened(path, process, rules=PATIENT)
    async with another:
        await (await another.get("r")).signal("go", None)
        await until(lambda: "is left to a process that has it" in faults(path))


async def test_a_question_is_left_to_a_process_that_has_the_key(tmp_path: Path) -> None:
    async with serve(MODELS) as server:
        await told_later(tmp_path, east(server), keyless(east(server)))
        absent, there = (opened(tmp_path, model, rules=SOON) for model in (keyless(east(server)), east(server)))
        async with absent as another, there:
            assert "hello" in await answer(another)
        assert asked(server) == [("east/m", True)]
        with Journal.open_readonly(str(tmp_path / "x.db")) as journal:
            (row,) = journal.runs("id = ?", ("r",))
            decided = [event for event in journal.events(row) if event.type == EventType.DECISION_MADE]
        assert len(decided) == 1, "who left it has decided nothing"


async def test_after_a_while_it_is_told_that_the_key_is_not_there(tmp_path: Path) -> None:
    async with serve(MODELS) as server:
        await told_later(tmp_path, east(server), keyless(east(server)))
        async with opened(tmp_path, keyless(east(server)), rules=HASTY) as engine:
            with pytest.raises(RunFailed, match="KEY_ABSENT is not set"):
                await answer(engine)
        assert asked(server) == []


async def test_who_has_begun_a_run_without_the_key_is_told_at_once(tmp_path: Path) -> None:
    async with serve(MODELS) as server, opened(tmp_path, keyless(east(server)), rules=PATIENT) as engine:
        with pytest.raises(RunFailed, match="KEY_ABSENT is not set"):
            async with asyncio.timeout(5):
                await engine.run(names, "m")


async def test_a_mistake_in_the_file_of_one_process_is_no_answer_of_the_provider(tmp_path: Path) -> None:
    queued = Outbox(tmp_path / "o")
    queued.add(Item("i", "r", "k", 1, "m", "m", "{}", "{}", "{}", 0.0), 10)
    assert queued.release("r", "k", 1)
    queued.form("b", queued.groups(1.0)[0], ["i"])

    def broken(name: str) -> Model | None:
        raise ConfigError("segue.toml, line 4: [models.m] colour is not known")

    way = await Ways(queued, broken, lambda _: None).to(queued.batches()[0])
    queued.close()
    assert isinstance(way, NoWay) and way.why.startswith("segue.toml, line 4: [models.m] colour is not known (process ")


@asynccontextmanager
async def hole() -> AsyncGenerator[str]:
    """The address of a server that takes connections and never answers."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1 << 16):
            pass
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def at(model: Model, url: str) -> Model:
    """The same with its first place there."""
    return replace(model, deployments=(replace(model.deployments[0], url=url), *model.deployments[1:]))


async def test_a_provider_that_hangs_is_waited_for_by_nobody_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with hole() as url, serve(MODELS) as server:
        async with opened(tmp_path, at(east(server), url), other(server), rules=PATIENT) as engine:
            await engine.start(names, "m", id="r")
            await until(lambda: any(one.tried_at for one in batches(tmp_path)))
            async with asyncio.timeout(15):
                assert "bye" in await engine.run(names, "other")
        assert not [entry for entry in caplog.records if entry.levelno >= logging.ERROR]


async def test_nor_by_the_other_places_of_its_pool(tmp_path: Path) -> None:
    async with hole() as url, serve(MODELS) as server:
        even = replace(pool(server), deployments=tuple(replace(d, weight=1) for d in pool(server).deployments))
        async with opened(tmp_path, at(even, url), rules=PATIENT) as engine:
            runs = [await engine.start(names, "m") for _ in range(20)]
            ended = [asyncio.create_task(run.result()) for run in runs]
            async with asyncio.timeout(20):
                await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
            for one in ended:
                one.cancel()
        assert asked(server) and {name for name, _ in asked(server)} == {"west/m"}


@pytest.mark.parametrize("hangs", ["submit", "look", "results"])
async def test_a_provider_has_its_time_and_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs: str
) -> None:
    """And nothing is sent twice."""
    monkeypatch.setattr("segue.models.batches.batcher.LOOK_S", 0.5)
    monkeypatch.setattr("segue.models.batches.answers.RESULTS_S", 0.5)
    monkeypatch.setattr("segue.models.batches.batcher.send_s", lambda size: 0.5)
    through = asyncio.Event()

    def slow(call: Any) -> Any:
        async def waits(*given: Any) -> Any:
            await through.wait()
            return await call(*given)

        async def trickles(*given: Any) -> Any:
            await through.wait()
            async for one in call(*given):
                yield one

        return trickles if hangs == "results" else waits

    async with serve(MODELS) as server:
        call = getattr(OpenAIBatches, hangs)
        monkeypatch.setattr(OpenAIBatches, hangs, lambda self, *given: slow(partial(call, self))(*given))
        async with opened(tmp_path, east(server), rules=PATIENT) as engine:
            await engine.start(asks, "hello", id="r")
            await until(lambda: "the batch API did not answer in" in str([one.complaint for one in batches(tmp_path)]))
            through.set()
            assert "hello" in await answer(engine)
        assert asked(server) == [("east/m", True)]


@pytest.mark.parametrize("lacks", ["the model", "the route"])
async def test_a_question_is_left_to_a_process_that_has(tmp_path: Path, lacks: str) -> None:
    async with serve(MODELS) as server:
        flow = asks_one_when_told if lacks == "the model" else asks_by_route_when_told
        routes = {"default": Cheapest(explore=NEVER), "own": Pinned(model="m")}
        given: dict[str, Any] = {"catalogue": Catalogue.of(east(server)), "batches": PATIENT, "routes": routes}
        there = Engine(str(tmp_path / "x.db"), linger_s=0.05, resources=given)
        async with there as engine:
            await engine.start(flow, id="r")
            await until(lambda: state(tmp_path) == "parked")
        async with opened(tmp_path, other(server), rules=PATIENT) as another:
            await (await another.get("r")).signal("go", None)
            await until(lambda: "is left to a process that has it" in faults(tmp_path))
        async with Engine(there.path, linger_s=0.05, resources=given) as engine:
            assert "hello" in await answer(engine)
        assert asked(server) == [("east/m", True)]


@flow
async def asks_one_when_told() -> str:
    await wait_for("go")
    return await ask("Say hello", batch=True, model="m", max_tokens=50)


@flow
async def asks_by_route_when_told() -> str:
    await wait_for("go")
    return await ask("Say hello", batch=True, route="own", max_tokens=50)
