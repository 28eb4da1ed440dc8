"""Results of tools: cut to their limit and recalled, media, what goes wrong told as it is, and `segue show`."""

from __future__ import annotations

import asyncio
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_json

from segue import ApprovalRule, Engine, Media, Thread, ask, flow, tool
from segue.agent.tools.result import handle_of
from segue.cli.showing import show
from segue.testing import Engine as InMemory
from segue.testing.provider import Answer, Asked, Call, Served, serve
from tests.agent.served import KEYS, calls, catalogue, in_turn, results
from tests.agent.test_tool_rules import ALL, SHOWN, model, told, uses


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    SHOWN.clear()
    for name in KEYS:
        monkeypatch.setenv(name, "test")


LONG = "".join(f"line {n}\n" for n in range(2000))


@tool(effect="read", limit_chars=3000)
async def page(n: int) -> str:
    """A page."""
    return LONG


@flow
async def reads() -> str:
    return await ask("Read.", tools=[page], timeout_s=5, rounds=20)


async def test_a_long_result_is_cut_and_can_be_had_piece_by_piece() -> None:
    """The model follows the handles until nothing is left out: the pieces and the end make the whole."""
    pieces: list[str] = []

    def reader(asked: Asked) -> Any:
        given = results(asked)
        if not given:
            return calls("page", n=1)
        pieces[:] = given
        assert len(given[-1]) <= 3000
        more = re.search(r"recall (\w+@\d+)", given[-1])
        return calls("recall", handle=more[1]) if more else "Done."

    tools: list[list[str]] = []

    def answer(asked: Asked) -> Any:
        tools.append([one["function"]["name"] for one in asked.body["tools"]])
        return reader(asked)

    async with (
        serve({"chat": Served(answer=answer)}) as server,
        InMemory(resources={"catalogue": catalogue(server, "chat")}) as engine,
    ):
        await engine.run(reads, id="main")
        record = told(engine)[0]
    assert (record.chars, record.shown) == (len(LONG), len(pieces[0]))
    assert record.recall is not None and record.recall in pieces[0]
    note = re.compile(r"\n\[… .* …\]\n")
    head, tail = note.split(pieces[0])
    assert LONG.endswith(tail) and len(tail) > 500
    assert head + "".join(note.sub("", one) for one in pieces[1:]) == LONG
    assert all(names == ["page", "recall"] for names in tools), "the list of tools is the same in all rounds"


class Odd:
    """JSON cannot carry it."""


@tool(effect="read")
async def odd(n: int) -> Any:
    """Gives what cannot be stored."""
    return Odd() if n else object()


async def broken(n: int) -> int:
    """Raises."""
    raise KeyError("gone")


@flow
async def goes_wrong() -> str:
    return await ask("Try.", tools=[odd, broken], timeout_s=5, rounds=20)


async def test_what_goes_wrong_is_told_as_it_is_and_on_record() -> None:
    said = (
        calls("odd", n="many"),
        calls("nobody/knows[it]", n=1),
        calls("odd", n=1),
        calls("broken", n=1),
        calls("recall", handle="ffff"),
        "Done.",
    )
    async with model(*said) as resources, InMemory(resources=resources) as engine:
        await engine.run(goes_wrong, id="main")
        records = told(engine)
    misfit, unknown, unread, failed, nothing = SHOWN[-1]
    assert "these arguments do not fit: n: Input should be a valid integer" in misfit
    assert "there is no tool 'nobody/knows[it]'; there are: odd, broken" in unknown
    assert "odd was carried out, and its result cannot be shown" in unread
    assert "broken failed: KeyError: 'gone'" in failed
    assert "there is nothing by the handle 'ffff'" in nothing
    assert [r.outcome.value for r in records] == ["refused", "missing", "failed", "failed", "missing"]
    assert all(record.why and record.call for record in records)


async def test_two_calls_of_one_id_are_both_answered() -> None:
    """Some models give two calls one id, or none: each is carried out, and what is sent back pairs them."""
    twice = Answer(calls=(Call("look", '{"city": "Rome"}', id="same"), Call("look", '{"city": "Oslo"}', id="same")))
    async with model(twice, "", "Done.") as resources, InMemory(resources=resources) as engine:
        assert await engine.run(uses, "look", id="main") == "Done."
    assert sorted(SHOWN[-1]) == ["Oslo is fine", "Rome is fine"]


PNG = b"\x89PNG\r\n\x1a\n" + b"\xff" * 40


@tool(effect="read")
async def photo(city: str) -> list[str | Media]:
    """A photo."""
    return [f"This is {city}.", Media(PNG, "image/png")]


ALL["photo"] = photo


