"""Hand-offs: whoever takes a conversation over is shown all of it, under the names of those who said it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from segue import Thread, ask, flow, step
from segue.agent import Role, converse
from segue.core.records import Manifest, record_of
from segue.errors import DefinitionError, NotInAFlow, RunFailed
from segue.testing import Crash
from segue.testing import Engine as InMemory
from segue.testing.crash import play
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import KEYS, calls, catalogue, opened, results

ORDERS: list[str] = []


@step
async def look_up(order: str) -> str:
    """What is known of an order."""
    ORDERS.append(order)
    return f"order {order}: 41.20 EUR, paid twice"


TRIAGE = Role("triage", "You sort what customers write.", tools=[look_up], options={"model": "claude"})
BILLING = Role("billing", "You know all about money.", about="Money: refunds, invoices.", options={"model": "gpt"})


@flow
async def desk(said: str) -> dict[str, Any]:
    turned = await converse(said, [TRIAGE, BILLING], thread="kim")
    return {"by": turned.by, "held": list(turned.held), "value": turned.value, "why": list(turned.why)}


@flow
async def ping_pong(said: str) -> list[str]:
    roles = [Role("a", options={"model": "chat"}), Role("b", options={"model": "chat"})]
    return list((await converse(said, roles, thread="t", handoffs=2)).held)


@flow
async def talk(said: str) -> str:
    if said.startswith("aside"):
        return await ask(said, model="gpt")
    return (await converse(said, [TRIAGE, BILLING])).value


@flow
async def talk_by_name(said: str) -> str:
    return (await converse(said, [TRIAGE, BILLING], thread=Thread("kim"))).value


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    ORDERS.clear()
    for name in KEYS:
        monkeypatch.setenv(name, "test")


def turn(**said: Any) -> str:
    return json.dumps({"say": None, "why": "", **said})


def triages(asked: Asked) -> Any:
    """Looks the order up, then hands over."""
    if not results(asked):
        return calls("look_up", order="o-7")
    return turn(hand_to="billing", why="order o-7 was paid twice")


async def test_whoever_takes_over_is_shown_all_of_it_under_names(tmp_path: Path) -> None:
    seen: list[Asked] = []

    def bills(asked: Asked) -> str:
        seen.append(asked)
        return turn(say="You get 41.20 EUR back.")

    models = {"claude": Served(answer=triages, thinking=True), "gpt": Served(answer=bills)}
    async with serve(models) as server, opened(tmp_path, server, *models) as engine:
        run = await engine.start(desk, "My order o-7 was charged twice!", id="r")
        assert await run.result() == {
            "by": "billing", "held": ["triage", "billing"], "value": "You get 41.20 EUR back.",
            "why": ["order o-7 was paid twice"],
        }  # fmt: skip
        manifests = [record_of(e) async for e in run.events(follow=False) if e.type == "context.assembled"]
        again = await engine.run(desk, "And when?", id="r2")
    assert ORDERS == ["o-7"]
    assert again["held"] == ["billing"]  # whoever answered last holds it
    (first, then) = seen
    text = "\n".join(f"{one.role}: {one.text}" for one in first.turns)
    assert "user: My order o-7 was charged twice!" in text
    assert "order o-7: 41.20 EUR, paid twice" in text  # what a tool told triage
    assert "assistant: [triage] " in text
    assert first.prompt.startswith("triage has handed the conversation to you: order o-7 was paid twice")
    assert "signature" not in json.dumps(first.body)  # what was bound to claude stays behind
    assert any("[billing]" in one.text for one in then.turns) and "[triage] triage has handed" in str(then.turns)
    last = manifests[-1]
    assert isinstance(last, Manifest)
    assert [(p.role, p.who) for p in last.parts if p.who] == [("assistant", "triage"), ("user", "triage")]
    assert [p.model for p in last.parts if p.who == "triage"] == ["claude", None]


@flow
async def rounds(said: str) -> str:
    await look_up(said)
    roles = [Role(name, options={"model": "chat"}) for name in "abc"]
    return (await converse(said, roles, handoffs=2)).value


async def test_in_a_fork_whoever_takes_over_is_shown_what_the_fork_said(tmp_path: Path) -> None:
    """A fork does not hear itself: the second one was told that it has the conversation, and nothing of it."""

    def says(asked: Asked) -> str:
        if "You are" not in asked.system:
            return turn(say=" / ".join(one.text[:40] for one in asked.turns))
        return turn(hand_to="b" if "You are a" in asked.system else "c", why="so")

    async with serve({"chat": Served(answer=says)}) as server, opened(tmp_path, server, "chat") as engine:
        thread = Thread("t", engine)
        await (await thread.start(talk_beside, "before")).result()
        run = await thread.start(rounds, "Refund me.")
        whole = await run.result()
        assert [whole.count(one) for one in ("before", "Refund me.", "a has handed", "b has handed")] == [2, 1, 1, 1]
        keys = [event.key or "" async for event in run.events(follow=False) if event.type == "step.completed"]
        shown: dict[str, list[int]] = {}
        for key in keys:
            said = await (await run.fork(at=key)).result()
            shown[key] = [said.count(one) for one in ("before", "Refund me.", "a has handed", "b has handed")]
        assert len(keys) > 6 and set(map(tuple, shown.values())) == {(2, 1, 1, 1)}, shown
        first = next(key for key in keys if "/ask[" in key)
        by_hand = await run.fork(results={first: {"hand_to": "b", "why": "I say so"}})
        assert (await by_hand.result()).count("Refund me.") == 1
        assert await (await run.fork()).result() == whole


@flow
async def talk_beside(said: str) -> str:
    return await ask(said, model="chat")


async def test_handing_over_is_bounded(tmp_path: Path) -> None:
    def says(asked: Asked) -> str:
        other = "b" if "You are a" in asked.system else "a"
        return turn(say="Enough.") if "You are" not in asked.system else turn(hand_to=other)

    async with serve({"chat": Served(answer=says)}) as server, opened(tmp_path, server, "chat") as engine:
        assert await engine.run(ping_pong, "Hello?") == ["a", "b", "a"]


async def test_whoever_has_it_last_can_hand_it_to_nobody(tmp_path: Path) -> None:
    """A model that did so all the same had the conversation again and again, without an end."""

    def says(asked: Asked) -> str:
        told = "you have the conversation now" in str(asked.body)
        return turn(say="Enough.") if told else turn(hand_to="b" if "You are a" in asked.system else "a")

    async with serve({"chat": Served(answer=says)}) as server, opened(tmp_path, server, "chat") as engine:
        async with asyncio.timeout(20):
            assert await engine.run(ping_pong, "Hello?") == ["a", "b", "a"]


async def test_mistakes_are_told() -> None:
    with pytest.raises(DefinitionError, match="no role is called 'sales'"):
        await converse("Hi", [TRIAGE, BILLING], thread="t", first="sales")
    with pytest.raises(DefinitionError, match="each of a name of its own"):
        await converse("Hi", [TRIAGE, TRIAGE], thread="t")
    with pytest.raises(NotInAFlow):
        await converse("Hi", [TRIAGE, BILLING], thread="t")


def hears(asked: Asked) -> str:
    """Hands over what is about money, and says who answers and what the user has said."""
    said = [one.text for one in asked.turns if one.role == "user" and "handed" not in one.text]
    who = "billing" if "all about money" in asked.system else "triage"
    if who == "triage" and "bill" in said[-1]:
        return turn(hand_to="billing", why="money")
    return turn(say=f"{who}: {' | '.join(said)}") if "You " in asked.system else f"aside: {len(said)}"


@pytest.mark.parametrize("way", [talk, talk_by_name])
async def test_a_turn_that_is_edited_forks_the_conversation(tmp_path: Path, way: Any) -> None:
    models = {"claude": Served(answer=hears), "gpt": Served(answer=hears)}
    async with serve(models) as server, opened(tmp_path, server, *models) as engine:
        thread = Thread("kim")
        for n, said in enumerate(("hello", "bill me", "thanks")):
            await (await thread.start(way, said, id=f"m{n}")).result()
        edited = await thread.edit("m1", "the weather?")
        assert await edited.result() == "triage: hello | the weather?"
        branch = Thread(edited.thread or "")
        assert await (await branch.start(way, "go on")).result() == "triage: hello | the weather? | go on"
        assert await (await thread.start(way, "and?")).result() == "billing: hello | bill me | thanks | and?"
        rows = engine.journal.query("select thread, count(distinct run) from turns group by thread order by thread")
    assert rows == [("kim", 4), (branch.id, 2)]


async def test_a_question_beside_the_conversation_takes_it_from_nobody(tmp_path: Path) -> None:
    models = {"claude": Served(answer=hears), "gpt": Served(answer=hears)}
    async with serve(models) as server, opened(tmp_path, server, *models):
        thread = Thread("kim")
        said = [await (await thread.start(talk, text)).result() for text in ("bill me", "aside", "and now?")]
    assert said == ["billing: bill me", "aside: 2", "billing: bill me | aside | and now?"]


async def test_a_run_that_is_no_turn_names_the_conversation() -> None:
    async with InMemory() as engine:
        with pytest.raises(RunFailed, match="no turn of a thread") as error:
            await engine.run(talk, "hello")
    assert 'thread="user-42"' in str(error.value.__cause__)


@pytest.mark.parametrize("commit", range(1, 22, 2))
async def test_a_crash_in_the_middle_of_a_hand_off_ends_the_same(commit: int) -> None:
    models = {"claude": Served(answer=triages), "gpt": Served(answer=lambda _: turn(say="You get 41.20 EUR back."))}

    async def scenario(engine: InMemory) -> Any:
        return await engine.run(desk, "My order o-7 was charged twice!", id="r")

    async with serve(models) as server:
        made, engine = await play(scenario, [Crash(commit)], resources={"catalogue": catalogue(server, *models)})
    assert made["held"] == ["triage", "billing"] and made["value"] == "You get 41.20 EUR back."
    done = [e.key for e in engine.history("r") if e.type == "step.completed"]
    assert len(done) == len(set(done))
    assert ORDERS in (["o-7"], ["o-7", "o-7"])  # again only where the process died while it was looked up
