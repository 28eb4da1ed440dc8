"""A call whose own record is in the journal takes over nothing of another one, however the code was changed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from segue import Applied, NotApplied, Retry, cleanup, flow, sleep, step, step_scope, testing, timeout
from segue.core.events import OUTCOMES
from segue.core.recovery import AskPerson
from tests.behaviour.world import events_of, in_state

made: list[str] = []
hangs: list[str] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    made.clear()
    hangs.clear()


async def pay(n: int) -> str:
    key = step_scope().key
    if any(one in key for one in hangs):
        await asyncio.sleep(1e6)
    made.append(key)
    return f"receipt of {key}"


async def came(n: int) -> Applied | NotApplied:
    key = step_scope().key
    return Applied(f"receipt of {key}") if key in made else NotApplied()


@step
async def rest(s: float) -> None:
    await asyncio.sleep(s)


def deploy(body: Any, revision: str) -> Any:
    return flow(name="main", revision=revision)(body)


async def crashed(body: Any, after_s: float) -> testing.Engine:
    """The first version, up to a crash."""
    async with testing.Engine() as engine:
        await engine.start(deploy(body, "1"), id="r")
        await asyncio.sleep(after_s)
        engine.kill()
    return engine


@testing.simulated
async def test_an_outcome_is_not_given_to_an_equal_call_that_was_given_up() -> None:
    paying = step(effect="once", reconcile=came)(pay)

    def version(new: bool) -> Any:
        async def main() -> str:
            try:
                async with timeout(5):
                    await paying.using(key="ann")(5)
            except TimeoutError:
                pass
            if new:
                await rest(3)
            said = await paying.using(key="bob")(5)
            await sleep(50)
            return said

        return main

    hangs.append("ann")
    before = await crashed(version(new=False), 10)
    hangs.clear()
    deploy(version(new=True), "2")
    async with testing.Engine(after=before) as engine:
        assert await (await engine.get("r")).result() == "receipt of pay[bob]#1"
    assert made == ["pay[bob]#1"]


@pytest.mark.parametrize("key", ["ann", None])
@testing.simulated
async def test_a_call_that_was_begun_takes_no_outcome_of_an_equal_one(key: str | None) -> None:
    paying = step(effect="once")(pay)

    def version(new: bool) -> Any:
        async def main() -> str:
            try:
                async with timeout(5):
                    if new:
                        await rest(30)
                    await paying.using(key=key)(5)
                    await rest(30)
            except TimeoutError:
                pass
            return await paying.using(key="bob")(5)

        return main

    hangs.append("bob")
    before = await crashed(version(new=False), 10)
    hangs.clear()
    deploy(version(new=True), "2")
    async with testing.Engine(after=before) as engine:
        run = await engine.get("r")
        status = await in_state(run, "stuck")
        assert (status.reason, status.key) == ("unknown effect", "pay[bob]#1")
        await run.override("pay[bob]#1", retry=True)
        assert await run.result() == "receipt of pay[bob]#1"


@pytest.mark.parametrize("key", ["ann", None])
@testing.simulated
async def test_what_a_call_has_given_it_gives_again_in_a_replay(key: str | None) -> None:
    paying, said = step(effect="once", reconcile=came)(pay), list[str]()

    def version(new: bool) -> Any:
        async def main() -> list[str]:
            if not new:
                return [await paying.using(key=key)(5), await paying.using(key="bob")(5)]
            await rest(3)
            one = await paying.using(key="bob")(5)
            said.append(one)
            await sleep(50)
            return [one, await paying.using(key=key)(5)]

        return main

    hangs.append("bob")
    before = await crashed(version(new=False), 10)
    hangs.clear()
    deploy(version(new=True), "2")
    async with testing.Engine(after=before) as engine:
        await asyncio.sleep(20)
        engine.kill()
    async with testing.Engine(after=engine) as after:
        one, other = await (await after.get("r")).result()
    assert one == "receipt of pay[bob]#1"
    assert said == [one, one]
    assert other != one


@pytest.mark.parametrize("killed", [False, True])
@testing.simulated
async def test_a_child_that_ends_before_changed_code_asks_for_it(killed: bool) -> None:
    @flow(name="kid")
    async def kid() -> str:
        await rest(20)
        return "grown up"

    def version(new: bool) -> Any:
        async def main() -> str:
            if new:
                await rest(60)
            return await kid()

        return main

    before = await crashed(version(new=False), 5)
    deploy(version(new=True), "2")
    async with testing.Engine(after=before) as engine:
        await asyncio.sleep(40)
        if killed:
            engine.kill()
        else:
            assert await (await engine.get("r")).result() == "grown up"
    async with testing.Engine(after=engine) as after:
        run = await after.get("r")
        assert await run.result() == "grown up"
        ends = [e.key for e in await events_of(run) if e.type in OUTCOMES]
    assert len(ends) == len(set(ends)) == 2


@pytest.mark.parametrize("killed", [False, True])
@testing.simulated
async def test_a_persons_word_counts_before_changed_code_asks_for_the_step(killed: bool) -> None:
    tries: list[int] = []

    def asks(fault: Any, history: Any, luck: float) -> AskPerson:
        return AskPerson("ops", "what now?")

    asks.attempts = 5  # type: ignore[attr-defined]

    async def works(n: int) -> str:
        tries.append(n)
        if len(tries) == 1:
            raise ValueError("no")
        return "done"

    working = step(retry=asks)(works)

    def version(new: bool) -> Any:
        async def main() -> str:
            if new:
                await rest(60)
            return await working(1)

        return main

    before = await crashed(version(new=False), 5)
    deploy(version(new=True), "2")
    async with testing.Engine(after=before) as engine:
        run = await engine.get("r")
        key = next(e.key or "" for e in await events_of(run) if (e.key or "").startswith("works"))
        await asyncio.sleep(10)
        assert await run.decide(key, retry=True, by="ann")
        await asyncio.sleep(1)
        if killed:
            engine.kill()
        else:
            assert await run.result() == "done"
    async with testing.Engine(after=engine) as after:
        run = await after.get("r")
        assert await run.result() == "done"
        words = [e for e in await events_of(run) if e.type == "approval.decided"]
    assert len(words) == 1 and b'"answered"' in (words[0].body or b"")
    assert tries == [1, 1]


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("what", ["step", "child"])
@testing.simulated
async def test_a_call_that_is_tried_again_after_a_limit_keeps_its_record_behind_a_new_step(
    what: str, killed: bool
) -> None:
    shipped: list[str] = []
    working = step(retry=Retry(attempts=3))(pay)

    @flow(name="kid")
    async def kid(n: int) -> str:
        return await working(n)

    @step
    async def ship(said: str) -> None:
        shipped.append(said)

    def version(new: bool) -> Any:
        async def main() -> str:
            if new:
                await rest(20)
            said = "never"
            for limit_s in (5, 100):
                try:
                    async with timeout(limit_s):
                        said = await (working if what == "step" else kid)(5)
                        break
                except TimeoutError:
                    pass
            await ship(said)
            await rest(100)
            return said

        return main

    hangs.append("pay")
    before = await crashed(version(new=False), 8)
    hangs.clear()
    deploy(version(new=True), "2")
    async with testing.Engine(after=before) as engine:
        await asyncio.sleep(40)
        if killed:
            engine.kill()
        else:
            await (await engine.get("r")).result()
    async with testing.Engine(after=engine) as after:
        said = await (await after.get("r")).result()
    assert len(made) == 1
    assert shipped == [said]


@pytest.mark.parametrize("killed", [False, True])
@testing.simulated
async def test_the_late_end_of_a_child_that_was_given_up_is_no_outcome_for_a_later_call(killed: bool) -> None:
    shipped: list[str] = []

    @flow(name="kid")
    async def kid() -> str:
        cleanup(rest, 30)
        await rest(1000)
        return "grown up"

    @step
    async def ship(said: str) -> None:
        shipped.append(said)

    def version(new: bool) -> Any:
        async def main() -> str:
            if new:
                await rest(60)
            try:
                async with timeout(5):
                    said = await kid()
            except TimeoutError:
                said = "too late"
            await ship(said)
            await rest(100)
            return said

        return main

    before = await crashed(version(new=False), 10)
    deploy(version(new=True), "2")
    async with testing.Engine(after=before) as engine:
        await asyncio.sleep(90)
        if killed:
            engine.kill()
        else:
            await (await engine.get("r")).result()
    async with testing.Engine(after=engine) as after:
        assert await (await after.get("r")).result() == "too late"
    assert shipped == ["too late"]


@testing.simulated
async def test_a_result_that_is_said_before_changed_code_asks_for_a_step_is_kept() -> None:
    working = step(retry=Retry(attempts=3))(pay)

    def version(new: bool) -> Any:
        async def main() -> str:
            if new:
                await rest(20)
            return await working(1)

        return main

    hangs.append("pay")
    before = await crashed(version(new=False), 5)
    deploy(version(new=True), "2")
    async with testing.Engine(after=before) as engine:
        run = await engine.get("r")
        await asyncio.sleep(5)
        key = next(e.key or "" for e in await events_of(run) if (e.key or "").startswith("pay"))
        await run.override(key, "by hand", by="ann")
        assert await run.result() == "by hand"
    assert made == []
