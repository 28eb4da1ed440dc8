"""A hedge over real HTTP: the second request after a while, the first good answer, and what became of the other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue import RunFailed, flow, step
from segue.agent import answer
from segue.agent import called as on_its_way
from segue.agent.called import Called
from segue.agent.hedging import race
from segue.agent.streaming import Floor
from segue.core.records import SettledBy, Settlement, record_of
from segue.errors import BudgetExceeded
from segue.models import Limits
from segue.models.exchange import Reply
from segue.routing import Cheapest, Hedge
from segue.routing.policies import NEVER
from segue.testing.loop import run as virtually
from segue.testing.provider import Served, serve
from tests.agent.routed import MODELS, brief, opened, saying, served, told

ROUTES = {"quick": Hedge(name="quick", of=Cheapest(explore=NEVER), after_s=0.15)}
P95 = {"quick": Hedge(name="quick", of=Cheapest(explore=NEVER))}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")


@flow
async def hurried(text: str) -> dict[str, Any]:
    given = await answer(text, route="quick", timeout_s=8, check=lambda said: "no" if said == "bad" else None)
    return {"value": given.value, "tried": [[t.model, t.error] for t in given.tried]}


async def test_the_second_is_asked_after_a_while_and_overtakes_the_first(tmp_path: Path) -> None:
    one = {"limits": Limits(concurrency=1)}
    async with serve(served(small=6)) as server, opened(tmp_path, server, ROUTES, models=one) as engine:
        run = await engine.start(hurried, "Which?")
        assert await run.result() == {
            "value": "middle", "tried": [["small", "middle answered first"], ["middle", ""]],
        }  # fmt: skip
        (decision,), (lost, won) = await told(run)
        await server.idle()
        assert [entry.outcome.value for entry in server.log.of("small")] == ["abandoned"]
        gateway: Any = engine.surroundings.share("gateway", lambda: None)
        assert gateway.health.try_acquire(gateway.catalogue.get("small"), 10).model == "small"  # its place is free
    assert brief([lost, won]) == [("small", "primary", "cancelled"), ("middle", "hedge", "answered")]
    assert lost.superseded_by is not None and (lost.superseded_by.epoch, lost.superseded_by.n) == (won.epoch, won.n)
    assert won.follows is not None and won.follows.n == lost.n
    assert lost.usage is not None and lost.usage.estimated and lost.usage.cost_nano and won.usage is not None
    assert lost.usage.tokens_in == won.usage.tokens_in and lost.usage.cost_nano < (won.usage.cost_nano or 0)
    assert {lost.decision, won.decision} == {decision.id} and (lost.latency_s or 0) > 0.15


async def test_a_first_that_is_quick_enough_is_alone(tmp_path: Path) -> None:
    async with serve(served()) as server, opened(tmp_path, server, ROUTES) as engine:
        run = await engine.start(hurried, "Which?")
        assert (await run.result())["value"] == "small"
        assert brief((await told(run))[1]) == [("small", "primary", "answered")]
        assert server.counts("middle").calls == 0


async def test_the_first_wins_where_it_answers_before_the_second(tmp_path: Path) -> None:
    async with serve(served(small=0.4, middle=6)) as server, opened(tmp_path, server, ROUTES) as engine:
        run = await engine.start(hurried, "Which?")
        assert (await run.result())["value"] == "small"
        lost, won = (await told(run))[1]
    assert brief([lost, won]) == [("middle", "hedge", "cancelled"), ("small", "primary", "answered")]
    assert lost.superseded_by is not None and lost.superseded_by.n == won.n == 1


@pytest.mark.parametrize("trouble", ["overloaded", "empty-content"])
async def test_a_second_that_fails_or_says_nothing_waits_for_the_first(tmp_path: Path, trouble: str) -> None:
    async with serve(served(small=0.5)) as server, opened(tmp_path, server, ROUTES) as engine:
        server.next("middle", trouble)
        run = await engine.start(hurried, "Which?")
        assert (await run.result())["value"] == "small"
        lost, won = (await told(run))[1]
    assert lost.target.name == "middle" and lost.why == "hedge" and lost.fault is not None
    assert lost.end == ("rejected" if trouble == "empty-content" else "failed") and won.end == "answered"


async def test_an_answer_that_its_check_turns_down_does_not_win(tmp_path: Path) -> None:
    models = served(small=0.5) | {"middle": Served(answer=saying("bad"))}
    async with serve(models) as server, opened(tmp_path, server, ROUTES) as engine:
        run = await engine.start(hurried, "Which?")
        assert (await run.result())["value"] == "small"
        lost, won = (await told(run))[1]
    assert (lost.end, [c.passed for c in lost.checks], [c.passed for c in won.checks]) == ("rejected", [False], [True])


async def test_whoever_is_asked_after_a_failure_is_hedged_too(tmp_path: Path) -> None:
    async with serve(served(middle=6)) as server, opened(tmp_path, server, ROUTES) as engine:
        server.next("small", "overloaded")
        run = await engine.start(hurried, "Which?")
        assert (await run.result())["value"] == "large"
        (_, second), attempts = await told(run)
    assert second.pinned_by == "recovery" and second.hedge_after_s == 0.15
    assert brief(attempts) == [
        ("small", "primary", "failed"), ("middle", "fallback", "cancelled"), ("large", "hedge", "answered"),
    ]  # fmt: skip


async def test_without_a_free_place_nobody_else_is_asked(tmp_path: Path) -> None:
    """A hedge takes no place that others wait for."""
    one = {"limits": Limits(concurrency=1)}
    async with serve(served(small=0.6, middle=2)) as server, opened(tmp_path, server, ROUTES, models=one) as engine:
        assert (await engine.run(hurried, "Which of them?"))["value"] == "small"
        gateway: Any = engine.surroundings.share("gateway", lambda: None)
        place = gateway.health.try_acquire(gateway.catalogue.get("middle"), 10)
        run = await engine.start(hurried, "Which now?")
        assert (await run.result())["value"] == "small"
        assert brief((await told(run))[1]) == [("small", "primary", "answered")]
        gateway.release(place, None, 0.1, 10)


async def test_after_the_p95_that_health_has_seen_and_what_is_overtaken_counts_as_slow(tmp_path: Path) -> None:
    async with serve(served(small=0.02)) as server, opened(tmp_path, server, P95) as engine:
        for n in range(6):
            await engine.run(hurried, f"Warm {n}?")
        server.next("small", "silent")
        gateway: Any = engine.surroundings.share("gateway", lambda: None)
        p95 = gateway.health.view(gateway.catalogue.get("small")).p95_s
        run = await engine.start(hurried, "Which?")
        assert (await run.result())["value"] == "middle"
        (decision,), _ = await told(run)
        assert decision.hedge_after_s == pytest.approx(p95, abs=1e-4)
        after: float = gateway.health.view(gateway.catalogue.get("small")).p95_s
    assert after >= decision.hedge_after_s


# --- its money ---


LONG = " ".join(f"w{k}" for k in range(3000))
DOLLARS: dict[str, int] = dict(zip(MODELS, (1, 2, 4), strict=True))


def no(_: object) -> str:
    return "no good"


@flow
async def bounded(budget_usd: float) -> None:
    await longest(budget_usd)


@step
async def longest(budget_usd: float) -> None:
    await answer("Hi", route="quick", budget_usd=budget_usd, max_tokens=1000, check=no, repairs=1)


@pytest.mark.parametrize("where", ["outside", "in a step"])
async def test_two_calls_at_once_are_held_to_the_bound_of_their_question(tmp_path: Path, where: str) -> None:
    """What the first holds is not there for the second; what the one that lost took is not there for the next."""
    slow = {n: Served(first_token_s=0.4 if n == "small" else 0.05, answer=saying(LONG)) for n in MODELS}
    async with serve(slow) as server, opened(tmp_path, server, ROUTES) as engine:
        with pytest.raises(BudgetExceeded if where == "outside" else RunFailed, match="the budget left no room"):
            await (longest(0.0017) if where == "outside" else engine.run(bounded, 0.0017))
        took = sum((e.tokens_in * 0.1 + e.tokens_out * 0.4) * DOLLARS[e.model] for e in server.log) / 1e6
    assert {"small", "middle"} <= {e.model for e in server.log}
    assert 0.0008 < took <= 0.0017


@flow(budget_usd=1)
async def paid(text: str) -> str:
    return (await answer(text, route="quick", timeout_s=8)).value


async def test_a_second_that_was_never_sent_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answers while the second's money has been set aside, and nothing has gone out."""
    noted: Any = getattr(on_its_way, "_noted")  # noqa: B009  it is private

    async def late(manifest: Any, bill: Any) -> None:
        await noted(manifest, bill)
        await asyncio.sleep(5 if bill.id.endswith("+1") else 0)

    monkeypatch.setattr(on_its_way, "_noted", late)
    async with serve(served(small=0.5)) as server, opened(tmp_path, server, ROUTES) as engine:
        run = await engine.start(paid, "Which?")
        assert await run.result() == "small"
        assert brief((await told(run))[1]) == [("small", "primary", "answered")]
        settled = [record_of(e) async for e in run.events(follow=False) if e.type == "usage.settled"]
        assert server.counts("middle").calls == 0
    unused, used = sorted((s for s in settled if isinstance(s, Settlement)), key=lambda s: s.amount_nano)
    assert unused.settles.endswith("+1") and (unused.amount_nano, unused.why) == (0, SettledBy.UNUSED)
    assert not unused.estimated and not used.estimated and used.amount_nano > 0


