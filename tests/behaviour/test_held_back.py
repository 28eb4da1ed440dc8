"""What an operator holds back or says: effects that were not begun are never made after that."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import segue
from segue import flow, gather, sleep, step, testing, wait_for
from segue.core.codec import dumps, loads
from segue.errors import InputError, RunCancelled, UnknownEffect
from segue.journal import Post
from segue.journal.journal import Journal
from segue.runtime.questions import of_run
from tests.behaviour.world import World, events_of, in_state, keys_of, until

made: list[str] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    made.clear()


@step(effect="once")
async def pay(what: str) -> str:
    made.append(what)
    return what


@step
async def note(what: str) -> str:
    made.append(what)
    return what


@step
async def under_way() -> None:
    made.append("under way")
    await asyncio.sleep(0.1)
    made.remove("under way")


@flow
async def pays_later(after: str = "a step") -> list[str]:
    await (under_way() if after == "a step" else wait_for("go"))
    return await gather(pay("rent"), note("beside"))


async def _holds(engine: segue.Engine, run: segue.Run[Any], by: str) -> None:
    """What would begin now: after a step that was under way, or a signal that is held back too."""
    await until(lambda: made or engine.journal.get(run.id).state == "parked" or "'go'" in str(engine.host.waits_on(1)))
    await (run.pause() if by == "the run" else engine.pause(flow=pays_later if by == "its flow" else None))
    await asyncio.sleep(0.05)
    await run.signal("go")
    await asyncio.sleep(0.3)
    assert made == []


@pytest.mark.parametrize("after", ["a step", "a signal"])
@pytest.mark.parametrize("lingers", [0.0, 100.0], ids=["parked", "in memory"])
@pytest.mark.parametrize("by", ["the run", "its flow", "the engine"])
async def test_what_a_pause_held_back_is_not_made_by_a_cancel(
    world: World, by: str, lingers: float, after: str
) -> None:
    async with world.engine(linger_s=lingers) as engine:
        run = await engine.start(pays_later, after, id="p")
        await _holds(engine, run, by)
        await run.cancel(by="ann", why="it must not be paid")
        with pytest.raises(RunCancelled):
            await run.result()
        await asyncio.sleep(0.1)
        assert "rent" not in made
        assert by != "the run" or made == []


async def test_what_a_pause_held_back_is_made_when_it_ends(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(pays_later, id="p")
        await _holds(engine, run, "the run")
        await run.resume()
        assert await run.result() == ["rent", "beside"]
        assert sorted(made) == ["beside", "rent"]


@pytest.mark.parametrize("by", ["the run", "its flow", "the engine"])
async def test_what_a_pause_holds_back_is_made_once_also_when_it_is_to_be_made_again(world: World, by: str) -> None:
    async with world.engine(linger_s=100.0) as engine:
        run = await engine.start(pays_later, id="p")
        await _holds(engine, run, by)
        waits = (await run.status()).waits_on
        assert len(waits) == 2
        for wait in waits:
            await run.override(wait["key"], retry=True)
        await asyncio.sleep(0.1)
        assert made == []
        await (run.resume() if by == "the run" else engine.resume(flow=pays_later if by == "its flow" else None))
        assert await run.result() == ["rent", "beside"]
        await asyncio.sleep(0.1)
        assert sorted(made) == ["beside", "rent"]


@step(effect="once")
async def pays_for_long() -> str:
    made.append("begun")
    await asyncio.sleep(1e5)
    return "paid"


@flow
async def gives_up() -> str:
    paying = asyncio.ensure_future(pays_for_long())
    await wait_for("enough")
    paying.cancel()
    with suppress(asyncio.CancelledError):
        await paying
    await wait_for("go")
    return "done"


async def test_a_paused_run_does_not_end_before_an_effect_in_doubt_is_settled(world: World) -> None:
    """The flow gave it up, the process ended, and what came of it is found out after the pause: not never."""
    async with world.engine() as engine:
        run = await engine.start(gives_up, id="g")
        await until(lambda: made)
        await run.signal("enough")
        await until(lambda: engine.journal.query("select 1 from events where type = 'step.cancelled'"))
        await run.pause()
        await until(lambda: engine.journal.query("select 1 from events where type = 'run.paused'"))
    async with world.engine() as engine:
        run = await engine.get("g")
        await run.signal("go")
        await asyncio.sleep(0.3)
        assert (await run.status()).state in ("running", "parked", "queued")
        await run.resume()
        with pytest.raises(UnknownEffect) as unknown:
            await run.result()
        await run.override(unknown.value.key or "", "it was not", by="ann")
        assert await run.result() == "done"
        assert made == ["begun"]


@flow
async def a_child() -> str:
    return await wait_for("never")


@flow
async def waits_for_all() -> list[Any]:
    return await segue.gather(sleep(1e6), a_child(), wait_for("go"), segue.approve("Pay?", by="lead"))


async def test_what_nothing_would_come_of_is_refused(world: World) -> None:
    """A retry of what is no step, and a result in the place of a person's answer."""
    async with world.engine() as engine:
        run = await engine.start(waits_for_all, id="w")
        await until(lambda: len(engine.host.waits_on(1) or ()) == 4)
        waits = (await run.status()).waits_on
        for wait, what in zip(waits[:3], ("a timer", "a child", "a wait for a signal"), strict=True):
            with pytest.raises(InputError, match=f"only a step can be made again, and this is {what}") as caught:
                await run.override(wait["key"], retry=True)
            assert "--skip" in (caught.value.remedy or "")
        while not (items := await engine.inbox()):
            await asyncio.sleep(0.01)
        item = items[0]
        ways: list[dict[str, Any]] = [{"result": True}, {"skip": True}, {"retry": True}]
        for how in ways:
            with pytest.raises(InputError, match="waits for a person's answer") as caught:
                await run.override(waits[3]["key"], **how)
            assert item.id in (caught.value.remedy or "")
        assert await keys_of(run, "operator.acted") == []
        for wait, value in zip(waits[:3], (None, "child", "went"), strict=True):
            await run.override(wait["key"], value, by="ann")
        await item.approve(by="lead")
        *told, said = await run.result()
        assert (told, said["approved"]) == ([None, "child", "went"], True)


