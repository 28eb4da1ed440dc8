"""Shadows over real HTTP: what is answered on the side is judged and on record, and nobody waits for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, Run, RunFailed, flow
from segue.agent import answer
from segue.agent.guards import Guard
from segue.agent.guards.builtin import patterns
from segue.agent.shadowing import Shadows
from segue.core.records import AttemptRecorded
from segue.journal import Journal
from segue.models import Limits
from segue.routing import Cheapest, Pinned, Shadow
from segue.routing.past import rows
from segue.routing.policies import NEVER
from segue.routing.traffic import Traffic
from segue.testing.provider import Served, serve
from tests.agent.routed import brief, opened, saying, served, shadows, told

ROUTES = {"watched": Shadow(name="watched", of=Pinned(model="small"), shadows=("large",))}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")


def right(said: str) -> str | None:
    return None if said in ("small", "right") else f"{said} is wrong"


@flow
async def watched(text: str) -> dict[str, Any]:
    given = await answer(text, route="watched", timeout_s=8, check=right)
    return {"value": given.value, "tried": len(given.tried)}


@flow
async def anybody(text: str) -> str:
    return (await answer(text, route="watched", timeout_s=8)).value


async def aside(run: Run[Any], many: int = 1) -> list[AttemptRecorded]:
    """What is on record of the shadows, once it is."""
    while len(found := shadows((await told(run))[1])) < many:
        await asyncio.sleep(0.01)
    return found


async def test_what_no_guard_has_looked_at_is_not_kept(tmp_path: Path) -> None:
    guard = Guard(name="words", look=lambda text: "a word" if "secret" in text else None, stage="after")
    models = {"small": Served(answer=saying("small")), "large": Served(answer=saying("secret")), "middle": Served()}
    async with serve(models) as server, opened(tmp_path, server, ROUTES, guards=[guard]) as engine:
        run = await engine.start(anybody, "Which?")
        assert await run.result() == "small"
        [shadow] = await aside(run)
    assert shadow.end == "superseded"
    assert "secret" not in str(shadow)


def past(path: Path) -> list[Any]:
    traffic = Traffic()
    with Journal.open_readonly(str(path / "x.db")) as reader:
        traffic.read(reader)
    return rows(traffic)


async def test_it_is_judged_by_the_same_check_and_makes_a_pair(tmp_path: Path) -> None:
    async with serve(served()) as server, opened(tmp_path, server, ROUTES) as engine:
        run = await engine.start(watched, "Which?")
        assert await run.result() == {"value": "small", "tried": 1}
        (beside,) = await aside(run)
        (own,) = [a for a in (await told(run))[1] if a.why == "primary"]
    assert brief([own, beside]) == [("small", "primary", "answered"), ("large", "shadow", "rejected")]
    assert [c.passed for c in own.checks] == [True] and [(c.passed, c.why) for c in beside.checks] == [
        (False, "large is wrong")
    ]
    assert beside.details == {"answer": "large"} and beside.usage is not None and beside.usage.cost_nano
    assert beside.follows is not None and beside.follows.n == own.n and beside.decision == own.decision
    (row,) = past(tmp_path)
    assert row.answered_by == "small" and row.reward == 1.0
    ((place, other),) = row.shadows.items()
    assert row.candidates[place] == "large" and other.reward == 0.0 and other.answered is False


async def test_nobody_waits_for_it_and_its_record_follows_the_end_of_the_run(tmp_path: Path) -> None:
    models = served(large=0.6) | {"large": Served(first_token_s=0.6, answer=saying("right"))}
    async with serve(models) as server, opened(tmp_path, server, ROUTES) as engine:
        run = await engine.start(watched, "Which?")
        await run.result()
        assert not shadows((await told(run))[1])  # the run is over, the shadow is not
        (beside,) = await aside(run)
        assert beside.end == "superseded" and [c.passed for c in beside.checks] == [True]
        kinds = [e.type async for e in run.events(follow=False)]
        assert kinds[-2:] == ["run.completed", "attempt.recorded"]
    async with Engine(str(tmp_path / "x.db")) as again:  # what follows the end changes nothing of the run
        assert await (await again.get(run.id)).result() == {"value": "small", "tried": 1}
    (row,) = past(tmp_path)
    assert [o.reward for o in row.shadows.values()] == [1.0] and row.cost_nano == row_cost(row)


def row_cost(row: Any) -> int:
    """Of the ask itself: what its shadow cost is no part of it."""
    return row.tokens_in * 100 + row.tokens_out * 400


async def test_the_end_of_the_engine_cuts_it_off_and_says_so(tmp_path: Path) -> None:
    async with serve(served(large=30)) as server:
        async with opened(tmp_path, server, ROUTES) as engine:
            run = await engine.start(watched, "Which?")
            await run.result()
            gateway: Any = engine.surroundings.share("gateway", lambda: None)
            gateway.shadows.grace_s = 0.05
        async with Engine(str(tmp_path / "x.db")) as engine:
            (beside,) = shadows((await told(await engine.get(run.id)))[1])
        await server.idle()
        assert [e.outcome.value for e in server.log.of("large")] == ["abandoned"]
    assert beside.end == "cancelled" and beside.fault is not None and "engine has closed" in beside.fault.message
    assert past(tmp_path)[0].shadows == {}  # it says nothing of the model


@pytest.mark.parametrize("trouble", ["overloaded", "reset", "html-ok", "wrong-usage", "not-json", "length"])
async def test_its_troubles_are_its_own(tmp_path: Path, trouble: str) -> None:
    async with serve(served()) as server, opened(tmp_path, server, ROUTES) as engine:
        server.fail("large", trouble)
        run = await engine.start(watched, "Which?")
        assert await run.result() == {"value": "small", "tried": 1}
        (beside,) = await aside(run)
        assert server.counts("large").calls == 1  # it is never asked again
    assert beside.end in ("failed", "rejected")


async def test_it_takes_no_place_that_others_may_want_and_there_are_not_many_at_once(tmp_path: Path) -> None:
    one = {"limits": Limits(concurrency=1)}
    async with serve(served(large=0.3)) as server, opened(tmp_path, server, ROUTES, models=one) as engine:
        await engine.run(watched, "Warm?")
        runs = [await engine.start(watched, f"Which of {n}?") for n in range(4)]
        await asyncio.gather(*(run.result() for run in runs))
        found = [(await aside(run))[0] for run in runs]
        assert server.counts("large").peak_active <= 1
    busy = [a for a in found if a.end == "cancelled"]
    assert busy and all(a.fault is not None and "no place was free" in a.fault.message for a in busy)


async def test_of_more_than_may_be_under_way_the_rest_is_dropped_and_says_so(tmp_path: Path) -> None:
    async with serve(served(large=0.3)) as server, opened(tmp_path, server, ROUTES) as engine:
        await engine.run(watched, "Warm?")
        gateway: Any = engine.surroundings.share("gateway", lambda: None)
        gateway.shadows = Shadows(at_once=2)
        runs = [await engine.start(watched, f"Which of {n}?") for n in range(5)]
        await asyncio.gather(*(run.result() for run in runs))
        found = [(await aside(run))[0] for run in runs]
    assert sorted(a.end.value for a in found) == ["cancelled"] * 3 + ["rejected"] * 2


async def test_only_the_first_attempt_has_one_and_outside_of_a_run_there_is_none(tmp_path: Path) -> None:
    routes = {"watched": Shadow(of=Cheapest(explore=NEVER), shadows=("large",))}
    async with serve(served()) as server, opened(tmp_path, server, routes) as engine:
        server.next("small", "overloaded")
        run = await engine.start(anybody, "Which?")
        assert await run.result() == "middle"
        decisions, _ = await told(run)
        assert [len(d.shadows) for d in decisions] == [1, 0] and len(await aside(run)) == 1


PII = patterns("pii")


async def test_it_is_sent_what_guards_have_let_pass_and_nothing_that_they_block(tmp_path: Path) -> None:
    """It may be another provider's: what must not leave the house does not leave it on the side."""
    asked: list[str] = []
    models = served() | {"large": Served(answer=lambda sent: (asked.append(sent.prompt), "right")[1])}
    block = Guard(name="no-codenames", look=lambda text: "a codename" if "Bluebird" in text else None, stage="before")
    guards = [Guard(name="no-pii", look=PII, on_hit="redact", stage="before"), block]
    async with serve(models) as server, opened(tmp_path, server, ROUTES, guards=guards) as engine:
        run = await engine.start(anybody, "Is ada@example.com hers?")
        await run.result()
        (beside,) = await aside(run)
        assert asked == ["Is [email] hers?"]
        assert [(c.name, c.passed) for c in beside.checks] == [("no-pii", False), ("no-codenames", True)]
        blocked = await engine.start(anybody, "What is Bluebird?")
        with pytest.raises(RunFailed, match="a codename"):
            await blocked.result()
    assert len(asked) == 1 and server.counts("large").calls == 1


@pytest.mark.parametrize("on_hit", ["block", "redact", "flag"])
async def test_an_answer_that_guards_have_not_seen_is_not_kept(tmp_path: Path, on_hit: Any) -> None:
    """Nobody is shown a shadow's answer, so no guard looks at it; what it looks at of others is not on record of it."""
    models = served() | {"large": Served(answer=saying("write to bob@example.com"))}
    guards = [Guard(name="no-pii", look=PII, on_hit=on_hit, stage="after")]
    async with serve(models) as server, opened(tmp_path, server, ROUTES, guards=guards) as engine:
        run = await engine.start(anybody, "Which?")
        assert await run.result() == "small"
        (beside,) = await aside(run)
        events = [event async for event in run.events(follow=False)]
    assert beside.end == "superseded" and "answer" not in beside.details
    assert not any(b"bob@" in (event.body or b"") for event in events)
