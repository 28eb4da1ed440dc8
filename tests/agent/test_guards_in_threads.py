"""What a guard's judge costs counts against the thread of the question that it looks at, to the nano-dollar."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, ask, flow, step
from segue.agent import Allowance, Budgets, called
from segue.agent.guards import Finding, Guard
from segue.agent.guards.moderation import Moderation
from segue.core.budgets import Ledger, Standing, nano
from segue.core.records import BudgetScope, ScopeKind
from segue.models import Catalogue, Price
from segue.models.errors import ContentBlocked
from segue.testing import Engine as InMemory
from segue.testing import crash_everywhere
from segue.testing.provider import Asked, Served, serve
from segue.testing.provider import Provider as Server
from tests.agent.served import KEYS, calls, model, results
from tests.agent.test_guard_budgets import Till
from tests.agent.test_guard_budgets import resources as in_memory

SMALL, JUDGE, FREE = Price.dollars(1, 4), Price.dollars(0.5, 2), Price.dollars(0, 0)
PAGES = 6
TALK = BudgetScope(kind=ScopeKind.THREAD, name="talk")
BOOK = BudgetScope(kind=ScopeKind.THREAD, name="book")


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


@flow
async def turn(n: int, stream: bool, thread: str | None = "talk") -> str:
    return await ask(f"Turn {n}?", model="chat", thread=thread, max_tokens=20, stream=stream)


@flow
async def guarded(n: int) -> str:
    try:
        return await ask(f"Turn {n}?", model="chat", thread="talk", max_tokens=20)
    except ContentBlocked as error:
        return f"blocked: {error.why}"


@step
async def page(n: int) -> str:
    """A page of the book."""
    return f"page {n}: " + "All work and no play. " * 400


@flow
async def reads() -> str:
    return await ask("Read it.", model="chat", thread="book", tools=[page], timeout_s=20, max_tokens=300)


def fine(asked: Asked) -> str:
    return json.dumps({"flagged": False, "category": "none"})


def says(asked: Asked) -> str:
    return f"Well, {len(asked.turns)}."


def reader(asked: Asked) -> Any:
    """Page after page; then the first one again, by its handle; then it says what came."""
    had = results(asked)
    if len(had) < PAGES:
        return calls("page", n=len(had))
    if len(had) == PAGES:
        gone = [text for text in had if "cleared; recall" in text]
        return calls("recall", handle=gone[0].rpartition("recall ")[2][:12])
    return f"it came back as {had[-1][:7]}"


def judge(**more: Any) -> Guard:
    return Guard(**{"name": "judge", "look": Moderation(model="gpt"), "together": True, "timeout_s": 30, **more})


@asynccontextmanager
async def opened(
    path: Path, *guards: Guard, usd: float = 1.0, price: Price = SMALL, answers: Any = says, **more: Any
) -> AsyncIterator[tuple[Server, Engine]]:
    threads, tenants = {"default": Allowance(usd=usd)}, {"default": Allowance(usd=1)}
    async with serve({"chat": Served(answer=answers), "gpt": Served(answer=fine)}) as server:
        known = Catalogue.of(
            replace(model(server, "chat"), price=price, **more), replace(model(server, "gpt"), price=JUDGE)
        )
        given = {"catalogue": known, "guards": guards, "budgets": Budgets(threads=threads, tenants=tenants)}
        async with Engine(str(path / "x.db"), resources=given) as engine:
            yield server, engine


def stood(engine: Engine, scope: BudgetScope) -> Standing:
    """How a budget stands by the tables, which must say what the events say."""
    (found,) = engine.journal.standing_of([scope])
    ledger = Ledger()
    for row in engine.journal.runs(limit=10_000):
        for event in engine.journal.events(row):
            ledger.fold(event)
    assert found == ledger.standing(scope)
    return found


def billed(server: Server, since: int = 0, price: Price = SMALL) -> int:
    """What the provider's own log comes to, in nano-dollars."""
    bill = 0
    for entry in list(server.log)[since:]:
        at = JUDGE if entry.model == "gpt" else price
        bill += entry.tokens_in * at.per_million_in + entry.tokens_out * at.per_million_out
    assert bill % 1_000_000 == 0
    return bill // 1_000_000


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("stage", ["before", "after", "both"])
async def test_a_thread_pays_for_its_answers_and_for_who_judges_them(tmp_path: Path, stage: str, stream: bool) -> None:
    async with opened(tmp_path, judge(stage=stage)) as (server, engine):
        said = [await engine.run(turn, n, stream) for n in range(4)]
        assert said == [f"Well, {2 * n + 1}." for n in range(4)], "what is judged is no turn"
        assert server.counts("gpt").calls == (8 if stage == "both" else 4)
        assert all(len(json.loads(entry.raw)["input"]) <= 2 for entry in server.log.of("gpt")), "nor is it told of any"
        bill, upto = billed(server), len(server.log)
        assert stood(engine, TALK) == Standing(spent=bill)
        await engine.run(turn, 0, stream, None)
        await engine.run(turn, 0, stream, "other")
        assert stood(engine, TALK) == Standing(spent=bill), "each thread pays for its own"
        other = stood(engine, replace(TALK, name="other"))
        tenant = stood(engine, BudgetScope(kind=ScopeKind.TENANT, name="default"))
        assert (2 * other.spent, tenant.spent) == (billed(server, upto), billed(server))


