"""`segue memory`: list, edit, forget."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from segue import Engine, flow, memory
from segue.agent.memories import memory_file
from segue.cli.exits import Exit, exit_of
from segue.cli.notes import Asked
from segue.cli.notes import memory as acted
from segue.context import Memory, Said, Scope
from segue.errors import InputError, UsageError


@flow
async def keeps(text: str, scope: str) -> int | None:
    return await memory.remember(text, scope, source="turn 4")


async def test_notes_are_listed_corrected_and_forgotten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db = str(tmp_path / "x.db")
    async with Engine(db) as engine:
        for text, scope in (("Ann lives in Oslo.", "user:ann"), ("Ann has a cat.", "user:ann"), ("May.", "team:a")):
            await engine.run(keeps, text, scope)
    asked, plain = Asked(db, "default", True), Asked(db, "default", False)

    def told(action: str, *what: str) -> object:
        assert acted(asked, action, what, "ann", "") is Exit.DONE
        return json.loads(capsys.readouterr().out)

    assert told("list") == [{"scope": "team:a", "notes": 1}, {"scope": "user:ann", "notes": 2}]
    assert told("edit", "1", "Ann lives in Bergen.") == {"note": 4, "stands_for": 1}
    assert told("forget", "note-2") == {"forgotten": [2]}, "as a manifest names it"
    (note,) = told("list", "user:ann")  # type: ignore[misc]
    assert (note["text"], note["source"], note["stands_for"]) == ("Ann lives in Bergen.", "turn 4", 1)
    acted(plain, "list", ["user:ann"], "", "")
    assert "Bergen" in capsys.readouterr().out
    async with Engine(db) as engine:
        assert await engine.run(keeps, "Ann lives in Oslo.", "user:ann") is None
    for what in (["2"], ["99"], ["4", "2"]):
        with pytest.raises(UsageError, match=f"no note {what[-1]}") as gone:
            acted(asked, "forget", what, "", "")
        assert exit_of(gone.value) is Exit.UNKNOWN
    assert len(told("list", "user:ann")) == 1, "where one of several is not there none is forgotten"  # type: ignore[arg-type]
    for action, what in (("burn", []), ("edit", ["1"]), ("forget", []), ("forget", ["x"])):
        with pytest.raises((InputError, UsageError)):
            acted(asked, action, what, "", "")
    assert acted(Asked(str(tmp_path / "none.db"), "default", True), "list", [], "", "") is Exit.DONE
    assert not (tmp_path / "none.db-memory").exists(), "looking makes no file"


async def test_what_was_taken_from_a_turn_is_listed_with_where_it_was_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = str(tmp_path / "x.db")
    with Memory(memory_file(db)) as notes:
        scope, at = Scope.of("thread:user-42"), datetime(2026, 3, 1, tzinfo=UTC)
        notes.take_up(scope, [Said(7, "My dog is called Wolke.", "user", "r-1", "ask[x]#1", at)], 7)
        notes.remember("word " * 4000, scope, source="handbook.md")
    assert acted(Asked(db, "default", False), "list", ["thread:user-42"], "", "") is Exit.DONE
    said = " ".join(capsys.readouterr().out.split())
    for part in ("My dog is called Wolke.", "turn 7", "ask[x]#1", "run r-1", "2026-03-01", "(19,999 characters)"):
        assert part in said
    acted(Asked(db, "default", True), "list", ["thread:user-42"], "", "")
    first, second = json.loads(capsys.readouterr().out)
    assert (first["turn"], first["taken"], first["run"], second["taken"]) == (7, True, "r-1", False)
    assert len(second["text"]) == 19_999
