"""A step's Recovery asks a person: the step waits durably, and goes on as they say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from segue import Run, flow, step, testing
from segue.core.codec import loads
from segue.core.faults import Fault
from segue.core.recovery import Again, Answer, AskPerson, Attempt, Take, Told, Use
from segue.errors import AlreadyDecided, InputError, RunCancelled, RunEnded, RunFailed
from segue.runtime.embedded import people
from segue.runtime.scope import step_scope
from tests.behaviour.world import World, events_of, in_state, keys_of, until

CALLS: list[tuple[str | None, int]] = []
FAILS = {"until": 99}


@pytest.fixture(autouse=True)
def _clean() -> None:
    CALLS.clear()
    FAILS["until"] = 99


def asks(fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
    return Again(0.0) if len(history) == 1 else AskPerson("ann")


@step(retry=asks)
async def fetch(url: str) -> str:
    scope = step_scope()
    CALLS.append((scope.candidate, scope.attempt))
    if scope.attempt < FAILS["until"] and scope.candidate is None:
        raise ConnectionError(f"attempt {scope.attempt}")
    return f"{scope.candidate} gave {url}"


@flow
async def fetches(url: str) -> str:
    return await fetch(url)


async def asked(run: Run[Any]) -> str:
    """The key that a person is asked about, once they are."""
    for _ in range(2000):
        waits = [w for w in (await run.status()).waits_on if "person" in w]
        if waits:
            assert waits[0]["person"] == "ann"
            return waits[0]["key"]
        await asyncio.sleep(0.005)
    raise AssertionError("nobody was asked")


@pytest.mark.parametrize("first", ["decide", "override"])
async def test_of_two_words_on_one_question_the_first_counts_while_nobody_takes_them_up(
    world: World, first: str
) -> None:
    async with world.parking() as engine:
        run = await engine.start(fetches, "x", id="r")
        key = await asked(run)
        await in_state(run, "parked")
        await engine.pause()
    async with world.engine(recover=False) as there:
        run = await there.get("r")
        if first == "decide":
            assert await run.decide(key, result="decided", by="ann")
            with pytest.raises(InputError, match="ann has answered its question already"):
                await run.override(key, "overridden", by="bob")
        else:
            await run.override(key, "overridden", by="ann")
            assert not await run.decide(key, result="decided", by="bob")
            assert not await run.decide(key, fail=True, by="bob")
        await there.resume()
    async with world.engine() as engine:
        assert await (await engine.get("r")).result() == {"decide": "decided", "override": "overridden"}[first]


@pytest.mark.parametrize("parks", [True, False], ids=["parked", "in memory"])
@pytest.mark.parametrize(
    ("word", "result", "attempts"),
    [
        ({"retry": True}, "None gave x", 3),
        ({"use": "second"}, "second gave x", 3),
        ({"result": "by hand"}, "by hand", 2),
    ],
)
async def test_the_step_goes_on_as_the_person_says(
    world: World, parks: bool, word: dict[str, Any], result: str, attempts: int
) -> None:
    FAILS["until"] = 3
    async with world.engine(linger_s=0.0 if parks else 100.0) as engine:
        run = await engine.start(fetches, "x")
        key = await asked(run)
        if parks:
            await in_state(run, "parked")
        assert await run.decide(key, by="ann", why="looked at it", **word)
        assert await run.result() == result
    assert len(CALLS) == attempts
    async with world.engine() as engine:
        (said,) = [e for e in await events_of(await engine.get(run.id)) if e.type == "approval.decided"]
        body = loads(said.body)
        assert (body["by"], body["why"], body["verdict"]) == ("ann", "looked at it", "answered")


async def test_fail_gives_the_flow_the_steps_own_error(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(fetches, "x")
        await run.decide(await asked(run), fail=True, by="ann")
        with pytest.raises(RunFailed, match="attempt 2"):
            await run.result()


async def test_it_waits_over_a_restart_and_is_asked_once(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(fetches, "x", id="r")
        await asked(run)
    async with world.engine() as engine:
        run = await engine.get("r")
        key = await asked(run)
        assert len(CALLS) == 2
        assert await keys_of(run, "approval.asked") == [key]
        await run.decide(key, result="after all")
        assert await run.result() == "after all"


async def test_the_first_word_counts_and_a_late_one_changes_nothing(world: World) -> None:
    async with world.parking(recover=False) as engine:
        run = await engine.start(fetches, "x")
        key = await asked(run)
        await in_state(run, "parked")
        said = await asyncio.gather(run.decide(key, result="0"), run.decide(key, result="1"))
        assert sorted(said) == [False, True]
        assert await run.result() == str(said.index(True))
        with pytest.raises(RunEnded, match="has ended"):
            await run.decide(key, retry=True)


async def test_a_person_may_be_asked_again(world: World) -> None:
    FAILS["until"] = 4
    async with world.parking() as engine:
        run = await engine.start(fetches, "x")
        for n in (2, 3):
            key = await asked(run)
            await until(lambda n=n: len(CALLS) == n)
            assert await run.decide(key, retry=True)
            await until(lambda n=n: len(CALLS) == n + 1)
        assert await run.result() == "None gave x"
        ids = [loads(e.body)["id"] for e in await events_of(run) if e.type == "approval.asked"]
        assert ids == [f"{key}?2", f"{key}?3"]


async def test_a_word_that_makes_no_sense_is_refused(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(fetches, "x")
        key = await asked(run)
        for words in ({}, {"retry": True, "fail": True}):
            with pytest.raises(InputError, match="one of retry"):
                await run.decide(key, **words)
        with pytest.raises(InputError, match="is no str"):
            await run.decide(key, result=5)
        with pytest.raises(InputError, match=r"nobody is asked about nokey; asked about: fetch"):
            await run.decide("nokey", retry=True)
        assert await run.decide(key, result="right")
        assert await run.result() == "right"


async def test_a_cancel_and_an_override_end_the_wait(world: World) -> None:
    async with world.parking() as engine:
        run, other = await engine.start(fetches, "x"), await engine.start(fetches, "y")
        await asked(run)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
        await other.override(await asked(other), "overridden")
        assert await other.result() == "overridden"


async def test_a_paused_run_takes_the_word_and_acts_on_it_when_it_is_resumed(world: World) -> None:
    FAILS["until"] = 3
    async with world.engine() as engine:
        run = await engine.start(fetches, "x")
        key = await asked(run)
        await run.pause()
        await run.decide(key, retry=True)
        await world.pass_(2)
        assert len(CALLS) == 2
        await run.resume()
        assert await run.result() == "None gave x"


async def test_a_fork_makes_the_step_again(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(fetches, "x")
        key = await asked(run)
        FAILS["until"] = 0
        fork = await run.fork()
        assert await fork.result() == "None gave x"
        assert await run.decide(key, result="mine")
        assert await run.result() == "mine"


def asks_with_a_default(fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
    words = {"take": Take("the default"), "use": Use("second"), "again": Again(0.0)}
    if len(history) > 1:
        return AskPerson("ann", timeout_s=7200.0)
    return AskPerson("ann", "what now?", timeout_s=3600.0, default=words[fault.message])


@step(retry=asks_with_a_default)
async def limited(word: str) -> str:
    if step_scope().candidate is None:
        raise ConnectionError(word)
    return f"{step_scope().candidate} after {step_scope().attempt}"


@flow
async def limits(word: str) -> str:
    return await limited(word)


@pytest.mark.parametrize(("word", "result"), [("take", "the default"), ("use", "second after 2")])
async def test_without_a_word_in_time_the_default_holds(world: World, word: str, result: str) -> None:
    if not world.virtual:
        pytest.skip("an hour")
    async with world.parking() as engine:
        run = await engine.start(limits, word, id="r")
        await in_state(run, "parked")
    async with world.parking() as engine:
        run = await engine.get("r")
        assert await run.result() == result
        (said,) = [e for e in await events_of(run) if e.type == "approval.decided"]
        assert (loads(said.body)["verdict"], loads(said.body)["by"]) == ("expired", "segue")
        assert (await run.status()).updated_at - (await run.status()).created_at == pytest.approx(3600, abs=60)


async def test_the_default_of_a_second_question_is_its_own(world: World) -> None:
    if not world.virtual:
        pytest.skip("three hours")
    async with world.parking() as engine:
        run = await engine.start(limits, "again")
        with pytest.raises(RunFailed, match="again"):
            await run.result()


def judges(fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
    return AskPerson("ann", told=True)


@step(retry=judges)
async def judged(wanted: int) -> str:
    last = step_scope().history[-1].answer if step_scope().history else None
    if isinstance(last, Told) and last.value == wanted:
        return f"{last.by} said {last.value}"
    raise ConnectionError


@flow
async def judging(wanted: int) -> str:
    return await judged(wanted)


async def test_what_a_person_says_may_be_judged_by_the_step(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(judging, 7)
        assert await run.decide(await asked(run), result="seven", by="ann")
        await until(lambda: engine.journal.query("select 1 from events where type = 'approval.asked' and attempt = 2"))
        assert await run.decide(await asked(run), result=7, by="bob")
        assert await run.result() == "bob said 7"


async def test_a_run_that_is_paused_while_it_asks_still_says_whom(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(fetches, "a")
        key = await asked(run)
        await in_state(run, "parked")
        await run.pause()
        await until(lambda: engine.journal.query("select 1 from events where type = 'run.paused'"))
        await world.pass_()
        status = await run.status()
        assert (status.paused, [w.get("person") for w in status.waits_on]) == (True, ["ann"])
        await run.decide(key, result="done")
        await run.resume()
        assert await run.result() == "done"


async def test_a_word_that_a_switch_holds_back_is_acted_on_when_it_is_off(world: World) -> None:
    """Also where the run was in memory as the word came, and has been parked since."""
    async with world.engine(linger_s=world.while_s * 3) as engine:
        run = await engine.start(fetches, "a")
        key = await asked(run)
        await engine.pause()
        assert await run.decide(key, result="done")
        await until(lambda: engine.journal.query("select 1 from events where type = 'approval.decided'"))
        await world.pass_(6)
        assert not engine.host.executions
        await engine.resume()
        assert await asyncio.wait_for(run.result(), 5) == "done"


# the inbox has these questions too


async def item_in(engine: Any) -> Any:
    """The one question of the inbox."""
    for _ in range(2000):
        items = await engine.inbox()
        if len(items) == 1:
            return items[0]
        await asyncio.sleep(0.005)
    raise AssertionError(await engine.inbox())


async def test_the_inbox_has_it_and_takes_its_result(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(fetches, "x")
        item = await item_in(engine)
        assert (item.kind, item.to, item.key) == ("other", ("ann",), await asked(run))
        assert item.shown == {"arguments": {"url": "x"}} and "retry" in item.choices
        with pytest.raises(InputError, match="asks for an answer"):
            await item.approve(by="bob")
        with pytest.raises(InputError, match="is no str"):
            await item.answer(5, by="bob")
        await item.answer("by hand", by="bob", note="looked it up")
        assert await run.result() == "by hand"
        with pytest.raises(AlreadyDecided, match="bob has answered it"):
            await item.deny(by="ann")


async def test_to_deny_it_is_to_let_the_step_fail(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(fetches, "x")
        await (await item_in(engine)).deny(by="bob")
        with pytest.raises(RunFailed, match="attempt 2"):
            await run.result()


@pytest.mark.parametrize("parks", [True, False], ids=["parked", "in memory"])
async def test_it_is_reassigned_also_over_a_restart(world: World, parks: bool) -> None:
    async with world.engine(linger_s=0.0 if parks else 100.0) as engine:
        run = await engine.start(fetches, "x", id="r")
        item = await item_in(engine)
        if parks:
            await in_state(run, "parked")
        await item.reassign("eve", by="ann", note="on holiday")
        assert [i.id for i in await engine.inbox("eve")] == [item.id]
        assert await engine.inbox("ann") == []
        await until(lambda: not engine.journal.items())
    async with world.parking() as engine:
        run = await engine.get("r")
        again = await item_in(engine)
        assert (again.to, again.bound, again.history[0].by) == (("eve",), item.bound, "ann")
        starts = len(await keys_of(run, "run.started"))
        await run.pause()
        await run.resume()  # it is taken up again: what it knows, it has from the journal
        await until(lambda: not engine.journal.items())
        await in_state(run, "parked")
        assert len(await keys_of(run, "run.started")) > starts
        assert [w["person"] for w in (await run.status()).waits_on] == ["eve"]
        await again.answer("by eve", by="eve")
        assert await run.result() == "by eve"
        said = [loads(e.body) for e in await events_of(run) if e.type == "approval.decided"]
        assert [(s["verdict"], s["asked_of"], s["bound"]) for s in said] == [
            ("reassigned", ["ann"], item.bound), ("answered", ["eve"], item.bound)
        ]  # fmt: skip


async def test_a_run_does_not_rest_between_a_word_and_what_follows_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parked in that moment, the word would be on record, and nobody would act on it."""
    rested: list[bool] = []
    wake = people._wake

    def woken(execution: Any, key: str) -> None:
        wake(execution, key)  # the step itself goes on in a later turn of the loop
        rested.append(execution.resting)

    monkeypatch.setattr(people, "_wake", woken)
    async with testing.Engine() as engine:
        run = await engine.start(fetches, "x")
        await run.decide(await asked(run), result="by hand")
        assert await run.result() == "by hand"
    assert rested == [False]
