"""Budgets of calls: reserved before they are sent, settled with their outcome, never overspent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pydantic import BaseModel

from segue import Engine, RunFailed, flow, gather, sleep, step
from segue.agent import Allowance, Budgets, answer, ask
from segue.core.budgets import Ledger, Standing, nano
from segue.core.records import AttemptRecorded, BudgetScope, Reservation, ScopeKind, Settlement, record_of
from segue.errors import BudgetExceeded
from segue.journal import NewRun
from segue.models import Capability, Catalogue, Limits, Model, Price, Provider
from segue.routing import Cheapest
from segue.routing.policies import NEVER
from segue.runtime.embedded.purse import StepPurse
from segue.testing.provider import Provider as Server
from segue.testing.provider import Served, serve

CAN = frozenset({Capability.TOOLS, Capability.JSON_SCHEMA, Capability.STREAMING})
SMALL, LARGE = Price.dollars(1, 4), Price.dollars(10, 40)


class City(BaseModel):
    name: str
    people: int


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")


def model(name: str, price: Price | None, server: Server, **more: Any) -> Model:
    given: dict[str, Any] = {"limits": Limits(concurrency=40), "url": server.openai_url, **more}
    return Model(
        name=name, provider=Provider.OPENAI_COMPATIBLE, id=name, capabilities=CAN, window=32_000, max_output=2000,
        price=price, **given,
    )  # fmt: skip


@asynccontextmanager
async def opened(path: Path, *models: Model, budgets: Budgets | None = None, **more: Any) -> AsyncIterator[Engine]:
    resources = {
        "catalogue": Catalogue.of(*models), "routes": {"cheap": Cheapest(name="cheap", explore=NEVER)},
        "budgets": budgets or Budgets(),
    }  # fmt: skip
    async with Engine(str(path / "x.db"), resources=resources, **more) as engine:
        yield engine


def ledger(engine: Engine) -> Ledger:
    """All that the journal says of money, folded anew."""
    journal = engine.journal
    found = Ledger()
    for row in journal.runs(limit=10_000):
        for event in journal.events(row):
            found.fold(event)
    return found


def run_scope(run: str) -> BudgetScope:
    return BudgetScope(kind=ScopeKind.RUN, name=run)


def tenant_scope(name: str = "default", period: str | None = None) -> BudgetScope:
    return BudgetScope(kind=ScopeKind.TENANT, name=name, period=period)


def stood(engine: Engine, scope: BudgetScope) -> Standing:
    """How a budget stands, by the tables, which must say what the events say."""
    (found,) = engine.journal.standing_of([scope])
    assert found == ledger(engine).standing(scope)
    return found


def billed(server: Server, price: Price = SMALL) -> int:
    """What the provider's own log comes to, in nano-dollars."""
    return (
        sum(e.tokens_in * price.per_million_in + e.tokens_out * price.per_million_out for e in server.log) // 1_000_000
    )


@flow(budget_usd=0.02)
async def one(text: str) -> str:
    return (await ask(text, returns=City, max_tokens=500)).name


@flow(budget_usd=0.02)
async def many(count: int) -> int:
    return sum(await gather(*(asked(n) for n in range(count))))


@flow(budget_usd=0.02)
async def at_length(count: int) -> list[int]:
    answers = await gather(*(ask(f"City {n}?", max_tokens=500, key=str(n)) for n in range(count)))
    return [len(answer.split()) for answer in answers]


@flow(budget_usd=0.02)
async def beside_a_long_one() -> str:
    long = asyncio.ensure_future(ask("And in the long run?", model="slow", max_tokens=500))
    await sleep(0.2)
    try:
        await ask("Which city?", model="small", max_tokens=500)
    finally:
        long.cancel()
    return "small"


async def asked(n: int) -> int:
    try:
        await ask(f"City {n}?", returns=City, max_tokens=500, key=str(n))
    except BudgetExceeded:
        return 0
    return 1


@flow
async def free_of_budgets(text: str) -> str:
    return (await ask(text, returns=City)).name