# --- the race itself, at all times ---


def called(good: bool, name: str) -> Called:
    reply: Any = object.__new__(Reply)
    return Called(model=name, reply=reply, fault=None if good else "bad")  # type: ignore[arg-type]


times = st.integers(0, 9)


@given(
    first=times, second=times, after=times, good=st.tuples(st.booleans(), st.booleans()), place=st.booleans(),
    unsent=st.integers(0, 3),
)  # fmt: skip
def test_the_first_good_answer_wins_and_nothing_is_left_running(  # noqa: PLR0917  Hypothesis names them
    first: int, second: int, after: int, good: tuple[bool, bool], place: bool, unsent: int
) -> None:
    """A second that was given up before it was sent was never begun."""

    running: set[str] = set()

    async def takes(seconds: int, name: str, well: bool) -> Called:
        running.add(name)
        try:
            await asyncio.sleep(seconds + (0.25 if name == "two" else 0.0))
            return called(well, name)
        finally:
            running.discard(name)

    async def other(sent: asyncio.Event) -> Called | None:
        if not place:
            return None
        await asyncio.sleep(unsent)
        sent.set()
        return await takes(second, "two", good[1])

    async def main() -> None:
        async def one(sent: asyncio.Event) -> Called:
            await asyncio.sleep(100)  # in line, and connecting
            sent.set()
            return await takes(first, "one", good[0])

        ran = await race(one, other, after + 0.5, Floor())
        assert not running
        at = {"one": first, "two": after + 0.5 + unsent + second + 0.25}
        both = place and first > after + 0.5 and (not good[0] or first > after + 0.5 + unsent)
        candidates = [name for name, well in zip(("one", "two"), good, strict=True) if well and (both or name == "one")]
        best = min(candidates, key=lambda name: at[name], default=None)
        assert ran.begun == both
        assert ran.taken.model == (best or "one")  # type: ignore[comparison-overlap]
        assert ran.taken.good == (best is not None)

    virtually(main())
