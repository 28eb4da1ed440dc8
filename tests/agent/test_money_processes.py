"""Two processes on one database spend one budget, and one of them may be killed on the way."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from segue.core.budgets import Ledger, nano
from segue.core.records import BudgetScope, ScopeKind
from segue.journal import Journal
from segue.testing.provider import Provider as Server
from segue.testing.provider import Served, serve
from tests.agent.spender import LIMIT, PRICE
from tests.forked import Forked

TENANT = BudgetScope(kind=ScopeKind.TENANT, name="default")


async def spender(path: Path, server: Server, first: int, count: int) -> Forked:
    env = {**os.environ, "OPENAI_API_KEY": "test"}
    words = (path, server.openai_url, first, count)
    process = await asyncio.to_thread(Forked, "module", "tests.agent.spender", *words, env=env)
    assert await process.line() == "ready"
    return process


async def answers(process: Forked) -> int:
    return int(await process.ended("go\n"))


def billed(server: Server) -> int:
    return (
        sum(PRICE.per_million_in * e.tokens_in + PRICE.per_million_out * e.tokens_out for e in server.log) // 1_000_000
    )


def checked(path: Path, server: Server) -> tuple[int, int]:
    """What is spent, and the part of it that is estimated. The tables say what the events say."""
    with Journal.open_readonly(str(path)) as journal:
        (stood,) = journal.standing_of([TENANT])
        ledger = Ledger()
        for row in journal.runs(limit=1000):
            for event in journal.events(row):
                ledger.fold(event)
    assert stood == ledger.standing(TENANT)
    assert ledger.overruns() == []
    assert stood.used <= nano(LIMIT)
    assert billed(server) <= stood.spent + stood.held
    return stood.spent, stood.estimated


@pytest.mark.proof
async def test_a_hundred_asks_of_two_processes_never_overspend(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with serve({"m": Served(first_token_s=0.05)}) as server:
        both = [await spender(path, server, first, 50) for first in (0, 50)]
        answered = sum(await asyncio.gather(*map(answers, both)))
        spent, estimated = checked(path, server)
        assert answered == 100, "what calls under way hold was waited for"
        if server.counts().calls == answered:
            assert (spent, estimated) == (billed(server), 0)
        else:  # a connection broke: that call was asked again, and counts in full
            assert spent - estimated < billed(server) <= spent
        assert server.counts("m").peak_active <= 12, "as many as their worst cases fit"


@pytest.mark.proof
@pytest.mark.parametrize("after", [3, 8])
async def test_a_process_that_is_killed_leaves_nothing_uncounted(tmp_path: Path, after: int) -> None:
    path = tmp_path / "x.db"
    async with serve({"m": Served(first_token_s=0.3)}) as server:
        killed = await spender(path, server, 0, 20)
        killed.tell("go\n")
        while server.counts().calls < after:
            await asyncio.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
        await killed.gone()
        await answers(await spender(path, server, 0, 20))  # the same runs: it takes up what the other left
        spent, estimated = checked(path, server)
        assert spent >= estimated > 0, "the calls that were on their way count in full"
        assert billed(server) <= spent