@flow
async def has_children() -> list[str]:
    return await gather(*(a_child() for _ in range(8)))


async def test_an_engine_that_closes_as_children_start_has_nothing_to_report(world: World) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    for turns in range(12):
        async with world.engine() as engine:
            await engine.start(has_children, id=f"{turns}")
            for _ in range(turns):
                await asyncio.sleep(0)
    assert reported == []


@flow
async def waits_twice() -> str:
    await wait_for("first")
    return await wait_for("second")


async def test_engines_that_are_closed_at_once_are_no_crashes(world: World) -> None:
    """As short commands do it: each has claimed the run, and gives it back."""
    async with world.parking() as engine:
        run = await engine.start(waits_twice, id="w")
        await in_state(run, "parked")
    async with world.engine(recover=False) as engine:
        await (await engine.get("w")).signal("first")
    for turns in range(12):
        async with world.engine():
            for _ in range(turns % 4):
                await asyncio.sleep(0)
    async with world.engine() as engine:
        run = await engine.get("w")
        await run.signal("second", "there")
        assert await asyncio.wait_for(run.result(), 10) == "there"
        kinds = [e.type for e in [e async for e in run.events(follow=False)]]
        assert not [1 for a, b in itertools.pairwise(kinds) if a == b == "run.started"]


@flow
async def asks_and_waits() -> list[Any]:
    return await segue.gather(segue.approve("Pay?", by="lead"), wait_for("go"))


async def test_a_run_that_was_claimed_and_given_back_still_says_what_it_waits_for(tmp_path: Path) -> None:
    """Else the question that it asks would not be in the inbox before somebody takes it up again."""
    on_file = World(tmp_path / "segue.db")
    async with on_file.parking() as engine:
        run = await engine.start(asks_and_waits, id="w")
        await in_state(run, "parked")
    async with on_file.engine(recover=False) as engine:
        await (await engine.get("w")).signal("other")
    for turns in range(6):
        async with on_file.engine():
            for _ in range(turns % 3):
                await asyncio.sleep(0)
        with Journal.open_readonly(str(on_file.path)) as reader:
            row = reader.get("w")
            assert len(row.detail["waits_on"]) == 2
            assert [found.open for found in of_run(reader, row)] == [True]


@step(effect="once")
async def nobody_knows() -> None:
    raise TimeoutError


@flow
async def sets_itself_aside() -> None:
    await nobody_knows()


async def _cancels_it_once(engine: testing.Engine) -> str:
    run = await engine.start(sets_itself_aside, id="r")
    while (await run.status()).state not in ("stuck", "cancelled"):
        await asyncio.sleep(1)
    if not engine.journal.query("select 1 from inbox where kind = 'cancel'"):
        await run.cancel()
    await asyncio.sleep(60)
    return (await run.status()).state


def test_a_run_that_is_set_aside_is_cancelled_once_wherever_its_process_dies() -> None:
    def check(state: str, _: testing.Engine) -> None:
        assert state == "cancelled"

    assert testing.crash_everywhere(_cancels_it_once, check=check, again=True) > 5


calls_now: list[str] = []