async def test_an_answer_settles_at_what_the_provider_says(tmp_path: Path) -> None:
    async with serve(["small"]) as server, opened(tmp_path, model("small", SMALL, server)) as engine:
        run = await engine.start(one, "Which city?", id="r")
        await run.result()
        assert stood(engine, run_scope("r")) == Standing(billed(server), 0, 0)
        records = [record_of(e) async for e in run.events(follow=False) if e.type.startswith(("usage", "attempt.rec"))]
    reserved, recorded, settled = (
        next(r for r in records if isinstance(r, kind)) for kind in (Reservation, AttemptRecorded, Settlement)
    )
    assert recorded.reservation == reserved.id == settled.settles
    assert reserved.amount_nano > settled.amount_nano > 0


async def test_without_a_budget_nothing_is_kept_of_money(tmp_path: Path) -> None:
    async with serve(["small"]) as server, opened(tmp_path, model("small", SMALL, server)) as engine:
        run = await engine.start(free_of_budgets, "Which city?")
        await run.result()
        assert [e.type async for e in run.events(follow=False) if e.type.startswith("usage")] == []


async def test_what_costs_nothing_is_not_set_aside(tmp_path: Path) -> None:
    async with serve(["small"]) as server, opened(tmp_path, model("small", Price.dollars(0, 0), server)) as engine:
        run = await engine.start(one, "Which city?")
        await run.result()
        assert [e.type async for e in run.events(follow=False) if e.type.startswith("usage")] == []


async def test_a_call_that_does_not_fit_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    async with serve(["small"]) as server, opened(tmp_path, model("small", Price.dollars(100, 400), server)) as engine:
        with pytest.raises(RunFailed, match=r"the budget run:r\b.* is 0\.02 USD.*0\.02 left") as error:
            await (await engine.start(one, "Which city?", id="r")).result()
        assert "BudgetExceeded" in str(error.value)
        assert server.counts().calls == 0


async def test_where_no_price_is_known_giving_one_is_what_helps(tmp_path: Path) -> None:
    dear, unknown = Price.dollars(100, 400), "give small a price in the catalogue"
    async with serve(["small", "large"]) as server:
        for n, models in enumerate([[("small", None)], [("small", None), ("large", dear)]]):
            (tmp_path / str(n)).mkdir()
            made = [model(name, price, server) for name, price in models]
            async with opened(tmp_path / str(n), *made) as engine:
                with pytest.raises(RunFailed, match="no price is known") as error:
                    await engine.run(one, "Which city?")
            assert unknown in str(error.value.remedy)
            assert ("raise the budget" in str(error.value.remedy)) == (n == 1)
        assert server.counts().calls == 0


async def test_the_output_limit_is_lowered_to_fit(tmp_path: Path) -> None:
    price = Price.dollars(1, 60)  # 500 tokens of output are 0.03
    async with serve(["small"]) as server, opened(tmp_path, model("small", price, server)) as engine:
        run = await engine.start(one, "Which city?", id="r")
        await run.result()
        (reserved,) = [record_of(e) async for e in run.events(follow=False) if e.type == "usage.reserved"]
        assert isinstance(reserved, Reservation)
        assert reserved.lowered_from == 500
        assert server.log[0].body["max_completion_tokens"] == reserved.tokens_out_max
        assert reserved.amount_nano <= nano(0.02)


async def test_a_cheaper_model_is_asked_where_the_dear_one_does_not_fit(tmp_path: Path) -> None:
    dear = Price.dollars(1, 90)
    async with (
        serve(["small", "large"]) as server,
        opened(
            tmp_path,
            model("large", dear, server, quality={"any": 0.9}),
            model("small", SMALL, server, quality={"any": 0.1}),
        ) as engine,
    ):
        run = await engine.start(best, "Which city?", id="r")
        assert await run.result() == ["large", "small"]
        exceeded, _ = [record_of(e) async for e in run.events(follow=False) if e.type == "attempt.recorded"]
        assert isinstance(exceeded, AttemptRecorded)
        assert exceeded.fault is not None
        assert exceeded.fault.kind == "budget exceeded"
        assert server.counts("large").calls == 0
        assert stood(engine, run_scope("r")).spent == billed(server)


