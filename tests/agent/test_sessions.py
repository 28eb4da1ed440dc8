"""Sticky splits, and affinity to whom a conversation was with: what `ask` tells the router of who is asking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from segue import flow
from segue.agent import answer, ask
from segue.agent.request import Question
from segue.agent.sessions import Session, Sessions
from segue.core.records import Decision, Usage
from segue.routing import Affinity, Arm, Cheapest, Explore, Fastest, Pinned, Split
from segue.routing.policies import NEVER
from segue.testing.provider import Served, serve
from tests.agent.routed import asked, opened, saying, served, told

SPLIT = Split(
    name="trial",
    arms=(
        Arm(name="a", policy=Pinned(model="small"), share=0.5),
        Arm(name="b", policy=Pinned(model="large"), share=0.5),
    ),
)
ROUTES = {
    "trial": SPLIT,
    "stay": Fastest(name="stay", affinity=Affinity.SESSION, explore=Explore(floor=0.9, ceiling=0.9)),
    "cheap": Cheapest(name="cheap", explore=NEVER),
}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")


@flow
async def by_user(users: list[str]) -> list[str]:
    return [await ask(f"Which, {n}?", route="trial", sticky=user) for n, user in enumerate(users)]


@flow
async def plainly(many: int) -> list[str]:
    return [await ask(f"Which, {n}?", route="trial") for n in range(many)]


@flow
async def talk(conversation: str | None, many: int) -> list[str]:
    return [(await answer(f"And {n}?", route="stay", thread=conversation)).model for n in range(many)]


async def test_a_user_always_falls_into_one_arm_and_is_not_named(tmp_path: Path) -> None:
    users = [f"user-{n}" for n in range(12)]
    async with serve(served()) as server, opened(tmp_path, server, ROUTES) as engine:
        first = await engine.run(by_user, users)
        run = await engine.start(by_user, users[::-1])
        assert (await run.result())[::-1] == first and set(first) == {"small", "large"}
        decisions, _ = await told(run)
        events = b"".join(
            e.body or b"" for e in [e async for e in run.events(follow=False)] if e.type == "decision.made"
        )
    assert len({d.splits[0].by for d in decisions}) == 12 and all(d.splits[0].by for d in decisions)
    assert b"user-" not in events


async def test_without_a_key_a_tenant_sticks_and_else_the_run(tmp_path: Path) -> None:
    async with serve(served()) as server, opened(tmp_path, server, ROUTES) as engine:
        of_tenants = {
            tenant: {said for n in range(3) for said in await (await engine.start(plainly, 2, tenant=tenant)).result()}
            for tenant in ("acme", "globex", "initech", "umbrella", "hooli")
        }
        assert all(len(arms) == 1 for arms in of_tenants.values()) and len(set.union(*of_tenants.values())) == 2
        runs = [set(await (await engine.start(plainly, 3, id=f"r{n}")).result()) for n in range(10)]
        assert all(len(arms) == 1 for arms in runs) and len(set.union(*runs)) == 2


async def test_a_conversation_stays_with_who_answered_last(tmp_path: Path) -> None:
    """The policy explores nine times of ten; the conversation stays all the same, over its runs."""
    async with serve(served()) as server, opened(tmp_path, server, ROUTES) as engine:
        assert len(set(await engine.run(talk, None, 12))) == 1
        first = await engine.run(talk, "thread-7", 2)
        run = await engine.start(talk, "thread-7", 6)
        assert set(await run.result()) == {first[-1]}
        assert {d.pinned_by for d in (await told(run))[0]} == {"session"}
        others = {said for n in range(12) for said in await engine.run(talk, f"thread {n}", 1)}
        assert len(others) > 1  # it is the conversation that holds, not the route


async def test_when_it_is_unwell_the_conversation_goes_on_elsewhere_and_stays_there(tmp_path: Path) -> None:
    async with serve(served()) as server, opened(tmp_path, server, ROUTES) as engine:
        (first,) = await engine.run(talk, "t", 1)
        server.next(first, "overloaded")
        (second,) = await engine.run(talk, "t", 1)
        assert second != first and set(await engine.run(talk, "t", 4)) == {second}


LONG = "You sort messages. " * 400


@flow
async def sorts(text: str) -> str:
    return (await answer(LONG, text, route="cheap")).model


async def test_a_cached_prefix_makes_a_model_cheaper_and_is_seen_in_the_decision(tmp_path: Path) -> None:
    """The instruction is long and the same: a second question expects to find it in the cache, as the provider says."""
    models: dict[str, Any] = served() | {"small": Served(cache=True, answer=saying("x"))}
    cached = {"cache_read": 0.01}
    async with serve(models) as server, opened(tmp_path, server, ROUTES, models=cached) as engine:
        decisions = list[Decision]()
        for n in range(3):
            run = await engine.start(sorts, f"message {n}")
            await run.result()
            decisions += (await told(run))[0]
    small = [next(c for c in d.candidates if c.target.name == "small") for d in decisions]
    assert [asked(d) for d in decisions] == ["small"] * 3
    assert "tokens_cached" not in small[0].facts and int(small[1].facts["tokens_cached"]) > 1000  # type: ignore[arg-type]
    assert small[0].cost_usd is not None and small[1].cost_usd is not None
    assert small[1].cost_usd.mean < small[0].cost_usd.mean / 2


# --- what is remembered ---


def question(**more: Any) -> Question:
    values: dict[str, Any] = {"prompt": LONG, "parts": ["a"]}
    return Question(**(values | more))


def test_what_a_provider_reports_goes_before_what_is_guessed() -> None:
    now = [0.0]
    sessions, whose = Sessions(clock=lambda: now[0]), Session(run="r")
    assert sessions.before(whose, question()).held == {}
    sessions.answered(whose, question(), "small", Usage(tokens_in=2000, tokens_out=5))
    assert sessions.before(whose, question()).held["small"].tokens > 1500  # it had all of it, and may keep it
    sessions.answered(whose, question(), "small", Usage(tokens_in=2000, tokens_out=5))
    assert sessions.before(whose, question()).held == {}  # it would have said so: it keeps nothing
    sessions.answered(whose, question(), "small", Usage(tokens_in=2000, tokens_cache_read=1792, tokens_out=5))
    assert sessions.before(whose, question()).held["small"].tokens == 1792
    now[0] = 301.0
    assert sessions.before(whose, question()).held == {} and sessions.before(whose, question()).last == "small"
    assert sessions.before(Session(run="other"), question()).last is None


def test_a_short_prefix_is_kept_by_nobody_and_memory_is_bounded() -> None:
    sessions = Sessions(kept=10)
    for n in range(50):
        whose = Session(run=f"r{n}")
        sessions.answered(whose, question(prompt="Short."), "small", Usage(tokens_in=90))
        assert sessions.before(whose, question(prompt="Short.")).held == {}
    assert len(sessions._known) == 10  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("session", "key"),
    [
        (Session(), None),
        (Session(run="r"), "r"),
        (Session(run="r", tenant="acme"), "acme"),
        (Session(run="r", tenant="acme", conversation="t"), "t"),
        (Session(run="r", tenant="acme", conversation="t", sticky="ada"), "ada"),
    ],
)
def test_what_a_split_sticks_to(session: Session, key: str | None) -> None:
    assert session.key == key
