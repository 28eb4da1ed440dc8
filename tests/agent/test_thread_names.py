"""What the name of a thread means: in a turn of a branch, and in all that is part of it, the branch."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from segue import Thread, ask, detach, flow, step, wait_for
from segue.core.events import EventType
from segue.errors import NotInAFlow
from segue.journal import Journal
from segue.runtime.check import Finding, check_one
from segue.testing.provider import Served, serve
from tests.agent.served import KEYS, opened
from tests.agent.test_thread_runs import recalls
from tests.behaviour.world import in_state


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


@flow
async def expert(text: str) -> str:
    if text == "waits":
        said = await ask("before", thread="t", timeout_s=5)
        await wait_for("go")
        return f"{said}; {await ask(text, thread='t', timeout_s=5)}"
    if text == "deeper":
        return await expert("deep")
    return await ask(text, thread=None if text == "aside" else "t", timeout_s=5)


@flow
async def own(text: str) -> str:
    return await ask(text, timeout_s=5)


@step
async def in_a_step(text: str) -> str:
    return await ask(text, thread="t", timeout_s=5)


@flow
async def chat(text: str) -> str:
    kind, _, said = text.partition(": ")
    if kind == "child":
        return await expert(said)
    if kind == "own":
        return await own(said)
    if kind == "step":
        return await in_a_step(said)
    if kind == "detached":
        return await detach(expert, said, id="apart")
    return await ask(text, timeout_s=5)


async def said_in(thread: Thread, text: str) -> str:
    return await (await thread.start(chat, text)).result()


async def test_a_child_of_a_turn_of_a_branch_means_the_branch(tmp_path: Path) -> None:
    """It heard the thread that was edited, and spoke into it."""
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server, "chat") as engine:
        old = Thread("t", engine)
        await (await old.start(chat, "one", id="1")).result()
        await (await old.start(chat, "two", id="2")).result()
        edited = await old.edit("2", "other")
        assert await edited.result() == "heard 2: one | other"
        branch = Thread(edited.thread or "", engine)
        assert await said_in(branch, "child: three") == "heard 3: one | other | three"
        assert await said_in(branch, "child: deeper") == "heard 4: one | other | three | deep"
        assert await said_in(branch, "child: aside") == "heard 1: aside"
        assert await said_in(branch, "own: alone") == "heard 1: alone", "it is no turn itself"
        assert await said_in(branch, "step: stepped") == "heard 5: one | other | three | deep | stepped"
        assert await said_in(old, "child: late") == "heard 3: one | two | late"
        last = await branch.start(chat, "child: five")
        said = await last.result()
        assert "other" in said and "late" not in said
        (child,) = [e.key async for e in last.events(follow=False) if e.type == EventType.CHILD_STARTED]
        assert await (await last.fork()).result() == said
        of_child = await engine.get(f"{last.id}/{child}")
        again = await of_child.fork()
        assert await again.result() == said
        assert await (await again.fork()).result() == said, "a fork of a fork too"
        await said_in(branch, "detached: apart")
        assert " other | " in await (await engine.get("apart")).result()


async def test_a_child_means_the_branch_after_a_restart_too(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=recalls)}) as server:
        async with opened(tmp_path, server, "chat") as engine:
            old = Thread("t", engine)
            await (await old.start(chat, "one", id="1")).result()
            edited = await old.edit("1", "other")
            await edited.result()
            run = await Thread(edited.thread or "", engine).start(chat, "child: waits")
            await in_state(run, "parked")
            (child,) = [row.id for row in engine.journal.runs("parent = ?", (run.id,))]
            await in_state(await engine.get(child), "parked")
        async with opened(tmp_path, server, "chat") as engine:
            with Journal.open_readonly(engine.path) as reader:
                found = await asyncio.to_thread(lambda: [check_one(reader, row).finding for row in reader.runs()])
            assert set(found) == {Finding.OK}
            await (await engine.get(child)).signal("go", None)
            assert (
                await (await engine.get(run.id)).result() == "heard 2: other | before; heard 3: other | before | waits"
            )


async def test_a_thread_outside_of_a_run_is_told_where_threads_live(tmp_path: Path) -> None:
    """It said that no step was running."""
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server, "chat"):
        with pytest.raises(NotInAFlow, match=r"thread= outside of a run: a thread lives in the database") as caught:
            await ask("Hello", thread="t")
        assert "history=" in str(caught.value) and server.counts("chat").calls == 0
        assert await ask("Hello", thread=None) == "heard 1: Hello"
