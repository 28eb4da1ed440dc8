"""What happens once, and was done by one candidate, or may have been: no other one does it again."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest

import segue
from segue import Applied, NotApplied, RunFailed, agent, delegate, flow, step, timeout, tool
from segue.agent import Delegate
from segue.agent.delegation.errors import Undelegated
from segue.testing import Crash, play
from segue.testing import Engine as InMemory
from segue.testing.provider import Served, serve
from tests.agent.served import KEYS, calls, catalogue, in_turn

DID: list[str] = []
ENDED: list[str] = []
"""Calls that are over, whatever came of them."""
REQUEST = "Pays an invoice: transfers money."


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    DID.clear()
    ENDED.clear()
    for name in KEYS:
        monkeypatch.setenv(name, "test")


async def was_it(request: str) -> Applied | NotApplied:
    return Applied("paid") if DID else NotApplied()


@tool(effect="once", reconcile=was_it)
async def pay(request: str) -> str:
    """Transfers money: pays an invoice."""
    await asyncio.sleep(0.05)
    DID.append("pay")
    ENDED.append("pay")
    return "paid"


@tool(effect="once", reconcile=was_it)
async def refused(request: str) -> str:
    """Transfers money: pays an invoice."""
    raise ConnectionResetError("gone")


@tool(effect="once", reconcile=was_it)
async def turned_down(request: str) -> str:
    """Transfers money: pays an invoice."""
    await asyncio.sleep(0.05)
    ENDED.append("turned down")
    raise ValueError("no such account")


@step
async def tidy() -> str:
    """It ends after what was begun before it has, where that ends soon."""
    for _ in range(50):
        if ENDED:
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    return "tidy"


async def in_cleanup(request: str) -> str:
    """It is cut off, and what it has begun ends while it cleans up."""
    try:
        return await pay(request)
    finally:
        await tidy()


async def turned_down_in_cleanup(request: str) -> str:
    try:
        return await turned_down(request)
    finally:
        await tidy()


async def before(request: str) -> str:
    """It is cut off after it has paid."""
    paid = await pay(request)
    await segue.sleep(30)
    return paid


async def raises(request: str) -> str:
    await pay(request)
    raise ValueError("the printer is on fire")


async def by_a_limit_of_its_own(request: str) -> str:
    try:
        async with timeout(0.01):
            return await pay(request)
    except TimeoutError:
        await tidy()
        raise


async def in_a_branch(request: str) -> str:
    async def fails() -> None:
        await tidy()
        raise ValueError("closed")

    await segue.gather(pay(request), fails())
    return "paid"


async def by_somebody_else(request: str) -> str:
    return await delegate(request, to=[Delegate(raises, name="raises", about=REQUEST)])


async def plain(request: str) -> str:
    return await pay(request)


async def other(request: str) -> str:
    """Transfers money."""
    return await pay(f"{request} Again.")


WAYS: dict[str, tuple[Any, float | None]] = {
    "in cleanup": (in_cleanup, 0.01), "before": (before, 0.4), "raises": (raises, None), "branch": (in_a_branch, None),
    "own limit": (by_a_limit_of_its_own, None), "delegates": (by_somebody_else, None), "plain": (plain, 0.01),
    "refused": (refused, None), "turned down": (turned_down_in_cleanup, 0.01),
}  # fmt: skip


@flow
async def desk(way: str) -> str:
    target, limit = WAYS[way]
    first = Delegate(target, name="first", about=REQUEST, quality=0.9, timeout_s=limit)
    try:
        return await delegate(REQUEST, to=[first, other])
    except Undelegated as error:
        return error.remedy or ""


@pytest.mark.parametrize("way", ["in cleanup", "before", "raises", "branch", "own limit", "delegates"])
async def test_what_was_done_before_a_candidate_failed_is_not_done_again(way: str) -> None:
    """Only what had no outcome yet was looked at, so the next one paid a second time."""
    async with InMemory() as engine:
        assert "first was carried out" in await engine.run(desk, way)
    assert DID == ["pay"]


@pytest.mark.parametrize("way", ["refused", "turned down"])
async def test_what_surely_was_not_done_is_followed_by_the_next_one(way: str) -> None:
    """Also where the run found it out after the candidate was cut off."""
    async with InMemory() as engine:
        assert await engine.run(desk, way) == "paid"
    assert DID == ["pay"]


@pytest.mark.sampled(5)
@pytest.mark.parametrize("way", ["in cleanup", "raises", "own limit", "plain", "turned down"])
async def test_a_crash_at_any_write_pays_once(way: str) -> None:
    async def scene(engine: InMemory) -> str:
        return await engine.run(desk, way, id="main")

    _, engine = await play(scene)
    sides: tuple[Literal["before", "after"], ...] = ("before", "after")
    for commit in range(1, engine.commits + 1):
        for when in sides:
            DID.clear()
            ENDED.clear()
            said, _ = await play(scene, [Crash(commit, when)])
            assert DID == ["pay"] or (not DID and "nobody knows" in said), (commit, when, said)


@flow
async def checked(x: int) -> str:
    return await delegate(REQUEST, to=[Delegate(pay, quality=0.9), other], check=lambda said: "too short")


async def test_what_happens_once_is_not_done_again_for_the_sake_of_a_check() -> None:
    async with InMemory() as engine:
        with pytest.raises(RunFailed) as failed:
            await engine.run(checked, 1)
    assert DID == ["pay"] and isinstance(failed.value.__cause__, Undelegated)
    assert "pay was carried out" in (failed.value.__cause__.remedy or "")


paying = agent("You transfer money and pay invoices.", name="paying", tools=[pay])


async def by_a_model(way: str) -> str:
    first = Delegate(paying, quality=0.9) if way == "agent" else Delegate("chat", about=REQUEST, quality=0.9)
    more: Any = {} if way == "agent" else {"options": {"tools": [pay]}}
    try:
        return str(await delegate(REQUEST, to=[first, other], returns=int, **more))
    except Undelegated as error:
        return error.remedy or ""


@flow
async def of_models(way: str) -> str:
    return await by_a_model(way)


@pytest.mark.parametrize("way", ["agent", "model"])
@pytest.mark.parametrize("where", ["flow", "step"])
async def test_what_a_model_has_done_by_a_tool_is_not_done_again(way: str, where: str) -> None:
    """The tool has paid, and the model then says what is no number."""
    said = in_turn(calls("pay", request="x"), "all is paid")
    async with (
        serve({"chat": Served(answer=said)}) as server,
        InMemory(resources={"catalogue": catalogue(server, "chat")}) as engine,
    ):
        told = await engine.run(of_models if where == "flow" else in_step, way)
    assert DID == ["pay"] and "was carried out" in told


@step
async def inside(way: str) -> str:
    return await by_a_model(way)


@flow
async def in_step(way: str) -> str:
    return await inside(way)


async def lets_go(request: str) -> str:
    raise ValueError("no such account")


@tool(effect="once")
async def lost(request: str) -> str:
    """Transfers money: pays an invoice."""
    DID.append("lost")
    raise ConnectionResetError("gone")


async def loses(request: str) -> str:
    return await lost(request)


async def pays_and_raises(request: str) -> str:
    await pay(request)
    raise ValueError("the printer is on fire")


OUTSIDE: dict[str, tuple[Any, float | None, str]] = {
    "cut off": (plain, 0.01, "nobody knows"), "lost": (loses, None, "nobody knows"),
    "done": (pays_and_raises, None, "was carried out"), "surely not": (lets_go, None, "paid"),
}  # fmt: skip


@step
async def within(way: str) -> str:
    target, limit, _ = OUTSIDE[way]
    first = Delegate(target, name="first", about=REQUEST, quality=0.9, timeout_s=limit)
    try:
        return await delegate(REQUEST, to=[first, other])
    except Undelegated as error:
        return error.remedy or ""


@flow
async def around(way: str) -> str:
    return await within(way)


@pytest.mark.parametrize("way", list(OUTSIDE))
@pytest.mark.parametrize("where", ["in a step", "outside"])
async def test_it_holds_in_a_step_and_outside_of_a_run(way: str, where: str) -> None:
    """There nothing was looked at below a function."""
    async with InMemory() as engine:
        said = await (within(way) if where == "outside" else engine.run(around, way))
    assert OUTSIDE[way][2] in said
    assert [*DID] == {"cut off": [], "lost": ["lost"]}.get(way, ["pay"])
