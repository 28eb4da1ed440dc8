"""Memory in flows and in `ask`: scopes, provenance, corrections, forgetting; what a model saw of it is on record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, ask, flow, memory
from segue.agent.memories import memory_file
from segue.context import Memory, Scope
from segue.core.events import EventType
from segue.core.records import Manifest, record_of
from segue.errors import RunFailed
from segue.models import BadOutput
from segue.testing import Engine as InMemory
from segue.testing.crash import crash_everywhere
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import KEYS, opened


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


def shown(asked: Asked) -> str:
    return " / ".join(turn.text.replace("\n", " ") for turn in asked.turns)[:600]


@flow
async def keeps(texts: list[str], scope: str = "user:ann") -> list[int | None]:
    return [await memory.remember(text, scope, source="a letter") for text in texts]


@flow
async def asks(text: str, scopes: list[str]) -> str:
    return await ask(text, memory=scopes, timeout_s=5, max_tokens=300)


@flow
async def corrects(note: int, text: str) -> int:
    return await memory.edit(note, text, by="ann", why="moved")


@flow
async def forgets(note: int) -> None:
    await memory.forget(note, by="ann")


async def manifest(engine: Engine, run: str) -> Manifest:
    events = [e async for e in (await engine.get(run)).events(follow=False) if e.type == EventType.CONTEXT_ASSEMBLED]
    made = record_of(events[-1])
    assert isinstance(made, Manifest)
    return made


async def test_what_is_remembered_is_shown_with_its_provenance(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=shown)}) as server:
        async with opened(tmp_path, server, "chat") as engine:
            assert await engine.run(keeps, ["Ann lives in Oslo.", "Ann has a cat called Mia."]) == [1, 2]
            assert await engine.run(keeps, ["Bob lives in Rome."], scope="user:bob") == [3]
        async with opened(tmp_path, server, "chat") as engine:  # another process
            said = await engine.run(asks, "Where does Ann live?", ["user:ann"], id="asked")
            made = await manifest(engine, "asked")
            theirs = await engine.begin(asks, ("Where does Ann live?", ["user:ann"]), {}, tenant="other")
            assert "Oslo" not in await theirs.result(), "another tenant's Ann is another one"
    assert "[recalled]" in said
    assert "Oslo" in said
    assert "Rome" not in said
    (part,) = [part for part in made.parts if part.kind == "memory"]
    assert part.source == "user ann: note-1 note-2"
    assert part.relevance is not None


async def test_what_is_corrected_or_forgotten_does_not_come_back(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=shown)}) as server, opened(tmp_path, server, "chat") as engine:
        await engine.run(keeps, ["Ann lives in Oslo.", "Ann owes Bob 20 euros."])
        run = await engine.start(asks, "Where does Ann live, and whom does she owe?", ["user:ann"], id="old")
        assert "Oslo" in await run.result()
        new = await engine.run(corrects, 1, "Ann lives in Bergen.")
        await engine.run(forgets, 2)
        assert await engine.run(keeps, ["Ann lives in Oslo.", "Ann owes Bob 20 euros."], id="again") == [None, None]
        said = await engine.run(asks, "Where does Ann live, and whom does she owe?", ["user:ann"], id="new")
        assert "Bergen" in said
        assert "Oslo" not in said
        assert "owes" not in said
        fork = await run.fork(at=next(key for key in await step_keys(engine, "old") if key.startswith("ask[")))
        again = await fork.result()
        assert "Bergen" in again and "owes" not in again, "also in a run that had found it before"
        await engine.run(forgets, new)
        assert "Bergen" not in await engine.run(asks, "Where does Ann live?", ["user:ann"], id="last")
        held = b"".join(p.read_bytes() for p in tmp_path.glob("x.db-memory*"))
        assert b"Bergen" not in held and b"Oslo" not in held and b"owes" not in held


async def step_keys(engine: Engine, run: str) -> list[str]:
    return [e.key or "" async for e in (await engine.get(run)).events(follow=False) if e.type == "step.completed"]


@flow
async def learns(text: str) -> list[int]:
    return await memory.learn(text, "user:ann", source="turn 4")


async def test_a_failed_extraction_is_not_taken_for_nothing(tmp_path: Path) -> None:
    answers: dict[str, Any] = {
        "nothing": {"facts": [], "nothing": True},
        "silent": {"facts": []},
        "noise": {"facts": ["Ann met Queen Silvia."]},
        "facts": {"facts": ["Ann lives in Oslo.", "Ann is allergic to nuts."]},
    }

    def finds(asked: Asked) -> str:
        return json.dumps(answers[asked.prompt.split()[0]])

    text = "{}: Hello, I am Ann, I live in Oslo, and I am allergic to nuts."
    async with serve({"chat": Served(answer=finds)}) as server, opened(tmp_path, server, "chat") as engine:
        assert await engine.run(learns, text.format("nothing ")) == []
        for bad in ("silent ", "noise "):
            with pytest.raises(RunFailed) as failed:
                await engine.run(learns, text.format(bad))
            assert isinstance(failed.value.__cause__, BadOutput)
        assert await engine.run(learns, text.format("facts ")) == [1, 2]


@flow
async def recalls(request: str) -> list[str]:
    return await memory.recall(request, ["user:ann", "team:travel"])


async def test_a_flow_recalls_from_several_scopes(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "x.db")) as engine:
        await engine.run(keeps, ["Ann lives in Oslo."])
        await engine.run(keeps, ["The team meets in Bergen in May."], scope="team:travel")
        said = await engine.run(recalls, "Where is the meeting?")
        assert any("Bergen" in text for text in said)
        with pytest.raises(RunFailed, match="is no scope"):
            await engine.run(keeps, ["x"], scope="everybody")
    assert Path(memory_file(str(tmp_path / "x.db"))).exists()


@pytest.mark.parametrize("scope", ["team:note-1 club", "team:note-1", "team:a: note-1"])
async def test_a_scope_with_the_name_of_a_note_sees_nothing_of_another(tmp_path: Path, scope: str) -> None:
    async with serve({"chat": Served(answer=shown)}) as server, opened(tmp_path, server, "chat") as engine:
        await engine.run(keeps, ["Ann lives in Oslo."])
        await engine.run(keeps, ["The club meets in Bergen."], scope=scope)
        said = await engine.run(asks, "Where does the club meet, and Ann live?", [scope])
    assert "Bergen" in said
    assert "Oslo" not in said


@flow
async def tidies() -> int:
    note = await memory.remember("Ann lives in Oslo.", "user:ann")
    assert note is not None
    new = await memory.edit(note, "Ann lives in Bergen.", by="ann")
    await memory.forget(await memory.remember("Ann owes Bob.", "user:ann") or 0)
    return new


def test_a_crash_at_every_write_changes_each_note_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of notes and the journal are two: what was done before a crash is done again, and is no error."""

    async def scene(engine: InMemory) -> int:
        if not engine.journal.query("select 1 from runs"):
            files.append(tmp_path / str(len(files)))
        monkeypatch.setattr("segue.agent.memory.memory_here", lambda: Memory(str(files[-1])))
        return await (await engine.start(tidies, id="r")).result()

    def check(new: int, engine: InMemory) -> None:
        with Memory(str(files[-1])) as notes:
            (note,) = notes.notes(Scope.of("user:ann"))
            assert (note.id, note.text) == (new, "Ann lives in Bergen.")

    files: list[Path] = []
    assert crash_everywhere(scene, check=check) > 8


