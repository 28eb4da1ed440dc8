"""`segue prompts`: versions, shares and how each did; rolled out and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, ask, flow, prompt, tool
from segue.agent.prompts import Shelf
from segue.cli.prompts import prompts
from segue.errors import InputError, PromptError, RunFailed
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import KEYS, calls, catalogue, in_turn


@flow
async def sort(ticket: str) -> str:
    return await ask(prompt("triage", ticket=ticket), check=lambda said: "too short" if len(said) < 3 else None)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in KEYS:
        monkeypatch.setenv(name, "test")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts" / "triage").mkdir(parents=True)
    for name in ("v1", "v2"):
        (tmp_path / "prompts" / "triage" / f"{name}.md").write_text(f"{name}: {{{{ticket}}}}")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str, db: str = "x.db") -> Any:
    action, *rest = words or ("list",)
    prompts(action, rest[0] if rest else None, rest[1:], db=db, config=None, by="ada", as_json=True)
    return json.loads(capsys.readouterr().out)


async def test_how_each_version_did(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(asked: Asked) -> str:
        return "ok" if asked.prompt.startswith("v2") and "mistake" not in asked.prompt else "fine"

    async with (
        serve({"chat": Served(answer=answer)}) as server,
        Engine(str(home / "x.db"), resources={"catalogue": catalogue(server, "chat")}) as engine,
    ):
        for version, score in (("v1", 1.0), ("v2", 0.5), ("v2", 0.0)):
            Shelf.read().get("triage").roll_out({version: 1})
            run = await engine.start(sort, "t")
            await run.result()
            keys = [e.key async for e in run.events() if e.type == "attempt.recorded"]
            await run.feedback(score, key=keys[0])
    told = said(capsys)["triage"]
    assert {v: (d["share"], d["asks"], d["answered"], d["first"], d["rejected"]) for v, d in told.items()} == {
        "v1": (0.0, 1, 1, 1, 0), "v2": (1.0, 2, 2, 0, 2),
    }  # fmt: skip
    assert [(d["score"], d["scored"]) for d in told.values()] == [(1.0, 1), (0.25, 2)]
    assert told["v2"]["cost_usd"] > told["v1"]["cost_usd"] > 0


@tool(effect="read")
async def look_up(what: str) -> str:
    """Look up."""
    return what


@flow
async def looks(ticket: str) -> str:
    return await ask(prompt("triage", ticket=ticket), tools=[look_up], rounds=3)


async def test_rounds_of_a_question_with_tools_are_one_question(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And one whose model never comes to an answer has none."""

    def answer(asked: Asked) -> Any:
        looks_up = calls("look_up", what="x")
        return looks_up if asked.prompt.startswith("v2") else in_turn(looks_up, looks_up, "fine")(asked)

    async with (
        serve({"chat": Served(answer=answer)}) as server,
        Engine(str(home / "x.db"), resources={"catalogue": catalogue(server, "chat")}) as engine,
    ):
        for version in ("v1", "v1", "v2"):
            Shelf.read().get("triage").roll_out({version: 1})
            run = await engine.start(looks, "t")
            try:
                await run.result()
            except RunFailed:
                assert version == "v2"
        await run.feedback(1.0)
    told = said(capsys)["triage"]
    assert {v: (d["asks"], d["answered"], d["first"], d["scored"]) for v, d in told.items()} == {
        "v1": (2, 2, 2, 0), "v2": (1, 0, 0, 0),
    }  # fmt: skip


def test_one_file_is_one_version_and_is_told_how_to_become_more(home: Path) -> None:
    (home / "prompts" / "one.md").write_text("One: {{ticket}}")
    with pytest.raises(PromptError, match=r"one file, .*one\.md") as told:
        Shelf.read().get("one").roll_out({"v1": 1})
    assert str(Path("prompts", "one", "v1.md")) in (told.value.remedy or "")


def test_who_has_set_it_may_be_no_text(home: Path) -> None:
    Shelf.read().get("triage").roll_out({"v1": 1}, by="ad\udcffa")
    assert 'by = "ada"' in (home / "prompts" / "triage" / "rollout.toml").read_text()


def test_rolled_out_and_back(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys)["triage"]["v2"]["share"] == 1.0
    assert said(capsys, "set", "triage", "v1=0.9", "v2=0.1")["shares"] == {"v1": 0.9, "v2": 0.1}
    assert said(capsys, "pin", "triage", "v2")["before"] == {"v1": 0.9, "v2": 0.1}
    assert said(capsys, "rollback", "triage")["shares"] == {"v1": 0.9, "v2": 0.1}
    assert dict(Shelf.read().get("triage").shares) == {"v1": 0.9, "v2": 0.1}
    assert prompts("list", None, [], db="x.db", config=None, by="", as_json=False) == 0
    assert "90%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (("sett", "triage", "v1=1"), InputError, "no action"),
        (("set",), InputError, "which prompt"),
        (("pin", "triage"), InputError, "which version"),
        (("set", "triage", "v1=much"), InputError, "no share"),
        (("set", "triage", "v1=1", "v1=2"), InputError, "the share of v1 is there twice"),
        (("pin", "triage", "v1", "v2"), InputError, "prompts pin takes no 'v2'"),
        (("rollback", "triage", "v1"), InputError, "prompts rollback takes no 'v1'"),
        (("list", "triage", "v1"), InputError, "prompts list takes no 'v1'"),
        (("pin", "triage", "v9"), PromptError, "no version 'v9'"),
        (("rollback", "triage"), PromptError, "nothing to go back to"),
    ],
)
def test_mistakes(
    home: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        said(capsys, *words)


def test_a_version_that_is_gone_is_listed_and_told_and_set_anew(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Shelf.read().get("triage").roll_out({"v1": 0.9, "v2": 0.1})
    (home / "prompts" / "triage" / "v2.md").unlink()
    with pytest.raises(PromptError, match="prompts set triage v1=1"):
        said(capsys)
    told = json.loads(capsys.readouterr().out)["triage"]
    assert {version: (one["share"], one["path"] is None) for version, one in told.items()} == {
        "v1": (0.9, False), "v2": (0.1, True)
    }  # fmt: skip
    assert said(capsys, "set", "triage", "v1=1")["shares"] == {"v1": 1.0}
    assert said(capsys)["triage"]["v1"]["share"] == 1.0
