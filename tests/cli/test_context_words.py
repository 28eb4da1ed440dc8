"""The words in `segue context diff` and `segue show --context`: anyone can read afterwards what a call saw."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent
from rich.console import Console

from segue import Engine, Thread, ask, flow, memory, step, tool
from segue.agent.durable import Durable
from segue.agent.guards import Finding, Guard
from segue.cli import seen
from segue.cli.benching import context
from segue.cli.manifests import drawn
from segue.cli.paint import emit
from segue.cli.words import excerpt
from segue.context.differ import differences
from segue.context.words import Words
from segue.core.records import Fate, Manifest, ManifestPart, Target, TargetKind
from segue.core.redaction import Patterns
from segue.models import Catalogue
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import KEYS, calls, model, results

Caught = pytest.CaptureFixture[str]
STOCK: list[str] = []
"""What the tool says, in the order in which it is called."""


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    STOCK.clear()
    for name in KEYS:
        monkeypatch.setenv(name, "test")


@tool(effect="read")
async def stock(item: str) -> str:
    """How many there are."""
    return STOCK.pop(0)


def clerk(asked: Asked) -> Any:
    return calls("stock", item="bolt") if asked.tools and not results(asked) else "Yes."


@flow
async def counts(system: str) -> str:
    return await ask("How many bolts?", system=system, tools=[stock], timeout_s=5, max_tokens=300)


MAIL = Guard(
    name="mail", on_hit="redact",
    look=lambda text: Finding("an email", Patterns(["pii"]).text(text)) if "@" in text else None,
)  # fmt: skip
NAMES = Guard(
    name="names",
    on_hit="redact",
    look=lambda text: Finding("a name", text.replace("Ann", "N.")) if "Ann" in text else None,
)


@flow
async def guarded(by: str) -> str:
    return await ask(
        "How many bolts has Ann, ann@example.com?", tools=[stock], timeout_s=5, max_tokens=300,
        guards=[MAIL if by == "mail" else NAMES],
    )  # fmt: skip


@flow
async def says(text: str) -> str:
    return await ask(text, timeout_s=5, max_tokens=300)


@step
async def aside(text: str) -> str:
    return await ask(text, timeout_s=5, max_tokens=300)


@flow
async def in_a_step() -> str:
    return await aside("Is it so?")


@flow
async def keeps(note: str, other: str = "") -> None:
    for one in filter(None, [note, other]):
        await memory.remember(one, "user:ann")


@flow
async def recalls() -> str:
    return await ask("Where does Ann live?", memory=["user:ann"], timeout_s=5, max_tokens=300)


@flow
async def recalls_guarded() -> str:
    return await ask("Where does she live?", memory=["user:ann"], guards=[NAMES], timeout_s=5, max_tokens=300)


@flow
async def pumps(n: int, guarded: bool) -> str:
    return await ask(
        f"Who checks pump {n}?", memory=["user:ann"], memory_tokens=600, guards=[MAIL] if guarded else [],
        timeout_s=5, max_tokens=300,
    )  # fmt: skip


@flow
async def corrects(note: int, text: str) -> None:
    if text:
        await memory.edit(note, text)
    else:
        await memory.forget(note)


agent = Agent(name="clerk", tools=[stock], capabilities=[Durable()])


@flow
async def loops(text: str) -> str:
    first = await agent.run("Any bolts?")
    return (await agent.run(text, message_history=first.all_messages())).output


async def ran(db: str, *made: tuple[Any, str, Sequence[Any]], window: int = 64_000) -> None:
    """Runs of flows, one after the other: each with its id and its arguments."""
    async with serve({"chat": Served(answer=clerk)}) as server:
        small = replace(model(server, "chat"), window=window, max_output=300)
        async with Engine(db, resources={"catalogue": Catalogue.of(small)}) as engine:
            for one, run, args in made:
                await engine.run(one, *args, id=run)


def told(caught: Caught) -> list[Any]:
    return json.loads(caught.readouterr().out)


def shown(db: str, run: str, caught: Caught) -> list[dict[str, Any]]:
    """The parts of what the last call of a run was shown."""
    seen.show(db, run, None, False, True)
    return told(caught)[-1]["parts"]


async def test_what_says_the_same_is_the_same_whatever_the_id_of_its_call(tmp_path: Path, capsys: Caught) -> None:
    db = str(tmp_path / "x.db")
    long = "a long list of other things " * 20
    STOCK[:] = [f"{long}17 bolts", f"{long}17 bolts", f"{long}0 bolts"]
    await ran(db, (counts, "A", ["Be brief."]), (counts, "B", ["Be brief."]), (counts, "C", ["Be long."]))
    context("diff", ["A", "B"], db, False)
    assert "They saw the same." in capsys.readouterr().out
    context("diff", ["A", "B"], db, True)
    assert told(capsys) == []
    context("diff", ["A", "C"], db, False)
    lines = capsys.readouterr().out
    assert "17 bolts" in lines and " 0 bolts" in lines, "what differs stands at the end of a long result"
    context("diff", ["A", "C"], db, True)
    found = told(capsys)
    assert [(each["before"], each["after"], each["part"]["role"]) for each in found] == [
        ("absent", "kept", "system"), ("absent", "kept", "tool"),
        ("kept", "absent", "system"), ("kept", "absent", "tool"),
    ]  # fmt: skip
    assert [each["text"] for each in found] == ["Be long.", f"{long}0 bolts", "Be brief.", f"{long}17 bolts"]
    assert found[1]["excerpt"].endswith(" 0 bolts") and found[3]["excerpt"].endswith("17 bolts")


async def test_each_part_is_shown_with_its_words(tmp_path: Path, capsys: Caught) -> None:
    db = str(tmp_path / "x.db")
    STOCK[:] = ["17 bolts\nand a nut"]
    await ran(db, (counts, "A", ["Be brief."]))
    parts = shown(db, "A", capsys)
    assert [(part["role"], part["text"]) for part in parts] == [
        ("system", "Be brief."), ("user", "How many bolts?"), ("assistant", '{"item": "bolt"}'),
        ("tool", "17 bolts\nand a nut"),
    ]  # fmt: skip
    assert parts[2]["tool"] == "stock"
    seen.show(db, "A", None, False, False)
    assert "17 bolts and a nut" in capsys.readouterr().out
    seen.show(db, "A", None, True, False)
    assert (
        '    stock({"item": "bolt"})\n' in (out := capsys.readouterr().out) and "    17 bolts\n    and a nut\n" in out
    )


async def test_turns_of_a_thread_are_read_from_the_runs_that_said_them(tmp_path: Path, capsys: Caught) -> None:
    db = str(tmp_path / "x.db")
    async with (
        serve({"chat": Served(answer=lambda asked: f"I heard {asked.turns[-1].text[:20]}")}) as server,
        Engine(db, resources={"catalogue": Catalogue.of(model(server, "chat"))}),
    ):
        for n, text in enumerate(["My name is Ann.", "What is my name?", "Are you sure?"]):
            await (await Thread("t").start(says, text, id=str(n))).result()
    assert [part["text"] for part in shown(db, "t/2", capsys)] == [
        "My name is Ann.", "I heard My name is Ann.", "What is my name?", "I heard What is my name?", "Are you sure?"
    ]  # fmt: skip


async def test_a_part_that_was_cut_has_both_its_forms(tmp_path: Path, capsys: Caught) -> None:
    db = str(tmp_path / "x.db")
    STOCK[:] = ["bolts and nuts, " * 400]
    await ran(db, (counts, "A", ["Be brief."]), window=2_400)
    result = shown(db, "A", capsys)[-1]
    assert result["fate"] == "cut" and result["text"] == "bolts and nuts, " * 400
    assert "the middle is cut; recall" in result["text_shown"] and len(result["text_shown"]) < len(result["text"])


async def test_what_guards_have_changed_is_never_shown_as_it_was_before_them(tmp_path: Path, capsys: Caught) -> None:
    db = str(tmp_path / "x.db")
    STOCK[:] = ["Ann has 17, ask ann@example.com"] * 3
    await ran(db, (guarded, "A", ["mail"]), (guarded, "B", ["names"]), (guarded, "C", ["names"]))
    mailed = shown(db, "A", capsys)
    assert [part["text"] for part in mailed if part["role"] != "assistant"] == [
        "How many bolts has Ann, [email]?", "Ann has 17, ask [email]"
    ]  # fmt: skip
    named = [part for part in shown(db, "B", capsys) if part["role"] != "assistant"]
    assert [part["text"] for part in named] == [None, None]
    assert all("a guard has changed it" in part["text_why"] for part in named)
    context("diff", ["B", "C"], db, True)
    (found,) = told(capsys)
    assert (found["before"], found["after"]) == ("kept", "kept") and "is not known" in found["why"]


async def test_what_was_recalled_is_read_as_it_is_now_or_is_said_to_be_gone(tmp_path: Path, capsys: Caught) -> None:
    db = str(tmp_path / "x.db")
    await ran(db, (keeps, "K", ["Ann lives in Oslo."]), (recalls, "A", []))
    kept = next(part for part in shown(db, "A", capsys) if part.get("kind") == "memory")
    assert "Oslo" in kept["text"] and "text_why" not in kept
    await ran(db, (corrects, "E", [1, "Ann lives in Bergen."]))
    now = next(part for part in shown(db, "A", capsys) if part.get("kind") == "memory")
    assert "Bergen" in now["text"] and "corrected since" in now["text_why"]
    await ran(db, (corrects, "F", [2, ""]))
    gone = next(part for part in shown(db, "A", capsys) if part.get("kind") == "memory")
    assert gone["text"] is None and "forgotten" in gone["text_why"]


MANUAL = "# Manual\n\n" + "\n\n".join(
    f"## Pump {n}\n\nPump {n} is checked by Mr. Meier{n}. It stands beside the valve V-{n}, and must be kept dry. "
    f"Its filter is changed by the night shift, and noted in the book." for n in range(60)
)  # fmt: skip


async def asked_of_pumps(db: str, *made: tuple[Any, str, Sequence[Any]]) -> list[str]:
    """Runs of flows, as `ran`; what each call of the model was given as recalled."""
    saw: list[str] = []

    def heard(asked: Asked) -> str:
        saw.extend(turn.text for turn in asked.turns if turn.text.startswith("[recalled] "))
        return "Yes."

    async with (
        serve({"chat": Served(answer=heard)}) as server,
        Engine(db, resources={"catalogue": Catalogue.of(model(server, "chat"))}) as engine,
    ):
        for one, run, args in made:
            await engine.run(one, *args, id=run)
    return [text.removeprefix("[recalled] ") for text in saw]


@pytest.mark.parametrize("guarded", [False, True])
async def test_of_a_long_text_the_pieces_are_shown_that_the_model_saw(
    tmp_path: Path, capsys: Caught, guarded: bool
) -> None:
    db = str(tmp_path / "x.db")
    manual = MANUAL.replace("noted in the book", "told to ann@example.com")
    saw = await asked_of_pumps(db, (keeps, "K", [manual]), (pumps, "A", [17, guarded]), (pumps, "B", [44, guarded]))
    for run, text in zip("AB", saw, strict=True):
        (part,) = recalled(db, run, capsys)
        assert part["text"] == text and "text_why" not in part
        assert ("[email]" in text) == guarded and len(text) < len(manual) / 2
    context("diff", ["A", "B"], db, True)
    now, _, then, _ = told(capsys)
    assert (now["text"], then["text"]) == (saw[1], saw[0])
    assert "Pump 44" in now["text"] and "Pump 44" not in then["text"]


async def test_what_became_of_a_document_since_is_said_where_it_concerns_what_was_shown(
    tmp_path: Path, capsys: Caught
) -> None:
    db = str(tmp_path / "x.db")
    manual = MANUAL.replace("Mr. Meier17.", "Ms. Schulz.")
    (saw, other) = await asked_of_pumps(
        db, (keeps, "K", [MANUAL]), (pumps, "A", [17, False]), (pumps, "B", [44, False]), (corrects, "E", [1, manual])
    )
    (now,), (same,) = recalled(db, "A", capsys), recalled(db, "B", capsys)
    assert now["text"] == saw.replace("Mr. Meier17.", "Ms. Schulz.") and "corrected since" in now["text_why"]
    assert same["text"] == other and "text_why" not in same, "its pieces are as they were"
    await ran(db, (corrects, "F", [2, ""]))
    (gone,) = recalled(db, "B", capsys)
    assert gone["text"] is None and "forgotten" in gone["text_why"]


async def test_of_several_notes_it_is_said_that_some_were_forgotten(tmp_path: Path, capsys: Caught) -> None:
    db = str(tmp_path / "x.db")
    await ran(db, (keeps, "K", ["Ann lives in Oslo.", "Ann lives by the sea."]), (recalls, "A", []))
    await ran(db, (corrects, "E", [2, ""]))
    (one,) = recalled(db, "A", capsys)
    assert "Oslo" in one["text"] and "sea" not in one["text"]
    assert one["text_why"] == "as the notes are now: some were forgotten since"
    await ran(db, (corrects, "F", [1, "Ann lives in Rome."]))
    (one,) = recalled(db, "A", capsys)
    assert "Rome" in one["text"] and "some were corrected and some forgotten since" in one["text_why"]


async def test_a_note_that_a_guard_has_changed_is_not_said_to_be_corrected(tmp_path: Path, capsys: Caught) -> None:
    db = str(tmp_path / "x.db")
    await ran(db, (keeps, "K", ["Ann lives in Oslo, by the sea."]), (recalls_guarded, "A", []))
    (part,) = recalled(db, "A", capsys)
    assert part["text"] is None and "a guard has changed it" in part["text_why"]


def recalled(db: str, run: str, caught: Caught) -> list[dict[str, Any]]:
    """What the last call of a run was shown of its memory."""
    return [part for part in shown(db, run, caught) if part.get("kind") == "memory"]


async def test_the_words_of_an_agents_loop_are_known(tmp_path: Path, capsys: Caught) -> None:
    db = str(tmp_path / "x.db")
    STOCK[:] = ["17 bolts"]
    await ran(db, (loops, "A", ["And nuts?"]))
    texts = [part["text"] for part in shown(db, "A", capsys)]
    assert texts == ["Any bolts?", '{"item": "bolt"}', "17 bolts", "Yes.", "And nuts?"]


async def test_what_was_asked_within_a_step_has_no_words_on_record(tmp_path: Path, capsys: Caught) -> None:
    db = str(tmp_path / "x.db")
    async with (
        serve({"chat": Served(answer=lambda _: "Yes.")}) as server,
        Engine(db, resources={"catalogue": Catalogue.of(model(server, "chat"))}) as engine,
    ):
        await engine.run(in_a_step, id="A")
    (part,) = shown(db, "A", capsys)
    assert part["text"] is None and "asked within the step aside" in part["text_why"]


def entry(hash: str, fate: Fate = Fate.KEPT, **more: Any) -> ManifestPart:
    return ManifestPart(**{"hash": hash, "role": "tool", "tokens": 9, "fate": fate, "kind": "tool result", **more})


def manifest(*parts: ManifestPart) -> Manifest:
    return Manifest(
        id="m", target=Target(kind=TargetKind.MODEL, name="chat"), window=1000, reserved_out=10, tokens=9,
        tokenizer="t", parts=parts,
    )  # fmt: skip


def test_equal_results_of_other_calls_are_told_apart_by_order() -> None:
    one, other = manifest(*map(entry, "abc")), manifest(*map(entry, "dae"))
    assert differences(one, other, ["x", "x", "y"], ["x", "x", "y"]) == []
    found = differences(one, manifest(*map(entry, "de")), ["x", "x", "y"], ["x", "y"])
    assert [(each.before, each.after, each.then, each.now) for each in found] == [("kept", "absent", 1, None)]


def test_a_result_of_another_call_that_was_cleared_alike_is_the_same() -> None:
    cut, other = (
        entry(name, Fate.CUT, tokens_shown=4, why="old tool result", into=name * 2, recall=name) for name in "ab"
    )
    assert differences(manifest(cut), manifest(other), ["x"], ["x"]) == []
    pointing = replace(other, why="duplicate of 0123456789ab")
    (found,) = differences(manifest(cut), manifest(pointing), ["x"], ["x"])
    assert (found.before, found.after) == ("cut", "cut")


def test_an_excerpt_begins_shortly_before_the_texts_part() -> None:
    same = "word " * 100
    assert excerpt(f"{same}17 bolts", f"{same}0 bolts", 60).endswith("17 bolts")
    assert excerpt(f"{same}17 bolts", "", 60).startswith("word") and excerpt("short", "shot") == "short"
    assert excerpt(f"{same}17 bolts", f"{same}17 bolts", 60).startswith("word"), "they do not part"
    assert "\n" not in excerpt("a\nb\x1b[31m") and "\x1b" not in excerpt("a\x1b[31m")


@pytest.mark.parametrize("wide", [80, 160])
@pytest.mark.parametrize("full", [False, True])
def test_words_are_drawn_where_there_is_room(wide: int, full: bool) -> None:
    parts = manifest(entry("a"), entry("b"))
    words = [Words(text="seventeen bolts\x1b[31m"), Words(why="it is gone")]
    console = Console(file=(out := io.StringIO()), width=wide)
    emit(console, *drawn("ask", 1, parts, words, full=full, wide=wide))
    assert ("seventeen bolts" in out.getvalue()) == (full or wide == 160)
    assert ("it is gone" in out.getvalue()) == (full or wide == 160) and "\x1b" not in out.getvalue()


@pytest.mark.parametrize("wide", [100, 140])
def test_many_notes_leave_room_for_what_became_of_a_part(wide: int) -> None:
    notes = " ".join(f"note-{n}" for n in range(1, 97))
    part = ManifestPart(hash="h", role="user", tokens=900, fate=Fate.KEPT, kind="memory", source=f"thread u: {notes}")
    target = Target(kind=TargetKind.MODEL, name="small")
    manifest = Manifest(
        id="d", target=target, parts=(part,), tokens=900, window=8000, reserved_out=100, tokenizer="estimate"
    )
    file = io.StringIO()
    emit(
        Console(file=file, width=wide), *drawn("ask", None, manifest, [Words(text="word " * 80)], full=False, wide=wide)
    )
    row = next(line for line in file.getvalue().splitlines() if line.startswith("kept"))
    assert "900" in row and "memory" in row and "note-1" in row and "word word" in row
    assert "96 notes" in file.getvalue()
