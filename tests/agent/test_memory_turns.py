"""What was said in threads and runs is recalled: from everywhere, once, and nothing that came after a fork left."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, Thread, ask, flow, memory, step
from segue.agent import taking
from segue.agent.memories import memory_file
from segue.context import Memory, Note, Scope
from segue.core.events import EventType
from segue.core.records import Manifest, record_of
from segue.models import Catalogue
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import KEYS, model, opened
from tests.agent.test_long_threads import TALK, answers, is_summary, shown
from tests.forked import Forked

CODE = "My locker code is zebra-4411, by the way."
ASKS = "What is my locker code?"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


def recalled(asked: Asked) -> str:
    """What stands under the heading of what was recalled."""
    return "\n".join(turn.text for turn in asked.turns if turn.text.startswith("[recalled]"))


SEEN: list[Asked] = []


def nods(asked: Asked) -> str:
    SEEN.append(asked)
    return f"Noted, as number {len(asked.prompt)}."


@flow
async def chats(text: str, scopes: list[str] | None = None, tokens: int = 1000) -> str:
    return await ask(text, memory=scopes or [], memory_tokens=tokens, timeout_s=5, max_tokens=300)


@step
async def waits_a_little(text: str) -> str:
    return text


@flow
async def looks(text: str, scopes: list[str]) -> list[str]:
    await waits_a_little(text)
    return await memory.recall(text, scopes)


async def say(name: str, *texts: str) -> list[Any]:
    runs = [await Thread(name).start(chats, text) for text in texts]
    for run in runs:
        await run.result()
    return runs


def notes_of(path: Path, scope: str) -> list[Note]:
    with Memory(memory_file(str(path / "x.db"))) as notes:
        return notes.notes(Scope.of(scope))


async def test_what_was_said_in_a_thread_is_recalled_from_any_run_and_process(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=nods)}) as server:
        async with opened(tmp_path, server, "chat") as engine:
            first, second = await say("user-42", "Hello there.", CODE)
            (said,) = await engine.run(looks, ASKS, ["thread:user-42"])
            assert f"user: {CODE}" in said
            assert await engine.run(looks, ASKS, ["thread:user-4", "user:user-42"]) == []
        async with opened(tmp_path, server, "chat") as engine:
            await engine.run(chats, ASKS, ["thread:user-42"])
            assert "zebra-4411" in recalled(SEEN[-1])
            theirs = await engine.begin(looks, (ASKS, ["thread:user-42"]), {}, tenant="other")
            assert await theirs.result() == []
    notes = notes_of(tmp_path, "thread:user-42")
    assert [(note.who, note.turn, note.run) for note in notes] == [
        ("user", 1, first.id), ("assistant", 1, first.id), ("user", 2, second.id), ("assistant", 2, second.id),
    ]  # fmt: skip
    assert all(note.taken and note.source.startswith("ask[") and note.at is not None for note in notes)


async def test_what_a_summary_has_lost_is_recalled_and_what_is_shown_is_not_shown_twice(tmp_path: Path) -> None:
    seen: list[Asked] = []

    def forgets(asked: Asked) -> str:
        if is_summary(asked):
            return '{"summary": "They talked."}'
        seen.append(asked)
        return answers(asked)

    async with serve({"chat": Served(answer=forgets)}) as server:
        small = Catalogue.of(replace(model(server, "chat"), window=4_000, max_output=600))
        async with Engine(str(tmp_path / "x.db"), resources={"catalogue": small}):
            await say("u", "Hello.", CODE)
            await (await Thread("u").start(chats, ASKS, ["thread:u"])).result()
            assert "zebra" in shown(seen[-1])
            assert recalled(seen[-1]) == "", "the turn itself is shown"
            await say("u", *(TALK.format(n=n) for n in range(14)))
            await (await Thread("u").start(chats, "Where is the station?", ["thread:u"])).result()
            run = None
            for n in range(14, 40):
                await (await Thread("u").start(chats, TALK.format(n=n))).result()
                run = await Thread("u").start(chats, f"{ASKS} ({n})", ["thread:u"], 300)
                await run.result()
                assert "zebra-4411" in shown(seen[-1]), "at no length of the thread it is lost in between"
    assert "zebra-4411" in recalled(seen[-1])
    assert "turn 39" not in recalled(seen[-1]), "the newest turns are shown by themselves"
    async with Engine(str(tmp_path / "x.db"), recover=False) as engine:
        assert run is not None
        events = [e async for e in (await engine.get(run.id)).events(follow=False)]
    made = record_of([e for e in events if e.type == EventType.CONTEXT_ASSEMBLED][-1])
    assert isinstance(made, Manifest)
    assert any(part.kind == "memory" and "thread u: note-" in (part.source or "") for part in made.parts)


async def test_a_branch_recalls_what_it_shares_and_its_own_and_a_fork_nothing_later(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=nods)}) as server, opened(tmp_path, server, "chat") as engine:
        runs = await say("t", "My dog is called Wolke.", "My cat is called Mia.", "My horse is called Sturm.")
        early = await (await Thread("t").start(looks, "What is my pet called?", ["thread:t"])).result()
        assert all(name in early[0] for name in ("Wolke", "Mia", "Sturm"))
        edited = await Thread("t").edit(runs[1], "My hen is called Berta.")
        await edited.result()
        assert edited.thread is not None
        branch = await engine.run(looks, "What is my pet called?", [f"thread:{edited.thread}"])
        assert "Wolke" in branch[0] and "Berta" in branch[0]
        assert "Mia" not in branch[0] and "Sturm" not in branch[0]
        inside = await (await Thread(edited.thread).start(looks, "What is my pet called?", ["thread:t"])).result()
        assert "Berta" in inside[0] and "Mia" not in inside[0], "in its turns the name of the thread means the branch"
        assert "Berta" not in (await engine.run(looks, "What is my pet called?", ["thread:t"]))[0]


async def test_a_fork_of_a_turn_recalls_nothing_that_came_later(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=nods)}) as server, opened(tmp_path, server, "chat") as engine:
        await say("t", "My dog is called Wolke.")
        run = await Thread("t").start(looks, "What is my pet called?", ["thread:t"])
        first = await run.result()
        await say("t", "My cat is called Mia.")
        assert "Mia" in (await engine.run(looks, "What is my pet called?", ["thread:t"]))[0], "it is taken up by now"
        fork = await run.fork(at=2)
        assert await fork.result() == first
        assert "Mia" not in first[0]


@flow
async def drafts(topic: str) -> dict[str, str]:
    said = await ask(f"Draft a slogan for {topic}.", timeout_s=5, max_tokens=300)
    own = await memory.recall("Which slogan was drafted?", ["run:r1"])
    return {"slogan": said, "own": "\n".join(own)}


async def test_what_a_run_was_asked_and_answered_is_recalled_with_its_input_and_result(tmp_path: Path) -> None:
    drafted = Served(answer=lambda _: "Tea makes free.")
    async with serve({"chat": drafted}) as server, opened(tmp_path, server, "chat") as engine:
        made = await engine.run(drafts, "a tea shop", id="r1")
        assert "assistant: Tea makes free." in made["own"]
        assert "result" not in made["own"], "it has not ended"
        (said,) = await engine.run(looks, "Which slogan was drafted?", ["run:r1"])
        assert "input: a tea shop" in said and "user: Draft a slogan for a tea shop." in said
        assert "result: slogan: Tea makes free." in said
        assert await engine.run(looks, "Which slogan?", ["run:nobody"]) == []
        notes = notes_of(tmp_path, "run:r1")
        assert [note.source[:4] for note in notes][:3] == ["inpu", "ask[", "ask["]
        await engine.gc(0)
        assert notes_of(tmp_path, "run:r1") == []


@flow
async def forgets(note: int) -> None:
    await memory.forget(note, by="ann")


@flow
async def corrects(note: int, text: str) -> int:
    return await memory.edit(note, text, by="ann")


async def test_what_was_forgotten_or_corrected_is_not_taken_up_again(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=nods)}) as server, opened(tmp_path, server, "chat") as engine:
        await say("t", CODE, "My dog is called Wolke.")
        await engine.run(looks, ASKS, ["thread:t"])
        code, dog = (next(n.id for n in notes_of(tmp_path, "thread:t") if w in n.text) for w in ("zebra", "Wolke"))
        await engine.run(forgets, code)
        await engine.run(corrects, dog, "My dog is called Blitz.")
        await say("t", CODE, "My dog is called Wolke.", "I like tea.")
        (said,) = [*map("\n".join, [await engine.run(looks, "locker code, dog, tea?", ["thread:t"])])]
        assert "zebra" not in said and "Wolke" not in said
        assert "Blitz" in said and "tea" in said
        assert b"zebra" not in Path(memory_file(str(tmp_path / "x.db"))).read_bytes()


async def test_what_was_said_goes_with_its_run_and_with_its_tenant(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=nods)}) as server, opened(tmp_path, server, "chat") as engine:
        old, _ = await say("t", CODE, "My dog is called Wolke.")
        await engine.run(looks, ASKS, ["thread:t"])
        await engine.run(
            corrects, next(n.id for n in notes_of(tmp_path, "thread:t") if "zebra" in n.text), "It is x-1."
        )
        await say("t", "My cat is called Mia.")
        collected = await engine.gc(0)
        assert old.id in collected.runs
        left = {note.text for note in notes_of(tmp_path, "thread:t")}
        assert left == set(), "all that was taken up was said in runs that are gone"
        assert b"zebra" not in Path(memory_file(str(tmp_path / "x.db"))).read_bytes()
        await say("t", "My dog is called Wolke.", "My hen is called Berta.")
        assert "Wolke" in "".join(await engine.run(looks, "dog?", ["thread:t"])), "said again, it is taken up again"
        await say("never-looked-at", "My fish is called Nemo.")
        await engine.erase("default", by="dpo")
        assert await engine.run(looks, "dog, hen, fish?", ["thread:t", "thread:never-looked-at"]) == []
        await say("t", "My pig is called Rosa.")
        assert "Rosa" in "".join(await engine.run(looks, "pig?", ["thread:t"]))


async def test_a_crash_in_the_middle_of_taking_up_loses_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies between two transactions, and in one."""
    monkeypatch.setattr(taking, "_AT_ONCE", 2)
    texts = [f"Fact {n} is {n * 7919}." for n in range(9)]
    async with serve({"chat": Served(answer=nods)}) as server, opened(tmp_path, server, "chat") as engine:
        await say("t", *texts)
        takes = Memory.take_up
        for dies_at in (1, 2, 1):
            left = [dies_at]

            def dies(self: Memory, *args: Any, left: list[int] = left, **more: Any) -> None:
                left[0] -= 1
                if left[0] < 0:
                    raise RuntimeError("killed")
                takes(self, *args, **more)

            monkeypatch.setattr(Memory, "take_up", dies)
            with pytest.raises(Exception, match="killed"):
                await engine.run(looks, "Fact 3?", ["thread:t"])
        monkeypatch.setattr(Memory, "take_up", takes)
        inserts = Memory._insert  # pyright: ignore[reportPrivateUsage]
        left = [1]

        def breaks(self: Memory, *args: Any) -> int:
            left[0] -= 1
            if left[0] < 0:
                raise RuntimeError("killed inside")
            return inserts(self, *args)

        monkeypatch.setattr(Memory, "_insert", breaks)
        with pytest.raises(Exception, match="killed inside"):
            await engine.run(looks, "Fact 3?", ["thread:t"])
        monkeypatch.setattr(Memory, "_insert", inserts)
        both = await asyncio.gather(*(engine.run(looks, f"Fact {n}?", ["thread:t"]) for n in range(3)))
        assert all(both)
    said = [note.text for note in notes_of(tmp_path, "thread:t") if note.who == "user"]
    assert said == texts