@pytest.mark.parametrize("name", ["claude", "gpt", "chat"])
async def test_media_reach_a_model_that_can_see(name: str) -> None:
    seen: list[bytes] = []

    def answer(asked: Asked) -> Any:
        seen.append(repr(asked.body).encode())
        return in_turn(calls("photo", city="Rome"), "I see.")(asked)

    async with (
        serve({name: Served(answer=answer)}) as server,
        InMemory(resources={"catalogue": catalogue(server, name)}) as engine,
    ):
        assert await engine.run(uses, "photo", id="main") == "I see."
    assert b"This is Rome." in seen[-1] and b"iVBORw0KGgr" in seen[-1]


@tool(approve=ApprovalRule(by="lead"))
async def refund(order: str) -> str:
    """Pay back."""
    return f"{order} paid back"


@flow
async def mixed() -> str:
    return await ask("Go.", tools=[page, refund], timeout_s=5)


async def test_the_command_line_shows_class_approval_and_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = str(tmp_path / "s.db")
    both = Answer(calls=(Call("refund", '{"order": "a"}'), Call("refund", '{"order": "b"}')))
    async with model(calls("page", n=1), both, "", "Done.") as resources, Engine(db, resources=resources) as engine:
        run = await engine.start(mixed, id="r-1")
        items: list[Any] = []
        while len(items) < 2:
            await asyncio.sleep(0.01)
            items = await engine.inbox("lead")
        for item in items:
            await (item.approve if item.shown["order"] == "a" else item.deny)(by="ada")
        assert await run.result() == "Done."
    show(db, "r-1", None, True, False)
    said = capsys.readouterr().out
    assert re.search(r"page\S* read\b.*shown [\d,]+ of [\d,]+ characters, recall \w+", said, re.S)
    assert re.search(r"refund\S* write .*approved by ada", said, re.S)
    assert "not made: refund was not called: ada has denied it" in said


@dataclass
class Report:
    """What a tool gives that is no text: its fields are not in the order of the alphabet."""

    zone: str
    lines: list[str]


@tool(effect="read", limit_chars=2000)
async def report() -> Report:
    """A report."""
    return Report("north", [f"line {n}" for n in range(500)])


@tool(effect="read")
async def small() -> str:
    """Nothing much."""
    return "ok"


@flow
async def chats(text: str, what: str) -> str:
    return await ask(text, tools=[{"page": page, "report": report, "small": small}[what]], timeout_s=5, rounds=20)


@pytest.mark.parametrize(("what", "then"), [("page", "page"), ("page", "small"), ("report", "report")])
async def test_the_rest_of_a_cut_result_can_be_had_in_a_later_turn(tmp_path: Path, what: str, then: str) -> None:
    """Another process, another question, another tool: the handle that the model sees in its history works."""
    pieces: list[str] = []

    def reader(asked: Asked) -> Any:
        given = results(asked)
        if asked.prompt == "Read.":
            return "I have the beginning." if given else calls(what, **({"n": 1} if what == "page" else {}))
        pieces[:] = given
        more = re.search(r"recall (\w+@\d+)", given[-1])
        return calls("recall", handle=more[1]) if more and more[1] else "Done."

    async with serve({"chat": Served(answer=reader)}) as server:
        resources = {"catalogue": catalogue(server, "chat")}
        async with Engine(str(tmp_path / "x.db"), resources=resources) as engine:
            assert await (await Thread("t", engine).start(chats, "Read.", what)).result() == "I have the beginning."
        async with Engine(str(tmp_path / "x.db"), resources=resources) as engine:
            run = await Thread("t", engine).start(chats, "Go on.", then)
            assert await run.result() == "Done."
    note = re.compile(r"\n\[… .* …\]\n")
    head, tail = note.split(pieces[0])
    whole = LONG if what == "page" else to_json(asdict(Report("north", [f"line {n}" for n in range(500)]))).decode()
    assert head + "".join(note.sub("", one) for one in pieces[1:]) == whole
    assert whole.endswith(tail)


async def test_a_handle_of_another_thread_gives_nothing(tmp_path: Path) -> None:
    handle = handle_of(LONG)

    def reader(asked: Asked) -> Any:
        if asked.prompt == "Read.":
            return "I have it." if results(asked) else calls("page", n=1)
        return results(asked)[-1] if results(asked) else calls("recall", handle=f"{handle}@2000")

    async with (
        serve({"chat": Served(answer=reader)}) as server,
        Engine(str(tmp_path / "x.db"), resources={"catalogue": catalogue(server, "chat")}) as engine,
    ):
        await (await Thread("t", engine).start(chats, "Read.", "page")).result()
        assert handle in str(engine.journal.query("select body from events where type = 'tool.answered'"))
        said = await (await Thread("u", engine).start(chats, "Go on.", "page")).result()
        theirs = await (await Thread("t", engine, "acme").start(chats, "Go on.", "page")).result()
    assert "there is nothing by the handle" in said
    assert "there is nothing by the handle" in theirs
