"""Why it is unknown whether an effect was applied: that is not forgotten when the run is taken up again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from segue import Engine, flow, gather, sleep, step, testing
from tests.behaviour.world import World, events_of, in_state, until


async def nobody_knows(tag: str) -> None:
    raise LookupError(f"no answer about {tag}")


@step(effect="once", timeout_s=0.05)
async def takes_too_long(tag: str) -> str:
    await asyncio.sleep(1e4)
    return tag


@step(effect="once", reconcile=nobody_knows)
async def loses_its_line(tag: str) -> str:
    raise ConnectionResetError(f"the line of {tag} was lost")


@flow
async def does_both(rests_s: float) -> list[str | None]:
    return await gather(takes_too_long("a"), loses_its_line("b"), sleep(rests_s))


async def test_a_resumed_unknown_effect_still_says_why(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(does_both, 0, id="d")
        first = await in_state(run, "stuck")
        assert first.message is not None and first.key is not None
        await run.resume(by="ann")
        await until(lambda: _stuck_twice(engine))
        again = await in_state(run, "stuck")
        assert (again.key, again.message) == (first.key, first.message)
        said = "longer than timeout_s=0.05" if "takes" in first.key else "the line of b was lost"
        assert said in first.message
        await run.override(first.key, "a" if "takes" in first.key else "b", by="ann")
        for _ in range(2000):
            other = await run.status()
            if other.state == "stuck" and other.key != first.key:
                break
            await asyncio.sleep(0.005)
        assert other.message is not None
        both = first.message + other.message
        assert "longer than timeout_s=0.05" in both, "and the second effect's reason is its own"
        assert "the line of b was lost; reconcile failed: LookupError: no answer about b" in both


async def test_parking_forgets_no_reason(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(does_both, world.while_s * 4, id="d")
        await world.pass_(5)
        stuck = await in_state(run, "stuck")
        kinds = [e.type for e in await events_of(run)]
        assert "run.parked" in kinds
        assert "the process ended" not in (stuck.message or "")


def _stuck_twice(engine: Engine) -> bool:
    found = engine.journal.query("select count(*) from events where type = 'run.stuck'")
    return found[0][0] == 2


applied: list[str] = []


@step(effect="once", timeout_s=1.0)
async def pays(what: str) -> str:
    applied.append(what)
    await asyncio.sleep(100 if len(applied) == 1 else 0)
    return what


@step
async def takes_long() -> str:
    await asyncio.sleep(3600)
    return "long"


@flow
async def pays_beside_work() -> list[Any]:
    return await gather(pays("rent"), takes_long())


@pytest.mark.parametrize("killed", [False, True], ids=["live", "killed before the word is taken"])
@testing.simulated
async def test_a_word_before_a_doubt_is_on_record_settles_none(killed: bool) -> None:
    """Another process sees that the run simply runs: the word may be of somebody who was told that."""
    applied.clear()
    async with testing.Engine() as engine:
        run = await engine.start(pays_beside_work, id="r")
        await asyncio.sleep(30)
        (wait,) = [w for w in (await run.status()).waits_on if "pays" in w["key"]]
        assert "longer than timeout_s=1" in wait["unknown"], "this process knows it, and says so"
        if not killed:
            await run.override(wait["key"], retry=True, by="ann")
            await asyncio.sleep(30)
        engine.kill()
    if killed:
        async with testing.Engine(after=engine, recover=False) as there:
            await (await there.get("r")).override(wait["key"], retry=True, by="ann")
    async with testing.Engine(after=engine) as engine:
        run = await engine.get("r")
        await asyncio.sleep(7300)
        assert (await run.status()).state == "stuck"
        assert applied == ["rent"], "it was applied twice"
        await run.override(wait["key"], retry=True, by="ann")
        assert await run.result() == ["rent", "long"]
        assert applied == ["rent", "rent"], "now the doubt is on record, and the word counts"


@step(effect="once", timeout_s=1.0)
async def pays_in_vain(what: str) -> str:
    applied.append(what)
    await asyncio.sleep(100)
    return what


@flow
async def rests_in_doubt() -> list[Any]:
    await gather(pays_in_vain("rent"), sleep(1e6))
    return []


@testing.simulated
async def test_a_retry_that_ends_in_doubt_again_needs_a_word_of_its_own() -> None:
    """The doubt of the attempt before is on record, that of the new one is not."""
    applied.clear()
    async with testing.Engine(linger_s=5.0) as engine:
        run = await engine.start(rests_in_doubt, id="r")
        (wait, _) = (await in_state_of(run, "parked")).waits_on
        assert "timeout_s=1" in wait["unknown"]
        await run.override(wait["key"], retry=True, by="ann")
        await asyncio.sleep(3)
        assert applied == ["rent", "rent"]
        await run.override(wait["key"], retry=True, by="bob")
        await asyncio.sleep(3)
        assert applied == ["rent", "rent"], "nobody had been told of the second one"


async def in_state_of(run: Any, state: str) -> Any:
    while (status := await run.status()).state != state:
        await asyncio.sleep(1)
    return status
