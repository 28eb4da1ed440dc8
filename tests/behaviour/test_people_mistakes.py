"""What a flow and a sender get wrong when people are asked is said at once, and decides nothing."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, approve, escalate, flow, step
from segue.agent import Person
from segue.errors import AlreadyDecided, DefinitionError, InputError, RunFailed
from segue.testing import Crash
from segue.testing import Engine as InMemory
from segue.testing.crash import play
from tests.behaviour.test_asking_people import waiting
from tests.behaviour.world import World


@flow(name="asks_the_lead")
async def asks(by: str) -> bool:
    return bool(await approve("Pay?", {"cents": 500}, by=by))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"approved": "no", "by": "ada"}, "approved is True or False, not 'no'"),
        ({"approved": 0, "by": "ada"}, "approved is True or False, not 0"),
        ({"approved": True, "by": 5}, "by is a text, not 5"),
        ({"approved": True, "by": "ada", "note": 7}, "note is a text, not 7"),
        ({"to": "  ", "by": "ada"}, "one of approved="),
        ({"to": [5], "by": "ada"}, "5 is no name"),
    ],
)
async def test_a_word_of_another_type_decides_nothing(world: World, words: dict[str, Any], says: str) -> None:
    """`approved="no"` from a web form was a yes."""
    async with world.parking() as engine:
        run = await engine.start(asks, "lead")
        (item,) = await waiting(engine)
        with pytest.raises(InputError, match=says):
            await engine.decide(item.id, **words)
        assert [(one.id, one.pending) for one in await engine.inbox()] == [(item.id, None)]
        await item.deny(by="ada")
        assert await run.result() is False


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"question": None}, "the question is a text, not None"),
        ({"question": 5}, "the question is a text, not 5"),
        ({"default": "denied", "timeout_s": 5}, "default is True, False or None, not 'denied'"),
        ({"default": 1, "timeout_s": 5}, "default is True, False or None, not 1"),
    ],
)
async def test_a_question_that_makes_no_sense_is_not_put(world: World, given: dict[str, Any], says: str) -> None:
    """`default="denied"` was on record as a yes."""

    @flow(name="odd_question")
    async def odd() -> bool:
        plan: dict[str, Any] = {"question": "Pay it?", **given}
        return bool(await approve(**plan))

    async with world.engine() as engine:
        with pytest.raises(RunFailed, match=says) as failed:
            await engine.run(odd)
        assert isinstance(failed.value.__cause__, InputError)
        assert await engine.inbox() == []


async def test_the_inbox_knows_a_name_however_it_is_written(world: World) -> None:
    """As votes do."""
    async with world.parking() as engine:
        await engine.start(asks, "Front Desk")
        await waiting(engine)
        for name, finds in (("front desk", 1), (" Front  Desk", 1), ("frontdesk", 0)):
            assert len(await engine.inbox(name)) == finds, name


async def test_a_blank_name_is_nobodys(world: World) -> None:
    async with world.parking() as engine:
        await engine.start(asks, "  ")
        (item,) = await waiting(engine)
        assert item.to == (), "anybody is asked, and finds it"
        assert len(await engine.inbox("ada")) == 1


@pytest.mark.parametrize("name", ["", "  ", None, 5])
def test_a_person_without_a_name_cannot_be_delegated_to(name: Any) -> None:
    """The question would have waited for nobody."""
    with pytest.raises(DefinitionError, match="is no name of a person"):
        Person(name)


@flow(name="asks_for_a_moment")
async def asks_for_a_moment(wait_s: float, default: bool | None) -> list[Any]:
    said = await approve("Pay?", {"cents": 500}, by="lead", timeout_s=wait_s, default=default)
    return [said.approved, said.by]


async def test_a_word_after_its_time_is_refused_though_no_process_has_seen_that_it_is_over(tmp_path: Path) -> None:
    """It was taken, and decided: a yes of the day after."""
    db = str(tmp_path / "x.db")
    async with Engine(db) as engine:
        await engine.start(asks_for_a_moment, 0.3, False, id="r")
        (item,) = await waiting(engine)
    await asyncio.sleep(max(0.0, (item.due_at or 0.0) - time.time()))
    async with Engine(db, recover=False) as engine:
        words: list[dict[str, Any]] = [{"approved": True}, {"approved": False}, {"to": "bob"}]
        for word in words:
            with pytest.raises(AlreadyDecided, match="its time was over: the default holds") as late:
                await engine.decide(item.id, by="ada", **word)
            assert late.value.verdict == "expired"
    async with Engine(db) as engine:
        assert await (await engine.get("r")).result() == [False, "segue"]


# what an escalation tells


@step
async def charge(card: str) -> str:
    raise ConnectionError(f"{card} refused")


@step
async def bill(card: str) -> str:
    raise ValueError(f"no address for {card}")


@flow(name="falls_back_and_escalates")
async def falls_back(card: str) -> str:
    try:
        return await charge(card)
    except ConnectionError:
        try:
            return await bill(card)
        except ValueError:
            return await escalate("Do it by hand.", by="till")


async def test_what_was_tried_before_the_last_thing_is_in_the_story(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(falls_back, "visa")
        (item,) = await waiting(engine)
        assert [one["error"] for one in item.story] == [
            "ConnectionError: visa refused", "ValueError: no address for visa"
        ]  # fmt: skip
        assert [one["what"].partition("[")[0] for one in item.story] == ["charge", "bill"]
        fork = await run.fork()
        (_, again) = await waiting(engine, 2)
        assert again.bound == item.bound, "the story is the same in a fork"
        await engine.decide(fork.id, answer="by hand", by="tim")
        assert await fork.result() == "by hand"


@pytest.mark.parametrize("n", range(1, 5))
@pytest.mark.parametrize("side", ["before", "after"])
async def test_the_story_is_the_same_after_a_crash(n: int, side: Any) -> None:
    stories: list[Any] = []

    async def scene(engine: InMemory) -> str:
        run = await engine.start(falls_back, "visa", id="r")
        (item,) = await waiting(engine)
        stories.append(item.story)
        await item.answer("by hand", by="tim")
        return await run.result()

    said, _ = await play(scene, [Crash(n, side)])
    assert said == "by hand"
    assert [[one["error"].partition(":")[0] for one in story] for story in stories[-1:]] == [
        ["ConnectionError", "ValueError"]
    ]


@pytest.mark.parametrize(
    ("tried", "story"),
    [
        ("it failed twice", ["it failed twice"]),
        ({"bank": "closed"}, [{"bank": "closed"}]),
        (["one", {"two": 2}], ["one", {"two": 2}]),
    ],
)
async def test_words_are_told_as_they_are(world: World, tried: Any, story: list[Any]) -> None:
    """A text was told letter by letter, and of an object only the names."""

    @flow(name="tells_in_words")
    async def tells(tried: Any) -> str:
        return await escalate("What now?", tried=tried)

    async with world.parking() as engine:
        await engine.start(tells, tried)
        (item,) = await waiting(engine)
        assert item.story == story


async def test_what_is_no_story_is_refused(world: World) -> None:
    @flow(name="tells_nothing")
    async def tells() -> str:
        return await escalate("What now?", tried=5)  # pyright: ignore[reportArgumentType]

    async with world.engine() as engine:
        with pytest.raises(RunFailed, match="tried is an int") as failed:
            await engine.run(tells)
        assert isinstance(failed.value.__cause__, InputError)


async def test_an_error_that_is_its_own_cause_is_told_once(world: World) -> None:
    @flow(name="goes_round")
    async def goes_round() -> str:
        first, second = ValueError("first"), KeyError("second")
        first.__cause__, second.__cause__ = second, first
        return await escalate("What now?", tried=first)

    async with world.parking() as engine:
        await engine.start(goes_round)
        (item,) = await waiting(engine)
        assert [one["error"] for one in item.story] == ["KeyError: 'second'", "ValueError: first"]
