"""More questions at once than places: whoever stands first in a line goes where a place is free."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from segue import Engine, flow, gather
from segue.agent import ask
from segue.agent.attempt import Attempting
from segue.agent.gateway import Gateway
from segue.agent.line import Elsewhere, Left, Lines
from segue.agent.request import Question
from segue.agent.sessions import Session
from segue.core.faults import FaultKind
from segue.core.recovery import Attempt
from segue.models import Catalogue, Limits, Model, Price, Provider
from segue.models.health import Place, Wait
from segue.models.signals import made
from segue.routing import Cheapest
from segue.routing.policies import NEVER
from segue.testing.provider import Provider as Server
from segue.testing.provider import Served, serve

PLACE = Place("m", None, 0, 0.0, 0, 0)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")


class Places:
    """Of some models: how many are free."""

    def __init__(self, **free: int):
        self.free = free

    def of(self, model: str) -> Callable[[], Place | Wait]:
        def acquire() -> Place | Wait:
            if not self.free[model]:
                return Wait(0.1, "busy")
            self.free[model] -= 1
            return PLACE

        return acquire

    def elsewhere(self, *names: str) -> Elsewhere:
        def chosen(free: Collection[str]) -> str | None:
            return min(free)

        return Elsewhere(lambda: names, lambda name: self.free[name] > 0, chosen)


async def test_who_stands_first_leaves_for_a_model_that_is_free() -> None:
    lines, places = Lines(), Places(a=0, b=0, c=0)
    first, second = (
        asyncio.create_task(lines.place("a", places.of("a"), 30.0, places.elsewhere("a", "b", "c"))) for _ in range(2)
    )
    await asyncio.sleep(0.05)
    assert not first.done()
    places.free["c"] = 1
    lines.wake("c")  # nobody waits there
    answer, _ = await asyncio.wait_for(first, 1.0)
    assert answer == Left("c")
    await asyncio.sleep(0.05)
    assert not second.done(), "the free place is for the one that has left"
    places.free["a"] = 1
    lines.wake("a")
    assert (await asyncio.wait_for(second, 1.0))[0] is PLACE


async def test_where_somebody_waits_for_the_free_one_nobody_else_leaves_for_it() -> None:
    lines, places = Lines(), Places(a=0, b=0)
    waits = asyncio.create_task(lines.place("a", places.of("a"), 30.0, places.elsewhere("b")))
    mine = asyncio.create_task(lines.place("b", places.of("b"), 30.0))
    await asyncio.sleep(0.02)
    places.free["b"] = 1
    lines.wake("b")
    assert (await asyncio.wait_for(mine, 1.0))[0] is PLACE
    await asyncio.sleep(0.3)
    assert not waits.done()
    waits.cancel()


async def test_who_has_waited_elsewhere_comes_before_those_who_came_since() -> None:
    lines, places, served = Lines(), Places(a=0), list[str]()

    async def waits(name: str, waited_s: float) -> None:
        await lines.place("a", places.of("a"), 30.0, waited_s=waited_s)
        served.append(name)

    tasks = [asyncio.create_task(waits(name, s)) for name, s in (("new", 0.0), ("newer", 0.0), ("old", 5.0))]
    for _ in tasks:
        await asyncio.sleep(0.02)
        places.free["a"] = 1
        lines.wake("a")
    await asyncio.wait_for(asyncio.gather(*tasks), 2.0)
    assert served == ["old", "new", "newer"]


@flow
async def fan(count: int, model: str | None = None, attempts: int | None = None) -> list[str]:
    return list(await gather(*(ask(f"Say {n}", model=model, attempts=attempts) for n in range(count))))


def models(server: Server) -> list[Model]:
    return [
        Model(
            name=name, provider=Provider.OPENAI_COMPATIBLE, url=server.openai_url, window=8000, max_output=1000,
            price=Price.dollars(price, price), limits=Limits(concurrency=2),
        )
        for name, price in (("a", "1"), ("b", "2"), ("c", "4"))
    ]  # fmt: skip


@pytest.mark.parametrize("attempts", [None, 1], ids=["any attempts", "one attempt"])
async def test_all_places_of_all_models_are_in_use(tmp_path: Path, attempts: int | None) -> None:
    """Nearly all waited in one line, while the places of the other models stood empty."""
    slow = {name: Served(first_token_s=0.4) for name in "abc"}
    async with serve(slow) as server:
        given = {"catalogue": Catalogue.of(*models(server)), "routes": {"default": Cheapest(explore=NEVER)}}
        async with Engine(str(tmp_path / "x.db"), resources=given) as engine:
            await engine.run(fan, 1)
            assert len(await engine.run(fan, 30, None, attempts)) == 30
        counts = Counter(entry.model for entry in server.log)
    assert min(counts.values()) >= 7, counts


async def test_a_question_to_one_model_waits_for_that_one(tmp_path: Path) -> None:
    async with serve({name: Served(first_token_s=0.2) for name in "abc"}) as server:
        async with Engine(str(tmp_path / "x.db"), resources={"catalogue": Catalogue.of(*models(server))}) as engine:
            assert len(await engine.run(fan, 8, "a")) == 8
        assert Counter(entry.model for entry in server.log) == {"a": 8}


async def test_nobody_leaves_for_a_model_that_was_called_in_vain(tmp_path: Path) -> None:
    async with serve(list("abc")) as server:
        gateway = Gateway.of(Catalogue.of(*models(server)))
        at = Attempting(
            gateway=gateway, form=cast("Any", None), check=None, policy=None, timeout_s=1.0, session=Session()
        )  # fmt: skip
        paid = cast("Any", SimpleNamespace(left=None, covers=lambda model, question: True))
        overloaded = made(FaultKind.OVERLOADED, "503", model="a")
        full = made(FaultKind.RATE_LIMITED, "b takes no calls now", model="b", unsent=1)
        scope = cast("Any", SimpleNamespace(history=[Attempt(1, 1, 0.0, overloaded), Attempt(1, 2, 1.0, full)]))

        def names(question: Question) -> list[str] | None:
            among = at._among(question, scope, paid)
            return None if among is None else [c.target.name for c in among({}).candidates if c.eligible]

        assert names(Question(prompt="hello")) == ["b", "c"]
        assert names(Question(prompt="hello", model="b")) is None
        gateway.health.close()


@flow(budget_usd=0.02)
async def within(count: int) -> list[str]:
    return list(await gather(*(ask(f"Say {n}", max_tokens=500) for n in range(count))))


async def test_nobody_leaves_for_a_model_of_which_what_is_left_pays_only_a_part(tmp_path: Path) -> None:
    """A whole answer costs more than the run has, one as long as such answers are does not."""
    said = " ".join(f"w{n}" for n in range(100))
    slow = {name: Served(first_token_s=0.2, answer=lambda _: said) for name in "ab"}
    async with serve(slow) as server:
        cheap, dear = models(server)[:2]
        dear = replace(dear, price=Price.dollars("60", "60"))
        given = {"catalogue": Catalogue.of(cheap, dear), "routes": {"default": Cheapest(explore=NEVER)}}
        async with Engine(str(tmp_path / "x.db"), resources=given) as engine:
            assert len(await engine.run(within, 12)) == 12
        assert Counter(entry.model for entry in server.log) == {"a": 12}
