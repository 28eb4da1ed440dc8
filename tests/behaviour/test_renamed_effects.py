"""Calls that are on their way while a new field with a default gives them another key: each keeps the one on record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from pydantic import BaseModel

import segue
from segue import Applied, Retry, Run, flow, gather, sleep, step, step_scope, testing, wait_for
from segue.core.codec import loads
from segue.core.commands import Rekey
from segue.core.events import Event, EventType
from segue.core.faults import INTERRUPTED, Fault, FaultKind
from segue.core.recovery import Answer, AskPerson, Attempt
from segue.core.replay import Memory
from segue.runtime.drive import Drive
from tests.behaviour.world import World, events_of, in_state, keys_of, until

made: list[Any] = []
names: list[str] = []
hangs: list[Any] = []
"""What hangs when it is made."""


@pytest.fixture(autouse=True)
def _clean() -> None:
    made.clear()
    names.clear()
    hangs.clear()


class Old(BaseModel):
    a: int


class New(BaseModel):
    a: int
    gift: bool = False


async def was(x: Any) -> Applied:
    return Applied(x.a)


def paying(model: Any, **options: Any) -> Any:
    """The step `pay`, which takes this type."""

    async def pay(x: Any) -> int:
        made.append(x.a)
        names.append(step_scope().idempotency_key)
        await asyncio.sleep(1e6 if x.a in hangs else 0)
        return x.a

    pay.__annotations__ = {"x": model, "return": int}
    given: dict[str, Any] = {"effect": "once"} | options
    return step(**given)(pay)


Body = Callable[[Any, Any], Awaitable[Any]]


async def pays(model: Any, pay: Any) -> list[int]:
    return [await pay(model(a=1)), await pay(model(a=2))]


def deploy(body: Body, model: Any, revision: str = "2", **options: Any) -> Any:
    """The flow `main` over `pay`, as the code stands with this type."""
    pay = paying(model, **options)

    async def main() -> Any:
        return await body(model, pay)

    return flow(name="main", revision=revision)(main)


async def interrupted(world: World, body: Body = pays, **options: Any) -> None:
    """Version one: the process ends while the first payment is made."""
    if not world.virtual:
        pytest.skip("processes die in memory here")
    hangs[:] = [1]
    engine: Any = world.engine()
    async with engine:
        await engine.start(deploy(body, Old, "1", **options), id="r")
        await until(lambda: made == [1])
        engine.kill()


async def killed(engine: Any) -> None:
    """The process ends once all that can come without waiting has come."""
    await asyncio.sleep(5)
    engine.kill()


def one_key(events: list[Event], *names: str) -> None:
    """Each call of these names has one key, and one outcome."""
    kinds = (EventType.STEP_COMPLETED, EventType.STEP_FAILED, EventType.CHILD_ENDED)
    keys = [e.key for e in events if e.type in kinds and (e.key or "").partition("[")[0] in names]
    assert len(keys) == len(set(keys))
    assert {e.key for e in events if (e.key or "").partition("[")[0] in names} == set(keys)


async def first_key(run: Run[Any], kind: str = EventType.ATTEMPT_STARTED) -> str:
    return (await keys_of(run, kind))[0]


async def todays_key(model: Any) -> str:
    """The key that `pay(a=1)` has with this type."""
    keys: list[str | None] = []

    async def asks() -> None:
        keys.append(paying(model).key_of(model(a=1)))

    async with testing.Engine() as engine:
        await engine.run(flow(asks))
    return str(keys[0])


async def test_what_is_reconciled_is_no_hindrance_to_the_next_effect(world: World) -> None:
    await interrupted(world)
    deploy(pays, New, reconcile=was)
    hangs[:] = [2]
    async with world.engine() as engine:
        await killed(engine)
    hangs.clear()
    async with world.engine() as engine:
        run = await engine.get("r")
        assert await run.result() == [1, 2]
        one_key(await events_of(run), "pay")
    assert made == [1, 2]


async def test_the_one_in_doubt_is_named_as_it_is_on_record(world: World) -> None:
    await interrupted(world)
    deploy(pays, New)
    async with world.engine() as engine:
        run = await engine.get("r")
        status = await in_state(run, "stuck")
        assert status.key == await first_key(run)
        (stuck,) = [e for e in await events_of(run) if e.type == EventType.RUN_STUCK]
        assert list(loads(stuck.body)["unknown"]) == [status.key]


@pytest.mark.parametrize("todays", [False, True])
@pytest.mark.parametrize("word", [{"result": 9}, {"retry": True}])
async def test_an_operator_may_name_it_by_either_key(world: World, word: dict[str, Any], todays: bool) -> None:
    await interrupted(world)
    deploy(pays, New)
    hangs[:] = [2]
    async with world.engine() as engine:
        run = await engine.get("r")
        status = await in_state(run, "stuck")
        key = await todays_key(New) if todays else str(status.key)
        assert (key == status.key) is not todays
        with pytest.raises(segue.SegueError, match="no int"):
            await run.override(key, "much")
        await run.override(key, by="ann", **word)
        await killed(engine)
    hangs.clear()
    async with world.engine() as engine:
        run = await engine.get("r")
        await in_state(run, "stuck")  # the second payment is in doubt, and only that
        doubt = await in_state(run, "stuck")
        assert doubt.reason == "unknown effect"
        await run.override(str(doubt.key), retry=True)
        assert await run.result() == [word.get("result", 1), 2]
        one_key(await events_of(run), "pay")


async def test_a_kill_while_it_is_made_again_leaves_it_in_doubt(world: World) -> None:
    await interrupted(world)
    deploy(pays, New)
    async with world.engine() as engine:
        run = await engine.get("r")
        key = str((await in_state(run, "stuck")).key)
        await run.override(key, retry=True)
        await killed(engine)
    hangs.clear()
    async with world.engine() as engine:
        run = await engine.get("r")
        status = await in_state(run, "stuck")
        assert (status.reason, status.key) == ("unknown effect", key)
        await run.override(key, retry=True)
        assert await run.result() == [1, 2]
        started = [e for e in await events_of(run) if e.type == EventType.ATTEMPT_STARTED and e.key == key]
        assert [e.attempt for e in started] == [1, 2, 3]
        one_key(await events_of(run), "pay")


async def test_the_first_cancel_ends_the_run(world: World) -> None:
    await interrupted(world)
    deploy(pays, New)
    async with world.engine() as engine:
        run = await engine.get("r")
        await in_state(run, "stuck")
        await run.cancel(by="ann")
        await asyncio.sleep(5)
        assert (await run.status()).state == "cancelled"


@pytest.mark.parametrize("again", [{"effect": "write", "retry": Retry(attempts=4)}, {}])
async def test_the_idempotency_key_is_the_same_over_all_attempts(world: World, again: dict[str, Any]) -> None:
    async def told(model: Any, pay: Any) -> int:
        return await pay(model(a=1))

    await interrupted(world, told, **again)
    hangs.clear()
    deploy(told, New, **again)
    async with world.engine() as engine:
        run = await engine.get("r")
        if not again:
            await run.override(str((await in_state(run, "stuck")).key), retry=True)
        assert await run.result() == 1
        one_key(await events_of(run), "pay")
    assert len(names) == 2
    assert len(set(names)) == 1


@pytest.mark.parametrize("effect", ["once", "write"])
async def test_a_call_behind_a_new_step_goes_on_under_its_key(world: World, effect: Any) -> None:
    options: dict[str, Any] = {"effect": effect}
    options |= {"reconcile": was} if effect == "once" else {"retry": Retry(attempts=3)}
    await interrupted(world, **options)
    hangs.clear()

    async def check(model: Any, pay: Any) -> list[int]:
        await paying(model, effect="write").using(key="added")(model(a=0))
        return await pays(model, pay)

    deploy(check, New, **options)
    async with world.engine() as engine:
        run = await engine.get("r")
        assert await run.result() == [1, 2]
        one_key(await events_of(run), "pay")
        keys = await keys_of(run, EventType.STEP_COMPLETED)
        assert await first_key(run) in keys
        assert (await run.status()).state == "completed"


async def test_an_effect_that_was_given_up_has_its_outcome_under_its_key(world: World) -> None:
    async def cleans(model: Any, pay: Any) -> None:
        try:
            await pay(model(a=1))
        finally:
            await pay(model(a=2))
            await sleep(10)
            await pay(model(a=3))

    await interrupted(world, cleans)
    deploy(cleans, New, reconcile=was)
    engine = world.engine(recover=False)
    async with engine:
        await (await engine.get("r")).cancel()
    async with world.engine() as engine:
        await killed(engine)  # in the sleep: what came of the first is on record
    async with world.engine() as engine:
        run = await engine.get("r")
        await in_state(run, "cancelled", "stuck")
        assert (await run.status()).state == "cancelled"
        one_key(await events_of(run), "pay")
        assert len(await keys_of(run, EventType.STEP_CANCELLED)) <= 1


async def test_a_fork_takes_a_result_by_either_key(world: World) -> None:
    await interrupted(world)
    deploy(pays, New, reconcile=was)
    async with world.engine() as engine:
        run = await engine.get("r")
        assert await run.result() == [1, 2]
        made.clear()
        for key in (await first_key(run), await todays_key(New)):
            fork = await run.fork(at=await first_key(run), results={key: 7})
            assert await fork.result() == [7, 2]
    assert made == [2, 2]


async def test_a_backoff_lasts_over_the_change(world: World) -> None:
    async def tries(x: Any) -> int:
        names.append(step_scope().idempotency_key)
        if len(names) == 1:
            raise ConnectionError("once")
        return step_scope().attempt

    def code(model: Any, revision: str) -> Any:
        tries.__annotations__ = {"x": model, "return": int}
        made_step = step(retry=Retry(attempts=2, backoff_s=world.while_s * 40, backoff_max_s=world.while_s * 40))(tries)

        async def main() -> int:
            return await made_step(model(a=1))

        return flow(name="main", revision=revision)(main)

    async with world.parking() as engine:
        await engine.start(code(Old, "1"), id="r")
        await until(lambda: names)
        await world.pass_()
    code(New, "2")
    async with world.engine() as engine:
        run = await engine.get("r")
        assert await run.result() == 2
        one_key(await events_of(run), "tries")
    assert len(set(names)) == 1


async def test_a_question_to_a_person_is_answered_under_its_key(world: World) -> None:
    def ask(fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
        return AskPerson("ann")

    async def fails(x: Any) -> int:
        raise ConnectionError("always")

    def code(model: Any, revision: str) -> Any:
        fails.__annotations__ = {"x": model, "return": int}
        made_step = step(retry=ask)(fails)

        async def main() -> int:
            return await made_step(model(a=1))

        return flow(name="main", revision=revision)(main)

    async with world.parking() as engine:
        run = await engine.start(code(Old, "1"), id="r")
        await in_state(run, "parked")
    code(New, "2")
    async with world.parking() as engine:
        run = await engine.get("r")
        assert await run.decide(await first_key(run), result=5, by="ann")
        assert await run.result() == 5
        one_key(await events_of(run), "fails")


async def children(engine: segue.Engine, n: int) -> set[str]:
    """The children of the run, once there are so many."""
    for _ in range(2000):
        found = {s.id for s in await engine.runs() if s.parent == "r"}
        if len(found) == n:
            return found
        await asyncio.sleep(0.005)
    raise AssertionError(f"there never were {n} children")


async def test_a_childs_end_comes_under_its_key(world: World) -> None:
    def code(model: Any, revision: str) -> Any:
        async def child(x: Any) -> int:
            return x.a + await wait_for("go")

        child.__annotations__ = {"x": model, "return": int}
        child_flow = flow(name="child", revision=revision)(child)

        async def main() -> list[int]:
            one = await child_flow(model(a=1))
            return [one, await wait_for("more"), await child_flow(model(a=2))]

        return flow(name="main", revision=revision)(main)

    async with world.parking() as engine:
        run = await engine.start(code(Old, "1"), id="r")
        await in_state(run, "parked")
    code(New, "2")
    async with world.parking() as engine:
        run = await engine.get("r")
        (child,) = await children(engine, 1)
        await (await engine.get(child)).signal("go", 1)
        await in_state(await engine.get(child), "completed")
        await in_state(run, "parked")
    async with world.parking() as engine:
        run = await engine.get("r")
        await run.signal("more", 0)
        (other,) = await children(engine, 2) - {child}
        await (await engine.get(other)).signal("go", 1)
        assert await run.result() == [2, 0, 3]
        one_key(await events_of(run), "child")


async def test_what_an_earlier_version_wrote_by_todays_key_is_joined_to_the_call(world: World) -> None:
    if not world.virtual:
        pytest.skip("it is a matter of the replay alone")
    old, new = await todays_key(Old), await todays_key(New)
    failed = Attempt(1, 2, 2.0, Fault(FaultKind.TOOL_FAILED, "ValueError", "no"))
    memory = Memory(
        attempts={old: [Attempt(1, 1, 1.0, INTERRUPTED)], new: [failed]}, retry_at={new: 9.0}, effects={old},
        open_args={old: b'{"x":{"a":1}}'}, doubts={new: "it was cut off"}, last_seq=1,
    )  # fmt: skip
    drive = Drive("r", memory, strict=False)
    drive.begin(deploy(pays, New).body({}), 1.0)
    drive.replay(memory)
    told, command = drive.take()
    assert told == Rekey(old, 0, new)
    assert command.key == old
    assert drive.on_record(new) == drive.on_record(old) == old
    assert [one.n for one in memory.attempts[old]] == [1, 2]
    assert (memory.doubts, memory.retry_at, memory.effects) == ({old: "it was cut off"}, {old: 9.0}, {old})
    drive.suspend()


def test_one_key_whatever_commit_the_process_dies_at() -> None:
    """An operator has a payment made again, beside a step that is retried; then another payment."""
    tried: list[int] = []

    async def body(model: Any, pay: Any) -> list[int]:
        fetch = paying(model, name="fetch", effect="write", retry=Retry(attempts=9))
        calls: list[Awaitable[int]] = [pay(model(a=1)), fetch(model(a=5))]
        both = await gather(*calls)
        return [*both, await pay(model(a=2)), await pay(model(a=3))]

    async def helped(engine: testing.Engine) -> tuple[list[int], list[Event]]:
        run = await engine.get("r")
        while (status := await run.status()).state != "completed":
            if status.state == "stuck":
                assert status.reason == "unknown effect", status.message
                await run.override(str(status.key), retry=True)
            await asyncio.sleep(1)
        return await run.result(), await events_of(run)

    async def play(*crashes: testing.Crash) -> int:
        made.clear()
        hangs[:] = [1, 5]
        async with testing.Engine() as last:
            await last.start(deploy(body, Old, "1"), id="r")
            await until(lambda: sorted(made) == [1, 5])
            last.kill()
        hangs.clear()
        deploy(body, New)
        for crash in (*crashes, None):
            async with testing.Engine(after=last, crash=crash) as last:
                try:
                    result, events = await last.outlive(helped(last))
                except testing.Died:
                    continue
                assert result == [1, 5, 2, 3]
                one_key(events, "pay", "fetch")
                tried.append(len(made))
                return last.commits
        raise AssertionError("it has died to the end")

    commits = testing.run(play())
    assert commits > 5
    for n in range(1, commits + 1):
        for when in ("before", "after"):
            testing.run(play(testing.Crash(n, when)))
            testing.run(play(testing.Crash(n, when), testing.Crash(2, when)))
    assert len(tried) > 4 * commits
