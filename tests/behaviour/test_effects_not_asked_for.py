"""Once-effects that were begun, and that changed code does not ask for: words on them, and the end of the run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from segue import flow, gather, step, testing, wait_for
from segue.core.codec import loads
from segue.errors import RunCancelled
from segue.runtime.check import Finding, check
from tests.behaviour.test_effects_set_aside import (
    another,
    applied,
    begun,
    changed,
    code,
    first,
    move,
    pay_blindly,
    pay_slowly,
    until_stuck_by,
)
from tests.behaviour.world import events_of, in_state


@pytest.fixture(autouse=True)
def _clean() -> None:
    applied.clear()
    code.update(new=False, other=False)


@flow
async def pays_early_or_late() -> int:
    if code["new"]:
        await wait_for("go")
    return await pay_blindly()


@testing.simulated
async def test_a_retry_before_changed_code_asks_counts_where_the_doubt_is_on_record() -> None:
    engine, key = await begun(pays_early_or_late)
    async with testing.Engine(after=engine) as engine:
        await until_stuck_by(await engine.get("r"), "unknown effect")
    changed(pays_early_or_late, new=True)
    async with testing.Engine(after=engine) as engine:
        run = await engine.get("r")
        await run.override(key, retry=True, by="ann")
        await asyncio.sleep(0.5)  # the run stays in memory
        assert len(applied) == 1
        await run.signal("go")
        assert await run.result() == 1
    assert len(applied) == 2, "it was made again once"


@flow
async def pays_or_not() -> str:
    if not code["new"]:
        await gather(pay_blindly(), wait_for("go"))
    await wait_for("on")
    return "done"


async def in_doubt_without_a_call() -> testing.Engine:
    """Killed while it pays, and the code was changed: nothing asks for the payment any more."""
    engine, _ = await begun(pays_or_not)
    changed(pays_or_not, new=True)
    return engine


@testing.simulated
async def test_a_check_names_an_effect_in_doubt_that_its_code_does_not_ask_for_first() -> None:
    async with testing.Engine(after=await in_doubt_without_a_call(), recover=False) as engine:
        (verdict,) = check(engine.journal)
        assert verdict.finding is Finding.ORPHANED
        assert verdict.effects == verdict.orphans and "pay_blindly[" in verdict.effects[0]


@pytest.mark.parametrize("word", ["result", "retry", "cancel"])
@testing.simulated
async def test_a_run_does_not_end_beside_an_effect_in_doubt_that_its_code_no_longer_asks_for(word: str) -> None:
    async with testing.Engine(after=await in_doubt_without_a_call()) as engine:
        run = await engine.get("r")
        await run.signal("on")
        stuck = await until_stuck_by(run, "unknown effect")
        assert stuck.key is not None and "no longer asks for it" in (stuck.message or "")
        (event,) = [e for e in await events_of(run) if e.type == "run.stuck"]
        assert list(loads(event.body)["unknown"]) == [stuck.key]
        if word == "cancel":
            await run.cancel(by="ann")
            with pytest.raises(RunCancelled):
                await run.result()
        else:
            await run.override(stuck.key, *([1] if word == "result" else []), retry=word == "retry", by="ann")
            assert await run.result() == "done"
    assert len(applied) == 1


@testing.simulated
async def test_a_cancel_waits_for_the_doubt_of_an_effect_that_changed_code_does_not_ask_for() -> None:
    async with testing.Engine(after=await in_doubt_without_a_call()) as engine:
        run = await engine.get("r")
        await run.cancel(by="ann")
        await until_stuck_by(run, "unknown effect")
        await run.cancel(by="ann")
        await in_state(run, "cancelled")


@testing.simulated
async def test_a_fork_leaves_what_its_parent_has_begun_to_that() -> None:
    engine, _ = await begun(pays_or_not)
    changed(pays_or_not, new=True)
    async with testing.Engine(after=engine, recover=False) as engine:
        fork: Any = await (await engine.get("r")).fork(id="fork")
        await fork.signal("on")
        assert await fork.result() == "done"


@step(effect="once")
async def pays_for_a_while() -> int:
    await asyncio.sleep(20)
    return 1


@flow
async def pays_beside_another() -> None:
    async def moves() -> None:
        await first(1)
        if code["new"]:
            await another(2)
        await move(2 if code["new"] else 1)

    async def beside() -> None:
        if code["new"]:
            await pays_for_a_while()

    await gather(pay_slowly("rent"), moves(), beside())


@testing.simulated
async def test_an_effect_that_is_asked_about_is_named_where_another_one_is_on_its_way() -> None:
    engine, key = await begun(pays_beside_another)
    changed(pays_beside_another, new=True)
    async with testing.Engine(after=engine) as engine:
        run = await engine.get("r")
        await asyncio.sleep(50)
        stuck = await in_state(run, "stuck")
        (event,) = [e for e in await events_of(run) if e.type == "run.stuck"]
        assert key in loads(event.body)["unknown"] and key in (stuck.message or "")
        assert "pays_for_a_while" in "".join(e.key or "" for e in await events_of(run) if e.type == "step.completed")
