"""Guards that ask models, under a budget: what they paid for holds nothing, they wait for money, and ask once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from segue import flow, gather, testing
from segue.agent import ask, called
from segue.agent.gateway import Gateway
from segue.agent.guards import Guard
from segue.agent.guards.moderation import Moderation
from segue.core.budgets import Ledger, nano
from segue.core.records import AttemptRecorded, AttemptWhy, BudgetScope, ScopeKind, Settlement, Usage, record_of
from segue.models import Capability, Catalogue, Limits, Model, Price, Provider
from segue.models.errors import Overloaded, TooSlow
from segue.models.exchange import Call, Reply
from segue.models.health import Health
from segue.routing import Cascade
from segue.testing import Engine, crash_everywhere

CAN = frozenset({Capability.JSON_SCHEMA})
RUN = BudgetScope(kind=ScopeKind.RUN, name="r")
FINE = json.dumps({"flagged": False, "category": "none", "why": ""})


def model(name: str, price: Price) -> Model:
    return Model(
        name=name, provider=Provider.OPENAI_COMPATIBLE, window=32_000, max_output=4000, price=price, capabilities=CAN,
        url="http://127.0.0.1:1", limits=Limits(concurrency=50),
    )  # fmt: skip


SMALL, MOD = model("small", Price.dollars("0.1", "0.4")), model("mod", Price.dollars("0.3", "1.5"))
DEAR = model("dear", Price.dollars("300", "1500"))


class Till:
    """Models on virtual time: one answers, others judge. Some calls of one fail; the first of `small` may be bad."""

    def __init__(
        self, *, fails: Sequence[int] = (), failing: str = "small", bad: int = 0, seconds: float = 1.0
    ) -> None:
        self.calls, self.fails, self.failing = list[str](), fails, failing
        self.bad, self.seconds, self.billed = bad, seconds, 0

    async def ready(self, asked: Call) -> None:
        """Nothing is to be imported for it."""

    async def send(self, asked: Call) -> Reply:
        name = asked.model.name
        self.calls.append(name)
        nth = self.calls.count(name)
        await asyncio.sleep(min(self.seconds, asked.timeout_s))
        if self.seconds > asked.timeout_s:
            raise TooSlow(f"{name}: no answer")
        if name == self.failing and nth in self.fails:
            error = Overloaded(f"{name}: 503")
            vars(error)["status"] = 503
            raise error
        assert asked.model.price is not None
        usage = asked.model.price.charged(Usage(tokens_in=200, tokens_out=20))
        self.billed += usage.cost_nano or 0
        text = FINE if name in ("mod", "dear") else "bad" if nth <= self.bad else "well"
        return Reply(message=cast("Any", _Message()), text=text, usage=usage)


class _Message:
    parts = ()


def judge(**more: Any) -> Guard:
    return Guard(**{"name": "judge", "look": Moderation(model="mod"), "together": True, "timeout_s": 30, **more})


def resources(*guards: Guard) -> dict[str, Any]:
    judges = {"judges": Cascade(steps=("mod", "dear"))}
    gateway = Gateway.of(Catalogue.of(SMALL, MOD, DEAR), routes=judges, health=Health())
    return {"gateway": gateway, "guards": list(guards)}


@asynccontextmanager
async def opened(monkeypatch: pytest.MonkeyPatch, till: Till, *guards: Guard) -> AsyncIterator[Engine]:
    monkeypatch.setattr(called, "ready", till.ready)
    monkeypatch.setattr(called, "send", till.send)
    async with Engine(resources=resources(*guards)) as engine:
        yield engine


async def timed(work: Awaitable[Any]) -> tuple[Any, float]:
    began = asyncio.get_running_loop().time()
    said = await work
    return said, asyncio.get_running_loop().time() - began


def spent(engine: Engine) -> int:
    """What the run has spent: nothing of it is held, and tables and events say the same."""
    (stood,) = engine.reader.standing_of([RUN])
    assert stood == Ledger.of(engine.history("r")).standing(RUN)
    assert stood.held == 0
    return stood.spent


@flow(budget_usd=0.00045)
async def first() -> str:
    """What is set aside for the guard leaves nothing for the question."""
    return await ask("Say it.", "x", model="small", max_tokens=200)


@flow(budget_usd=0.00027)
async def last() -> str:
    """What is set aside for the question leaves too little for the guard."""
    return await ask("Say it.", "x", model="small", max_tokens=200)


@flow(budget_usd=0.01)
async def rich() -> str:
    return await ask("Say it.", "x", model="small", check=lambda said: "it is bad" if said == "bad" else None)


@flow(budget_usd=0.002)
async def many(count: int) -> list[str]:
    asked = (ask("Say it.", str(n), model="small", max_tokens=200, key=str(n)) for n in range(count))
    return [str(said) for said in await gather(*asked, return_exceptions=True)]


@pytest.mark.parametrize("stage", ["before", "after"])
@testing.simulated
async def test_neither_waits_for_what_its_own_question_has_paid_for(
    monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """It waited for 30 s, had its text judged three times, and was blocked."""
    till, one = Till(), first if stage == "before" else last
    async with opened(monkeypatch, till, judge(stage=stage)) as engine:
        said, took = await timed(engine.run(one, id="r"))
        assert (said, sorted(till.calls)) == ("well", ["mod", "small"])
        assert took < 3
        assert spent(engine) == till.billed


@pytest.mark.parametrize("on_fail", ["closed", "open"])
@pytest.mark.parametrize("stage", ["before", "after", "both"])
@testing.simulated
async def test_guards_wait_for_money_that_others_hold(
    monkeypatch: pytest.MonkeyPatch, stage: str, on_fail: str
) -> None:
    """What twelve hold at once is far more than there is, what they take is less."""
    till = Till()
    async with opened(monkeypatch, till, judge(stage=stage, on_fail=on_fail, timeout_s=3)) as engine:
        said, took = await timed(engine.run(many, 7, id="r"))
        assert said == ["well"] * 7
        looks = 2 if stage == "both" else 1
        assert (till.calls.count("small"), till.calls.count("mod")) == (7, 7 * looks)
        assert took < 60
        assert spent(engine) == till.billed


@pytest.mark.proof
@testing.simulated
async def test_a_guard_fails_where_the_money_is_spent_and_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    till = Till()
    async with opened(monkeypatch, till, judge(stage="before")) as engine:
        said, took = await timed(engine.run(many, 40, id="r"))
        answered = said.count("well")
        assert till.calls.count("small") == till.calls.count("mod") == answered
        assert all("the guard itself failed: the budget run:r is 0.002 USD" in one for one in said if one != "well")
        assert answered >= 12, "what is left does not pay for one more"
        assert took < 60
        assert spent(engine) == till.billed <= nano(0.002)


Asks = Callable[[str], Coroutine[Any, Any, str | None]]


@pytest.mark.parametrize("whose", ["question", "engine"])
@pytest.mark.parametrize("stage", ["before", "after"])
@testing.simulated
async def test_a_function_that_asks_is_paid_for_as_a_question(
    monkeypatch: pytest.MonkeyPatch, stage: str, whose: str
) -> None:
    async def polite(text: str) -> str | None:
        await ask("Is it polite?", text, model="mod", max_tokens=200)
        return None

    guards = [Guard(name="polite", look=polite, stage=cast("Any", stage), timeout_s=4)]
    own, all_have = (guards, []) if whose == "question" else ([], guards)

    @flow(budget_usd=0.0015, name="politely")
    async def politely(count: int) -> list[str]:
        asked = (ask("Say it.", model="small", max_tokens=200, guards=own, key=str(n)) for n in range(count))
        return [str(said) for said in await gather(*asked, return_exceptions=True)]

    till = Till()
    async with opened(monkeypatch, till, *all_have) as engine:
        said, took = await timed(engine.run(politely, 6, id="r"))
        assert said == ["well"] * 6
        assert (till.calls.count("small"), till.calls.count("mod")) == (6, 6)
        assert took < 30
        assert spent(engine) == till.billed


@testing.simulated
async def test_a_guards_time_stands_still_while_it_waits_for_money(monkeypatch: pytest.MonkeyPatch) -> None:
    till = Till(seconds=20)
    async with opened(monkeypatch, till, judge(stage="before", timeout_s=25)) as engine:
        said, took = await timed(engine.run(many, 7, id="r"))
        assert said == ["well"] * 7
        assert 60 < took < 300


@testing.simulated
async def test_a_guard_asks_again_in_a_time_that_stood_still_while_it_waited_for_money(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    till = Till(seconds=20, fails=(7,), failing="mod")
    guard = judge(look=Moderation(model="mod", timeout_s=45), stage="before", timeout_s=45)
    async with opened(monkeypatch, till, guard) as engine:
        said, took = await timed(engine.run(many, 7, id="r"))
        assert said == ["well"] * 7
        assert took > 60, "the last one has waited for longer than the guard has time"
        assert till.calls.count("mod") == 8


@testing.simulated
async def test_a_judge_has_the_time_of_another_one_that_nobody_can_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    till = Till(seconds=20)
    guard = judge(look=Moderation(route="judges"), stage="before", timeout_s=25)
    async with opened(monkeypatch, till, guard) as engine:
        assert await engine.run(rich, id="r") == "well"
        assert till.calls == ["mod", "small"]


@testing.simulated
async def test_a_text_is_judged_once_however_often_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    till = Till(fails=(1, 2))
    async with opened(monkeypatch, till, judge(stage="before", on_hit="flag")) as engine:
        assert await engine.run(first, id="r") == "well"
        assert till.calls == ["mod", "small", "small", "small"]
        recorded = [record_of(e) for e in engine.history("r") if e.type == "attempt.recorded"]
        attempts = [r for r in recorded if isinstance(r, AttemptRecorded)]
        assert [r.why for r in attempts].count(AttemptWhy.PROBE) == 1
        assert [[c.name for c in r.checks] for r in attempts if r.n < 100][-1] == ["judge"]


@pytest.mark.proof
@pytest.mark.parametrize("stage", ["before", "both"])
@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_a_crash_at_every_write(monkeypatch: pytest.MonkeyPatch, stage: str, again: bool) -> None:
    till = Till(fails=(1,))

    async def scenario(engine: Engine) -> list[str]:
        monkeypatch.setattr(called, "ready", till.ready)
        monkeypatch.setattr(called, "send", till.send)
        return await engine.run(many, 3, id="r")

    def check(said: list[str], engine: Engine) -> None:
        nonlocal till
        events = engine.history("r")
        ledger = Ledger.of(events)
        (stood,) = engine.reader.standing_of([RUN])
        assert stood == ledger.standing(RUN)
        assert ledger.open() == []
        assert stood.spent - stood.estimated <= till.billed <= stood.spent <= nano(0.002)
        settled = [r.settles for e in events if isinstance(r := _read(e), Settlement)]
        assert len(settled) == len(set(settled)), "each is settled once"
        refs = [(r.epoch, r.n, e.key) for e in events if isinstance(r := _read(e), AttemptRecorded)]
        assert len(refs) == len(set(refs)), "each has a number of its own"
        assert "well" in said or stood.estimated
        till = Till(fails=(1,))

    plays = crash_everywhere(scenario, check=check, again=again, resources=resources(judge(stage=stage)))
    assert plays > 30


def _read(event: Any) -> Any:
    return record_of(event) if event.type in ("usage.settled", "attempt.recorded") else None


def test_what_was_judged_is_known_after_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    till, kept = Till(bad=1), 0

    async def scenario(engine: Engine) -> str:
        monkeypatch.setattr(called, "ready", till.ready)
        monkeypatch.setattr(called, "send", till.send)
        return await engine.run(rich, id="r")

    def check(said: str, engine: Engine) -> None:
        nonlocal till, kept
        assert said == "well"
        failed = [e.epoch for e in engine.history("r") if e.type == "attempt.failed"]
        if failed[:1] == [1]:  # the crash came after the attempt that had it judged
            kept += 1
            assert till.calls.count("mod") == 1
        till = Till(bad=1)

    crash_everywhere(scenario, check=check, resources=resources(judge(stage="before")))
    assert kept > 5