@pytest.mark.parametrize("on_fail", ["closed", "open"])
@pytest.mark.parametrize("stage", ["before", "after"])
async def test_a_thread_that_only_its_judge_uses_up_is_judged_no_more(tmp_path: Path, stage: str, on_fail: str) -> None:
    guard = judge(stage=stage, on_fail=on_fail)
    async with opened(tmp_path, guard, usd=0.0009, price=FREE) as (server, engine):
        said = [await engine.run(guarded, n) for n in range(12)]
        judged = server.counts("gpt").calls
        spent = stood(engine, TALK)
        assert 0 < judged < 12
        assert (spent.spent, spent.held) == (billed(server, price=FREE), 0)
        assert spent.spent <= nano(0.0009)
        if on_fail == "open":
            assert all(text.startswith("Well") for text in said)
        else:
            assert [text.startswith("Well") for text in said] == [n < judged for n in range(12)]
            refused = "blocked: the guard itself failed: the budget thread:talk is 0.0009 USD"
            assert all(text.startswith(refused) for text in said[judged:])
        assert (await engine.run(turn, 0, False, "other")).startswith("Well")
        assert server.counts("gpt").calls == judged + 1, "another thread has its own"


async def test_what_is_judged_when_it_is_given_back_is_paid_by_the_thread(tmp_path: Path) -> None:
    look = Moderation(model="gpt")

    async def moderated(text: str) -> Finding | None:
        found = await look(text[:100])
        return None if found is None else Finding(found.why, "…")

    guard = Guard(name="house", look=moderated, on_hit="redact", stage="before", timeout_s=30)
    async with opened(tmp_path, guard, answers=reader, window=12_000, max_output=300) as (server, engine):
        assert await engine.run(reads, id="r") == "it came back as page 0:"
        assert stood(engine, BOOK) == Standing(spent=billed(server))


@flow
async def in_thread(count: int) -> list[str]:
    return [await _said(n) for n in range(count)]


async def _said(n: int) -> str:
    try:
        return await ask("Say it.", str(n), model="small", thread="talk", max_tokens=200, key=str(n))
    except Exception as error:  # noqa: BLE001  what a crash costs may leave too little
        return str(error)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_a_crash_at_every_write_leaves_nothing_held(monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    till = Till(fails=(1,))
    given = in_memory(judge(look=Moderation(model="mod"), stage="both"))
    given["gateway"] = replace(given["gateway"], budgets=Budgets(threads={"talk": Allowance(usd=0.002)}))

    async def scenario(engine: InMemory) -> list[str]:
        monkeypatch.setattr(called, "ready", till.ready)
        monkeypatch.setattr(called, "send", till.send)
        return await engine.run(in_thread, 2, id="r")

    def check(said: list[str], engine: InMemory) -> None:
        nonlocal till
        ledger = Ledger.of(engine.history("r"))
        (found,) = engine.reader.standing_of([TALK])
        assert found == ledger.standing(TALK)
        assert ledger.open() == []
        assert found.spent - found.estimated <= till.billed <= found.spent <= nano(0.002)
        assert said == ["well", "well"] or found.estimated
        till = Till(fails=(1,))

    assert crash_everywhere(scenario, check=check, again=again, resources=given) > 30
