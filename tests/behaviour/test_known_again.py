"""Code that was changed under calls on their way: each call finds its own record, and what is said of it holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from segue import Applied, Retry, Run, flow, gather, sleep, step, step_scope, testing, timeout, wait_for
from segue.core.events import OUTCOMES, EventType
from tests.behaviour.world import events_of, in_state, until

made: list[Any] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    made.clear()


class Old(BaseModel):
    a: int


class New(BaseModel):
    a: int
    gift: bool = False


def paying(model: Any, *, hang: int = 0, **options: Any) -> Any:
    """The step `pay`, which takes this type. It hangs when it is made for the n-th time."""

    async def pay(x: Any) -> int:
        made.append(step_scope().attempt)
        await asyncio.sleep(1e6 if len(made) == hang else 1)
        return 100 * len(made)

    pay.__annotations__ = {"x": model, "return": int}
    return step(**options)(pay)


def deploy(body: Any, revision: str) -> Any:
    """The flow `main`, as the code stands."""
    return flow(name="main", revision=revision)(body)


async def begun(body: Any, times: int = 1) -> testing.Engine:
    """A run of this version whose process dies as the payment is made for the n-th time."""
    async with testing.Engine() as engine:
        await engine.start(deploy(body, "1"), id="r")
        await until(lambda: len(made) == times)
        await asyncio.sleep(1)
        engine.kill()
    return engine


async def first_begun(run: Run[Any]) -> str:
    return next(e.key or "" for e in await events_of(run) if e.type == EventType.ATTEMPT_STARTED)


@step
async def first() -> None:
    await asyncio.sleep(20)


@step
async def ship(n: int) -> int:
    made.append(f"ship {n}")
    return n


@pytest.mark.parametrize("keys", [(None, None), ("ann", "bob")], ids=["equal calls", "keys of their own"])
@pytest.mark.parametrize("killed", [False, True])
@testing.simulated
async def test_equal_calls_behind_a_new_step_keep_their_own_outcomes(keys: tuple[Any, Any], killed: bool) -> None:
    async def was(x: Any) -> Applied:
        return Applied(222)

    pay = paying(Old, hang=2, effect="once", reconcile=was)

    def version(new: bool) -> Any:
        async def main() -> list[int]:
            if new:
                await first()
            one = await pay.using(key=keys[0])(Old(a=1))
            if new:
                await ship(one)
            two = await pay.using(key=keys[1])(Old(a=1))
            await wait_for("go")
            return [one, two]

        return main

    before = await begun(version(new=False), times=2)
    deploy(version(new=True), "2")
    async with testing.Engine(after=before) as engine:
        run = await engine.get("r")
        await asyncio.sleep(60)
        if killed:
            engine.kill()
        else:
            await run.signal("go")
            assert await run.result() == [100, 222]
    async with testing.Engine(after=engine) as after:
        run = await after.get("r")
        if killed:
            await run.signal("go")
        assert await run.result() == [100, 222]
    assert made == [1, 1, "ship 100"]


@testing.simulated
async def test_a_call_with_a_key_of_its_own_takes_over_nothing_of_another_one() -> None:
    pay = paying(Old, hang=1, effect="once")

    async def old() -> int:
        return await pay.using(key="bob")(Old(a=5))

    async def new() -> list[int]:
        return [await pay.using(key="ann")(Old(a=5)), await pay.using(key="bob")(Old(a=5))]

    before = await begun(old)
    deploy(new, "2")
    async with testing.Engine(after=before) as engine:
        status = await in_state(await engine.get("r"), "stuck")
    assert "the journal holds pay[bob]#1" in (status.message or "")
    assert made == [1]


@pytest.mark.parametrize("change", ["none", "renamed", "no effect any more"])
@testing.simulated
async def test_a_retry_of_what_a_pause_holds_back_makes_it_once(change: str) -> None:
    def version(model: Any, **options: Any) -> Any:
        pay = paying(model, hang=1, **options)

        async def main() -> int:
            return (await gather(pay(model(a=1)), first()))[0]

        return main

    before = await begun(version(Old, effect="once"))
    async with testing.Engine(after=before) as engine:
        run = await engine.get("r")
        await asyncio.sleep(5)
        await run.pause()
        await asyncio.sleep(1)
    options = {} if change == "no effect any more" else {"effect": "once"}
    deploy(version(New if change == "renamed" else Old, **options), "2")
    async with testing.Engine(after=engine) as after:
        run = await after.get("r")
        await run.pause(by="ben")  # it is taken up: the run is in memory, and what it asks for is held back
        await until(lambda: any(e.kept for e in after.host.executions.values()), tries=200, step_s=0.01)
        await run.override(await first_begun(run), retry=True, by="ann")
        await asyncio.sleep(0.1)
        await run.resume()
        assert await run.result() == 200
        ends = [
            e.attempt for e in await events_of(run) if e.type == EventType.STEP_COMPLETED and "pay" in (e.key or "")
        ]
    assert made == [1, 2]
    assert ends == [2]


@testing.simulated
async def test_an_early_retry_is_none_on_the_doubt_though_the_code_declares_no_effect_any_more() -> None:
    @step(effect="once")
    async def move(n: int) -> int:
        return n

    def version(to: int, **options: Any) -> Any:
        pay = paying(Old, hang=1, **options)

        async def main() -> list[int]:
            return list(await gather(pay(Old(a=1)), move(to)))

        return main

    before = await begun(version(1, effect="once"))
    deploy(version(2), "2")
    async with testing.Engine(after=before, recover=False) as early:
        run = await early.get("r")
        await run.override(await first_begun(run), retry=True, by="ann")  # nothing says that it is in doubt
    async with testing.Engine(after=early) as engine:
        status = await in_state(await engine.get("r"), "stuck")
        assert "nobody knows whether gather#1/0/pay" in (status.message or "")
    deploy(version(1), "3")
    async with testing.Engine(after=engine) as after:
        run = await after.get("r")
        await run.resume()
        await asyncio.sleep(30)
        assert (await run.status()).reason == "unknown effect"
    assert made == [1]


@pytest.mark.parametrize("word", [{"result": 7}, {"retry": True}], ids=["result", "retry"])
@testing.simulated
async def test_a_word_by_todays_key_is_one_on_the_call_though_the_run_cannot_be_read(word: dict[str, Any]) -> None:
    def version(model: Any, returns: Any) -> Any:
        pay = paying(model, hang=1, effect="once")

        async def text() -> Any:
            return "abc"

        text.__annotations__ = {"return": returns}
        told = step()(text)

        async def main() -> int:
            return (await gather(pay(model(a=1)), told()))[0]

        return main

    before = await begun(version(Old, str))
    deploy(version(New, int), "2")
    async with testing.Engine(after=before) as engine:
        run = await engine.get("r")
        assert (await in_state(run, "stuck")).reason == "undecodable"
        await run.override(await todays_key(), by="ann", **word)
        await asyncio.sleep(5)
    deploy(version(New, str), "3")
    async with testing.Engine(after=engine) as after:
        run = await after.get("r")
        await run.resume()
        assert await run.result() == (7 if "result" in word else 200)
        assert len({e.key for e in await events_of(run) if "pay" in (e.key or "")}) == 1


async def todays_key() -> str:
    keys: list[str] = []

    async def asks() -> None:
        keys.append(paying(New).key_of(New(a=1)))

    async with testing.Engine() as engine:
        await engine.run(flow(asks))
    return f"gather#1/0/{keys[0]}"


@testing.simulated
async def test_a_fork_takes_a_result_by_todays_key_for_a_call_that_has_ended() -> None:
    def version(model: Any) -> Any:
        pay = paying(model)

        async def main() -> int:
            return await pay(model(a=1))

        return main

    async with testing.Engine() as engine:
        await (await engine.start(deploy(version(Old), "1"), id="r")).result()
    deploy(version(New), "2")
    async with testing.Engine(after=engine) as after:
        run = await after.get("r")
        for key in (next(e.key or "" for e in await events_of(run) if e.key), (await todays_key()).rpartition("/")[2]):
            assert await (await run.fork(results={key: 77})).result() == 77


@pytest.mark.parametrize("options", [{}, {"effect": "once"}], ids=["write", "once"])
@testing.simulated
async def test_a_result_for_a_call_that_was_held_back_is_kept_under_changed_code(options: dict[str, Any]) -> None:
    def version(model: Any) -> Any:
        pay = paying(model, **options)

        async def main() -> int:
            await first()
            paid = await pay(model(a=1))
            await wait_for("go")
            return paid

        return main

    async with testing.Engine() as engine:
        run = await engine.start(deploy(version(Old), "1"), id="r")
        await asyncio.sleep(1)
        await run.pause()
        held: list[str] = []
        await until(
            lambda: held.extend(c.key for e in engine.host.executions.values() for c in e.kept) or held, step_s=0.01
        )
        await run.override(held[0], 7)
        await run.resume()
        await asyncio.sleep(1)
        engine.kill()
    deploy(version(New), "2")
    async with testing.Engine(after=engine) as after:
        run = await after.get("r")
        await run.signal("go")
        assert await run.result() == 7
    assert made == []


@testing.simulated
async def test_attempts_go_on_counting_where_the_code_declares_no_effect_any_more() -> None:
    def version(**options: Any) -> Any:
        pay = paying(Old, hang=1, **options)

        async def main() -> int:
            return await pay(Old(a=1))

        return main

    before = await begun(version(effect="once"))
    async with testing.Engine(after=before) as engine:
        key = (await in_state(await engine.get("r"), "stuck")).key or ""
    deploy(version(), "2")
    async with testing.Engine(after=engine) as after:
        run = await after.get("r")
        await run.override(key, retry=True)
        assert await run.result() == 200
    assert made == [1, 2]


@testing.simulated
async def test_an_effect_that_has_begun_is_not_stopped_by_what_was_said_of_another_one() -> None:
    def version(n: int) -> Any:
        pay = paying(Old, hang=n, effect="once")

        async def main() -> int:
            if n == 2:
                await first()
            return await pay(Old(a=n))

        return main

    before = await begun(version(1))
    async with testing.Engine(after=before) as engine:
        key = (await in_state(await engine.get("r"), "stuck")).key or ""
    deploy(version(2), "2")
    async with testing.Engine(after=engine) as changed:
        run = await changed.get("r")
        await run.resume()
        await asyncio.sleep(5)
        await run.override(key, retry=True, by="ann")
        await until(lambda: len(made) == 2, tries=10_000, step_s=0.01)  # other arguments: another payment
        await run.override(key, 7, by="bob")
        await asyncio.sleep(5)
        changed.kill()
    async with testing.Engine(after=changed) as after:
        run = await after.get("r")
        status = await in_state(run, "stuck")
        last = [e.key for e in await events_of(run) if e.type == EventType.ATTEMPT_STARTED][-1]
        assert (status.reason, status.key) == ("unknown effect", last)
        await run.override(status.key or "", retry=True)
        assert await run.result() == 300


@dataclass
class Priced:
    """Its encoding is no fixed point: 5 is written as it is, and read as 5.0."""

    price: float


@pytest.mark.parametrize("what", ["effect", "child"])
@testing.simulated
async def test_the_key_that_one_call_goes_on_under_is_not_used_by_another_one(what: str) -> None:
    hangs, keys = [True], list[str]()

    async def came(x: Priced) -> Applied:
        return Applied("was paid")

    @step(effect="once", reconcile=came)
    async def pay(x: Priced) -> str:
        keys.append(step_scope().idempotency_key)
        await asyncio.sleep(1e6 if hangs else 1)
        return "paid"

    @flow(name="kid")
    async def kid(x: Priced) -> str:
        await sleep(30)
        return "grown up"

    call: Any = pay if what == "effect" else kid

    def version(new: bool) -> Any:
        async def later() -> str:
            if new:
                await first()
            return await call(Priced(5))

        async def main() -> list[str]:
            if not new:
                return [await later()]
            other = asyncio.create_task(call(Priced(5.0)))
            own = asyncio.create_task(later())
            said = [await own, await other]
            await wait_for("go")
            return said

        return main

    async with testing.Engine() as before:
        await before.start(deploy(version(new=False), "1"), id="r")
        await asyncio.sleep(5)
        before.kill()
    hangs.clear()
    deploy(version(new=True), "2")
    async with testing.Engine(after=before) as engine:
        await asyncio.sleep(200)
        engine.kill()
    async with testing.Engine(after=engine) as after:
        run = await after.get("r")
        await run.signal("go")
        said = await run.result()
        ends = [e.key for e in await events_of(run) if e.type in OUTCOMES]
    assert len(ends) == len(set(ends))
    assert len(keys) == len(set(keys))
    assert sorted(said) == (["paid", "was paid"] if what == "effect" else ["grown up", "grown up"])


@pytest.mark.parametrize("killed", [False, True])
@testing.simulated
async def test_what_was_given_up_takes_over_nothing_in_a_replay(killed: bool) -> None:
    shipped: list[str] = []

    @step
    async def send(said: str) -> None:
        shipped.append(said)

    def version(model: Any, *, hang: bool) -> Any:
        async def work(x: Any) -> str:
            made.append("worked")
            await asyncio.sleep(1e6 if hang else 1)
            return "done"

        work.__annotations__ = {"x": model, "return": str}
        working = step(retry=Retry(attempts=9))(work)

        async def main() -> str:
            said = "never"
            try:
                async with timeout(50):
                    said = await working(model(a=1, gift=True) if model is New else model(a=1))
            except TimeoutError:
                pass
            await send(said)
            await first()
            return said

        return main

    engine: Any = None
    for revision, (model, hang) in enumerate([(Old, True), (New, False), (Old, True)]):
        deployed = deploy(version(model, hang=hang), str(revision))
        async with testing.Engine(after=engine) as engine:
            if revision == 0:
                await engine.start(deployed, id="r")
            await asyncio.sleep((5, 5, 60)[revision])
            if revision < 2 or killed:
                engine.kill()
    async with testing.Engine(after=engine) as after:
        said = await (await after.get("r")).result()
    assert shipped[-1] == said


@testing.simulated
async def test_a_call_that_was_given_up_is_bound_to_nothing_at_the_end_of_the_journal() -> None:
    """A field comes and goes again: what was begun under the form between is nobody's, living and in a replay."""
    shipped: list[str] = []

    @step(effect="once")
    async def ship(said: str) -> None:
        shipped.append(said)

    def version(model: Any, takes_s: float, *, patient: bool) -> Any:
        async def work(x: Any) -> str:
            await asyncio.sleep(takes_s)
            made.append("worked")
            return f"worked {len(made)}"

        work.__annotations__ = {"x": model, "return": str}
        working = step(retry=Retry(attempts=9))(work)

        async def main() -> str:
            if not patient:
                try:
                    async with timeout(5):
                        return await working(model(a=1))
                except TimeoutError:
                    await asyncio.sleep(0)
                await rests()
            said = await working(model(a=1))
            await ship(said)
            await first()
            return said

        return main

    @step
    async def rests() -> None:
        await asyncio.sleep(1e6)

    engine: Any = None
    code = [(Old, 1e5, False, 20), (New, 30, True, 5), (Old, 30, True, 40)]
    for revision, (model, takes_s, patient, after_s) in enumerate(code):
        deployed = deploy(version(model, takes_s, patient=patient), str(revision))
        async with testing.Engine(after=engine) as engine:
            if revision == 0:
                await engine.start(deployed, id="r")
            await asyncio.sleep(after_s)
            engine.kill()
    async with testing.Engine(after=engine) as after:
        assert await (await after.get("r")).result() == "worked 1"
    assert shipped == ["worked 1"]
