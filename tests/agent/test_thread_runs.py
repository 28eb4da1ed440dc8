"""`Thread`: turns are runs, one at a time, in the order in which they came; an edited one begins a branch."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from segue import Thread, ask, flow, sleep, step, wait_for
from segue.errors import DuplicateRun, EngineClosed, InputError, RunCancelled, RunFailed, UnknownRun
from segue.runtime.check import Finding, check
from segue.testing import Crash
from segue.testing import Engine as InMemory
from segue.testing.crash import play
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import KEYS, opened

SIDES: tuple[Literal["before", "after"], ...] = ("before", "after")
log: list[str] = []


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    log.clear()
    for name in KEYS:
        monkeypatch.setenv(name, "test")


def recalls(asked: Asked) -> str:
    """Says which of the user's sentences it is shown."""
    said = [turn.text for turn in asked.turns if turn.role == "user"]
    return f"heard {len(said)}: {' | '.join(text[:12] for text in said)}"[:400]


@flow
async def chat(text: str) -> str:
    return await ask(text, timeout_s=5, max_tokens=300)


@flow
async def chat_by_name(text: str) -> str:
    return await ask(text, thread="t", timeout_s=5, max_tokens=300)


@step
async def noted(word: str) -> str:
    log.append(word)
    return word


@flow
async def slow(name: str) -> str:
    await noted(f"{name} begins")
    await sleep(0.02)
    await noted(f"{name} ends")
    return name


@flow
async def fails(name: str) -> str:
    await noted(name)
    raise ValueError(name)


@flow
async def waits(name: str) -> str:
    await noted(f"{name} begins")
    return await wait_for("word", returns=str)


async def test_turns_run_one_at_a_time_in_the_order_in_which_they_came() -> None:
    async with InMemory() as engine:
        thread, other = Thread("t"), Thread("other")
        runs = [await thread.start(slow, name) for name in "abcd"]
        beside = await other.start(slow, "x")
        assert [await run.result() for run in reversed(runs)] == ["d", "c", "b", "a"]
        assert await beside.result() == "x"
        assert [one.state for one in await thread.turns()] == ["completed"] * 4
        assert engine.journal.query("select count(*) from runs where owner is null and state = 'queued'") == [(0,)]
    said = [word for word in log if not word.startswith("x")]
    assert said == [f"{name} {what}" for name in "abcd" for what in ("begins", "ends")]
    assert log.index("x ends") < log.index("c begins"), "another thread does not wait for this one"


async def test_what_is_sent_twice_is_one_turn(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server, "chat") as engine:
        thread = Thread("t", engine)
        first, again = [await thread.start(chat, "one", id="turn-1") for _ in range(2)]
        assert first.id == again.id == "t/turn-1"
        await first.result()
        assert (await thread.start(chat, "one", id="turn-1")).id == first.id
        with pytest.raises(DuplicateRun):
            await thread.start(chat, "two", id="turn-1")
        await engine.start(chat, "three", id="t/turn-3")
        with pytest.raises(DuplicateRun, match="no turn of the thread"):
            await thread.start(chat, "three", id="turn-3")
        assert (await Thread("t", engine, "theirs").start(chat, "one", id="turn-1")).id == "theirs/t/turn-1"
        assert [one.id for one in await thread.turns()] == ["turn-1"]
        assert server.counts("chat").calls <= 3


async def test_a_turn_that_fails_or_is_cancelled_lets_the_next_one_go() -> None:
    async with InMemory() as engine:
        thread = Thread("t")
        first, second = await thread.start(fails, "first"), await thread.start(waits, "second")
        third, fourth = await thread.start(noted_flow, "third"), await thread.start(noted_flow, "fourth")
        with pytest.raises(RunFailed):
            await first.result()
        await engine.settled()
        await third.cancel(why="not needed")
        with pytest.raises(RunCancelled):  # one that waits for its turn is cancelled at once
            await third.result()
        assert log == ["first", "second begins"]
        assert (await fourth.status()).state == "queued"
        await second.signal("word", "go")
        assert (await second.result(), await fourth.result()) == ("go", "fourth")
        assert "third" not in log


@flow
async def noted_flow(name: str) -> str:
    return await noted(name)


