"""Which call on record a call of changed code is: once it was found, it is on record, and each replay reads it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from segue import Retry, Run, flow, step, testing, timeout, wait_for
from segue.core.codec import loads
from segue.core.events import EventType
from tests.behaviour.world import events_of, in_state, until

shipped: list[Any] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    shipped.clear()


class Old(BaseModel):
    a: int


class Gift(Old):
    gift: bool = False


class Noted(Old):
    note: str = ""


@step
async def ship(said: Any) -> None:
    shipped.append(said)


@step
async def first() -> None:
    await asyncio.sleep(20)


def deploy(body: Any, revision: object) -> Any:
    """The flow `main`, as the code stands."""
    return flow(name="main", revision=str(revision))(body)


def growing(model: Any) -> Any:
    """The flow `grow`, which takes this type, and ends with what it is told."""

    async def grow(x: Any) -> str:
        return await wait_for("end", returns=str)

    grow.__annotations__ = {"x": model, "return": str}
    return flow(name="grow", revision=model.__name__)(grow)


async def rekeyed(run: Run[Any]) -> dict[str, str]:
    """What is on record: keys of today to keys on record."""
    found = [e for e in await events_of(run) if e.type == EventType.CALL_REKEYED]
    return {loads(e.body)["asked_as"]: e.key or "" for e in found}


@pytest.mark.parametrize("deaths", [0, 1, 2])
@testing.simulated
async def test_of_two_records_that_fit_the_call_keeps_the_one_that_it_went_on_with(deaths: int) -> None:
    """The living process goes by what began first. The other one ends first, which a replay would go by."""

    async def one() -> Any:
        return await growing(Old)(Old(a=1))

    async def two() -> Any:
        plain = asyncio.create_task(growing(Gift)(Gift(a=1)))
        gift = asyncio.create_task(growing(Gift)(Gift(a=1, gift=True)))
        return [await plain, await gift]

    async def today() -> Any:
        said = await growing(Noted)(Noted(a=1))
        await ship(said)
        await wait_for("go")
        return said

    engine: Any = None
    for n, body in enumerate([one, two, today]):
        made = deploy(body, n)
        async with testing.Engine(after=engine) as engine:
            run = await (engine.start(made, id="r") if n == 0 else engine.get("r"))
            await run.signal("look")  # somebody looks in: the code replays it
            await asyncio.sleep(5)
            if body is today:
                plain, gift = [e.key for e in engine.history("r") if e.type == EventType.CHILD_STARTED]
                for child, said in ((gift, "the gift"), (plain, "the plain one")):
                    await (await engine.get(f"r/{child}")).signal("end", said)
                    await asyncio.sleep(5)
            engine.kill()
    for _ in range(deaths):
        async with testing.Engine(after=engine) as engine:
            await asyncio.sleep(50)
            engine.kill()
    async with testing.Engine(after=engine) as after:
        run = await after.get("r")
        await run.signal("go")
        assert [await run.result()] == shipped == ["the plain one"]


@dataclass
class Priced:
    """Its encoding is no fixed point: 5 is written as it is, and read as 5.0."""

    price: float


@testing.simulated
async def test_calls_that_have_changed_places_keep_them_in_a_replay() -> None:
    made: list[float] = []

    @step(retry=Retry(attempts=9))
    async def work(x: Priced) -> str:
        made.append(x.price)
        await asyncio.sleep(1e6 if len(made) == 1 else 3 * len(made))
        return f"work {len(made)}"

    def version(new: bool) -> Any:
        async def main() -> Any:
            if not new:
                return await work(Priced(5))
            before = asyncio.create_task(work(Priced(5.0)))
            await first()
            own = asyncio.create_task(work(Priced(5)))
            said = [await before, await own]
            await ship(said)
            await wait_for("go")
            return said

        return main

    async with testing.Engine() as engine:
        await engine.start(deploy(version(new=False), 1), id="r")
        await asyncio.sleep(5)
        engine.kill()
    deploy(version(new=True), 2)
    async with testing.Engine(after=engine) as changed:
        await asyncio.sleep(100)
        changed.kill()
    async with testing.Engine(after=changed) as after:
        run = await after.get("r")
        assert len(await rekeyed(run)) == 1
        await run.signal("go")
        assert [await run.result()] == shipped


def working(model: Any, takes_s: float) -> Any:
    """The step `work`, which takes this type."""

    async def work(x: Any) -> str:
        await asyncio.sleep(takes_s)
        return "worked"

    work.__annotations__ = {"x": model, "return": str}
    return step(retry=Retry(attempts=9))(work)


def calling(model: Any, takes_s: float) -> Any:
    """The flow's body, with this type."""

    async def main() -> str:
        said = await working(model, takes_s)(model(a=1))
        await ship(said)
        await wait_for("go")
        return said

    return main


