"""A question that is taken back before its batch was sent is not sent, and costs nothing; one that was sent counts."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from segue import Engine, Run, ask, flow, gather, sleep, step, timeout
from segue.core.budgets import Standing
from segue.core.records import BudgetScope, ScopeKind
from segue.errors import RunCancelled, RunFailed
from segue.models import Capability, Catalogue
from segue.models.batches import Outbox
from segue.models.batches.outbox import Item
from segue.routing import Cheapest, Pinned, Policy
from segue.routing.policies import NEVER
from segue.testing.provider import Provider as Server
from segue.testing.provider import Served, serve
from tests.agent.test_batches import CAN, SOON, keys, model, opened

__all__ = ["keys"]

LATER = replace(SOON, wait_s=60.0)
LIMIT = 0.01


@flow(budget_usd=LIMIT)
async def asks() -> str:
    return await ask("Say hello", max_tokens=200, batch=True)


@step
async def fails(after_s: float) -> str:
    await asyncio.sleep(after_s)
    raise ValueError("it fails")


@flow(budget_usd=LIMIT)
async def asks_beside(after_s: float) -> list[str]:
    return await gather(ask("Say hello", max_tokens=200, batch=True), fails(after_s))


@flow(budget_usd=LIMIT)
async def asks_for_a_while() -> str:
    try:
        async with timeout(2.0):
            return await ask("Say hello", max_tokens=200, batch=True)
    except TimeoutError:
        await sleep(30)
    return "late"


@flow(budget_usd=LIMIT)
async def parent() -> str:
    return await asks()


def standing(engine: Engine, run: str = "r") -> Standing:
    (stood,) = engine.journal.standing_of([BudgetScope(kind=ScopeKind.RUN, name=run, limit_nano=1)])
    return stood


def left(path: Path) -> list[tuple[str, int]]:
    """What is in the outbox."""
    with sqlite3.connect(path / "x.db-batches") as database:
        return database.execute("select run, ready from items").fetchall()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.02)


async def queued(path: Path, engine: Engine) -> None:
    """Until a question may be sent."""
    await until(lambda: (path / "x.db-batches").exists() and any(ready for _, ready in left(path)))


async def nothing_was_sent(path: Path, server: Server, engine: Engine, *runs: str) -> None:
    await until(lambda: not left(path))
    assert not server.batches.jobs
    assert {standing(engine, run) for run in runs or ("r",)} == {Standing()}


def one(path: Path, server: Server, **options: object) -> AbstractAsyncContextManager[Engine]:
    return opened(path, model(server, "chat"), rules=LATER, **options)


async def cancelled(run: Run[object]) -> None:
    await run.cancel()
    with pytest.raises(RunCancelled):
        await run.result()


@pytest.mark.parametrize("linger_s", [0.05, 30.0], ids=["parked", "in memory"])
async def test_that_of_a_cancelled_run(tmp_path: Path, linger_s: float) -> None:
    async with serve(["chat"]) as server:
        engine = opened(tmp_path, model(server, "chat"), rules=LATER)
        engine.options = replace(engine.options, linger_s=linger_s)
        async with engine:
            run = await engine.start(asks, id="r")
            await queued(tmp_path, engine)
            if linger_s < 1:
                await until(lambda: not engine.host.executions)
            assert standing(engine).held > 0
            await cancelled(run)
            await nothing_was_sent(tmp_path, server, engine)
            told = [event.body async for event in run.events(follow=False) if event.type == "usage.settled"]
            assert sum(b"unused" in (body or b"") for body in told) == 1


@pytest.mark.parametrize("after_s", [0.0, 0.003, 0.01, 0.03, 0.1, 1.0])
async def test_that_of_a_run_that_fails_beside_it(tmp_path: Path, after_s: float) -> None:
    async with serve(["chat"]) as server, one(tmp_path, server) as engine:
        with pytest.raises(RunFailed, match="it fails"):
            await engine.run(asks_beside, after_s, id="r")
        assert not server.batches.jobs
        assert standing(engine) == Standing()


async def test_that_of_a_question_whose_time_is_over_while_its_run_goes_on(tmp_path: Path) -> None:
    async with serve(["chat"]) as server, one(tmp_path, server) as engine:
        first = await engine.start(asks, id="first")  # a provider's package is imported at the first question
        await queued(tmp_path, engine)
        await cancelled(first)
        await until(lambda: not left(tmp_path))
        run = await engine.start(asks_for_a_while, id="r")
        await queued(tmp_path, engine)
        await until(lambda: standing(engine) == Standing())
        assert (await run.status()).state in ("running", "parked")
        await nothing_was_sent(tmp_path, server, engine)


async def test_that_of_a_child_whose_parent_is_cancelled(tmp_path: Path) -> None:
    async with serve(["chat"]) as server, one(tmp_path, server) as engine:
        run = await engine.start(parent, id="r")
        await queued(tmp_path, engine)
        await cancelled(run)
        await nothing_was_sent(tmp_path, server, engine)


@pytest.mark.parametrize("word", ["result", "fail", "override"])
async def test_that_of_a_question_that_a_person_closes(tmp_path: Path, word: str) -> None:
    async with serve(["chat"]) as server, one(tmp_path, server) as engine:
        run = await engine.start(asks, id="r")
        await queued(tmp_path, engine)
        (waits,) = (await run.status()).waits_on
        if word == "override":
            await run.override(waits["key"], "mine")
        else:
            await run.decide(waits["key"], **({"result": "mine"} if word == "result" else {"fail": True}))
        with pytest.raises(RunFailed) if word == "fail" else nullcontext():
            assert await run.result() == "mine"
        await nothing_was_sent(tmp_path, server, engine)


@pytest.mark.parametrize("route", [Pinned(model="chat"), Cheapest(among=("chat",), explore=NEVER)])
async def test_a_person_may_name_a_model_that_the_route_would_not_choose(tmp_path: Path, route: Policy) -> None:
    async with serve(["chat", "chat-b"]) as server:
        models = Catalogue.of(model(server, "chat"), model(server, "chat-b"))
        given = {"catalogue": models, "routes": {"default": route}, "batches": replace(SOON, wait_s=2.0)}
        async with Engine(str(tmp_path / "x.db"), resources=given, linger_s=0.05) as engine:
            run = await engine.start(asks, id="r")
            await queued(tmp_path, engine)
            (waits,) = (await run.status()).waits_on
            await run.decide(waits["key"], use="chat-b")
            await run.result()
            assert [entry.model for entry in server.log] == ["chat-b"]


@flow
async def escalates() -> str:
    return await ask(
        "One.", batch=True, attempts=1, check=lambda said: None if "fine" in said else "poor", escalate="ann"
    )


@pytest.mark.parametrize("waits", ["for its batch", "for a person"])
async def test_a_person_may_name_a_model_without_batches(tmp_path: Path, waits: str) -> None:
    """It is asked by the ordinary API."""
    async with serve({"chat": Served(), "chat-b": Served(answer=lambda _: "fine")}) as server:
        models = Catalogue.of(model(server, "chat"), model(server, "chat-b", can=CAN - {Capability.BATCH}))
        given = {"catalogue": models, "batches": replace(SOON, wait_s=2.0 if waits == "for its batch" else 0.1)}
        async with Engine(str(tmp_path / "x.db"), resources=given, linger_s=0.05) as engine:
            run = await engine.start(escalates, id="r")
            while "person" not in str(found := (await run.status()).waits_on) and not (
                waits == "for its batch" and "service" in str(found)
            ):
                await asyncio.sleep(0.02)
            await run.decide(found[0]["key"], use="chat-b")
            assert await run.result() == "fine"
        asked = [(entry.model, bool(entry.batch)) for entry in server.log]
        assert asked == [("chat", True), ("chat-b", False)][waits == "for its batch" :]


async def test_that_of_a_run_which_is_cancelled_while_nobody_carries_it_out(tmp_path: Path) -> None:
    """Its batch is due at once when the next process comes: it is not sent before the run has heard of it."""
    async with serve(["chat"]) as server:
        async with one(tmp_path, server) as engine:
            await engine.start(asks, id="r")
            await queued(tmp_path, engine)
        looks = Engine(str(tmp_path / "x.db"))
        looks.carries = False
        async with looks:
            await (await looks.get("r")).cancel()
        rules = replace(SOON, wait_s=0.0)
        async with opened(tmp_path, model(server, "chat"), rules=rules) as engine:
            with pytest.raises(RunCancelled):
                await (await engine.get("r")).result()
            await nothing_was_sent(tmp_path, server, engine)


async def test_one_that_was_sent_counts_in_full(tmp_path: Path) -> None:
    async with serve(["chat"]) as server, opened(tmp_path, model(server, "chat")) as engine:
        server.batches.pace_s = 60.0
        run = await engine.start(asks, id="r")
        await until(lambda: server.batches.jobs)
        await cancelled(run)
        stood = standing(engine)
        assert stood.spent == stood.estimated > 0
        assert stood.held == 0


async def test_one_of_a_batch_that_the_provider_has_turned_away_was_not_sent(tmp_path: Path) -> None:
    rules = replace(SOON, look_s=30.0, look_s_max=30.0)
    async with serve(["chat"]) as server, opened(tmp_path, model(server, "chat"), rules=rules) as engine:
        server.batches.next("refused")
        run = await engine.start(asks, id="r")
        await queued(tmp_path, engine)
        with sqlite3.connect(tmp_path / "x.db-batches") as outbox:
            await until(lambda: outbox.execute("select 1 from batches where looks").fetchall())
        await cancelled(run)
        await nothing_was_sent(tmp_path, server, engine)


def item(name: str) -> Item:
    return Item(name, "r", f"ask[{name}]#1", 1, "m", "m", "{}", "{}", "{}", 0.0)


def test_who_withdraws_and_who_sends_are_never_both_right(tmp_path: Path) -> None:
    ours, theirs = (Outbox(tmp_path / "o") for _ in range(2))
    for name in ("a", "b", "c"):
        ours.add(item(name), 10)
        assert ours.release("r", f"ask[{name}]#1", 1)
    (group,) = ours.groups(1.0)
    ours.form("batch", group, ["a", "b", "c"])
    assert [one.id for one in theirs.withdraw_all("r", "ask[b]#1")] == ["b"]
    assert [one.id for one in ours.begin("batch", 1.0, "mine")] == ["a", "c"]
    assert ours.batches()[0].total == 2
    assert not theirs.withdraw("a")
    assert [one.id for one in theirs.withdraw_all("r")] == ["b"], "known as unsent until that is on record"
    theirs.forget(["a", "b", "c"])
    assert [ours.find(name) is not None for name in ("a", "b", "c")] == [True, False, True]
    ours.close()
    theirs.close()


def test_one_that_is_waited_for_again_may_be_sent_again(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "o")
    outbox.add(item("a"), 10)
    outbox.release("r", "ask[a]#1", 1)
    assert outbox.withdraw("a")
    assert outbox.withdraw("a"), "who dies before that is on record finds it out again"
    assert not outbox.groups(1.0)
    assert outbox.release("r", "ask[a]#1", 1)
    assert [group.many for group in outbox.groups(1.0)] == [1]
    outbox.close()
