"""What a shadow costs is never the question's own money, and leaves half of every other budget."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, Run, flow, gather
from segue.agent import Allowance, Budgets, answer, ask
from segue.core.budgets import nano
from segue.core.records import AttemptRecorded, Reservation, record_of
from segue.routing import Pinned, Shadow
from segue.testing.provider import Provider as Server
from segue.testing.provider import Served, serve
from tests.agent.routed import brief, saying, shadows, told
from tests.agent.test_money import LARGE, SMALL, billed, model, opened, run_scope, stood, tenant_scope

WATCHED = Shadow(name="watched", of=Pinned(model="small"), shadows=("large",))
MANY = 20


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")


@flow
async def bounded(text: str, usd: float) -> str:
    return await ask(text, route=WATCHED, max_tokens=500, budget_usd=usd)


@flow(budget_usd=0.02)
async def poor(text: str) -> str:
    return await ask(text, route=WATCHED, max_tokens=500)


@flow(budget_usd=0.066)  # of three shadows at once, so that next to nothing would be left
async def many(text: str) -> list[str]:
    asked = (answer(f"{text} {n}", route=WATCHED, max_tokens=500, key=str(n)) for n in range(MANY))
    return [one.model for one in await gather(*asked, limit=2)]


async def aside(run: Run[Any], many: int = 1) -> list[AttemptRecorded]:
    async with asyncio.timeout(10):
        while len(found := shadows((await told(run))[1])) < many:
            await asyncio.sleep(0.01)
    return found


def both(server: Server) -> int:
    """What the provider's log comes to, at each model's price."""
    return (
        sum(
            entry.tokens_in * price.per_million_in + entry.tokens_out * price.per_million_out
            for name, price in (("small", SMALL), ("large", LARGE))
            for entry in server.log.of(name)
        )
        // 1_000_000
    )


def pair(server: Server) -> tuple[Any, Any]:
    return model("small", SMALL, server), model("large", LARGE, server)


async def test_it_takes_nothing_of_the_questions_own_budget_and_counts_for_the_tenant(tmp_path: Path) -> None:
    """The shadow could not be paid from the question's bound; it is asked all the same, and the tenant pays."""
    budgets = Budgets(tenants={"default": Allowance(usd=1)})
    said = {"small": Served(answer=saying("small"), first_token_s=1.0), "large": Served(answer=saying("large"))}
    async with serve(said) as server, opened(tmp_path, *pair(server), budgets=budgets) as engine:
        run = await engine.start(bounded, "Which?", 0.004)
        await run.result()
        (beside,) = await aside(run)
        records = [record_of(e) async for e in run.events(follow=False) if e.type == "usage.reserved"]
        assert brief([beside]) == [("large", "shadow", "superseded")]
        assert stood(engine, tenant_scope()).spent == both(server)
    own, other = (r for r in records if isinstance(r, Reservation))
    assert [s.kind.value for s in own.scopes] == ["tenant", "ask"]
    assert [s.kind.value for s in other.scopes] == ["tenant"] and other.amount_nano > nano(0.004)


async def test_it_is_not_asked_where_less_than_half_of_the_runs_budget_would_be_left(tmp_path: Path) -> None:
    async with serve(["small", "large"]) as server, opened(tmp_path, *pair(server)) as engine:
        run = await engine.start(poor, "Which?", id="r")
        assert await run.result() == "You said: Which?"
        (beside,) = await aside(run)
        assert server.counts("large").calls == 0
        assert stood(engine, run_scope("r")).spent == billed(server)
    assert beside.end == "cancelled" and beside.fault is not None and "half of the budget run:r" in beside.fault.message


async def test_a_model_without_a_price_is_no_shadow_under_a_budget(tmp_path: Path) -> None:
    async with (
        serve(["small", "large"]) as server,
        opened(tmp_path, model("small", SMALL, server), model("large", None, server)) as engine,
    ):
        run = await engine.start(poor, "Which?")
        await run.result()
        (beside,) = await aside(run)
        assert server.counts("large").calls == 0
    assert beside.fault is not None and "large has no price" in beside.fault.message


async def test_shadows_of_many_at_once_neither_overspend_nor_starve_the_questions(tmp_path: Path) -> None:
    said = {"small": Served(answer=saying("small")), "large": Served(answer=saying("large"), first_token_s=0.4)}
    async with serve(said) as server, opened(tmp_path, *pair(server)) as engine:
        run = await engine.start(many, "Which of", id="r")
        assert await run.result() == ["small"] * MANY
        ends = {a.end.value for a in await aside(run, MANY)}
        assert 0 < server.counts("large").calls < MANY and "cancelled" in ends
        records = [record_of(e) async for e in run.events(follow=False) if e.type == "usage.reserved"]
        assert [r for r in records if isinstance(r, Reservation) and r.lowered_from is not None] == []
        at = stood(engine, run_scope("r"))
        assert both(server) <= at.spent <= nano(0.066) and at.held == 0


@pytest.mark.parametrize("trouble", ["overloaded", "not-json"])
async def test_it_waits_for_the_call_beside_it_whatever_comes_of_that(tmp_path: Path, trouble: str) -> None:
    async with serve(["small", "large"]) as server, opened(tmp_path, *pair(server)) as engine:
        server.next("small", trouble)
        run = await engine.start(bounded, "Which?", 0.01)
        await run.result()
        assert brief(await aside(run)) == [("large", "shadow", "superseded")]


async def test_an_engine_that_ends_leaves_no_money_held(tmp_path: Path) -> None:
    budgets = Budgets(tenants={"default": Allowance(usd=1)})
    said = {"small": Served(answer=saying("small")), "large": Served(answer=saying("large"), first_token_s=30)}
    async with serve(said) as server:
        async with opened(tmp_path, *pair(server), budgets=budgets) as engine:
            run = await engine.start(bounded, "Which?", 0.01)
            await run.result()
            gateway: Any = engine.surroundings.share("gateway", lambda: None)
            gateway.shadows.grace_s = 0.05
        async with Engine(str(tmp_path / "x.db")) as again:
            at = stood(again, tenant_scope())
    assert at.held == 0 and at.estimated > 0
