"""`segue context diff` and `segue show --context`: what two calls of a model saw differently."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, Thread, ask, flow
from segue.cli import seen
from segue.cli.benching import context
from segue.cli.exits import Exit
from segue.context.differ import differences
from segue.core.records import Fate, Manifest, ManifestPart, Target, TargetKind
from segue.errors import InputError, UnknownRun
from segue.models import Catalogue
from segue.testing.provider import Served, serve
from tests.agent.served import KEYS, model

Caught = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


@flow
async def says(text: str) -> str:
    return await ask(text, timeout_s=5, max_tokens=300)


async def talked(db: str, thread: str, texts: list[str], window: int = 64_000) -> None:
    """Turns `0`, `1`, … of a thread."""
    async with serve({"chat": Served(answer=lambda _: "Yes.")}) as server:
        small = replace(model(server, "chat"), window=window, max_output=300)
        async with Engine(db, resources={"catalogue": Catalogue.of(small)}):
            for n, text in enumerate(texts):
                await (await Thread(thread).start(says, text, id=str(n))).result()


def told(caught: Caught) -> list[Any]:
    return json.loads(caught.readouterr().out)


@pytest.mark.parametrize("thread", ["user-42", "user:42", "a:b:c", "a/b", "user 42"])
async def test_calls_of_two_runs_are_compared_whatever_their_names(tmp_path: Path, capsys: Caught, thread: str) -> None:
    """A colon stands between a run and a key, and may stand in the name of a run."""
    db = str(tmp_path / "x.db")
    await talked(db, thread, ["one", "two"])
    first, second = (Thread(thread).run_of(n) for n in "01")
    seen.show(db, first, None, False, True)
    key = told(capsys)[0]["key"]
    for one in (first, f"{first}:{key}", f"{first}:ask"):
        assert context("diff", [one, second], db, True) is Exit.DONE
        found = told(capsys)
        assert [(each["before"], each["after"], each["part"]["role"]) for each in found] == [
            ("absent", "kept", "assistant"), ("absent", "kept", "user")
        ]  # fmt: skip
        context("diff", [second, one], db, True)
        assert [(each["before"], each["after"], each["why"]) for each in told(capsys)] == [
            ("kept", "absent", "not there")
        ] * 2  # fmt: skip
    context("diff", [first, f"{first}:{key}"], db, True)
    assert told(capsys) == []
    context("diff", [first, first], db, False)
    assert "They saw the same." in capsys.readouterr().out
    for wrong in ("nobody", "nobody:ask", f"{first}x"):
        with pytest.raises(UnknownRun):
            context("diff", [wrong, second], db, True)
    for several in ([f"{first}:nothing", second], [first], [first, second, first], []):
        with pytest.raises(InputError):
            context("diff", several, db, True)


async def test_what_went_with_others_is_not_said_to_be_gone(tmp_path: Path, capsys: Caught) -> None:
    db = str(tmp_path / "x.db")
    await talked(db, "t", [f"sentence {n} " + "and some more words " * 8 for n in range(60)], window=2_600)
    context("diff", ["t/20", "t/59"], db, True)
    gone = [each for each in told(capsys) if each["after"] == "absent"]
    assert gone
    assert all("parts, dropped together (window)" in each["why"] for each in gone), gone[0]["why"]


def manifest(*parts: ManifestPart) -> Manifest:
    return Manifest(
        id="m", target=Target(kind=TargetKind.MODEL, name="chat"), window=1000, reserved_out=10, tokens=9,
        tokenizer="t", parts=parts,
    )  # fmt: skip


def part(hash: str, fate: Fate, **more: Any) -> ManifestPart:
    return ManifestPart(hash=hash, role="tool", tokens=90, fate=fate, why="room", **more)


def test_a_part_that_was_shown_in_another_form_of_the_same_length_differs() -> None:
    """Cleared in the one call, and in the other said to be the same as an earlier one."""
    one, other = (manifest(part("a", Fate.CUT, tokens_shown=9, into=into)) for into in ("cleared", "pointing"))
    (found,) = differences(one, other)
    assert (found.before, found.after) == ("cut", "cut")
    assert differences(one, one) == []
    longer = manifest(part("a", Fate.CUT, tokens_shown=8, into="cleared"))
    assert len(differences(one, longer)) == 1


def test_equal_parts_are_told_apart_by_how_often_they_are_seen() -> None:
    kept, dropped = part("a", Fate.KEPT), part("a", Fate.DROPPED)
    one, other = manifest(kept, kept, kept), manifest(dropped, kept)
    assert [(found.before, found.after) for found in differences(one, other)] == [
        ("kept", "dropped"), ("kept", "absent")
    ]  # fmt: skip
    assert differences(manifest(dropped), manifest()) == [], "neither saw it"


def test_the_same_parts_in_another_order_are_told() -> None:
    """They were said to be the same: a model that reads the request before its evidence answers otherwise."""
    a, b, c = (part(name, Fate.KEPT) for name in "abc")
    dropped = part("d", Fate.DROPPED)
    (found,) = differences(manifest(a, dropped, b, c), manifest(b, c, a))
    assert (found.part, found.before, found.after) == (a, "kept", "kept")
    assert found.why == "in another place: 1 before, 3 after, of 3"
    assert differences(manifest(a, dropped, b), manifest(a, b, dropped)) == [], "what nobody saw has no place"
    assert differences(manifest(a, a, b), manifest(a, a, b)) == []
    moved = differences(manifest(a, b), manifest(b, c, a))
    assert [(each.part.hash, each.why) for each in moved] == [
        ("b", "in another place: 2 before, 1 after, of 2"), ("c", "room")
    ]  # fmt: skip