_LOOKS = """
import asyncio, sys
from segue import Engine
from tests.agent.test_memory_turns import looks
async def main():
    async with Engine(sys.argv[1], recover=False) as engine:
        print(len(await engine.run(looks, "Fact 3?", ["thread:t"])))
asyncio.run(main())
"""


async def test_two_processes_take_up_each_turn_once(tmp_path: Path) -> None:
    texts = [f"Fact {n} is {n * 7919}." for n in range(40)]
    async with serve({"chat": Served(answer=nods)}) as server, opened(tmp_path, server, "chat"):
        await say("t", *texts)
    for one in [await asyncio.to_thread(Forked, "code", _LOOKS, tmp_path / "x.db") for _ in range(2)]:
        out = await one.ended()
        assert (one.returncode, int(out)) == (0, 1)
    assert [note.text for note in notes_of(tmp_path, "thread:t") if note.who == "user"] == texts


MANUAL = "\n\n".join(
    f"# Pump {n}\n\nThe pump number {n} stands in hall {n % 9}. It is checked every {n % 31 + 3} days by crew "
    f"{'ABCDEFG'[n % 7]}. Its valve has the serial {n * 7919}." for n in range(4000)
)  # fmt: skip


@flow
async def keeps(text: str, scope: str) -> int | None:
    return await memory.remember(text, scope, source="manual.pdf")