async def rolled(*models: Any, takes_s: float = 1.0) -> testing.Engine:
    """A run over which the code is rolled out with one type after the other. The step hangs in the first one."""
    engine: Any = None
    for n, model in enumerate(models):
        made = deploy(calling(model, takes_s if n else 1e6), n)
        async with testing.Engine(after=engine) as engine:
            run = await (engine.start(made, id="r") if n == 0 else engine.get("r"))
            await run.signal("look")  # somebody looks in: the code replays it
            await asyncio.sleep(100)
            engine.kill()
    return engine


@pytest.mark.parametrize("back", [(), (Old,), (Noted,), (Old, Gift), (Noted, Gift, Old)])
@testing.simulated
async def test_code_that_is_rolled_back_finds_the_same_record(back: tuple[Any, ...]) -> None:
    engine = await rolled(Old, Gift, *back)
    async with testing.Engine(after=engine) as after:
        run = await after.get("r")
        await run.signal("go")
        assert await run.result() == "worked"
        keys = {e.key for e in await events_of(run) if (e.key or "").startswith("work")}
        found = await rekeyed(run)
    assert len(keys) == 1
    assert set(found.values()) == keys
    assert len(found) == 1 + (Noted in back)
    assert shipped == ["worked"]


@testing.simulated
async def test_it_is_on_record_before_what_comes_of_it_and_in_a_pause_too() -> None:
    async with testing.Engine() as engine:
        run = await engine.start(deploy(calling(Old, 1e6), 1), id="r")
        await asyncio.sleep(5)
        await run.pause()
        engine.kill()
    deploy(calling(Gift, 1), 2)
    async with testing.Engine(after=engine) as after:
        run = await after.get("r")
        await run.signal("look")  # somebody looks in: the run is in memory
        await until(lambda: bool(after.journal.query("select 1 from events where type = 'call.rekeyed'")))
        await run.resume()
        await run.signal("go")
        assert await run.result() == "worked"
        kinds = [e.type for e in await events_of(run) if (e.key or "").startswith("work")]
    at = kinds.index(EventType.CALL_REKEYED)
    assert kinds[:at] == [EventType.ATTEMPT_STARTED]
    assert kinds[-1] == EventType.STEP_COMPLETED
    assert kinds.count(EventType.CALL_REKEYED) == 1


@pytest.mark.parametrize("model", [Old, Gift, Noted])
@testing.simulated
async def test_a_fork_reads_it_where_it_keeps_the_record_and_begins_anew_where_it_does_not(model: Any) -> None:
    engine = await rolled(Old, Gift)
    deploy(calling(model, 1), 2)
    async with testing.Engine(after=engine) as after:
        run = await after.get("r")
        events = await events_of(run)
        started = next(e for e in events if e.type == EventType.ATTEMPT_STARTED)
        rekey = next(e for e in events if e.type == EventType.CALL_REKEYED)
        for at in (started.seq - 1, started.seq, rekey.seq, started.key, None):
            fork = await run.fork(at)
            await fork.signal("go")
            assert await fork.result() == "worked"
            ends = [e for e in await events_of(fork) if e.type == EventType.STEP_COMPLETED and "work" in (e.key or "")]
            assert len(ends) == 1
        today = next(k for k in await rekeyed(run)) if model is Gift else started.key
        fork = await run.fork(results={today or "": "told"})
        await fork.signal("go")
        assert await fork.result() == "told"


@pytest.mark.parametrize("model", [Old, Gift, Noted])
@testing.simulated
async def test_an_override_takes_every_key_that_the_call_has_had(model: Any) -> None:
    async with testing.Engine() as engine:
        await engine.start(deploy(calling(Old, 1e6), 0), id="r")
        await asyncio.sleep(5)
        engine.kill()
    deploy(calling(Gift, 1e6), 1)
    async with testing.Engine(after=engine) as between:
        await until(lambda: bool(between.journal.query("select 1 from events where type = 'call.rekeyed'")))
        await asyncio.sleep(5)
        between.kill()
    deploy(calling(model, 1e6), 2)
    async with testing.Engine(after=between) as after:
        run = await after.get("r")
        await asyncio.sleep(5)
        (middle,) = [key for key, known in (await rekeyed(run)).items() if key != known][:1]
        await run.override(middle, "by hand")
        await run.signal("go")
        assert await run.result() == "by hand"