async def test_ask_in_a_turn_goes_on_from_its_thread(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=recalls)}) as server:
        async with opened(tmp_path, server, "chat"):
            thread = Thread("user-42")
            runs = [await thread.start(chat, f"sentence {n}") for n in range(3)]
            assert [(await run.result())[:7] for run in runs] == ["heard 1", "heard 2", "heard 3"]
        async with opened(tmp_path, server, "chat") as engine:  # another process
            run = await Thread("user-42").start(chat, "sentence 3")
            assert (await run.result()).startswith("heard 4: sentence 0")
            assert (await engine.run(chat, "alone")).startswith("heard 1"), "a run that is no turn has no thread"
            assert (await (await run.fork()).result()).startswith("heard 4"), "a fork of a turn hears what it heard"
            assert len(await Thread("user-42").turns()) == 4, "and is none"
            assert run.thread == "user-42"


async def test_an_edited_turn_begins_a_branch_that_shares_what_was_before(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server, "chat") as engine:
        thread = Thread("t")
        for n in range(4):
            await (await thread.start(chat, f"sentence {n}", id=f"turn-{n}")).result()
        edited = await thread.edit("turn-2", "another 2")
        assert (await edited.result()) == "heard 3: sentence 0 | sentence 1 | another 2"
        assert (await thread.edit("turn-2", "another 2")).id == edited.id, "the same edit is the same turn"
        branch = Thread(edited.thread or "")
        assert branch.id.startswith("t~")
        await (await branch.start(chat, "then 3")).result()
        said = await (await branch.start(chat, "then 4")).result()
        assert said == "heard 5: sentence 0 | sentence 1 | another 2 | then 3 | then 4"
        assert (await (await thread.start(chat, "sentence 4")).result()).startswith(
            "heard 5: sentence 0 | sentence 1 | s"
        )
        shared = await branch.turns()
        assert [one.thread for one in shared] == ["t", "t", branch.id, branch.id, branch.id]
        assert [one.branches for one in await thread.turns()] == [(), (), (branch.id,), (), ()]
        assert (await thread.branches()) == [branch]
        rows = engine.journal.query("select thread, count(*) from turns group by thread order by thread")
        assert rows == [("t", 5), (branch.id, 3)], "nothing is copied"
        # a branch of a branch, at a turn of its own and at one that it shares
        third = await branch.edit(shared[3].run, "elsewhere", to="named")
        assert (await third.result()) == "heard 4: sentence 0 | sentence 1 | another 2 | elsewhere"
        assert (await (await branch.edit("turn-0", "first")).result()) == "heard 1: first"
        with pytest.raises(InputError, match="there is a thread"):
            await thread.edit("turn-3", "x", to="named")
        with pytest.raises(UnknownRun, match="no turn 'turn-9'"):
            await thread.edit("turn-9", "x")


async def test_a_branch_that_asks_in_its_thread_by_name_asks_in_the_branch(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server, "chat"):
        thread = Thread("t")
        for n in range(3):
            await (await thread.start(chat_by_name, f"sentence {n}", id=f"turn-{n}")).result()
        edited = await thread.edit("turn-1", "another 1")
        assert await edited.result() == "heard 2: sentence 0 | another 1"
        below = await Thread(edited.thread or "").edit(edited, "a third 1")
        assert await below.result() == "heard 2: sentence 0 | a third 1"
        assert (await (await thread.start(chat_by_name, "sentence 3")).result()).startswith("heard 4: sentence 0")


async def test_what_is_sent_twice_to_a_branch_is_the_turn_that_it_shares() -> None:
    async with InMemory():
        thread = Thread("t")
        for n in range(3):
            await (await thread.start(slow, f"{n}", id=f"m{n}")).result()
        edited = await thread.edit("m2", "other 2")
        await edited.result()
        branch = Thread(edited.thread or "")
        before = await branch.turns()
        again = await branch.start(slow, "0", id="m0")
        assert (again.id, again.thread) == ("t/m0", "t")
        with pytest.raises(DuplicateRun):
            await branch.start(slow, "not 1", id="m1")
        assert await branch.turns() == before
        assert (await branch.start(slow, "other 2", id="m2")).id == edited.id
        assert await (await branch.start(slow, "3", id="m3")).result() == "3"
        first = await branch.edit("m0", "other 0")
        assert await first.result() == "other 0"
    assert log.count("0 begins") == 1


@flow
async def asks_and_waits(text: str) -> str:
    said = await ask(text, timeout_s=5, max_tokens=300)
    return f"{said}, {await wait_for('word', returns=str)}"


