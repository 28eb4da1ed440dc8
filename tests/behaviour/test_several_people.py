"""`approve(quorum=, evidence=)`: several people must agree; what they were shown beside the question is on record."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from segue import Run, approve, ask_human, flow
from segue.core.asked import tally
from segue.core.records import ApprovalAsked, ApprovalDecided, evidence_of, record_of
from segue.errors import AlreadyDecided, InputError, RunFailed, StaleDecision
from tests.behaviour.world import World, events_of, in_state, until

THREE = ["ada", "bob", "cyd"]


@dataclass
class Invoice:
    number: str
    cents: int


@flow
async def pays(cents: int, quorum: int = 2, named: bool = True) -> str:
    who = THREE if named else []
    said = await approve(
        "Pay it?", {"cents": cents}, by=who, quorum=quorum, evidence={"invoice": Invoice("i-1", cents), "note": "due"}
    )
    return f"{'paid' if said else 'not paid'} by {said.by} ({said.note})"


@flow
async def in_time(default: bool | None = False) -> str:
    said = await approve("Pay it?", by=THREE, quorum=2, timeout_s=0.3, default=default)
    return f"{said.approved} by {said.by}: {said.note}"


async def waiting(engine: Any, who: str | None = None) -> Any:
    for _ in range(2000):
        if items := await engine.inbox(who):
            return items[0]
        await asyncio.sleep(0.005)
    raise AssertionError("nobody is asked")


async def decided(run: Run[Any]) -> list[tuple[str, str]]:
    found = [record_of(e) for e in await events_of(run)]
    return [(one.verdict.value, one.by) for one in found if isinstance(one, ApprovalDecided)]


@pytest.mark.parametrize("parks", [True, False], ids=["parked", "in memory"])
async def test_two_of_three_say_yes(world: World, parks: bool) -> None:
    async with world.engine(linger_s=0.0 if parks else 100.0) as engine:
        run = await engine.start(pays, 500)
        item = await waiting(engine, "ada")
        assert (item.quorum, item.votes) == (2, ())
        await item.approve(by="ada", note="seen it")
        await until(lambda: engine.journal.query("select 1 from events where type = 'approval.decided'"))
        if parks:
            await in_state(run, "parked")
        assert await engine.inbox("ada") == []
        (left,) = await engine.inbox("bob")
        assert [(said.by, said.verdict) for said in left.votes] == [("ada", "agreed")]
        await left.approve(by="bob", note="so have I")
        assert await run.result() == "paid by ada, bob (ada: seen it; bob: so have I)"
        assert await decided(run) == [("agreed", "ada"), ("approved", "ada, bob")]
        with pytest.raises(AlreadyDecided):
            await left.approve(by="cyd")


async def test_nobody_agrees_with_himself(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(pays, 500)
        item = await waiting(engine)
        await item.approve(by="Ada  Lovelace")
        with pytest.raises(AlreadyDecided, match="each has one word"):
            await item.approve(by="ada lovelace")
        await until(lambda: engine.journal.query("select 1 from events where type = 'approval.decided'"))
        with pytest.raises(AlreadyDecided, match="each has one word"):
            await item.deny(by="ada lovelace")
        await run.signal(item.name, {"approved": True, "by": "ADA LOVELACE"})  # a word past the inbox
        await run.signal(item.name, True)
        await until(lambda: len(engine.journal.query("select 1 from events where type = 'approval.decided'")) == 3)
        assert [verdict for verdict, _ in await decided(run)] == ["agreed", "refused", "refused"]
        await item.approve(by="bob")
        assert (await run.result()).startswith("paid by Ada  Lovelace, bob")


@pytest.mark.parametrize(("named", "noes"), [(True, 2), (False, 1)])
async def test_it_is_no_as_soon_as_a_yes_cannot_come(world: World, named: bool, noes: int) -> None:
    async with world.engine() as engine:
        run = await engine.start(pays, 500, 2, named)
        for n in range(noes):
            item = await waiting(engine)
            while len(item.votes) < n:
                item = await waiting(engine)
            await item.deny(by=THREE[n], note="no")
        assert (await run.result()).startswith("not paid by ada, bob" if named else "not paid by ada")


async def test_when_time_is_over_the_default_holds(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(in_time)
        await (await waiting(engine)).approve(by="ada")
        assert await run.result() == "False by segue: 1 of 2 said yes in time"
        assert await decided(run) == [("agreed", "ada"), ("expired", "segue")]


async def test_who_said_something_in_time_is_not_called_nobody(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(in_time, None)
        await (await waiting(engine)).deny(by="ada")
        with pytest.raises(RunFailed, match=r"0 of 2 said yes and 1 no to 'Pay it\?' within 0.3 s; it was asked"):
            await run.result()
        run = await engine.start(in_time)
        assert await run.result() == "False by segue: nobody answered in time"


async def test_two_words_at_once_are_both_counted(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(pays, 500, 3)
        item = await waiting(engine)
        words = [item.approve(by=by) for by in ("ada", "bob", "cyd", "ada")]
        ends = await asyncio.gather(*words, return_exceptions=True)
        assert sum(isinstance(end, AlreadyDecided) for end in ends) == 1
        assert (await run.result()).startswith("paid by ")


async def test_evidence_is_shown_on_record_and_bound(world: World) -> None:
    async with world.engine() as engine:
        run, other = await engine.start(pays, 500), await engine.start(pays, 501)
        items: dict[str, Any] = {}
        while len(items) < 2:
            await asyncio.sleep(0.005)
            items = {item.run: item for item in await engine.inbox()}
        item = items[run.id]
        assert item.evidence == {"invoice": {"number": "i-1", "cents": 500}, "note": "due"}
        (asked,) = [r for e in await events_of(run) if isinstance(r := record_of(e), ApprovalAsked)]
        assert [one.title for one in asked.evidence] == ["invoice", "note"]
        assert asked.evidence[0].hash == evidence_of("invoice", {"cents": 500, "number": "i-1"}).hash
        with pytest.raises(StaleDecision):
            await engine.decide(item.id, approved=True, by="ada", bound=items[other.id].bound)


@flow
async def asks() -> str:
    return await ask_human("Which?", evidence={"a": 1})


async def test_a_form_has_evidence_too(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(asks)
        item = await waiting(engine)
        assert item.evidence == {"a": 1}
        await item.answer("this", by="ada")
        assert await run.result() == "this"


async def test_a_quorum_of_none_is_refused(world: World) -> None:
    async with world.engine() as engine:
        with pytest.raises(RunFailed, match="at least 1") as failed:
            await engine.run(pays, 1, 0)
        assert isinstance(failed.value.__cause__, InputError)


@pytest.mark.parametrize(
    ("words", "quorum", "asked", "said"),
    [
        ("", 1, 0, None), ("y", 1, 3, True), ("n", 1, 3, False), ("y", 2, 3, None), ("yn", 2, 3, None),
        ("yny", 2, 3, True), ("nyn", 2, 3, False), ("n", 2, 0, False), ("n", 2, 2, False), ("yy", 3, 3, None),
    ],
)  # fmt: skip
def test_what_words_come_to(words: str, quorum: int, asked: int, said: bool | None) -> None:
    assert tally([word == "y" for word in words], quorum, asked) is said


async def test_a_yes_is_never_recorded_as_a_no(world: World) -> None:
    """One has objected, the question goes on to a single person: those who say yes after that are not who denied it."""

    @flow(name="four")
    async def four() -> str:
        said = await approve("Pay it?", 1, by=["ada", "bob", "cyd", "dan"], quorum=3)
        return f"{bool(said)} by {said.by}"

    async with world.engine() as engine:
        run = await engine.start(four)
        item = await waiting(engine)
        await item.deny(by="ada", note="too much")
        await item.reassign("zoe", by="bob")
        await until(lambda: len(engine.journal.query("select 1 from events where type = 'approval.decided'")) == 2)
        for who in ("bob", "cyd", "zoe"):
            (item,) = await engine.inbox(who if who == "zoe" else None)
            await item.approve(by=who)
        assert await run.result() == "True by bob, cyd, zoe"
        assert [verdict for verdict, _ in await decided(run)] == [
            "objected", "reassigned", "agreed", "agreed", "approved"
        ]  # fmt: skip


async def test_when_all_have_spoken_to_whom_it_went_on_those_before_are_asked_again(world: World) -> None:
    @flow(name="two_of_three")
    async def two_of_three() -> str:
        said = await approve("Pay it?", 1, by=["ann", "bob", "kim"], quorum=2)
        return f"{bool(said)} by {said.by}"

    async with world.engine() as engine:
        run = await engine.start(two_of_three)
        item = await waiting(engine)
        await item.approve(by="ann")
        await item.reassign("dora", by="boss")
        assert (await waiting(engine, "dora")).to == ("dora",) and not await engine.inbox("bob")
        await (await waiting(engine, "dora")).deny(by="dora")
        assert (await waiting(engine, "bob")).to == ("bob", "kim")
        assert not await engine.inbox("dora") and not await engine.inbox("ann")
        await (await waiting(engine, "kim")).approve(by="kim")
        assert await run.result() == "True by ann, kim"


async def test_the_word_that_comes_too_late_does_not_take_the_blame(world: World) -> None:
    """The no of two is the decision; whose it is are those two, whatever was said between."""
    async with world.engine() as engine:
        run = await engine.start(pays, 500)
        for who, yes in (("ada", False), ("bob", True), ("cyd", False)):
            (item,) = await engine.inbox() or [await waiting(engine)]
            await (item.approve(by=who) if yes else item.deny(by=who))
        assert (await run.result()).startswith("not paid by ada, cyd")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"by": None}, "names nobody"),
        ({"by": 7}, "names nobody"),
        ({"by": [1, 2]}, "1 is no name"),
        ({"evidence": [1]}, "evidence is a list"),
        ({"remind_s": None, "timeout_s": 9}, "is no time"),
        ({"remind_s": "60", "timeout_s": 9}, "is no time"),
    ],
)
async def test_what_makes_no_sense_is_said_to_be_so(world: World, given: Any, says: str) -> None:
    @flow(name="odd")
    async def odd() -> bool:
        return bool(await approve("Pay it?", 1, **given))

    async with world.engine() as engine:
        run = await engine.start(odd)
        with pytest.raises(RunFailed, match=says) as failed:
            await run.result()
        assert isinstance(failed.value.__cause__, InputError)


@flow(name="asks_names")
async def asks_names(by: list[str]) -> str:
    said = await approve("Pay it?", by=by, quorum=2)
    return f"{said.approved} by {said.by}"


async def test_one_person_written_twice_is_one_who_is_asked(world: World) -> None:
    """`by=["ada", "Ada"]` counted as two: a no of hers left a question open that nobody else was asked."""
    async with world.engine() as engine:
        run = await engine.start(asks_names, ["ada", "bob", " Ada "])
        item = await waiting(engine)
        assert item.to == ("ada", "bob")
        await item.deny(by="ADA")
        assert await run.result() == "False by ADA"


async def test_a_question_goes_on_to_each_once(world: World) -> None:
    async with world.engine() as engine:
        await engine.start(asks_names, ["ada"])
        item = await waiting(engine)
        await item.reassign("Bob", "bob", "cyd", by="ada")
        assert (await waiting(engine, "bob")).to == ("Bob", "cyd")


async def test_a_name_with_its_accent_written_as_a_sign_of_its_own_is_the_same_name(world: World) -> None:
    """One keyboard makes one character of it, another one two: the same person was two who agreed."""
    async with world.engine() as engine:
        run = await engine.start(pays, 500, 2, False)
        item = await waiting(engine)
        await item.approve(by="Jos\u00e9")
        with pytest.raises(AlreadyDecided, match="each has one word"):
            await item.approve(by="jose\u0301")
        await item.approve(by="jos")
        assert (await run.result()).startswith("paid by Jos\u00e9, jos")