async def test_a_tenant_that_is_erased_leaves_no_note_and_no_other_loses_one(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "x.db")) as engine:
        for tenant in ("acme", "wal", "shm", "a-wal", "default"):
            run = await engine.begin(keeps, ([f"{tenant} has xylophagia."],), {}, id=tenant, tenant=tenant)
            assert await run.result() == [1]
    for tenant in ("acme", "wal", "default"):
        async with Engine(str(tmp_path / "x.db"), recover=False) as engine:  # another process
            await engine.erase(tenant, by="dpo", why="request 12")
            await engine.erase("nobody")
    left = {file.name for file in tmp_path.glob("x.db-memory*") if b"xylophagia" in file.read_bytes()}
    assert left == {"x.db-memory-shm%", "x.db-memory-a-wal%"}


async def test_notes_of_a_run_go_with_it_and_others_stay(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "x.db")) as engine:
        await engine.run(keeps, ["The first draft is blue."], scope="run:old", id="old")
        await engine.run(keeps, ["Ann lives in Oslo."], id="other")
        await engine.run(keeps, ["The second draft is red."], scope="run:new", id="new")
        assert "old" in (await engine.gc(0, dry_run=True)).runs
        assert {"old", "other"} == set((await engine.gc(0)).runs)
    with Memory(memory_file(str(tmp_path / "x.db"))) as notes:
        assert [str(scope) for scope, _ in notes.scopes()] == ["run:new", "user:ann"]


@flow
async def orders(tokens: int) -> str:
    rows = "\n".join(f"{100_000 + n},{n * 7919 % 90_000},{n * 5077 % 80_000},{n % 4}" for n in range(300))
    await memory.remember(f"id,ordered,shipped,returned\n{rows}", "team:ops")
    return await ask("How many of 100017 were returned?", memory=["team:ops"], memory_tokens=tokens, timeout_s=5)


@pytest.mark.parametrize("tokens", [500, 1_000, 2_000])
async def test_what_is_recalled_takes_no_more_tokens_than_its_manifest_says(tmp_path: Path, tokens: int) -> None:
    async with serve({"chat": Served(answer=shown)}) as server, opened(tmp_path, server, "chat") as engine:
        await engine.run(orders, tokens, id="asked")
        made = await manifest(engine, "asked")
    taken = sum(part.tokens for part in made.parts if part.kind == "memory")
    assert tokens // 2 < taken <= tokens