async def test_a_manual_is_recalled_by_the_pieces_that_fit_and_edited_and_forgotten_as_a_whole(tmp_path: Path) -> None:
    assert len(MANUAL) > 400_000
    async with serve({"chat": Served(answer=nods)}) as server, opened(tmp_path, server, "chat") as engine:
        note = await engine.run(keeps, MANUAL, "team:ops")
        other = await engine.run(keeps, "The coffee machine is checked by crew Z.", "team:ops")
        assert note is not None and other is not None
        run = await engine.start(chats, "What serial has the valve of the pump number 1577?", ["team:ops"])
        await run.result()
        said = recalled(SEEN[-1])
        assert str(1577 * 7919) in said
        assert "manual.pdf" in said and " of " in said
        assert len(said) < 5000
        await engine.run(chats, "Who checks the coffee machine?", ["team:ops"])
        assert "crew Z" in recalled(SEEN[-1])
        new = await engine.run(corrects, note, MANUAL.replace(str(1577 * 7919), "unknown-since-May"))
        keys = [e.key or "" async for e in run.events(follow=False)]
        await (await run.fork(at=next(key for key in keys if key.startswith("ask[")))).result()
        assert "unknown-since-May" in recalled(SEEN[-1]), "also where the old piece was found"
        await engine.run(forgets, new)
        assert "1577" not in "".join(await engine.run(looks, "pump number 1577?", ["team:ops"]))


async def test_each_scope_has_its_share(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=nods)}) as server, opened(tmp_path, server, "chat") as engine:
        await say("t", *(f"{n}: {TALK.format(n=n)}" for n in range(12)))
        await engine.run(keeps, "Ann lives in Oslo.", "user:ann")
        await engine.run(chats, "Where does Ann live?", ["thread:t", "run:nobody", "user:ann"], 400)
        assert "Oslo" in recalled(SEEN[-1])
        assert "turn" in recalled(SEEN[-1])
