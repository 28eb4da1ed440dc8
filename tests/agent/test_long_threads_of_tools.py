"""A thread whose turns read a lot by tools: what they gave is cleared, and its beginning is still summed up."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from segue import Thread, ask, flow, tool
from segue.context import Part, Role
from segue.context.manifest import NOT_READ
from segue.core.events import EventType
from segue.core.records import Fate, Manifest, record_of
from segue.testing import Crash
from segue.testing import Engine as InMemory
from segue.testing.crash import play
from segue.testing.provider import Answer, Asked, Call, Outcome, Served, serve
from tests.agent.served import FORMATS, KEYS
from tests.agent.test_long_threads import FIRST, is_summary, shown, small

PAGE = 300
"""Words of a result: two of them are more than a window of 4,000 holds for one."""
EVERYTHING = ["Ann Lindqvist", "4711", "on a Friday", "We decided on Oslo."]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


@tool(effect="read")
async def page(n: int) -> str:
    """A page of the handbook."""
    return f"page {n}: " + " ".join(f"word{n}-{i}" for i in range(PAGE))


@flow
async def turn(text: str, who: str | None = None) -> str:
    return await ask(text, model=who, tools=[page], timeout_s=5, max_tokens=300)


def said_in(n: int) -> str:
    if n == 0:
        return FIRST
    if n == 2:
        return "turn 2: We decided on Oslo."
    return f"turn {n}: " + ("Who am I?" if n % 20 == 19 else "read on" if n % 3 == 0 else "What of the weather?")


def summed_up(asked: Asked) -> str:
    """Its prose keeps name and amount where it is shown them; what is decided and ruled out stands beside it."""
    names = re.findall(r"Ann Lindqvist", asked.prompt)[:1]
    amounts = re.findall(r"4711", asked.prompt)[:1]
    told = {"decisions": re.findall(r"We decided [\w ]+\.", asked.prompt)[:1]}
    told["constraints"] = re.findall(r"Never [\w ]+\.", asked.prompt)[:1]
    said = f"{names[0]} may spend {amounts[0]} euros." if names and amounts else "They talked."
    return json.dumps({"summary": said, **told})


def reader(asked: Asked) -> str | Answer:
    """Reads a page where it is asked to, and answers only from what it is shown."""
    if is_summary(asked):
        return summed_up(asked)
    last = asked.turns[-1]
    if last.role == "user" and "read on" in last.text:
        (n,) = re.findall(r"turn (\d+)", last.text)[-1:]
        return Answer(calls=(Call("page", json.dumps({"n": int(n)}), id=f"call-{n}"),))
    if "Who am I" not in last.text:
        return "Yes."
    text = shown(asked)
    return json.dumps([word for word in EVERYTHING if word in text])


def manifests(engine: InMemory) -> list[tuple[int, Manifest]]:
    """What each call was shown, with the turn that made it."""
    runs = engine.connection.execute("select id from runs where thread is not null order by no").fetchall()
    made: list[tuple[int, Manifest]] = []
    for n, (run,) in enumerate(runs):
        records = [record_of(e) for e in engine.history(run) if e.type == EventType.CONTEXT_ASSEMBLED]
        made += [(n, record) for record in records if isinstance(record, Manifest) and record.thread is not None]
    return made


def silently_gone(manifest: Manifest, said: Sequence[str]) -> list[int]:
    """Turns that are neither shown, nor summed up, nor named as left out."""
    hashes = {part.hash for part in manifest.parts}
    covered = [part for part in manifest.parts if part.fate is Fate.SUMMARISED]
    unread = [part for part in manifest.parts if part.why == NOT_READ]
    summed = int((covered[0].source or "").split()[-1]) if covered else 0
    if unread:
        first, last = re.findall(r"\d+", unread[0].source or "")
        assert int(first) == summed + 1 and unread[0].fate is Fate.DROPPED
        summed = int(last)
    assert len(covered) <= 1 and len(unread) <= 1
    together = sum(int(n) for p in manifest.parts for n in re.findall(r"^(\d+) parts", p.source or ""))
    missing = [n for n in range(summed, len(said)) if Part.said(Role.USER, said[n]).hash not in hashes]
    return missing[together:]


@pytest.mark.proof
async def test_four_formats_a_hundred_turns_of_long_results_and_crashes_still_know_the_first_turn() -> None:
    async with serve({name: Served(answer=reader) for name in FORMATS}) as server:
        resources = small(server, window=6_000)

        async def scene(engine: InMemory) -> list[str]:
            thread, said = Thread("long", engine), list[str]()
            for n in range(100):
                run = await thread.start(turn, said_in(n), list(FORMATS)[n % 4], id=str(n))
                said.append(await run.result())
            return said

        crashes = [Crash(401, "after"), Crash(203, "before"), Crash(77, "after")]
        said, engine = await play(scene, crashes, resources=resources)
        refused = [(one.status, one.error) for one in server.log if one.outcome is Outcome.REJECTED]
    assert refused == []
    for n in (19, 39, 59, 79, 99):
        assert json.loads(said[n]) == EVERYTHING, n
    rows = engine.connection.execute("select upto from summaries order by upto").fetchall()
    assert 5 <= len(rows) <= 33, rows
    kept, lines = manifests(engine), [said_in(n) for n in range(100)]
    assert len(kept) > 130, "a turn that reads has two calls"
    for n, manifest in kept:
        assert silently_gone(manifest, lines[:n]) == [], n
        assert manifest.tokens + manifest.reserved_out + manifest.margin <= manifest.window
    state = [part for _, manifest in kept[-1:] for part in manifest.parts if part.kind == "state"]
    assert state and state[0].fate is Fate.KEPT
    assert any(part.why == "old tool result" for _, manifest in kept for part in manifest.parts)


@pytest.mark.proof
@pytest.mark.parametrize("window", [12_000, 24_000])
async def test_what_fits_with_its_results_cleared_is_shown_and_not_summed_up(window: int) -> None:
    """More than two windows of results, and the first turn stands there as it was said."""
    async with (
        serve({"chat": Served(answer=reader)}) as server,
        InMemory(resources=small(server, "chat", window=window)) as engine,
    ):
        thread = Thread("t", engine)
        for n in range(window // 400):
            await (await thread.start(turn, said_in(n), id=str(n))).result()
        last = await (await thread.start(turn, "Who am I?")).result()
        assert engine.journal.query("select count(*) from summaries") == [(0,)]
    assert json.loads(last) == EVERYTHING


@tool(effect="read")
async def stock(n: int, words: int) -> str:
    """What is in stock."""
    return f"stock {n}: " + "gamma delta " * words + f"end {n}"


@flow
async def shop(text: str) -> str:
    return await ask(text, tools=[stock], timeout_s=5, max_tokens=300)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("words", [(30, 40, 150), (20, 200), (250, 250, 20), (60, 10)])
async def test_every_call_of_a_question_knows_the_first_turn(words: tuple[int, ...]) -> None:
    """Whatever the results' lengths: neither the tool `recall` nor a result pushes out what nobody has summed up."""
    known: list[bool] = []

    def keeper(asked: Asked) -> str | Answer:
        if is_summary(asked):
            return summed_up(asked)
        known.append("Ann Lindqvist" in shown(asked))
        if asked.turns[-1].role == "tool":
            return "Fine, noted. " * 12
        n = len(known)
        return Answer(calls=(Call("stock", json.dumps({"n": n, "words": words[n // 2 % len(words)]}), id=f"call-{n}"),))

    async with (
        serve({"chat": Served(answer=keeper)}) as server,
        InMemory(resources=small(server, "chat", window=8_000)) as engine,
    ):
        thread = Thread("t", engine)
        for n in range(30):
            said = FIRST if n == 0 else f"Question {n}: how many pens? " + "I want to know more. " * 12
            await (await thread.start(shop, said, id=str(n))).result()
        assert engine.journal.query("select count(*) from summaries") > [(0,)]
    assert all(known), f"calls {[n for n, knows in enumerate(known) if not knows]} of {len(known)}"


@flow
async def review(text: str, tools: bool) -> str:
    return await ask(text, tools=[stock] if tools else [], timeout_s=5, max_tokens=300)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("tools", [False, True])
@pytest.mark.parametrize("share", [0.6, 0.75, 0.85])
async def test_a_document_of_most_of_the_window_leaves_the_first_turn_summed_up(share: float, tools: bool) -> None:
    """The turns that it leaves no room for are summed up before it is asked about."""
    known: list[bool] = []

    def keeper(asked: Asked) -> str | Answer:
        if is_summary(asked):
            return summed_up(asked)
        known.append("Ann Lindqvist" in shown(asked))
        if tools and asked.turns[-1].role != "tool":
            return Answer(calls=(Call("stock", json.dumps({"n": len(known), "words": 20}), id=f"call-{len(known)}"),))
        return "Fine, noted. " * 12

    clause = "The supplier delivers the goods within ten days, and the buyer pays what the list says. "
    async with (
        serve({"chat": Served(answer=keeper)}) as server,
        InMemory(resources=small(server, "chat", window=16_000)) as engine,
    ):
        thread, document = Thread("t", engine), clause * int(share * 14_500 / 24)
        for n in range(16):
            talk = f"Question {n}: how many pens? " + "I want to know more. " * 12
            said = FIRST if n == 0 else talk if n < 15 else f"Does my budget suffice? {document}"
            await (await thread.start(review, said, tools, id=str(n))).result()
        _, last = manifests(engine)[-1]
    assert all(known), f"calls {[n for n, knows in enumerate(known) if not knows]} of {len(known)}"
    assert [part for part in last.parts if part.fate is Fate.DROPPED and part.why == "window"] == []


async def test_a_turn_that_is_not_read_is_named_where_nobody_can_sum_it_up() -> None:
    """A summariser that fails: old turns are left out as before, and each call says which."""

    def answer(asked: Asked) -> Any:
        return json.dumps({"summary": ""}) if is_summary(asked) else reader(asked)

    async with (
        serve({"chat": Served(answer=answer)}) as server,
        InMemory(resources=small(server, "chat", window=4_000)) as engine,
    ):
        thread = Thread("t", engine)
        for n in range(60):
            assert await (await thread.start(turn, said_in(n), id=str(n))).result()
        assert engine.journal.query("select count(*) from summaries") == [(0,)]
        kept, lines = manifests(engine), [said_in(n) for n in range(60)]
        wrong = engine.journal.query("select value from events where type = 'step.completed' and key like 'compact%'")
    assert any(b"BadOutput" in (value or b"") for (value,) in wrong), "why is on record"
    for n, manifest in kept:
        assert silently_gone(manifest, lines[:n]) == [], n
    named = [part for part in kept[-1][1].parts if part.why == NOT_READ]
    assert len(named) == 1 and named[0].source and named[0].source.startswith("turns 1 to ")
