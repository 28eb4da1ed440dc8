"""The process dies at each write of the journal and of the outbox: no question is sent twice, no answer is lost."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest

from segue import flow, gather
from segue.agent import ask
from segue.agent.batch import attempt
from segue.agent.gateway import Gateway
from segue.core.budgets import Ledger, nano
from segue.core.records import BudgetScope, ScopeKind, Usage
from segue.errors import BudgetExceeded
from segue.models import Capability, Catalogue, Model, Price, Provider
from segue.models.batches import BatchRules, Outbox, tape, ways
from segue.models.batches.api import Request, Result, Standing, answered
from segue.models.exchange import Call, Reply
from segue.models.health import Health
from segue.testing import Died, Engine, crash_everywhere, run

PRICE = Price.dollars(1, 4)
MODEL = Model(
    name="m", provider=Provider.OPENAI_COMPATIBLE, window=4000, max_output=1000, price=PRICE, url="http://127.0.0.1:1",
    capabilities=frozenset({Capability.BATCH}),
)  # fmt: skip
LIMIT = 0.002
RULES = BatchRules(wait_s=5, look_s=30, look_s_max=60, settle_s=20)


class Bureau:
    """A provider's batch API on virtual time: it answers after two minutes, and bills each request that it is sent."""

    def __init__(self) -> None:
        self.sent: dict[str, tuple[str, list[Request]]] = {}
        self.billed = 0
        self.asked: list[str] = []
        self.looks = itertools.count()
        self.alive = lambda: True

    async def submit(self, name: str, requests: Sequence[Request]) -> str:
        if not self.alive():
            raise ConnectionError("the process is dead")
        self.sent[f"b{len(self.sent)}"] = name, list(requests)
        self.asked += [one.id for one in requests]
        self.billed += len(requests) * (_usage().cost_nano or 0)
        made = f"b{len(self.sent) - 1}"
        await asyncio.sleep(1)
        return made

    async def find(self, name: str, many: int, since: float, not_ours: Sequence[str]) -> tuple[str, bool] | None:
        return next(((one, True) for one, (known, _) in self.sent.items() if known == name), None)

    async def look(self, id: str) -> Standing:
        return Standing(ended=next(self.looks) % 3 == 2, total=len(self.sent[id][1]))

    async def results(self, id: str) -> AsyncIterator[Result]:
        for one in reversed(self.sent[id][1]):
            yield Result(one.id, answered(200, {"text": f"answer to {one.body['text']}"}))


class _Connection:
    def __init__(self, bureau: Bureau) -> None:
        self.batches = bureau


class _Message:
    parts = ()


def _usage() -> Usage:
    return PRICE.in_batch().charged(Usage(tokens_in=20, tokens_out=30))


async def written(c: Call) -> tape.Written:
    return tape.Written({"text": "a question"})


async def played(c: Call, said: Any) -> Reply:
    return Reply(message=cast("Any", _Message()), text=said["body"]["text"], usage=_usage())


async def ready(c: Call) -> None:
    """Nothing is to be imported for it."""


@flow(budget_usd=LIMIT)
async def asks() -> int:
    return sum(await gather(*(tells(f"{n}") for n in range(3))))


async def tells(name: str) -> int:
    try:
        return bool(await ask(f"Tell {name}", max_tokens=100, key=name, batch=True))
    except BudgetExceeded:
        return 0


class Scene:
    """One play after the other, each with a provider and an outbox of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.resources: dict[str, Any] = {"gateway": Gateway.of(Catalogue.of(MODEL), health=Health()), "batches": RULES}
        self.renew(Outbox(None))

        async def connected(model: Model, deployment: object) -> _Connection:
            return _Connection(self.bureau)

        monkeypatch.setattr(ways, "connected", connected)
        monkeypatch.setattr(attempt, "ready", ready)
        monkeypatch.setattr(tape, "written", written)
        monkeypatch.setattr(tape, "played", played)

    def renew(self, outbox: Outbox) -> None:
        self.bureau, self.outbox = Bureau(), outbox
        self.resources["outbox"] = outbox

    async def play(self, engine: Engine) -> int:
        self.bureau.alive = lambda: not engine.dead
        answered = await engine.run(asks, id="r")
        while not self.outbox.empty:  # what the batcher has not yet taken off its list
            await asyncio.sleep(60)
        return answered

    def check(self, answered: int, engine: Engine) -> None:
        ledger, history = Ledger.of(engine.history("r")), engine.history("r")
        (stood,) = engine.reader.standing_of([BudgetScope(kind=ScopeKind.RUN, name="r", limit_nano=nano(LIMIT))])
        assert answered == 3
        assert len(self.bureau.asked) == len(set(self.bureau.asked)) == 3, "each question is sent once"
        assert stood == ledger.standing(BudgetScope(kind=ScopeKind.RUN, name="r", limit_nano=nano(LIMIT)))
        assert ledger.open() == []
        assert stood.held == 0
        assert stood.estimated == 0, "what a crash cut off before it was queued took nothing"
        assert stood.spent == self.bureau.billed == 3 * (_usage().cost_nano or 0)
        assert [e.type for e in history].count("step.completed") == 3
        assert not self.outbox._rows("select id from items union select id from batches")  # pyright: ignore[reportPrivateUsage]
        self.renew(Outbox(None))


@pytest.mark.proof
@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_a_crash_at_every_write_of_the_journal(monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    scene = Scene(monkeypatch)
    plays = crash_everywhere(scene.play, check=scene.check, again=again, resources=scene.resources)
    assert plays > 30


class Mortal(Outbox):
    """Whose process dies at its n-th write, before or after it is on disk."""

    def __init__(self, at: int, when: str) -> None:
        super().__init__(None)
        self.at, self.when, self.writes = at, when, 0
        self.engine: Engine | None = None

    def _do(self, *statements: tuple[str, Sequence[Any]]) -> list[tuple[Any, ...]]:
        self.writes += 1
        assert self.engine is not None
        if self.engine.dead:
            raise OSError("the process is dead")
        if (self.writes, self.when) == (self.at, "before"):
            self.engine.kill()
            raise OSError("the process is dead")
        rows = super()._do(*statements)
        if (self.writes, self.when) == (self.at, "after"):
            self.engine.kill()
        return rows


async def through(scene: Scene, outbox: Mortal, seed: int) -> tuple[int, Engine]:
    """Play a scene until it is over, through the one death."""
    engine: Engine | None = None
    while True:
        async with Engine(after=engine, seed=seed, resources=scene.resources) as engine:
            outbox.engine = engine
            try:
                return await engine.outlive(scene.play(engine)), engine
            except (Died, OSError):
                assert engine.dead


def test_a_crash_at_every_write_of_the_outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, at, writes = Scene(monkeypatch), 0, 1
    while at < writes:
        at += 1
        for when in ("before", "after"):
            outbox = Mortal(at, when)
            scene.renew(outbox)
            scene.check(*run(through(scene, outbox, at)))
            writes = outbox.writes
    assert at > 12