async def test_an_open_turn_is_replayed_in_its_thread(tmp_path: Path) -> None:
    """`segue check`, and what people say of a call: each replays the run."""
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server, "chat") as engine:
        await (await Thread("t").start(chat, "sentence 0")).result()
        run = await Thread("t").start(asks_and_waits, "sentence 1")
        async with asyncio.timeout(10):
            while not [e async for e in run.events(follow=False) if e.type == "step.completed" and "ask" in str(e.key)]:
                await asyncio.sleep(0.01)
        found = list(check(engine.journal))
        assert [(one.finding, one.next) for one in found] == [(Finding.OK, ("wait[word]#1",))]
        await run.override("wait[word]#1", "done")
        assert await run.result() == "heard 2: sentence 0 | sentence 1, done"


async def test_a_thread_with_the_longest_name_can_be_edited_and_so_can_its_branch() -> None:
    async with InMemory() as engine:
        names = ["n" * 199 + end for end in "ab"]
        branches = set[str]()
        for name in names:
            thread = Thread(name, engine)
            run = await thread.start(noted_flow, "one", id="1")
            await run.result()
            edited = await thread.edit("1", "two")
            again = await Thread(edited.thread or "", engine).edit("1", "three")
            assert await edited.result() != await again.result()
            branches |= {edited.thread or "", again.thread or ""}
        assert len(branches) == 4 and max(map(len, branches)) <= 200


async def test_an_edit_that_is_refused_leaves_no_branch() -> None:
    async with InMemory() as engine:
        thread = Thread("t", engine)
        for n in range(3):
            await (await thread.start(echoes, f"{n}", id=f"m{n}")).result()
        await engine.start(echoes, "x", id="other/m1")

        async def refused(match: str, *args: Any, **options: Any) -> None:
            before = engine.journal.query("select * from branches"), await thread.turns()
            with pytest.raises(InputError, match=match):
                await thread.edit(*args, **options)
            assert (engine.journal.query("select * from branches"), await thread.turns()) == before

        await refused("shares a turn 'm0'.*\n.*t/m0\n.*another id=", "m1", "other", id="m0")
        await refused("shares a turn 'm0'", "m1", "0", id="m0")
        await refused("'text' is no str", "m1", 5)
        await refused("512", "m1", "other", id="[" * 100, to="[" * 150)
        await refused("there is a thread 'other'", "m1", "other", to="other")
        edited = await thread.edit("m1", "other", to="mine")
        assert (await thread.edit("m1", "other", to="mine")).id == edited.id, "the same edit is the same turn"
        await refused("there is a thread 'mine' already", "m1", "another", to="mine")
        await refused("there is a thread 'mine' already", "m1", "other", to="mine", id="m9")
        assert await (await thread.edit("m0", "first", id="m2")).result() == "first", "it shares no m2"


async def test_a_turn_that_has_not_begun_cannot_be_edited() -> None:
    async with InMemory():
        thread = Thread("t")
        await thread.start(waits, "first", id="1")
        await thread.start(noted_flow, "second", id="2")
        with pytest.raises(InputError, match="waits for those before"):
            await thread.edit("2", "other")


async def test_a_turn_that_failed_can_be_edited(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server, "chat"):
        thread = Thread("t")
        await (await thread.start(chat, "sentence 0")).result()
        bad = await thread.start(fails, "second", id="bad")
        with pytest.raises(RunFailed):
            await bad.result()
        await (await thread.start(chat, "sentence 2")).result()
        run = await thread.edit("bad", "third")
        with pytest.raises(RunFailed):
            await run.result()
        after = await Thread(run.thread or "").start(chat, "sentence 3")
        assert (await after.result()) == "heard 2: sentence 0 | sentence 3"


async def test_a_thread_needs_an_open_engine() -> None:
    with pytest.raises(EngineClosed, match="no engine is open"):
        await Thread("t").turns()


async def test_a_crash_at_every_write_keeps_the_order_and_doubles_no_turn() -> None:
    async def scene(engine: InMemory) -> list[Any]:
        thread = Thread("t", engine)
        runs = [await thread.start(two_steps, name, id=name) for name in "abc"]
        return [await run.result() for run in runs]

    wanted, engine = await play(scene)
    assert wanted == ["a", "b", "c"]
    for commit in range(1, engine.commits + 1):
        for when in SIDES:
            got, last = await play(scene, [Crash(commit, when)])
            assert got == wanted
            ends = last.connection.execute(
                "select r.id from events e join runs r on r.no = e.run where e.type = 'step.completed' order by e.pos"
            ).fetchall()
            assert [one for (one,) in ends] == [f"t/{name}" for name in "aabbcc"], f"{when} commit {commit}"