class Given(Old):
    gift: bool = True


@pytest.mark.parametrize("options", [{"retry": Retry(attempts=9)}, {"effect": "once"}], ids=["write", "once"])
@testing.simulated
async def test_two_calls_of_the_code_never_go_by_one_record(options: dict[str, Any]) -> None:
    """A default is turned round: the call with the old one has the key that was bound before."""
    made: list[Any] = []

    def version(model: Any, *, both: bool) -> Any:
        async def work(x: Any) -> str:
            made.append(x)
            await asyncio.sleep(1)
            return f"work {len(made)}"

        work.__annotations__ = {"x": model, "return": str}
        working: Any = step(**options)(work)

        async def main() -> list[str]:
            said = [await working(model(a=1))]
            await ship(said[0])
            if both:
                said.append(await working(model(a=1, gift=False)))
                await ship(said[1])
            await wait_for("go")
            return said

        return main

    engine: Any = None
    for n, (model, both) in enumerate([(Old, False), (Gift, False), (Given, True), (Given, True)]):
        deployed = deploy(version(model, both=both), n)
        async with testing.Engine(after=engine) as engine:
            run = await (engine.start(deployed, id="r") if n == 0 else engine.get("r"))
            await run.signal("look")
            await asyncio.sleep(50)
            engine.kill()
    async with testing.Engine(after=engine) as after:
        run = await after.get("r")
        await run.signal("go")
        assert await run.result() == ["work 1", "work 2"] == shipped
        ends = [e.key for e in await events_of(run) if e.type == EventType.STEP_COMPLETED]
    assert len(ends) == len(set(ends)) == 4


@dataclass
class PricedIn(Priced):
    currency: str = "EUR"


@pytest.mark.parametrize("what", ["effect", "child"])
@testing.simulated
async def test_a_whole_number_in_a_field_for_fractions_is_known_again_behind_a_new_field(what: str) -> None:
    paid: list[float] = []

    def version(model: Any) -> Any:
        async def pay(x: Any) -> str:
            paid.append(x.price)
            return f"receipt {len(paid)}"

        pay.__annotations__ = {"x": model, "return": str}
        paying = step(effect="once")(pay)

        async def order(x: Any) -> str:
            said = await paying(x)
            await wait_for("delivered")
            return said

        order.__annotations__ = {"x": model, "return": str}
        child = flow(name="order", revision=model.__name__)(order)

        async def main() -> str:
            said = await (paying if what == "effect" else child)(model(5))
            await wait_for("go")
            return said

        return main

    async with testing.Engine() as engine:
        await engine.start(deploy(version(Priced), 1), id="r")
        await asyncio.sleep(5)
        engine.kill()
    deploy(version(PricedIn), 2)
    async with testing.Engine(after=engine) as after:
        run = await after.get("r")
        await run.signal("go")
        if what == "child":
            (kept,) = [e.key for e in await events_of(run) if e.type == EventType.CHILD_STARTED]
            await (await after.get(f"r/{kept}")).signal("delivered")
        assert await run.result() == "receipt 1"
    assert paid == [5]


@pytest.mark.parametrize("behind", [False, True], ids=["at once", "behind a new step"])
@testing.simulated
async def test_a_child_that_was_given_up_and_is_waited_for_now_sets_the_run_aside(behind: bool) -> None:
    @flow(name="report", revision="1")
    async def report(n: int) -> str:
        return await wait_for("done", returns=str)

    async def bounded() -> str:
        try:
            async with timeout(5):
                return await report(1)
        except TimeoutError:
            return await wait_for("go", returns=str)

    async def patient() -> str:
        if behind:
            await first()
        return await report(1)

    async with testing.Engine() as engine:
        await engine.start(deploy(bounded, 1), id="r")
        await asyncio.sleep(50)
        engine.kill()
    deploy(patient, 2)
    async with testing.Engine(after=engine) as changed:
        run = await changed.get("r")
        await run.signal("look")
        await asyncio.sleep(30)
        status = await in_state(run, "stuck")
        assert status.reason == "mismatch"
        assert "was given up, but the code now waits for it" in (status.message or "")
        assert "put back the limit" in (status.remedy or "")
        changed.kill()
    deploy(bounded, 3)
    async with testing.Engine(after=changed) as after:
        run = await after.get("r")
        await run.resume()
        await run.signal("go", "gone on")
        assert await run.result() == "gone on"