@flow(budget_usd=0.03)
async def best(text: str) -> list[str]:
    from segue.routing import Best

    given = await answer(text, returns=City, max_tokens=2000, route=Best(name="best", explore=NEVER))
    return [tried.model for tried in given.tried]


@pytest.mark.parametrize(
    ("trouble", "exact"),
    [
        ("overloaded", True), ("rate-limited", True), ("answer-lost", False), ("reset", False), ("wrong-schema", True),
        ("stream-error", False),  # 200, with an error inside
    ],
)  # fmt: skip
async def test_a_failed_attempt_settles_what_it_took(tmp_path: Path, trouble: str, exact: bool) -> None:
    async with serve(["small"]) as server, opened(tmp_path, model("small", SMALL, server)) as engine:
        server.next("small", trouble)
        await (await engine.start(one, "Which city?", id="r")).result()
        at, events = stood(engine, run_scope("r")), ledger(engine)
        assert events.open() == []
        assert server.counts().calls == 2
        assert (at.estimated == 0) == exact
        assert at.spent == billed(server) if exact else at.spent >= billed(server)


async def test_a_connection_that_was_refused_costs_nothing(tmp_path: Path) -> None:
    async with serve(["small"]) as server, opened(tmp_path, model("small", SMALL, server)) as engine:
        await server.stop()
        run = await engine.start(twice, "Which city?", id="r")
        with pytest.raises(RunFailed, match="Unreachable"):
            await run.result()
        at = stood(engine, run_scope("r"))
        assert (at.spent, at.estimated, at.held) == (0, 0, 0)
        assert ledger(engine).open() == []


@flow(budget_usd=0.02)
async def twice(text: str) -> str:
    return (await ask(text, returns=City, max_tokens=500, attempts=2)).name


@flow(budget_usd=0.02)
async def streamed(text: str) -> str:
    return await ask(text, max_tokens=500, stream=True)


@pytest.mark.parametrize("trouble", ["cut", "stream-error", "html-error"])
async def test_half_of_a_stream_and_the_word_of_a_gateway_count_in_full(tmp_path: Path, trouble: str) -> None:
    dense = Served(answer=lambda _: "1+2-3*4/5; " * 30)  # more tokens than four characters each
    async with serve({"small": dense}) as server, opened(tmp_path, model("small", SMALL, server)) as engine:
        server.next("small", trouble)
        await (await engine.start(streamed, "Which city?", id="r")).result()
        at, events = stood(engine, run_scope("r")), ledger(engine)
        assert events.open() == []
        assert server.counts().calls == 2
        assert at.spent >= billed(server)
        assert at.estimated > SMALL.per_million_out * 500 // 1_000_000


async def test_usage_that_is_missing_is_our_own_estimate(tmp_path: Path) -> None:
    async with serve(["small"]) as server, opened(tmp_path, model("small", SMALL, server)) as engine:
        server.next("small", "no-usage")
        await (await engine.start(one, "Which city?", id="r")).result()
        at = stood(engine, run_scope("r"))
    assert at.spent == at.estimated > 0


async def test_a_hundred_asks_at_once_never_overspend(tmp_path: Path) -> None:
    async with serve({"small": Served(first_token_s=0.02)}) as server:
        async with opened(tmp_path, model("small", SMALL, server)) as engine:
            answered = await (await engine.start(many, 100, id="r")).result()
            at = stood(engine, run_scope("r"))
        assert at.held == 0
        assert 0 < answered <= 100
        assert server.counts().answered == answered
        assert billed(server) == at.spent <= nano(0.02)


