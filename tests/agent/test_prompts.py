"""Named prompts: a run keeps its version, shares are what was said, a missing value names file and line."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue import Engine, RunFailed, ask, flow, prompt, wait_for
from segue.agent.prompts import Named, Shelf, Version, filled
from segue.agent.prompts.shelf import luck_of
from segue.core.records import AttemptRecorded, record_of
from segue.errors import ConfigError, PromptError
from segue.testing import Crash
from segue.testing import Engine as InMemory
from segue.testing.crash import play
from segue.testing.provider import serve
from tests.agent.served import KEYS, catalogue


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in KEYS:
        monkeypatch.setenv(name, "test")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "prompts" / "triage"
    folder.mkdir(parents=True)
    (folder / "v1.md").write_text("One: sort {{ticket}}.\n")
    (folder / "v2.md").write_text("Two: sort this.\n\n{{ ticket }}\nfor {{customer}}\n")
    (folder / "v10.md").write_text('Ten: {{ticket}} as {"kind": 1}.\n')
    return folder


def rollout(**shares: float) -> Named:
    Shelf.read().get("triage").roll_out(shares, by="ada")
    return Shelf.read().get("triage")


@flow
async def triage(ticket: str, version: str | None = None, user: str | None = None) -> list[str]:
    named = prompt("triage", ticket=ticket, customer="c")
    named = named if version is None else named.at(version)
    named = named if user is None else named.sticky(user)
    first = await ask(named)
    await wait_for("go")
    return [first, await ask(named)]


def resources(server: Any) -> dict[str, Any]:
    return {"catalogue": catalogue(server, "chat")}


async def told(engine: Engine, **arguments: Any) -> list[str]:
    run = await engine.start(triage, "t", **arguments)
    await run.signal("go")
    return [re.sub(r"You said: (\w+).*", r"\1", said, flags=re.DOTALL) for said in await run.result()]


async def test_a_run_keeps_its_version_whatever_is_rolled_out_meanwhile(tmp_path: Path) -> None:
    async with serve(["chat"]) as server, Engine(str(tmp_path / "x.db"), resources=resources(server)) as engine:
        rollout(v1=1)
        run = await engine.start(triage, "t")
        while not [e async for e in run.events(follow=False) if e.type == "attempt.recorded"]:
            await asyncio.sleep(0.01)
        rollout(v2=1)
        await run.signal("go")
        first, second = await run.result()
        assert first == second
        assert first.startswith("You said: One")
        assert await told(engine) == ["Two", "Two"]
        run = await engine.start(triage, "t", id="second")
        await run.signal("go")
        await run.result()
        events = [e async for e in run.events()]
    steps = [(e.key or "").partition("#")[0] for e in events if e.type == "step.completed"]
    assert steps.count("prompt[triage]") == 1
    records = [record_of(e) for e in events if e.type == "attempt.recorded"]
    versions = [r.details["prompts"] for r in records if isinstance(r, AttemptRecorded)]
    assert versions == [{"triage": "v2"}] * 2


async def test_it_is_pinned_or_sticks_to_a_key(tmp_path: Path) -> None:
    async with serve(["chat"]) as server, Engine(str(tmp_path / "x.db"), resources=resources(server)) as engine:
        assert await told(engine) == ["Ten", "Ten"]
        assert await told(engine, version="v2") == ["Two", "Two"]
        rollout(v1=1, v2=1)
        for user in ("ada", "bob", "eve"):
            assert len({tuple(await told(engine, user=user)) for _ in range(4)}) == 1


async def test_what_the_model_is_told_of_its_role_may_be_a_named_prompt_too(tmp_path: Path, home: Path) -> None:
    """One version of each a run, both on record; without a value nothing is asked."""
    role = home.parent / "clerk"
    role.mkdir()
    (role / "v1.md").write_text("You sort for {{shop}}.\n")

    @flow(name="in_a_role")
    async def in_a_role(shop: str | None) -> str:
        values = {} if shop is None else {"shop": shop}
        system = prompt("clerk", **values)
        first = await ask(prompt("triage", ticket="t").at("v1"), system=system)
        return first + await ask("And now?", system=system)

    async with serve(["chat"]) as server, Engine(str(tmp_path / "x.db"), resources=resources(server)) as engine:
        run = await engine.start(in_a_role, "Acme")
        await run.result()
        sent = [[m["content"] for m in entry.body["messages"] if m["role"] == "system"] for entry in server.log]
        events = [e async for e in run.events()]
        with pytest.raises(RunFailed, match=r"\{\{shop\}\} has no value"):
            await engine.run(in_a_role, None)
        assert server.counts().calls == 2
    assert sent == [["You sort for Acme."]] * 2
    steps = [(e.key or "").partition("#")[0] for e in events if e.type == "step.completed"]
    assert (steps.count("prompt[clerk]"), steps.count("prompt[triage]")) == (1, 1)
    records = [record_of(e) for e in events if e.type == "attempt.recorded"]
    versions = [r.details["prompts"] for r in records if isinstance(r, AttemptRecorded)]
    assert versions == [{"triage": "v1", "clerk": "v1"}, {"clerk": "v1"}]


async def test_a_replay_needs_no_file(tmp_path: Path, home: Path) -> None:
    """Killed at every commit, with other versions rolled out at each start: one run, one version."""
    async with serve(["chat"]) as server:

        async def scene(engine: InMemory) -> Any:
            run = await engine.start(triage, "t", id="main")
            await run.signal("go", id="one")
            got = await run.result()
            rollout(v1=0.5, v2=0.5, v10=1)
            return got

        _, engine = await play(scene, resources=resources(server))
        for commit in range(1, engine.commits + 1):
            rollout(**{("v1", "v2", "v10")[commit % 3]: 1})
            (first, second), _ = await play(scene, [Crash(commit, "after")], resources=resources(server))
            assert first == second


async def test_a_missing_value_names_file_and_line(tmp_path: Path, home: Path) -> None:
    @flow(name="lacks")
    async def lacks() -> str:
        return await ask(prompt("triage", ticket="t").at("v2"))

    async with serve(["chat"]) as server, Engine(str(tmp_path / "x.db"), resources=resources(server)) as engine:
        with pytest.raises(RunFailed) as failed:
            await engine.run(lacks)
    error = failed.value.__cause__
    assert isinstance(error, PromptError)
    assert (error.path, error.line) == (str(home / "v2.md"), 4)
    assert "{{customer}} has no value" in error.message


def test_shares_are_what_was_said_and_raising_one_takes_nobody_away() -> None:
    keys = [f"user {n}" for n in range(2000)]
    small, large = rollout(v1=0.9, v2=0.1), rollout(v1=0.6, v2=0.4)
    before, after = ({k: one.drawn(luck_of("triage", k)).name for k in keys} for one in (small, large))
    assert Counter(before.values())["v2"] == pytest.approx(200, abs=45)
    assert Counter(after.values())["v2"] == pytest.approx(800, abs=75)
    assert all(after[k] == "v2" for k in keys if before[k] == "v2")


def test_it_is_rolled_back_to_what_was_before() -> None:
    assert dict(Shelf.read().get("triage").shares) == {"v10": 1.0}
    rollout(v1=0.9, v2=0.1)
    rollout(v2=1)
    assert Shelf.read().get("triage").roll_back(by="ada") == {"v1": 0.9, "v2": 0.1}
    assert dict(Shelf.read().get("triage").shares) == {"v1": 0.9, "v2": 0.1}


def test_nothing_to_go_back_to() -> None:
    with pytest.raises(PromptError, match="nothing to go back to"):
        Shelf.read().get("triage").roll_back()


def test_prompts_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "segue.toml").write_text(
        "[prompts.greet]\nrollout = { a = 1, b = 3 }\n"
        '[prompts.greet.versions]\na = "Hi {{name}}"\nb = "Hello {{name}}"\n'
    )
    shelf = Shelf.read()
    assert list(shelf.prompts) == ["greet", "triage"]
    assert dict(shelf.get("greet").shares) == {"a": 1.0, "b": 3.0}
    with pytest.raises(PromptError, match=r"stands in segue\.toml"):
        shelf.get("greet").roll_out({"a": 1})
    with pytest.raises(PromptError, match=r"stands in segue\.toml: change its rollout there"):
        shelf.get("greet").roll_back()
    with pytest.raises(PromptError, match="did you mean triage"):
        shelf.get("triag")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[prompts.triage]\nrollout = { v7 = 1 }", "no version 'v7'"),
        ("[prompts.triage.rollout]\nv1 = 1\nv2 = -1", r"line 3: prompts\.triage\.rollout\.v2: -1 is negative"),
        (
            "[prompts.triage]\nfolder = 3",
            r"^segue.toml, line 2: prompts\.triage\.folder: a text was expected, not 3\n  do",
        ),
        (
            "[prompts.x.versions]\na = 'Hi'\nb = 'Hi {{a b}}'",
            r"line 3: prompts\.x\.versions\.b: line 1: '{{a b}}' is no",
        ),
        ("[prompts.triage]\nrollout = { v1 = 0 }", "no version has a share"),
        (
            "[prompts.x]\nfolder = 'prompts/triage'\nversions = { a = 'Hi' }",
            r"line 2: prompts\.x\.folder: its versions",
        ),
        ("[prompts.gone]\nfolder = 'nowhere'", "there are no versions"),
        ("[prompts.triage]\nrolout = { v1 = 1 }", "did you mean rollout"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "segue.toml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        Shelf.read()


def test_a_file_that_is_no_text_is_told_by_its_name(home: Path) -> None:
    (home.parent / "odd.md").write_bytes(b"\xff\xfe")
    with pytest.raises(PromptError, match=r"odd\.md: this is no UTF-8"):
        Shelf.read().get("odd")
    assert Shelf.read().get("triage").drawn(0.5).name == "v10", "the others do not suffer from it"


def test_a_rollout_that_cannot_be_read_is_the_matter_of_its_prompt_alone(home: Path) -> None:
    (home.parent / "greet.md").write_text("Hi.")
    (home / "rollout.toml").write_text("[[rollout")
    assert Shelf.read().get("greet").drawn(0.5).text == "Hi."
    with pytest.raises(PromptError, match=r"rollout\.toml: this is no rollout"):
        Shelf.read().get("triage")


@pytest.mark.parametrize("shares", [{"v1": 0.9, "v2": 0.1}, {"v2": 1.0}])
def test_a_version_that_has_a_share_and_is_gone_is_told_and_can_be_mended(home: Path, shares: dict[str, float]) -> None:
    (home.parent / "greet.md").write_text("Hi.")
    rollout(v10=1)
    rollout(**shares)
    (home / "v2.md").unlink()
    assert Shelf.read().get("greet").drawn(0.5).text == "Hi."
    with pytest.raises(
        PromptError, match=r"(?s)rollout\.toml: prompt 'triage' has no version 'v2', .* prompts set triage v10=1"
    ):
        Shelf.read().get("triage").drawn(0.0)
    assert Shelf.read().get("triage").version("v1").name == "v1", "who names a version has it"
    assert Shelf.read().get("triage").roll_back() == {"v10": 1.0}
    Shelf.read().get("triage").roll_out({"v1": 1})
    assert Shelf.read().get("triage").drawn(0.0).name == "v1"


def test_a_version_without_a_share_may_go(home: Path) -> None:
    rollout(v1=1, v2=0)
    (home / "v2.md").unlink()
    assert Shelf.read().get("triage").drawn(0.5).name == "v1"


NAMES = st.from_regex(r"[a-z_]{1,6}", fullmatch=True)


@given(st.dictionaries(NAMES, st.text()), st.text().filter(lambda t: "{" not in t and "}" not in t))
def test_what_is_filled_in_is_taken_as_it_is(values: dict[str, str], between: str) -> None:
    text = between.join(f"{{{{{name}}}}}" for name in values)
    made = filled(Version(name="v", text=text, path="p"), values)
    assert made == between.join(values.values())


def test_values_too_many_are_a_mistake_unless_another_version_wants_them() -> None:
    version = Version(name="v", text="{{a}}", path="p")
    assert filled(version, {"a": {"x": 1}, "b": 2}, known=["b"]) == '{"x":1}'
    with pytest.raises(PromptError, match="no place 'b'"):
        filled(version, {"a": 1, "b": 2})
    with pytest.raises(PromptError, match="line 2"):
        filled(Version(name="v", text="x\n{{a b}}", path="p"), {})


@pytest.mark.parametrize("text", ["Sort\n{{ticket}} of {{name", "Sort {{ticket}}\nof {{name} today.", "\n{{"])
def test_a_place_without_an_end_is_told_with_its_line(text: str) -> None:
    with pytest.raises(PromptError, match=r"p\.md, line 2: '\{\{.*has no end"):
        filled(Version(name="v1", text=text, path="p.md"), {"ticket": "x", "name": "y"})
    assert filled(Version(name="v1", text='{"a": {"b": {{c}}}}', path="p.md"), {"c": 1}) == '{"a": {"b": 1}}'
    assert filled(Version(name="v1", text="{{two}}", path="p.md"), {"two": "{{"}) == "{{"
