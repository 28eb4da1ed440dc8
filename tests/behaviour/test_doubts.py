"""Why it is unknown whether an effect was applied: that is not forgotten when the run is taken up again."""

from __future__ import annotations

import asyncio

from segue import Engine, flow, gather, sleep, step
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
