"""Forks: what a new run keeps of an older one, and what it makes anew."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

import segue
from segue import Applied, NotApplied, approve, flow, gather, sleep, step, wait_for
from segue.errors import DuplicateRun, InputError, RunCancelled
from tests.behaviour.world import World, events_of, in_state, keys_of

ran: list[str] = []
behave: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def _clean() -> None:
    ran.clear()
    behave.clear()


@step
async def fetch(name: str) -> str:
    ran.append(name)
    await asyncio.sleep(behave.get("late_s", 0.0))
    if behave.get("broken") == name:
        raise LookupError(name)
    return name.upper()


@flow
async def report(topic: str, parts: int = 3) -> list[str]:
    head = await fetch(topic)
    body = await gather(*(fetch(f"{head} {i}") for i in range(parts)))
    return [head, *body, await fetch("end of " + ",".join(body))]


async def test_a_fork_at_every_step(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(report, "t")
        result = await run.result()
        keys = await keys_of(run)
        assert len(keys) == 5
        for key in keys:
            ran.clear()
            fork = await run.fork(at=key)
            assert await fork.result() == result
            names = {"fetch": ran}
            assert names["fetch"], "the step is made anew"
            assert len(ran) == len(set(ran))
            assert not ({k for k in await keys_of(fork)} - set(keys))


async def test_a_fork_with_results_replaced(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(report, "t")
        await run.result()
        first, second, *_ = await keys_of(run)
        ran.clear()
        fork = await run.fork(results={second: "B0!"})
        assert await fork.result() == ["T", "B0!", "T 1", "T 2", "END OF B0!,T 1,T 2"]
        assert ran == ["end of B0!,T 1,T 2"]
        ran.clear()
        early = await run.fork(at=first, results={first: "X"})
        assert (await early.result())[:2] == ["X", "X 0"], "a step that is given its result is not made"
        assert "t" not in ran
        again = await early.fork()
        assert await again.result() == await early.result()


async def test_a_result_of_another_type_is_refused_before_the_fork_is_made(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(report, "t")
        await run.result()
        keys = await keys_of(run)
        for key in (keys[0], keys[-1], keys[0].replace("#1", "#2")):
            with pytest.raises(InputError, match="is no str") as caught:
                await run.fork(at=keys[0], results={key: 5}, id="never")
            assert (caught.value.run, caught.value.key) == (run.id, key)
            assert caught.value.remedy
        assert len(await engine.runs()) == 1


async def test_a_childs_result_of_another_type_is_refused(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(parent, id="p")
        await in_state(run, "parked")
        (key,) = await keys_of(run, "child.started")
        with pytest.raises(InputError, match="is no str"):
            await run.fork(results={key: [1]})
        assert await (await run.fork(results={key: "given"})).result() == ["given", "BESIDE"]


@flow
async def waits() -> list[Any]:
    word = await wait_for("word", returns=int)
    await sleep(0.01)
    return [word, await approve("Pay?")]


async def until_asked(engine: Any) -> Any:
    while not (found := await engine.inbox()):
        await asyncio.sleep(0.01)
    return found


@pytest.mark.parametrize("ended", [False, True])
async def test_a_wait_a_timer_and_a_question_are_given_no_result(world: World, ended: bool) -> None:
    """They were taken, held to their type, and then had no effect."""
    async with world.parking() as engine:
        run = await engine.start(waits, id="w")
        await run.signal("word", 3)
        (question,) = await until_asked(engine)
        if ended:
            await question.approve(by="ann")
            assert (await run.result())[0] == 3
        kinds = {"wait[word]#1": "a signal", "sleep#1": "a timer", question.key: "a question to a person"}
        for key, what in kinds.items():
            with pytest.raises(InputError, match=what) as refused:
                await run.fork(results={key: 4})
            assert refused.value.remedy
        assert len(await engine.runs()) == 1


class Old(BaseModel):
    whole: int


@step(upcast=lambda old: {"whole": old["part"]})
async def shaped() -> Old:
    return Old(whole=1)


@flow
async def shapes() -> int:
    return (await shaped()).whole


async def test_a_result_that_upcast_reads_is_taken(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(shapes)
        await run.result()
        (key,) = await keys_of(run)
        assert await (await run.fork(results={key: {"part": 7}})).result() == 7
        assert await (await run.fork(results={key: Old(whole=8)})).result() == 8
        with pytest.raises(InputError, match="is no Old"):
            await run.fork(results={key: {"none": 7}})


async def test_a_fork_with_another_input(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(report, "t")
        await run.result()
        keys = await keys_of(run)
        fork = await run.fork(at=keys[-1], input={"topic": "u"})
        assert (await fork.result())[0] == "U"
        of_fork = await fork.fork(at=(await keys_of(fork))[-1])
        assert (await of_fork.result())[0] == "U", "a fork of a fork has the fork's input"
        fewer = await run.fork(input={"parts": 1})
        assert (await fewer.result())[:2] == ["T", "T 0"]
        with pytest.raises(InputError, match="parts"):
            await run.fork(input={"parts": "many"})
        with pytest.raises(InputError, match="no parameter 'part'"):
            await run.fork(input={"part": 1})


async def test_a_fork_of_a_fork_of_a_fork(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(report, "t")
        result = await run.result()
        keys = await keys_of(run)
        second = await run.fork(at=keys[3])
        await second.result()
        third = await second.fork(at=keys[-1])
        await third.result()
        ran.clear()
        fourth = await third.fork(at=keys[1])
        assert await fourth.result() == result
        assert "t" not in ran
        assert await (await third.fork()).result() == result
        seqs = [e.seq for e in await events_of(fourth)]
        assert seqs == list(range(1, len(seqs) + 1))


async def test_a_fork_of_a_fork_at_the_step_whose_result_was_given_makes_it_anew(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(report, "t", 1)
        result = await run.result()
        first, second, _ = await keys_of(run)
        given = await run.fork(results={first: "BY HAND"})
        assert (await given.result())[0] == "BY HAND"
        ran.clear()
        again = await given.fork(at=first)
        assert await again.result() == result
        assert ran[0] == "t"
        kept = await given.fork(at=second)
        assert (await kept.result())[0] == "BY HAND", "of the other steps what was given stays"
        once_more = await given.fork(at=first, results={first: "ANEW"})
        assert (await once_more.result())[0] == "ANEW"


async def test_a_fork_point_that_its_own_past_does_not_hold(world: World) -> None:
    """What a parent did after the fork was made never happened in the fork."""
    async with world.engine() as engine:
        run = await engine.start(waits_between, id="p")
        await in_state(run, "running")
        await world.pass_(0.2)
        fork = await run.fork(id="f")
        await run.signal("go", "on")
        await run.result()
        key = (await keys_of(run))[-1]
        with pytest.raises(InputError, match="segue show"):
            await fork.fork(at=key)
        with pytest.raises(InputError):
            await run.fork(at="nothing")
        with pytest.raises(InputError):
            await run.fork(at=10_000)
        await fork.signal("go", "another way")
        assert await fork.result() == "A ANOTHER WAY"


@flow
async def waits_between() -> str:
    first = await fetch("a")
    return first + " " + await fetch(await wait_for("go", returns=str))


@flow
async def small(name: str) -> str:
    return await fetch(name) + await fetch("child " + str(await wait_for("go")))


@flow
async def parent() -> list[str]:
    return await gather(small("x"), fetch("beside"))


async def test_a_fork_while_a_child_is_open_has_a_child_of_its_own(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(parent, id="p")
        await in_state(run, "parked")
        fork = await run.fork(id="f")
        await in_state(fork, "parked")
        children = {s.parent: s.id for s in await engine.runs() if s.parent}
        assert set(children) == {"p", "f"}
        await (await engine.get(children["f"])).signal("go", 1)
        assert await fork.result() == ["XCHILD 1", "BESIDE"]
        assert (await run.status()).state == "parked", "the parent's child is its own"
        await (await engine.get(children["p"])).signal("go", 2)
        assert await run.result() == ["XCHILD 2", "BESIDE"]


@flow
async def gives_up() -> str:
    try:
        async with segue.timeout(behave["limit_s"]):
            await small("x")
    except TimeoutError:
        return await fetch("after")
    return "no"


async def test_a_fork_leaves_the_children_of_its_parent_alone(world: World) -> None:
    behave["limit_s"] = world.while_s
    async with world.engine() as engine:
        run = await engine.start(gives_up)
        await run.result()
        assert await (await run.fork(at=(await keys_of(run))[-1])).result() == "AFTER"
        open_ = [s for s in await engine.runs() if s.state not in ("completed", "cancelled")]
        assert open_ == []


async def test_a_fork_of_a_cancelled_run_goes_on(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(waits_between)
        await in_state(run, "running")
        await world.pass_(0.2)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
        fork = await run.fork()
        await fork.signal("go", "on")
        assert await fork.result() == "A ON"


async def test_a_fork_of_a_failed_run_at_the_step_that_failed(world: World) -> None:
    behave["broken"] = "T 1"
    async with world.engine() as engine:
        run = await engine.start(report, "t")
        with pytest.raises(segue.SegueError, match="T 1"):
            await run.result()
        (key,) = await keys_of(run, "step.failed")
        behave.clear()
        assert (await (await run.fork(at=key)).result())[2] == "T 1"
        assert (await (await run.fork(results={key: "given"})).result())[2] == "given"


async def reconcile(key: str) -> Applied | NotApplied:
    ran.append("asked")
    return Applied("was there")


@step(effect="once", reconcile=reconcile)
async def pay(key: str) -> str:
    ran.append("paid")
    await asyncio.sleep(behave.get("late_s", 0.0))
    return "paid"


@flow
async def pays() -> list[str]:
    task = asyncio.ensure_future(pay("k"))
    await asyncio.sleep(0)
    first = await fetch("a")
    return [first, await fetch("b"), await task]


async def test_a_fork_asks_what_came_of_an_effect_that_was_on_its_way(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(pays)
        await run.result()
        events = await events_of(run)
        outcome = next(e for e in events if e.type == "step.completed" and e.key and e.key.startswith("pay"))
        begun = next(e for e in events if e.type == "attempt.started")
        ran.clear()
        fork = await run.fork(at=begun.seq)
        assert (await fork.result())[2] == "was there"
        assert ran.count("asked") == 1
        assert "paid" not in ran
        assert await fork.repeats() == []
        whole = await run.fork(at=outcome.seq)
        assert (await whole.result())[2] == "paid"
        early = await run.fork(at=1)
        assert (await early.result())[2] == "paid"
        assert await early.repeats() == [outcome.key]


async def test_starting_is_idempotent(world: World) -> None:
    async with world.engine() as engine:
        one, two = await asyncio.gather(*(engine.start(report, "t", id="r") for _ in range(2)))
        assert await one.result() == await two.result()
        assert ran.count("t") == 1
        with pytest.raises(DuplicateRun, match="another input"):
            await engine.start(report, "u", id="r")
        with pytest.raises(DuplicateRun, match="another flow"):
            await engine.start(waits_between, id="r")
    async with world.engine() as engine:
        await (await engine.start(report, "t", id="r")).result()
        assert ran.count("t") == 1


@flow
async def naps() -> str:
    await sleep(behave["nap_s"])
    return await fetch("z")


async def test_a_fork_of_a_paused_run_is_not_paused(world: World) -> None:
    behave["nap_s"] = world.while_s
    async with world.engine() as engine:
        run = await engine.start(naps)
        await in_state(run, "running")
        await world.pass_(0.1)
        await run.pause()
        await world.pass_(0.1)
        assert await (await run.fork()).result() == "Z"
        assert (await run.status()).paused


@flow
async def adds(n: int, beside: int = 1) -> int:
    return n + beside


async def test_an_argument_of_another_type_is_named(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(adds, 1)
        await run.result()
        with pytest.raises(InputError, match=r"argument 'n': Input should be a valid integer.*not 'many'") as refused:
            await run.fork(input={"n": "many"})
        assert "http" not in str(refused.value)


async def test_a_result_of_a_call_that_was_never_made_is_refused_where_one_like_it_was(world: World) -> None:
    """The fork took it, did nothing with it, and came to the same."""
    async with world.engine() as engine:
        run = await engine.start(report, "t")
        await run.result()
        key = (await keys_of(run))[0]
        never = f"{key[: key.index('[')]}[0123456789ab]#1"
        with pytest.raises(InputError, match="the run has made no call") as refused:
            await run.fork(results={never: "x"})
        assert key in (refused.value.remedy or "")
        assert await (await run.fork(results={never: "x"}, input={"topic": "t"})).result() == await run.result()