@step
async def before(n: int) -> int:
    return n


@step
async def after(n: int) -> int:
    return n


@flow
async def was_changed() -> None:
    await (before if calls_now == ["before"] else after)(1)
    await wait_for("never")


async def test_a_cancel_that_came_before_the_code_was_seen_to_differ_is_no_less_of_one(world: World) -> None:
    """The run cannot be replayed, so it would be set aside, and the word that it is to end be used up."""
    calls_now[:] = ["before"]
    async with world.parking() as engine:
        run = await engine.start(was_changed, id="r")
        await in_state(run, "parked")
    calls_now[:] = ["after"]
    async with world.engine(recover=False) as there:
        await (await there.get("r")).cancel(by="ann")
    async with world.engine() as engine:
        run = await engine.get("r")
        with pytest.raises(RunCancelled):
            await run.result()
        assert await keys_of(run, "run.stuck") == []


@step(effect="once")
async def pays_without_end() -> int:
    await asyncio.sleep(1e9)
    return 1


@flow
async def was_changed_before_it_paid() -> None:
    await (before if calls_now == ["before"] else after)(1)
    await gather(pays_without_end(), has_children())


async def _killed_in_doubt() -> testing.Engine:
    calls_now[:] = ["before"]
    async with testing.Engine() as first:
        await first.start(was_changed_before_it_paid, id="r")
        await asyncio.sleep(10)
        first.kill()
    calls_now[:] = ["after"]
    return first


@pytest.mark.parametrize("seen", [False, True], ids=["as it begins", "after it was set aside"])
@testing.simulated
async def test_a_run_with_an_effect_in_doubt_does_not_end_before_that_is_on_record(seen: bool) -> None:
    """Its code has changed: nobody can look into the effect, and nobody would hear of it."""
    engine = await _killed_in_doubt()
    if seen:
        async with testing.Engine(after=engine) as engine:
            await in_state(await engine.get("r"), "stuck")
    async with testing.Engine(after=engine, recover=False) as there:
        await (await there.get("r")).cancel(by="ann")
    async with testing.Engine(after=there) as engine:
        run = await engine.get("r")
        await asyncio.sleep(10)
        status = await run.status()
        stuck = [e for e in await events_of(run) if e.type == "run.stuck"]
        (key,) = loads(stuck[-1].body)["unknown"]
        assert "pays_without_end" in key
        if not seen:
            assert status.state == "stuck" and status.message is not None
            assert f"nobody knows whether {key} was applied" in status.message
            await run.cancel(by="ann", why="it was not, I have looked")
        with pytest.raises(RunCancelled):
            await run.result()


@testing.simulated
async def test_code_that_is_right_again_ends_such_a_run_in_order() -> None:
    engine = await _killed_in_doubt()
    async with testing.Engine(after=engine, recover=False) as there:
        await (await there.get("r")).cancel(by="ann")
    async with testing.Engine(after=there) as engine:
        await in_state(await engine.get("r"), "stuck")
    calls_now[:] = ["before"]
    async with testing.Engine(after=engine) as engine:
        run = await engine.get("r")
        await run.resume(by="ann")
        await asyncio.sleep(10)
        status = await run.status()
        assert (status.state, status.reason) == ("stuck", "unknown effect")
        await run.override(status.key or "", 1, by="ann")
        with pytest.raises(RunCancelled):
            await run.result()


@step
async def large() -> str:
    return "x" * 300_000


@flow
async def holds_much() -> int:
    said = await large()
    await wait_for("never")
    return len(said)


@pytest.mark.parametrize("word", ["resume", "override", "cancel"])
@testing.simulated
async def test_a_word_on_a_run_whose_journal_is_damaged_is_used_up(word: str) -> None:
    """It was taken up and set aside for ever."""
    async with testing.Engine(linger_s=0.0) as first:
        run = await first.start(holds_much, id="r")
        key = (await in_state(run, "parked")).waits_on[0]["key"]
        assert first.journal.connection.execute("delete from blobs").rowcount > 0
    async with testing.Engine(after=first, recover=False) as engine:
        run = await engine.get("r")
        if word == "override":
            await engine.journal.post(Post("r", word, "1", key, 0.0, b"1", dumps({"act": "result", "by": "ann"})))
        else:
            await (run.resume(by="ann") if word == "resume" else run.cancel(by="ann"))
        await run.signal("never", id="1")
    async with testing.Engine(after=engine) as engine:
        run = await engine.get("r")
        await asyncio.sleep(60)
        assert (await run.status()).state == ("cancelled" if word == "cancel" else "stuck")
        assert len(engine.journal.query("select 1 from events where type = 'run.stuck'")) <= 1
