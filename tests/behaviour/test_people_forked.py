"""What a run asks that has a past of another: a fork, a restart with other code. It is listed when the run itself asks,
and a word on what it does not ask is refused while it runs too.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from segue import Engine, Run, approve, flow, gather, step, wait_for
from segue.core.asked import ticket
from segue.errors import StaleDecision
from segue.runtime.questions import InboxItem
from segue.testing import simulated
from tests.behaviour.test_asking_people import waiting
from tests.behaviour.world import World, events_of, in_state, keys_of, until

HOUR = 3600.0


@step
async def quote() -> int:
    return 100


@flow
async def priced() -> str:
    cents = await quote()
    if cents > 500:
        await wait_for("papers")
    return f"{cents} {(await approve(f'Pay {cents}?', by='lead')).approved}"


async def test_a_fork_does_not_ask_what_only_its_parent_did(world: World) -> None:
    """It was listed while the fork was at work, and took a word that went nowhere."""
    async with world.engine(linger_s=100.0) as engine:
        run = await engine.start(priced)
        (item,) = await waiting(engine)
        fork = await run.fork(results={(await keys_of(run))[0]: 900})
        await until(lambda: engine.host.waits_on(engine.journal.get(fork.id).no))
        assert (await fork.status()).state == "running"
        assert [i.run for i in await engine.inbox()] == [run.id]
        for id_ in (ticket(fork.id, item.name), fork.id):
            with pytest.raises(StaleDecision, match="has not come to ask this itself") as stale:
                await engine.decide(id_, approved=True, by="ada")
            assert stale.value.run == fork.id and stale.value.remedy
        await fork.signal("papers")
        _, own = await waiting(engine, 2)
        assert (own.run, own.question) == (fork.id, "Pay 900?")
        await own.approve(by="ada")
        assert await fork.result() == "900 True"
        await item.deny(by="ada")
        assert await run.result() == "100 False"


@flow
async def two_of_three(quorum: int = 2) -> str:
    said, _ = await gather(approve("Pay?", by=["ada", "bob", "cyd"], quorum=quorum, timeout_s=2 * HOUR), wait_for("x"))
    return said.by


@simulated
async def test_a_fork_that_asks_the_same_has_the_words_and_the_time_that_its_parent_had() -> None:
    async with World(None).engine(linger_s=1e9) as engine:
        run = await engine.start(two_of_three)
        (item,) = await waiting(engine)
        await item.approve(by="ada")
        await asyncio.sleep(HOUR)
        at = (await events_of(run))[-1].seq
        await asyncio.sleep(HOUR)  # there it is over
        fork = await run.fork(at=at)
        again = await listed(engine, fork)
        assert (await fork.status()).state == "running"
        assert [(said.by, said.verdict) for said in again.votes] == [("ada", "agreed")]
        assert again.due_at is not None
        of_fork = await fork.fork()
        last = await listed(engine, of_fork)
        assert [said.by for said in last.votes] == ["ada"] and len({i.id for i in (item, again, last)}) == 3
        for one in (again, last):
            await one.approve(by="bob")
        for one in (fork, of_fork):
            await one.signal("x")
            assert await one.result() == "ada, bob"


async def listed(engine: Engine, run: Run[Any]) -> InboxItem:
    found: list[InboxItem] = []
    for _ in range(2000):
        found = [item for item in await engine.inbox() if item.run == run.id]
        if found:
            break
        await asyncio.sleep(1.0)
    return found[0]


def deploy(cents: int, revision: str) -> Any:
    async def pays() -> bool:
        paid, _ = await gather(asked(), wait_for("x"))
        return paid

    async def asked() -> bool:
        if cents > 500:
            await wait_for("papers")
        return (await approve(f"Pay {cents}?", by="lead")).approved

    return flow(name="pays_as_deployed", revision=revision)(pays)


async def test_other_code_asks_for_itself(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(deploy(100, "1"), id="r")
        (item,) = await waiting(engine)
        await in_state(run, "parked")
    deploy(900, "2")
    async with world.engine(linger_s=100.0) as engine:
        run = await engine.get("r")
        assert [i.id for i in await engine.inbox()] == [item.id], "as it parked, so it is known"
        await run.signal("x")
        await in_state(run, "running")
        await until(lambda: len(engine.host.waits_on(engine.journal.get("r").no) or ()) == 1)
        assert await engine.inbox() == []
        with pytest.raises(StaleDecision, match="has not come to ask this itself"):
            await engine.decide(item.id, approved=True, by="ada")
        await run.signal("papers")
        (own,) = await waiting(engine)
        assert own.question == "Pay 900?"
        await own.approve(by="ada")
        assert await run.result() is True


async def test_the_same_question_of_the_same_code_or_of_other_code_stays_open(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(deploy(100, "1"), id="r")
        (item,) = await waiting(engine)
        await in_state(run, "parked")
    for revision, asked in (("1", 1), ("2", 2), ("2", 2), ("1", 3)):
        deploy(100, revision)
        async with world.engine(linger_s=100.0) as engine:
            run = await engine.get("r")
            await run.signal("y")
            await in_state(run, "running")
            await until(lambda: engine.host.waits_on(engine.journal.get("r").no))
            (again,) = await waiting(engine)
            assert (again.id, again.asked_at) == (item.id, item.asked_at)
            assert len(await keys_of(run, "approval.asked")) == asked
    async with world.engine() as engine:
        run = await engine.get("r")
        await engine.decide(item.id, approved=True, by="ada")
        await run.signal("x")
        assert await run.result() is True
