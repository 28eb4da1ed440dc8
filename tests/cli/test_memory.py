"""`segue memory`: list, edit, forget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segue import Engine, flow, memory
from segue.cli.exits import Exit
from segue.cli.notes import Asked
from segue.cli.notes import memory as acted
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
    assert told("forget", "2") == {"forgotten": [2]}
    (note,) = told("list", "user:ann")  # type: ignore[misc]
    assert (note["text"], note["source"], note["stands_for"]) == ("Ann lives in Bergen.", "turn 4", 1)
    acted(plain, "list", ["user:ann"], "", "")
    assert "Bergen" in capsys.readouterr().out
    async with Engine(db) as engine:
        assert await engine.run(keeps, "Ann lives in Oslo.", "user:ann") is None
    for action, what in (("burn", []), ("edit", ["1"]), ("forget", []), ("forget", ["x"]), ("forget", ["99"])):
        with pytest.raises((InputError, UsageError)):
            acted(asked, action, what, "", "")
    assert acted(Asked(str(tmp_path / "none.db"), "default", True), "list", [], "", "") is Exit.DONE
    assert not (tmp_path / "none.db-memory").exists(), "looking makes no file"