@flow
async def two_steps(name: str) -> str:
    await noted(f"{name}1")
    return (await noted(f"{name}2"))[0]


@flow
async def whole(messages: list[dict[str, str]], stream: bool = False) -> str:
    """What a client of a chat protocol sends: all of the conversation, each time."""
    return await ask(messages[-1]["content"], history=messages, timeout_s=5, max_tokens=300, stream=stream)


def of(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


async def test_a_client_that_sends_the_whole_history_doubles_no_turn(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server, "chat") as engine:
        thread, held = Thread("t"), [of("user", "sentence 0")]
        for n in range(1, 5):
            said = await (await thread.start(whole, held)).result()
            assert said.startswith(f"heard {n}: "), "each sentence once"
            held += [of("assistant", "told in another form"), of("user", f"sentence {n}")]
        await (await thread.start(chat, "said elsewhere")).result()
        said = await (await thread.start(whole, held)).result()
        assert said == "heard 6: sentence 0 | sentence 1 | sentence 2 | sentence 3 | said elsewhe | sentence 4"
        again = await (await thread.start(whole, [*held, of("assistant", "x"), of("user", "sentence 5")])).result()
        assert again.startswith("heard 7: ")
        stored = engine.journal.query("select args from events where key like 'ask[%' and args is not null")
        assert len({bytes(args) for (args,) in stored if b"sentence 1" in bytes(args)}) == 1, "it is stored once"


async def test_what_a_client_knew_before_the_thread_is_taken_up_once(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server, "chat") as engine:
        old = [of("user", "long ago"), of("assistant", "Indeed."), of("user", "sentence 0")]
        assert (await engine.run(whole, old)) == "heard 2: long ago | sentence 0", "without a thread too"
        thread = Thread("t")
        assert (await (await thread.start(whole, old)).result()) == "heard 2: long ago | sentence 0"
        more = [*old, of("assistant", "?"), of("user", "sentence 1")]
        run = await thread.start(whole, more)
        assert (await run.result()) == "heard 3: long ago | sentence 0 | sentence 1"
        assert (await (await run.fork()).result()) == "heard 3: long ago | sentence 0 | sentence 1"
        assert (await (await thread.start(chat, "next")).result()).startswith("heard 4: long ago")
        with pytest.raises(RunFailed, match=r"history has \{'role': 'system'"):
            await (await thread.start(whole, [of("system", "obey"), of("user", "x")])).result()


async def test_a_stream_that_is_cancelled_leaves_no_broken_half(tmp_path: Path) -> None:
    def answers(asked: Asked) -> str:
        return "word " * 400 if asked.prompt == "Tell me a lot." else recalls(asked)

    models = {"chat": Served(answer=answers, token_s=0.01)}
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        thread = Thread("t")
        await (await thread.start(chat, "sentence 0")).result()
        run = await thread.start(whole, [of("user", "Tell me a lot.")], True)
        async for piece in run.stream():
            if "word" in getattr(piece, "text", ""):
                break
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
        assert (await (await thread.start(chat, "sentence 1")).result()) == "heard 2: sentence 0 | sentence 1"
        assert [one.state for one in await thread.turns()] == ["completed", "cancelled", "completed"]
        assert engine.journal.query("select count(*) from turns") == [(2,)]


@pytest.mark.parametrize("name", ["", " ", " t", "a\nb", "x" * 201, None, 5])
async def test_what_is_no_name_is_said_to_be_none(name: Any) -> None:
    """At once, in the words of a thread, and before anything is written."""
    async with InMemory() as engine:
        with pytest.raises(InputError, match="no name of a thread"):
            Thread(name, engine)
        thread = Thread("t", engine)
        await (await thread.start(echoes, "one", id="one")).result()
        for act in (partial(thread.edit, "one", "two", to=name), partial(thread.edit, "one", "two", id=name)):
            if name is not None:
                with pytest.raises(InputError, match="no name of a"):
                    await act()
        if name is not None:
            with pytest.raises(InputError, match="no name of a turn"):
                await thread.start(echoes, "two", id=name)
            with pytest.raises(InputError, match="no name of a thread"):
                await ask("Who?", thread=name)
        assert await thread.branches() == []


@flow
async def echoes(text: str) -> str:
    return text
