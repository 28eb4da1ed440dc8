"""A question that one process cannot queue is left to those that can, for a while that each process counts itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from segue import Engine, Thread, detach, flow, gather, sleep, wait_for
from segue.agent.batch.attempt import Batched
from segue.agent.batch.recovery import Batching
from segue.agent.batch.ticket import Unqueued
from segue.agent.request import Question
from segue.core.faults import Fault, classify
from segue.core.recovery import Again, Attempt
from segue.errors import RunCancelled, RunFailed
from segue.models import Catalogue
from segue.models.batches import BatchRules
from segue.models.errors import NotAuthorised
from segue.routing import Cheapest
from segue.routing.policies import NEVER
from segue.runtime.embedded.passed import Passed
from segue.testing.provider import Provider as Server
from segue.testing.provider import serve
from tests.agent.test_batch_accounts import asks_when_told, told_later
from tests.agent.test_batch_pools import asked, asks, keys, other
from tests.agent.test_batch_turns import HASTY, MODELS, SOON, answer, east, faults, keyless, state, until
from tests.agent.test_batches import opened

__all__ = ["keys"]
ABSENT = NotAuthorised("KEY_ABSENT is not set")


class Desk:
    """What an attempt sees of its process."""

    def __init__(self, engine: str, now: float, others: bool):
        self.engine, self.rules, self.left_for_s = engine, BatchRules(retry_s=120.0), 0.0
        self.now, self.may_be_others = lambda: now, lambda _: others

    def passes(self, run: str, seconds: float) -> None:
        self.left_for_s = seconds


def left(*by: str) -> list[Attempt]:
    """Attempts that have left the question, a second apart from 1000 on."""
    faults = (classify(Unqueued.of(ABSENT, one)) for one in by)
    return [Attempt(2 + n, 1, 1000.0 + n, fault) for n, fault in enumerate(faults)]


def passed(
    engine: str, now: float, history: list[Attempt], *, within_s: float = 86400.0, epoch: int = 20, others: bool = True
) -> float:
    """For how long a process leaves the question to others; 0: it is told what is wrong."""
    desk, scope = Desk(engine, now, others), SimpleNamespace(history=history, epoch=epoch, run="r")
    try:
        Batched(cast("Any", None), within_s)._pass(ABSENT, cast("Any", scope), cast("Any", desk))
    except Unqueued:
        return desk.left_for_s
    return 0.0


def test_who_has_left_it_keeps_away_longer_and_longer_until_others_have_had_their_time() -> None:
    assert passed("p", 1000.0, []) == 5.0
    assert passed("p", 1006.0, left("p", "q")) == 10.0
    assert passed("p", 1020.0, left("p", "q", "p", "q")) == 20.0
    assert passed("p", 1095.0, left("p", "q", "p", "q", *"ppp")) == 25.0
    assert passed("p", 1120.0, left("p", "q")) == 0.0


def test_while_its_run_is_held_its_time_does_not_count() -> None:
    """Nobody can take a run of which something is under way."""
    held = [one._replace(epoch=20, n=at) for at, one in enumerate(left("p", "p", "p"))]
    assert passed("p", 1200.0, held, epoch=20) > 0.0
    assert passed("p", 1200.0, held, epoch=21) == 0.0


def test_each_process_counts_its_own_time() -> None:
    """Nobody may have been there meanwhile."""
    assert passed("q", 1119.0, left("p")) > 0.0
    assert passed("q", 5000.0, left("p")) > 0.0
    assert passed("q", 5000.0, left("p"), within_s=4002.0) == 2.0, "all of them together have its time"
    assert passed("q", 5000.0, left("p"), within_s=4000.0) == 0.0


def test_who_has_begun_the_run_leaves_it_to_nobody() -> None:
    assert passed("p", 1000.0, [], epoch=1, others=False) == 0.0
    assert passed("p", 1000.0, [], epoch=1) > 0.0


@pytest.mark.parametrize("many", [1, 2, 9])
def test_however_many_have_left_it_the_next_one_may_have_it_soon(many: int) -> None:
    def none(*_: object) -> Again:
        raise AssertionError("no call was made")

    history = left(*map(str, range(many)))
    batching = Batching(Question(prompt="hello", needs=["batch"]), none, none, none)
    assert batching(cast("Fault", history[-1].fault), history, 0.5) == Again(1.0)
    held = [one._replace(epoch=2) for one in history]
    assert batching(cast("Fault", held[-1].fault), held, 0.5) == Again(min(10.0, 2.0 ** (many - 1))), "in one hand"


@pytest.mark.parametrize("lacks", ["a model with batches", "any model", "the capability"])
async def test_a_process_whose_models_have_no_batches_leaves_it_to_one_whose_models_have(
    tmp_path: Path, lacks: str
) -> None:
    async with serve(MODELS) as server:
        plain: Mapping[str, list[Any]] = {
            "a model with batches": [replace(other(server), capabilities=frozenset())],
            "any model": [],
            "the capability": [replace(east(server), capabilities=frozenset())],
        }
        routes = {"default": Cheapest(explore=NEVER)}
        given = {"catalogue": Catalogue.of(*plain[lacks]), "batches": SOON, "routes": routes}
        await told_later(tmp_path, east(server), east(server), resources=given)
        async with opened(tmp_path, east(server), rules=SOON) as engine:
            assert "hello" in await answer(engine)
        assert asked(server) == [("east/m", True)]


async def test_where_none_comes_it_is_told_that_no_model_has_batches(tmp_path: Path) -> None:
    plain = {"catalogue": Catalogue.of(), "batches": HASTY, "routes": {"default": Cheapest(explore=NEVER)}}
    async with serve(MODELS) as server:
        await told_later(tmp_path, east(server), east(server), resources={**plain, "batches": SOON})
        async with Engine(str(tmp_path / "x.db"), linger_s=0.05, resources=plain) as engine:
            with pytest.raises(RunFailed, match="no model can answer"):
                await answer(engine)
        assert asked(server) == []


async def test_two_without_the_key_do_not_fail_it_before_one_with_the_key_is_there(tmp_path: Path) -> None:
    rules = replace(SOON, retry_s=8.0)
    async with serve(MODELS) as server:
        await told_later(tmp_path, east(server), keyless(east(server)))
        absent = keyless(east(server))
        async with opened(tmp_path, absent, rules=rules), opened(tmp_path, absent, rules=rules):
            began = time.monotonic()
            await until(lambda: faults(tmp_path).count('"left_by"') >= 3)
            await asyncio.sleep(max(0.0, began + 5.5 - time.monotonic()))
            async with opened(tmp_path, east(server), rules=rules) as engine:
                took = time.monotonic()
                assert "hello" in await answer(engine)
            assert time.monotonic() - took < 10.0
        assert asked(server) == [("east/m", True)]


@pytest.mark.parametrize("lacks", ["the key", "batches"])
async def test_in_memory_there_is_nobody_to_leave_it_to(lacks: str) -> None:
    async with serve(MODELS) as server:
        there = keyless(east(server)) if lacks == "the key" else replace(east(server), capabilities=frozenset())
        given = {"catalogue": Catalogue.of(there), "batches": SOON, "routes": {"default": Cheapest(explore=NEVER)}}
        async with Engine(":memory:", resources=given) as engine:
            run = await engine.start(asks_when_told, id="r")
            async with asyncio.timeout(10):
                while (await run.status()).state != "parked":
                    await asyncio.sleep(0.05)
                await run.signal("go", None)
                with pytest.raises(RunFailed, match="KEY_ABSENT" if lacks == "the key" else "no model can answer"):
                    await run.result()


@flow
async def naps() -> str:
    for _ in range(3):
        await sleep(0.3)
    return "rested"


async def test_runs_that_were_left_keep_no_other_run_waiting(tmp_path: Path) -> None:
    """However many they are: it has room for one, and has left four."""
    async with serve(MODELS) as server:
        absent, rules = keyless(east(server)), replace(SOON, retry_s=60.0)
        async with opened(tmp_path, absent, rules=rules) as engine:
            for n in range(4):
                run = await engine.start(asks_when_told, id=f"r{n}")
                await until(lambda run=run: state_of(engine, run.id) == "parked")
        async with opened(tmp_path, absent, rules=rules, capacity=1) as engine:
            for n in range(4):
                await (await engine.get(f"r{n}")).signal("go", None)
            await until(lambda: all("left_by" in events_of(engine, f"r{n}") for n in range(4)))
            await asyncio.sleep(1.1)  # each is due to be tried again by now, by others
            began = time.monotonic()
            nap = await engine.start(naps, id="nap")
            async with asyncio.timeout(20):
                assert await nap.result() == "rested"
            assert time.monotonic() - began < 4.0


@flow
async def asks_by_children() -> list[str]:
    await wait_for("go")
    return [*await gather(asks("hello, A"), asks("hello, B"))]


@flow
async def detaches() -> None:
    await detach(asks, "hello", id="child")


async def answered_elsewhere(path: Path, server: Server, where: str, many: int) -> None:
    """A process without the key takes up what is there, and leaves so many runs to one that has it."""
    rules = replace(SOON, retry_s=60.0)
    async with opened(path, keyless(east(server)), rules=rules) as engine:
        await until(lambda: sum("left_by" in events_of(engine, row.id) for row in engine.journal.runs(where)) == many)
        async with opened(path, east(server), rules=rules) as there:
            async with asyncio.timeout(20):
                for row in engine.journal.runs(where):
                    assert "hello" in await (await there.get(row.id)).result()


async def test_a_run_that_was_only_accepted_is_begun_for_others_too(tmp_path: Path) -> None:
    async with serve(MODELS) as server:
        accepts = opened(tmp_path, east(server))
        accepts.carries = False  # as `segue run --detach` does
        async with accepts as engine:
            await engine.start(asks, "hello", id="r")
        await answered_elsewhere(tmp_path, server, "id = 'r'", 1)
        assert asked(server) == [("east/m", True)]


async def test_children_of_a_run_that_was_taken_up_are_begun_for_others_too(tmp_path: Path) -> None:
    async with serve(MODELS) as server:
        async with opened(tmp_path, east(server)) as engine:
            run = await engine.start(asks_by_children, id="p")
            await until(lambda: state_of(engine, "p") == "parked")
            await run.signal("go", None)
        await answered_elsewhere(tmp_path, server, "parent = 'p'", 2)


@pytest.mark.parametrize("begun", ["a turn of a thread", "its children"])
async def test_what_it_has_begun_is_told_at_once(tmp_path: Path, begun: str) -> None:
    rules = replace(SOON, retry_s=60.0)
    async with serve(MODELS) as server, opened(tmp_path, keyless(east(server)), rules=rules) as engine:
        if begun == "its children":
            await engine.run(detaches)
            run = await engine.get("child")
        else:
            run = await Thread("t").start(asks, "hello")
        async with asyncio.timeout(5):
            with pytest.raises(RunFailed, match="KEY_ABSENT is not set"):
                await run.result()


def state_of(engine: Engine, run: str) -> str:
    return engine.journal.get(run).state


def events_of(engine: Engine, run: str) -> str:
    return " ".join((event.body or b"").decode() for event in engine.journal.events(engine.journal.get(run)))


async def test_who_is_told_something_leaves_it_no_more() -> None:
    passed = Passed(asyncio.get_running_loop())
    passed.put(7, 60.0)
    passed.put(8, 0.0)
    await asyncio.sleep(0.01)
    assert passed.has(7) and not passed.has(8) and len(passed) == 1
    assert not passed.has(7, told=True)
    assert not passed.has(7) and len(passed) == 0


async def test_what_it_has_begun_is_its_own_as_long_as_it_has_it() -> None:
    passed = Passed(asyncio.get_running_loop())
    passed.began(7)
    assert passed.is_own(7, 1)
    assert not passed.is_own(7, 2), "another one may have had it"
    assert not passed.is_own(8, 1), "another one has begun it"
    passed.let_go(7)
    assert not passed.is_own(7, 1)
    for no in range(10_001):
        passed.began(no)
    assert passed.is_own(10_000, 1) and not passed.is_own(0, 1), "of the last ones it is known"


async def test_answers_come_to_an_engine_in_memory_too() -> None:
    async with serve(MODELS) as server:
        given = {"catalogue": Catalogue.of(east(server)), "batches": SOON, "routes": {"default": Cheapest()}}
        async with Engine(":memory:", linger_s=0.05, resources=given) as engine:
            for word in ("hello", "again"):
                run = await engine.start(asks, word, id=word)
                async with asyncio.timeout(10):
                    assert word in await run.result()
        assert len(asked(server)) == 2


async def test_a_process_by_its_own_settings_lets_go_of_it(tmp_path: Path) -> None:
    """However long the runs of others stay with it."""
    async with serve(MODELS) as server:
        await told_later(tmp_path, east(server), keyless(east(server)))
        given = {"batches": replace(SOON, retry_s=60.0), "routes": {"default": Cheapest(explore=NEVER)}}
        path, there = str(tmp_path / "x.db"), Catalogue.of(east(server))
        absent = {**given, "catalogue": Catalogue.of(keyless(east(server)))}
        async with Engine(path, linger_s=20.0, resources=absent):
            await until(lambda: faults(tmp_path).count('"left_by"') >= 2)
            async with Engine(path, resources={**given, "catalogue": there}) as engine:
                began = time.monotonic()
                assert "hello" in await answer(engine)
                assert time.monotonic() - began < 10.0
        assert asked(server) == [("east/m", True)]


async def test_a_run_that_was_left_hears_that_it_is_cancelled(tmp_path: Path) -> None:
    async with serve(MODELS) as server:
        await told_later(tmp_path, east(server), keyless(east(server)))
        async with opened(tmp_path, keyless(east(server)), rules=replace(SOON, retry_s=60.0)) as engine:
            await until(lambda: faults(tmp_path).count('"left_by"') >= 2)
            await until(lambda: state(tmp_path) == "parked")
            run = await engine.get("r")
            await run.cancel()
            async with asyncio.timeout(3):
                with pytest.raises(RunCancelled):
                    await run.result()
