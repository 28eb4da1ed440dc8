"""The process dies at each write of asks under a budget: nothing is counted twice, forgotten or overspent."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, cast

import pytest

from segue import flow, gather
from segue.agent import ask, called
from segue.agent.gateway import Gateway
from segue.core.budgets import Ledger, nano
from segue.core.records import BudgetScope, ScopeKind, Usage
from segue.errors import BudgetExceeded
from segue.models import Catalogue, Model, Price, Provider
from segue.models.errors import Overloaded
from segue.models.exchange import Call, Reply
from segue.models.health import Health
from segue.testing import Engine, crash_everywhere

PRICE = Price.dollars(1, 4)
MODEL = Model(
    name="m", provider=Provider.OPENAI_COMPATIBLE, window=4000, max_output=1000, price=PRICE, url="http://127.0.0.1:1"
)
LIMIT = 0.002


class Till:
    """A provider on virtual time: every third call fails with a status, and is not billed."""

    def __init__(self) -> None:
        self.billed = 0
        self.calls = itertools.count(1)

    async def ready(self, asked: Call) -> None:
        """Nothing is to be imported for it."""

    async def send(self, asked: Call) -> Reply:
        n = next(self.calls)
        await asyncio.sleep(1)
        if n % 3 == 0:
            error = Overloaded("m: 503")
            vars(error)["status"] = 503
            raise error
        usage = PRICE.charged(Usage(tokens_in=20, tokens_out=30 + n % 7))
        self.billed += usage.cost_nano or 0
        await asyncio.sleep(1)
        return Reply(message=cast("Any", _Message()), text=f"answer {n}", usage=usage)


class _Message:
    parts = ()


@flow(budget_usd=LIMIT)
async def asks() -> int:
    answered = 0
    for n in range(2):
        answered += sum(await gather(*(tells(f"{n}.{m}") for m in range(2))))
    return answered


async def tells(name: str) -> int:
    try:
        await ask(f"Tell {name}", max_tokens=100, key=name)
    except BudgetExceeded:
        return 0
    return 1


@pytest.mark.sampled(2)
@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_a_crash_at_every_write(monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    till = Till()

    async def scenario(engine: Engine) -> int:
        monkeypatch.setattr(called, "ready", till.ready)
        monkeypatch.setattr(called, "send", till.send)
        return await engine.run(asks, id="r")

    def check(answered: int, engine: Engine) -> None:
        nonlocal till
        ledger = Ledger.of(engine.history("r"))
        scope = BudgetScope(kind=ScopeKind.RUN, name="r", limit_nano=nano(LIMIT))
        (stood,) = engine.reader.standing_of([scope])
        assert stood == ledger.standing(scope)
        assert ledger.open() == []
        assert stood.held == 0
        assert stood.spent <= nano(LIMIT)
        assert stood.spent - stood.estimated <= till.billed <= stood.spent
        assert answered or stood.estimated
        till = Till()

    resources = {"gateway": Gateway.of(Catalogue.of(MODEL), health=Health())}
    plays = crash_everywhere(scenario, check=check, again=again, resources=resources)
    assert plays > 30
