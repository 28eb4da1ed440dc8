"""`approve`, `ask_human`, `escalate`: a question waits durably; the first word on what is shown decides it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, Field

from segue import Engine, Run, Secret, approve, ask_human, escalate, flow, gather, sleep, step, timeout
from segue.agent import Approval, Notice
from segue.core.codec import loads
from segue.core.recovery import Retry
from segue.errors import (
    AlreadyDecided,
    Declined,
    InputError,
    NotInAFlow,
    RunCancelled,
    RunEnded,
    RunFailed,
    StaleDecision,
    StepFailed,
    Unanswered,
    UnknownQuestion,
    WrongAnswer,
)
from segue.runtime.questions import InboxItem
from tests.behaviour.world import World, events_of, in_state, keys_of, until

DAY = 86_400.0


class Address(BaseModel):
    street: str
    zip: int = Field(ge=1000)


@dataclass
class Claim:
    id: str
    cents: int


@flow
async def pays(claim: Claim) -> str:
    said = await approve(f"Pay {claim.cents}?", claim, by=["claims-lead", "cfo"])
    return f"{'paid' if said else 'not paid'} {claim.cents} ({said.by}: {said.note})"


@flow
async def moves(who: str) -> str:
    address = await ask_human("Where to?", {"who": who}, returns=Address, by="front-desk")
    return f"{who} to {address.street} {address.zip + 0}"


async def waiting(engine: Engine, n: int = 1, for_: str | None = None) -> list[InboxItem]:
    """The inbox, once it holds so many items."""
    for _ in range(2000):
        items = await engine.inbox(for_)
        if len(items) == n:
            return items
        await asyncio.sleep(0.005)
    raise AssertionError(await engine.inbox())


async def said(engine: Engine, n: int) -> None:
    """Wait until so many things were said."""
    sql = "select count(*) from events where type = 'approval.decided'"
    await until(lambda: engine.journal.query(sql)[0][0] >= n)


async def said_of(run: Run[Any]) -> list[tuple[str, str, str]]:
    """What was said, in order: verdict, by whom, why."""
    bodies = [loads(e.body) for e in await events_of(run) if e.type == "approval.decided"]
    return [(b["verdict"], b["by"], b.get("why", "")) for b in bodies]


# a word and its record


@pytest.mark.parametrize("parks", [True, False], ids=["parked", "in memory"])
async def test_the_first_word_decides_and_is_on_record(world: World, parks: bool) -> None:
    async with world.engine(linger_s=0.0 if parks else 100.0) as engine:
        run = await engine.start(pays, Claim("c1", 500))
        (item,) = await waiting(engine)
        if parks:
            await in_state(run, "parked")
        assert (item.kind, item.question, item.to, item.run) == ("approval", "Pay 500?", ("claims-lead", "cfo"), run.id)
        assert item.shown == {"id": "c1", "cents": 500}
        await item.approve(by="ada", note="seen the invoice")
        assert await run.result() == "paid 500 (ada: seen the invoice)"
        with pytest.raises(AlreadyDecided, match=r"ada has approved it, .* UTC \(seen the invoice\)") as second:
            await item.deny(by="bob")
        assert (second.value.by, second.value.verdict, second.value.run) == ("ada", "approved", run.id)
        assert item.asked_at <= second.value.at <= engine.clock.now()
        (decided,) = [loads(e.body) for e in await events_of(run) if e.type == "approval.decided"]
        assert (decided["bound"], decided["asked_of"], decided["via"]) == (item.bound, ["claims-lead", "cfo"], "api")
        assert await engine.inbox() == []


async def test_no_and_who_is_asked(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(pays, Claim("c1", 500))
        await waiting(engine)
        assert len(await engine.inbox("cfo")) == 1 and await engine.inbox("ada") == []
        await engine.decide(run.id, approved=False, by="ada")
        assert await run.result() == "not paid 500 (ada: )"


async def test_of_two_words_at_once_one_wins_and_the_other_hears_of_it(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(pays, Claim("c1", 500))
        (item,) = await waiting(engine)
        said = await asyncio.gather(item.approve(by="ada"), item.deny(by="bob"), return_exceptions=True)
        lost = [e for e in said if isinstance(e, AlreadyDecided)]
        winner = "ada" if said[0] is None else "bob"
        assert len(lost) == 1 and lost[0].by == winner
        assert winner in await run.result()


async def test_a_word_that_nobody_has_taken_up_yet_stands(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(pays, Claim("c1", 500), id="r")
        (item,) = await waiting(engine)
        await in_state(run, "parked")
        await run.pause()
        await in_state(run, "parked")
        await item.approve(by="ada")
    async with world.parking() as engine:
        run = await engine.get("r")
        await run.resume()
        assert await run.result() == "paid 500 (ada: )"


async def test_the_question_outlives_the_process_and_is_asked_once(world: World) -> None:
    async with world.engine() as engine:
        await engine.start(pays, Claim("c1", 500), id="r")
        (first,) = await waiting(engine)
    async with world.engine() as engine:
        (item,) = await waiting(engine)
        assert (item.id, item.bound, item.asked_at) == (first.id, first.bound, first.asked_at)
        run = await engine.get("r")
        await item.approve(by="ada")
        await run.result()
        assert len(await keys_of(run, "approval.asked")) == 1


async def test_many_questions_of_one_run_are_apart(world: World) -> None:
    @flow(name="many_questions")
    async def many(n: int) -> list[bool]:
        return [bool(a) for a in await gather(*(approve("Ok?", {"n": i % 2}) for i in range(n)))]

    async with world.parking() as engine:
        run = await engine.start(many, 4)
        items = await waiting(engine, 4)
        assert len({i.id for i in items}) == 4
        with pytest.raises(InputError, match="fits 4 questions"):
            await engine.decide(run.id, approved=True, by="ada")
        for item in items:
            await engine.decide(item.id, approved=item.shown == {"n": 1}, by="ada")
        assert await run.result() == [False, True, False, True]


# forms


async def test_a_wrong_answer_is_refused_with_the_field_and_the_wait_goes_on(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(moves, "Kim")
        (item,) = await waiting(engine)
        assert item.kind == "form" and item.form is not None and set(item.form["properties"]) == {"street", "zip"}
        with pytest.raises(WrongAnswer, match="zip") as wrong:
            await item.answer({"street": "Elm", "zip": 5}, by="ada")
        assert (wrong.value.field, wrong.value.run, wrong.value.key) == ("zip", run.id, item.key)
        with pytest.raises(WrongAnswer) as missing:
            await item.answer({"zip": 5000}, by="ada")
        assert missing.value.field == "street"
        await item.answer(Address(street="Elm", zip=5000), by="ada")
        assert await run.result() == "Kim to Elm 5000"
        assert await said_of(run) == [("answered", "ada", "")]


async def test_the_run_itself_refuses_what_no_sender_could_check(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(moves, "Kim")
        (item,) = await waiting(engine)
        for payload in (
            {"word": "answer", "by": "bob", "answer": {"street": "Elm", "zip": "no"}}, {"word": "approve", "by": "bob"},
            "nonsense", {"word": "reassign", "by": "bob"},
        ):  # fmt: skip
            await run.signal(item.name, payload)
        await said(engine, 4)
        (again,) = await engine.inbox()
        assert [s.verdict for s in again.history] == ["refused"] * 4
        assert again.history[0].by == "bob" and "zip" in again.history[0].note
        assert "no word for a question of this kind" in again.history[1].note
        await again.answer({"street": "Elm", "zip": 5000}, by="ada")
        assert await run.result() == "Kim to Elm 5000"


async def test_a_form_may_be_declined(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(moves, "Kim")
        (item,) = await waiting(engine)
        await item.deny(by="ada", note="moved abroad")
        with pytest.raises(RunFailed, match="ada declined to answer 'Where to\\?': moved abroad") as failed:
            await run.result()
        assert isinstance(failed.value.__cause__, Declined) and failed.value.__cause__.by == "ada"


async def test_a_text_is_a_form_too_and_null_an_answer(world: World) -> None:
    @flow(name="asks_for_words")
    async def words() -> tuple[str, int | None]:
        return await ask_human("Why?"), await ask_human("How many?", returns=int | None)  # type: ignore[arg-type, return-value]

    async with world.parking() as engine:
        run = await engine.start(words)
        await engine.decide((await waiting(engine))[0].id, answer="because", by="ada")
        await until(lambda: engine.journal.query("select 1 from events where type = 'approval.asked' limit 1 offset 1"))
        await engine.decide((await waiting(engine))[0].id, answer=None, by="ada")
        assert await run.result() == ["because", None] or await run.result() == ("because", None)


# escalation


@step(retry=Retry(attempts=2, backoff_s=0.0))
async def charge(card: str) -> str:
    raise ConnectionError(f"{card} refused")


@flow
async def sells(card: str) -> str:
    try:
        return await charge(card)
    except ConnectionError:
        return await escalate("Charge it by hand.", {"card": card}, by="till")


async def test_an_escalation_brings_its_story(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(sells, "visa", id="r")
        (item,) = await waiting(engine)
        assert (item.kind, item.shown) == ("escalation", {"about": {"card": "visa"}})
        (tried,) = item.story
        assert tried == {
            "what": tried["what"], "attempts": 2, "error": "ConnectionError: visa refused", "fault": "unreachable"
        }  # fmt: skip
        assert tried["what"].startswith("charge[")
    async with world.engine() as engine:
        run = await engine.get("r")
        (again,) = await waiting(engine)
        assert again.bound == item.bound, "the story is the same on replay"
        await again.answer("receipt 7", by="tim")
        assert await run.result() == "receipt 7"


async def test_a_story_may_be_given(world: World) -> None:
    @flow(name="gives_its_story")
    async def tells() -> str:
        found = await gather(charge("a"), charge("b"), return_exceptions=True)
        group = ExceptionGroup("both", [e for e in found if isinstance(e, Exception)])
        return await escalate("Which?", tried=[group, "asked the bank"])

    async with world.parking() as engine:
        run = await engine.start(tells)
        (item,) = await waiting(engine)
        assert [t if isinstance(t, str) else t["error"] for t in item.story] == [
            "ConnectionError: a refused", "ConnectionError: b refused", "asked the bank"
        ]  # fmt: skip
        fork = await run.fork()
        await waiting(engine, 2)
        await engine.decide(fork.id, answer="c", by="tim")
        assert await fork.result() == "c"


# time


@flow
async def patient(default: bool | None) -> Approval:
    return await approve("Now?", by="lead", timeout_s=DAY, default=default)


async def test_after_its_time_the_default_holds(world: World) -> None:
    if not world.virtual:
        pytest.skip("a day")
    async with world.parking() as engine:
        run = await engine.start(patient, True, id="r")
        (item,) = await waiting(engine)
        assert (item.due_at, item.default) == (pytest.approx(item.asked_at + DAY), {"decision": "approved"})
        await in_state(run, "parked")
    async with world.parking() as engine:
        run = await engine.get("r")
        assert await run.result() == Approval(approved=True, by="segue", note="nobody answered in time")
        assert await said_of(run) == [("expired", "segue", "nobody answered in time")]
        with pytest.raises(AlreadyDecided, match="the default holds"):
            await engine.decide(item.id, approved=False, by="late")


async def test_without_a_default_it_is_an_error_that_names_the_call(world: World) -> None:
    if not world.virtual:
        pytest.skip("a day")
    async with world.parking() as engine:
        run = await engine.start(patient, None)
        with pytest.raises(RunFailed, match="nobody answered 'Now\\?' within 86400 s") as failed:
            await run.result()
        cause = failed.value.__cause__
        assert isinstance(cause, Unanswered) and isinstance(cause, TimeoutError)
        assert cause.run == run.id and (cause.key or "").startswith("approve[") and "default=" in (cause.remedy or "")


@flow
async def passed_on() -> list[str]:
    said: list[str] = []
    for goes_on in ({}, {"reassign_s": 60, "or_else": ("deputy", "manager")}):
        try:
            await approve("Now?", by="lead", timeout_s=600, default=None, **goes_on)
        except Unanswered as error:
            said.append(error.message)
    return said


async def test_who_did_not_answer_is_who_was_asked_last(world: World) -> None:
    if not world.virtual:
        pytest.skip("ten minutes")
    async with world.parking() as engine:
        said = await engine.run(passed_on)
    assert [one.partition("it was asked of ")[2] for one in said] == ["lead", "manager"]


NOTICES: list[tuple[str, int, tuple[str, ...]]] = []


@step
async def tell(notice: Notice) -> None:
    NOTICES.append((notice.why, notice.n, tuple(notice.to)))
    if notice.why == "reminded" and notice.n == 2:
        raise ConnectionError("the mail server is down")


@flow
async def nags() -> str:
    answer = await ask_human(
        "Which?", returns=int, by="lead", timeout_s=7 * DAY, remind_s=[DAY, 3 * DAY], reassign_s=2 * DAY,
        or_else=["manager", "cfo"], notify=tell, default=7,
    )  # fmt: skip
    return f"{answer + 0}"


async def test_reminders_and_reassignments_come_in_their_time_once_each(world: World) -> None:
    if not world.virtual:
        pytest.skip("days")
    NOTICES.clear()
    async with world.parking() as engine:
        run = await engine.start(nags, id="r")
        (item,) = await waiting(engine)
        assert [at - item.asked_at for at in item.remind_at] == [DAY, 3 * DAY]
        assert [at - item.asked_at for at in item.reassign_at] == [2 * DAY, 4 * DAY]
        assert item.or_else == ("manager", "cfo")
        await asyncio.sleep(1.5 * DAY)
        assert await said_of(run) == [("reminded", "segue", "")]
        await in_state(run, "parked")
    async with world.parking() as engine:
        run = await engine.get("r")
        await asyncio.sleep(1 * DAY)
        assert len(await engine.inbox("manager")) == 1 and await engine.inbox("lead") == []
        assert await run.result() == "7"
        assert [s[0] for s in await said_of(run)] == ["reminded", "reassigned", "reminded", "reassigned", "expired"]
        first = (await events_of(run))[0].at
        decided = [e for e in await events_of(run) if e.type == "approval.decided"]
        assert [round((e.at - first) / DAY, 2) for e in decided] == [1, 2, 3, 4, 7]
        assert NOTICES == [
            ("asked", 1, ("lead",)), ("reminded", 1, ("lead",)), ("reassigned", 1, ("manager",)),
            ("reminded", 2, ("manager",)), ("reassigned", 2, ("cfo",)),
        ]  # fmt: skip
        failed = await keys_of(run, "step.failed")
        assert [k.rpartition("/")[2] for k in failed] == ["tell[reminded-2]#1"]


async def test_a_short_time_on_any_clock(world: World) -> None:
    @flow(name="short_time")
    async def short(unit_s: float) -> int:
        return await ask_human(
            "Which?", returns=int, by="lead", timeout_s=4 * unit_s, remind_s=unit_s, reassign_s=2 * unit_s,
            or_else="boss", default=3,
        )  # fmt: skip

    async with world.parking() as engine:
        run = await engine.start(short, world.while_s)
        assert await run.result() == 3
        assert [s[0] for s in await said_of(run)] == ["reminded", "reassigned", "expired"]


async def test_a_person_asks_somebody_else(world: World) -> None:
    NOTICES.clear()

    @flow(name="goes_on")
    async def goes_on() -> str:
        return (await approve("Ok?", by="lead", notify=tell)).by

    async with world.parking() as engine:
        run = await engine.start(goes_on)
        (item,) = await waiting(engine)
        await item.reassign("bob", "eve", by="lead", note="on holiday")
        await until(lambda: ("reassigned", 1, ("bob", "eve")) in NOTICES)
        (item,) = await waiting(engine, 1, "bob")
        assert (item.to, item.history[0].asked_of, item.history[0].note) == (("bob", "eve"), ("lead",), "on holiday")
        await item.approve(by="eve")
        assert await run.result() == "eve"
        (last,) = [loads(e.body) for e in await events_of(run) if e.type == "approval.decided"][1:]
        assert (last["by"], last["asked_of"]) == ("eve", ["bob", "eve"])


async def test_a_plain_function_is_told_too_and_a_wrong_one_is_named(world: World) -> None:
    told: list[str] = []

    def by_mail(notice: Notice) -> None:
        told.append(f"{notice.why} {notice.question} {notice.id}")

    def takes_text(text: str) -> None: ...

    @flow(name="tells_by_function")
    async def tells(ok: bool) -> bool:
        return bool(await approve("Ok?", notify=by_mail if ok else takes_text))  # type: ignore[arg-type]

    async with world.parking() as engine:
        run = await engine.start(tells, True)
        (item,) = await waiting(engine)
        await until(lambda: told)
        assert told == [f"asked Ok? {item.id}"]
        await item.approve(by="ada")
        assert await run.result()
        with pytest.raises(RunFailed, match="text"):
            await engine.run(tells, False)


# what a decision is bound to


async def test_a_decision_on_other_arguments_is_refused(world: World) -> None:
    async with world.parking() as engine:
        run, other = await engine.start(pays, Claim("c1", 500)), await engine.start(pays, Claim("c1", 900))
        items = {i.run: i for i in await waiting(engine, 2)}
        with pytest.raises(StaleDecision, match="is not what this decision was made on"):
            await engine.decide(items[other.id].id, approved=True, by="ada", bound=items[run.id].bound)
        raw = {"word": "approve", "by": "ada", "bound": items[run.id].bound}
        await other.signal(items[other.id].name, raw)  # around the engine's check: the run itself refuses it
        await said(engine, 1)
        assert [s[:2] for s in await said_of(other)] == [("refused", "ada")]
        assert "other arguments" in (await said_of(other))[0][2]
        await items[other.id].deny(by="ada")
        assert (await other.result()).startswith("not paid 900")


async def test_a_fork_asks_for_itself(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(pays, Claim("c1", 500), id="r")
        (item,) = await waiting(engine)
        same = await run.fork(id="same")
        edited = await run.fork(id="edited", input={"claim": {"id": "c1", "cents": 900}})
        for each in (same, edited):
            await in_state(each, "parked")
        items = {i.run: i for i in await waiting(engine, 3)}
        assert items["same"].bound == item.bound and items["same"].id != item.id
        assert items["edited"].shown == {"id": "c1", "cents": 900}
        await item.approve(by="ada")
        assert (await run.result()).startswith("paid 500")
        with pytest.raises(StaleDecision):
            await engine.decide("edited", approved=True, by="ada", bound=item.bound)
        assert {i.run for i in await engine.inbox()} == {"same", "edited"}
        await items["same"].deny(by="bob")
        await items["edited"].approve(by="bob")
        assert (await same.result(), await edited.result()) == ("not paid 500 (bob: )", "paid 900 (bob: )")


async def test_a_fork_has_as_long_as_was_left(world: World) -> None:
    if not world.virtual:
        pytest.skip("days")
    async with world.parking() as engine:
        run = await engine.start(nags, id="r")
        await waiting(engine)
        await asyncio.sleep(0.5 * DAY)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
        await asyncio.sleep(100 * DAY)
        fork = await run.fork(id="fork")
        begun = engine.clock.now()
        (item,) = await waiting(engine)
        assert item.due_at == pytest.approx(begun + 7 * DAY, abs=0.6 * DAY)
        assert await fork.result() == "7"
        took = (engine.clock.now() - begun) / DAY
        assert 6.4 <= took <= 7.1, took
        assert [s[0] for s in await said_of(fork)][-5:] == [
            "reminded", "reassigned", "reminded", "reassigned", "expired"
        ]  # fmt: skip


async def test_changed_code_that_shows_something_else_asks_anew(world: World) -> None:
    shown = {"amount": 100}

    def made(revision: str) -> Any:
        @flow(name="changed_amount", revision=revision)
        async def shows() -> str:
            return (await approve("Pay?", dict(shown))).by

        return shows

    async with world.parking() as engine:
        await engine.start(made("a"), id="r")
        (old,) = await waiting(engine)
        await in_state(await engine.get("r"), "parked")
    shown["amount"] = 900
    made("b")
    async with world.parking() as engine:
        run = await engine.get("r")
        await run.signal("wake", None)
        await until(lambda: engine.journal.query("select 1 from events where type = 'approval.asked' limit 1 offset 1"))
        await in_state(run, "parked")
        (new,) = await engine.inbox()
        assert new.shown == {"amount": 900} and new.bound != old.bound
        with pytest.raises(StaleDecision, match=f"it now asks {new.id}"):
            await engine.decide(old.id, approved=True, by="ada")
        await new.approve(by="ada")
        assert await run.result() == "ada"


# what goes wrong


async def test_bad_words_are_refused_before_anything_is_sent(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(pays, Claim("c1", 500))
        (item,) = await waiting(engine)
        with pytest.raises(UnknownQuestion, match="no question 'deadbeef' waits"):
            await engine.decide("deadbeef", approved=True, by="ada")
        with pytest.raises(UnknownQuestion, match=f"near it: {item.id}"):
            await engine.decide("x" + item.id[1:], approved=True, by="ada")
        with pytest.raises(InputError, match="a yes or no"):
            await item.answer(5, by="ada")
        with pytest.raises(InputError, match="by= is empty"):
            await item.approve(by="")
        for words in ({}, {"approved": True, "to": "bob"}):
            with pytest.raises(InputError, match="one of approved="):
                await engine.decide(item.id, by="ada", **words)
        assert [i.history for i in await engine.inbox()] == [()]
        await engine.decide(item.id[:5], approved=True, by="ada")
        await run.result()


async def test_after_the_end_of_the_run_nobody_is_asked(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(pays, Claim("c1", 500))
        (item,) = await waiting(engine)
        await run.cancel(by="ops")
        with pytest.raises(RunCancelled):
            await run.result()
        assert await engine.inbox() == []
        with pytest.raises(RunEnded, match="nobody is asked 'Pay 500\\?' any more") as ended:
            await item.approve(by="ada")
        assert "segue fork" in (ended.value.remedy or "")
        assert await said_of(run) == [("withdrawn", "segue", "the flow no longer waits for it")]


async def test_a_question_that_the_flow_gives_up_is_withdrawn(world: World) -> None:
    @flow(name="gives_up_asking")
    async def gives_up(unit_s: float) -> str:
        try:
            async with timeout(unit_s):
                await approve("Ok?")
        except TimeoutError:
            await sleep(unit_s)
        return "gave up"

    async with world.parking() as engine:
        run = await engine.start(gives_up, world.while_s)
        (item,) = await waiting(engine)
        assert await run.result() == "gave up"
        assert [s[0] for s in await said_of(run)] == ["withdrawn"]
        with pytest.raises(RunEnded, match="no longer waits"):
            await item.approve(by="ada")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"reassign_s": 5.0}, "go together"), ({"or_else": "boss"}, "go together"),
        ({"timeout_s": 5.0, "remind_s": 6.0}, "comes when its time"), ({"timeout_s": -1.0}, "no time to wait"),
        ({"remind_s": [1.0] * 101}, "101 reminders"), ({"timeout_s": 5.0, "default": "x"}, "default does not fit"),
    ],
)  # fmt: skip
async def test_a_plan_that_makes_no_sense_is_refused(world: World, given: dict[str, Any], says: str) -> None:
    @flow(name="bad_plan")
    async def bad() -> int:
        return await ask_human("Which?", returns=int, **given)

    async with world.engine() as engine:
        with pytest.raises(RunFailed, match=says):
            await engine.run(bad)


async def test_people_are_asked_in_a_flow(world: World) -> None:
    for ask in (approve("x"), ask_human("x"), escalate("x")):
        with pytest.raises(NotInAFlow):
            await ask


async def test_secrets_are_sealed_on_record_and_masked_in_the_inbox(world: World) -> None:
    @flow(name="shows_a_secret")
    async def shows(token: Secret[str]) -> str:
        pin = await ask_human("Pin?", {"token": token}, returns=Secret[str])
        return "right" if pin.reveal() == "1234" else "wrong"

    async with world.parking() as engine:
        run = await engine.start(shows, Secret("tok-8812"))
        (item,) = await waiting(engine)
        assert item.shown == {"token": "•••"}
        await item.answer("1234", by="ada")
        assert await run.result() == "right"
        kept = json.dumps(engine.journal.query("select body, value from events"), default=repr)
        assert "tok-8812" not in kept and '\\"1234\\"' not in kept and '"1234"' not in kept


async def test_a_replay_makes_the_same_and_writes_nothing(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(moves, "Kim", id="r")
        (item,) = await waiting(engine)
        await run.signal(item.name, "nonsense")
        await item.reassign("bob", by="ada")
        await said(engine, 2)
        await in_state(run, "parked")
        before = await events_of(run)
    async with world.parking() as engine:
        run = await engine.get("r")
        await run.pause()
        await run.resume()
        await in_state(run, "parked")
        kinds = {e.type for e in (await events_of(run))[len(before) :]}
        assert kinds <= {"run.started", "run.paused", "run.resumed", "run.parked"}
        await engine.decide("r", answer={"street": "Elm", "zip": 5000}, by="bob")
        assert await run.result() == "Kim to Elm 5000"
        assert [s[0] for s in await said_of(run)] == ["refused", "reassigned", "answered"]


async def test_names_are_those_of_the_first_version(world: World) -> None:
    """A signal to a name that was known before decides still."""

    @flow(name="asks_as_ever")
    async def asks() -> Approval:
        return await approve("Pay out Ü?", {"cents": 5, "to": "Ü"})

    async with world.parking() as engine:
        run = await engine.start(asks)
        await run.signal("approve:pay-out#161bd0", {"approved": True, "by": "ada"})
        assert await run.result() == Approval(approved=True, by="ada")
        assert await keys_of(run, "approval.asked") == ["approve[e437d0]#1"]


@step
async def shut_bank() -> str:
    raise ConnectionError("bank 7 is shut")


@flow
async def refunds(how: str) -> str:
    try:
        return await shut_bank()
    except ConnectionError as error:
        if how == "a group":
            raise ExceptionGroup("both", [error, ValueError("no form")]) from None
        raise RuntimeError("the refund was given up") from error


@flow
async def hands_over(how: str) -> str:
    try:
        return await refunds(how)
    except (RuntimeError, StepFailed):
        return await escalate("Do it by hand", by="boss")


@pytest.mark.parametrize("how", ["a cause", "a group"])
async def test_the_story_of_a_child_is_told_with_what_had_failed_before_in_it(world: World, how: str) -> None:
    async with world.engine() as engine:
        run = await engine.start(hands_over, how)
        (item,) = await waiting(engine)
        bank, *rest = item.story
        assert bank["error"] == "ConnectionError: bank 7 is shut" and bank["fault"] == "unreachable"
        assert bank["what"].startswith("shut_bank[") and bank["attempts"] == 1
        assert rest[-1]["what"].startswith("refunds[")
        assert [told["error"] for told in rest[:-1]] == (["ValueError: no form"] if how == "a group" else [])
        await item.answer("done", by="boss")
        assert await run.result() == "done"


class Storied(Exception):
    """A user's own error, whose `story` is no JSON."""

    story = (object(), 5)


@flow
async def tells_a_story() -> str:
    try:
        raise Storied("long ago")
    except Storied as error:
        raise RuntimeError("it ended") from error


async def test_what_an_error_of_the_users_calls_its_story_is_no_story_of_ours(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(tells_a_story)
        with pytest.raises(RunFailed, match="it ended"):
            await run.result()
        (end,) = [loads(event.body) for event in await events_of(run) if event.type == "run.failed"]
        assert [told["error"] for told in end["tried"]] == ["Storied: long ago"]