def most_at_once(server: Server, price: Price = SMALL) -> int:
    """The most that was billed at any time together with the worst case of the calls under way, by the provider's log:
    what each was sent with, in nano-dollars.
    """
    at = billed_now = most = 0
    moments: list[tuple[float, int, int]] = []
    for entry in server.log:
        out = int(entry.body.get("max_tokens") or entry.body["max_completion_tokens"])
        took = entry.tokens_in * price.per_million_in + entry.tokens_out * price.per_million_out
        worst = entry.tokens_in * price.per_million_in + out * price.per_million_out
        moments += [(entry.at, worst, 0), (entry.ended, -worst, took)]
    for _, worst, took in sorted(moments, key=lambda moment: moment[0]):
        at, billed_now = at + worst, billed_now + took
        most = max(most, at + billed_now)
    return most // 1_000_000


@pytest.mark.sampled(2)
@pytest.mark.parametrize("slow_s", [0.0, 0.3])
async def test_what_is_held_is_waited_for_while_calls_are_on_their_way(
    tmp_path: Path, slow_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only as many are sent at once as their worst cases fit, however long a commit takes; the others when those have
    ended, none of them cut short by what those held.
    """
    chance = Random(7)
    reserve = StepPurse.reserve

    async def slowly(self: StepPurse, asked: Reservation) -> None:
        await asyncio.sleep(slow_s * chance.random())
        await reserve(self, asked)

    monkeypatch.setattr(StepPurse, "reserve", slowly)
    async with serve({"small": Served(first_token_s=0.4)}) as server:
        async with opened(tmp_path, model("small", SMALL, server)) as engine:
            answered = await (await engine.start(many, 30, id="r")).result()
            overruns = ledger(engine).overruns()
        assert server.counts().calls == answered == 30
        assert most_at_once(server) <= nano(0.02)
        assert overruns == []
        assert {entry.body["max_completion_tokens"] for entry in server.log} == {500}
        assert server.counts("small").peak_active < 10


async def test_nobody_is_cut_short_by_what_others_hold_for_a_moment(tmp_path: Path) -> None:
    """The budget pays for all twelve, though not for their worst cases at once."""
    async with serve({"small": Served(first_token_s=0.2, answer=lambda _: "word " * 300)}) as server:
        async with opened(tmp_path, model("small", SMALL, server)) as engine:
            assert await (await engine.start(at_length, 12, id="r")).result() == [300] * 12
        assert server.counts().calls == 12


async def test_where_nobody_settles_anything_a_limit_is_lowered_after_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may hold it for hours, as a batch does."""
    for module in ("held", "money"):
        monkeypatch.setattr(f"segue.agent.{module}.PATIENCE_S", 0.3)
    async with serve({"small": Served(), "slow": Served(first_token_s=60)}) as server:
        models = model("small", SMALL, server), model("slow", Price.dollars(1, 37), server)
        async with opened(tmp_path, *models) as engine:
            assert await (await engine.start(beside_a_long_one, id="r")).result() == "small"
        limits = {entry.model: entry.body["max_completion_tokens"] for entry in server.log}
        assert limits["slow"] == 500
        assert 125 <= limits["small"] < 500


@flow
async def short_of_money(limit: int, budget_usd: float) -> str:
    return await ask("Which city?", max_tokens=limit, budget_usd=budget_usd)


@pytest.mark.parametrize("limit", [60, 250, 500, 1024])
async def test_a_limit_is_lowered_down_to_a_quarter(tmp_path: Path, limit: int) -> None:
    """Of the worst case of its output six tenths or three are there, and then a fifth."""
    dear = Price.dollars(0, 100)
    async with serve({"small": Served(answer=lambda _: "Oslo")}) as server:
        async with opened(tmp_path, model("small", dear, server)) as engine:
            for share in (0.6, 0.3):
                run = await engine.start(short_of_money, limit, share * limit * 100e-6, id=str(share))
                assert await run.result() == "Oslo"
            with pytest.raises(RunFailed, match="BudgetExceeded"):
                await engine.run(short_of_money, limit, 0.2 * limit * 100e-6, id="a fifth")
        assert [entry.body["max_completion_tokens"] for entry in server.log] == [int(0.6 * limit), int(0.3 * limit)]


@flow(budget_usd=0.03)
async def six() -> list[int]:
    return [len((await ask("Answer.", f"ticket {n}", route="best-paid")).split()) for n in range(6)]


async def test_whoever_writes_a_whole_answer_comes_before_one_whose_limit_is_lowered(tmp_path: Path) -> None:
    """The good one is asked as long as the budget pays for answers as long as it gives, and then the cheap one."""
    routes = {"best-paid": Cheapest(name="best-paid", quality_min=0.8, explore=NEVER)}
    async with serve({name: Served(answer=lambda _: "word " * 400) for name in ("dear", "cheap")}) as server:
        dear = model("dear", Price.dollars(3, 15), server, quality={"any": 0.9})
        cheap = model("cheap", Price.dollars("0.3", 1), server, quality={"any": 0.6})
        resources = {"catalogue": Catalogue.of(dear, cheap), "routes": routes}
        async with Engine(str(tmp_path / "x.db"), resources=resources) as engine:
            assert await engine.run(six, id="r") == [400] * 6
    asked = [entry.model for entry in server.log]
    assert asked == ["dear"] * 4 + ["cheap"] * 2


@flow(budget_usd=0.02)
async def family(count: int) -> int:
    return sum(await gather(*(child(n) for n in range(count))))


@flow(budget_usd=0.012)
async def child(n: int) -> int:
    answered = 0
    for m in range(10):
        try:
            await ask(f"City {n}.{m}?", returns=City, max_tokens=500, key=str(m))
        except BudgetExceeded as error:
            assert error.scope.startswith(f"run:{PARENT}")
            break
        answered += 1
    return answered


PARENT = "family-1"


async def test_children_count_against_their_parents_too(tmp_path: Path) -> None:
    dear = Price.dollars(10, 20)
    async with serve(["small"]) as server, opened(tmp_path, model("small", dear, server)) as engine:
        await (await engine.start(family, 3, id=PARENT)).result()
        whole = stood(engine, run_scope(PARENT))
        parts = [stood(engine, run_scope(row.id)) for row in engine.journal.runs("parent is not null")]
    assert len(parts) == 3
    assert sum(p.spent for p in parts) == whole.spent == billed(server, dear)
    assert whole.spent <= nano(0.02)
    assert max(p.spent for p in parts) <= nano(0.012)


async def test_tenants_have_accounts_of_their_own(tmp_path: Path) -> None:
    budgets = Budgets(tenants={"default": Allowance(usd=0.002, per="day"), "rich": Allowance(usd=5)})
    async with serve(["small"]) as server, opened(tmp_path, model("small", SMALL, server), budgets=budgets) as engine:
        for tenant in ("poor", "rich"):
            for n in range(12):
                run = await engine.start(free_of_budgets, f"City {n}?", id=f"{tenant}{n}", tenant=tenant)
                try:
                    await run.result()
                except RunFailed as error:
                    assert tenant == "poor", error
                    assert "tenant:poor (20" in str(error)
        at = {
            row[0]: row[1:] for row in engine.journal.query("select name, period, spent_nano, limit_nano from accounts")
        }
    assert at["rich"][0] == ""
    assert len(at["poor"][0]) == len("2026-11-25")
    assert 0 < at["poor"][1] <= nano(0.002)
    assert at["rich"][1] > at["poor"][1]


async def test_a_question_has_a_bound_of_its_own(tmp_path: Path) -> None:
    async with serve(["small"]) as server, opened(tmp_path, model("small", SMALL, server)) as engine:
        server.fail("small", "answer-lost")  # each takes all that was set aside
        with pytest.raises(RunFailed, match="BudgetExceeded"):
            await engine.run(bounded, "Which city?", id="r")
        ((name, spent),) = engine.journal.query("select name, spent_nano from accounts where kind = 'ask'")
        assert name.startswith("r/ask[")
        assert 0 < spent <= nano(0.004)
        assert 0 < server.counts().calls < 8


@flow
async def bounded(text: str) -> str:
    return (await ask(text, returns=City, max_tokens=500, budget_usd=0.004)).name


async def test_outside_of_a_run_a_question_is_held_to_its_bound_too(tmp_path: Path) -> None:
    async with serve(["small"]) as server:
        from segue.agent.gateway import Gateway
        from segue.runtime.scope import Surroundings, surround

        around = Surroundings(None, {"gateway": Gateway.of(Catalogue.of(model("small", SMALL, server)))})
        surround(around)
        try:
            server.fail("small", "answer-lost")
            with pytest.raises(BudgetExceeded, match="ask"):
                await ask("Which city?", returns=City, max_tokens=500, budget_usd=0.004)
            assert 0 < server.counts().calls < 8
        finally:
            surround(None)
            await around.close()


@step
async def within(text: str) -> str:
    return (await ask(text, returns=City, max_tokens=500)).name


@flow(budget_usd=0.02)
async def nested(text: str) -> str:
    return await within(text)


async def test_an_ask_inside_of_a_step_counts_too(tmp_path: Path) -> None:
    async with serve(["small"]) as server, opened(tmp_path, model("small", SMALL, server)) as engine:
        await (await engine.start(nested, "Which city?", id="r")).result()
        assert stood(engine, run_scope("r")) == Standing(billed(server), 0, 0)


@flow(budget_usd=0.02)
async def impatient(text: str) -> str:
    asked = asyncio.ensure_future(ask(text, returns=City, max_tokens=500))
    await asyncio.wait([asked, asyncio.ensure_future(within_time())], return_when=asyncio.FIRST_COMPLETED)
    return "left"


@step
async def within_time() -> None:
    await asyncio.sleep(0.3)


async def test_a_run_that_ends_pays_for_what_is_on_its_way(tmp_path: Path) -> None:
    slow = {"small": Served(first_token_s=2.0)}
    async with serve(slow) as server, opened(tmp_path, model("small", SMALL, server)) as engine:
        await (await engine.start(impatient, "Which city?", id="r")).result()
        at = stood(engine, run_scope("r"))
    assert at.held == 0
    assert at.spent == at.estimated > 0


def test_the_file_says_what_may_be_spent(tmp_path: Path) -> None:
    from segue.agent.budgets import read_budgets
    from segue.errors import ConfigError

    text = '[budgets.tenants]\ndefault = { usd = 20, per = "month" }\ntrial = 5\n'
    text += "[budgets.threads]\ndefault = { usd = 0.5 }\n"
    made = read_budgets(text)
    assert made.tenant("anybody") == Allowance(usd=20, per="month")
    assert made.tenant("trial") == Allowance(usd=5)
    assert made.thread("t") == Allowance(usd=0.5)
    scope = Allowance(usd=20, per="month").scope(ScopeKind.TENANT, "a", 1_764_000_000.0)
    assert (scope.period, scope.limit_nano) == ("2025-11", 20_000_000_000)
    for wrong, says in {
        "[budgets.tenants]\nx = -1": "negative", '[budgets.tenants]\nx = {usd = 1, per = "week"}': "week",
        "[budgets.tenants]\nx = {limit = 1}": "did you mean usd", "[budget.tenants]\nx = 1": "did you mean budgets",
        "[budgets.tenant]\nx = 1": "did you mean tenants",
    }.items():  # fmt: skip
        with pytest.raises(ConfigError, match=says):
            read_budgets(wrong)


async def test_a_thread_pays_for_all_its_turns(tmp_path: Path) -> None:
    budgets = Budgets(threads={"default": Allowance(usd=0.002)})
    async with serve(["small"]) as server, opened(tmp_path, model("small", SMALL, server), budgets=budgets) as engine:
        for n, thread in enumerate(["talk", "talk", "chat"]):
            new = NewRun(
                id=f"turn{n}", tenant="default", flow=free_of_budgets.name, origin=None, version=1, seed="s", at=1.0,
                args=b'{"text": "Which city?"}', owner=engine.journal.owner, body={"thread": thread},
                revision=free_of_budgets.revision,
            )  # fmt: skip
            await (await engine.accept(new, free_of_budgets.signature.result)).result()
        talk, chat = (stood(engine, BudgetScope(kind=ScopeKind.THREAD, name=name)) for name in ("talk", "chat"))
        assert talk.spent > chat.spent > 0
        assert talk.spent + chat.spent == billed(server)
