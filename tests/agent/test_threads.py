"""`ask(thread=...)`: a question goes on from what was said under that name, whoever said it, in whichever run."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from segue import Engine, ask, flow
from segue.agent.budgets import Allowance, Budgets
from segue.core.events import EventType
from segue.core.records import Fate, Manifest, record_of
from segue.errors import InputError, RunFailed
from segue.models import Catalogue
from segue.testing import Crash
from segue.testing import Engine as InMemory
from segue.testing.crash import play
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import FORMATS, KEYS, calls, catalogue, model, opened, results

SIDES: tuple[Literal["before", "after"], ...] = ("before", "after")


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


def recalls(asked: Asked) -> str:
    """Says which of the user's sentences it is shown, so that the next one can be told apart."""
    said = [turn.text for turn in asked.turns if turn.role == "user"]
    return f"heard {len(said)}: {' | '.join(text[:12] for text in said)}"[:400]


async def lookup(city: str) -> str:
    """Looks up a city."""
    return f"{city} has 7 hills"


@flow
async def turn(text: str, model: str | None = None, thread: str = "user-42", tools: bool = False) -> str:
    also: dict[str, Any] = {"tools": [lookup]} if tools else {}
    return await ask(text, model=model, thread=thread, timeout_s=5, max_tokens=300, **also)


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
@pytest.mark.parametrize("parts", [(), ("", " ")])
async def test_a_question_without_a_word_is_refused_before_anything_is_sent(
    tmp_path: Path, text: str, parts: tuple[str, ...]
) -> None:
    """The model was told to go on from its last answer, in words that nobody had said."""

    @flow(name="asks_nothing")
    async def asks_nothing() -> str:
        return await ask(text, *parts, thread="user-42", timeout_s=5)

    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server, "chat") as engine:
        assert await engine.run(turn, "sentence 0") == "heard 1: sentence 0"
        with pytest.raises(RunFailed, match="nothing is asked") as failed:
            await engine.run(asks_nothing)
        assert isinstance(failed.value.__cause__, InputError)
        assert server.counts("chat").calls == 1
        assert (await engine.run(turn, "sentence 1")).startswith("heard 2: "), "it is no turn"


@flow
async def two_turns() -> list[str]:
    return [await ask(text, thread="t", timeout_s=5, max_tokens=300) for text in ("one", "two")]


async def test_a_thread_crosses_runs_and_formats(tmp_path: Path) -> None:
    """The servers refuse what the real ones refuse."""
    models = {name: Served(answer=recalls) for name in FORMATS}
    async with serve(models) as server:
        async with opened(tmp_path, server) as engine:
            said = [await engine.run(turn, f"sentence {n}", name) for n, name in enumerate([*FORMATS, *FORMATS])]
        async with opened(tmp_path, server) as engine:  # another process
            said.append(await engine.run(turn, "sentence 8"))
            other = await engine.run(turn, "sentence 0", None, "user-43")
    assert [one.partition(":")[0] for one in said] == [f"heard {n + 1}" for n in range(9)]
    assert said[-1].startswith("heard 9: sentence 0 | sentence 1")
    assert other.startswith("heard 1:"), "another thread is another conversation"


async def test_another_tenant_sees_nothing_of_it(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server, "chat") as engine:
        assert (await engine.run(turn, "mine")).startswith("heard 1")
        run = await engine.begin(turn, ("theirs",), {}, tenant="other")
        assert (await run.result()).startswith("heard 1")
        assert (await engine.run(turn, "mine")).startswith("heard 2")


async def test_what_tools_gave_is_part_of_it(tmp_path: Path) -> None:
    def answers(asked: Asked) -> Any:
        if results(asked):
            return f"I know that {results(asked)[-1]}"
        return calls("lookup", city="Rome")

    async with serve({"chat": Served(answer=answers)}) as server, opened(tmp_path, server, "chat") as engine:
        assert "7 hills" in await engine.run(turn, "How many hills?", None, "t", tools=True)
        assert "7 hills" in await engine.run(turn, "And again?", None, "t", tools=True)
        assert server.counts("chat").calls == 3, "what was looked up before is shown, and not asked for again"


async def test_a_replay_reads_the_turns_that_the_run_had_read(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(two_turns)
        first, second = await run.result()
        assert (first.partition(":")[0], second.partition(":")[0]) == ("heard 1", "heard 2")
        await engine.run(turn, "later", None, "t")
        keys = [e.key async for e in run.events(follow=False) if e.type == "step.completed" and "ask[" in (e.key or "")]
        fork = await run.fork(at=keys[-1])
        assert (await fork.result())[1] == second, "the same turns as then"
        assert (await engine.run(turn, "last", None, "t")).startswith("heard 4"), "a fork's answers are no turns"


async def test_a_long_thread_fits_into_a_small_window(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=recalls)}) as server:
        small = replace(model(server, "chat"), window=3_000, max_output=300)
        async with Engine(str(tmp_path / "x.db"), resources={"catalogue": Catalogue.of(small)}) as engine:
            for n in range(30):
                run = await engine.start(turn, f"sentence {n}: " + "many words of it " * 12)
                await run.result()
            events = [e async for e in run.events(follow=False) if e.type == EventType.CONTEXT_ASSEMBLED]
    last = record_of(events[-1])
    assert isinstance(last, Manifest)
    assert last.tokens + last.reserved_out + last.margin <= last.window == 3_000
    assert any(part.fate is Fate.DROPPED and part.why == "window" for part in last.parts)
    assert last.thread == "user-42"


PAGE = " ".join(f"line {n}" for n in range(300))


async def page(n: int) -> str:
    """A page."""
    return f"page {n}: {PAGE}"


@flow
async def reads(n: int) -> str:
    return await ask(f"Read page {n}.", thread="book", tools=[page], timeout_s=5, max_tokens=300)


async def test_what_gave_way_of_an_older_turn_can_be_had_back(tmp_path: Path) -> None:
    def answers(asked: Asked) -> Any:
        latest, had = asked.turns[-1], results(asked)
        if latest.role != "tool":
            return calls("page", n=int(latest.text.rpartition(" ")[2].strip(".")))
        gone = [text for text in had if "cleared; recall" in text]
        if gone and not any("page 0:" in text for text in had):
            return calls("recall", handle=gone[0].rpartition("recall ")[2][:12])
        return f"read {latest.text[:6]}"

    async with serve({"chat": Served(answer=answers)}) as server:
        small = replace(model(server, "chat"), window=14_000, max_output=300)
        async with Engine(str(tmp_path / "x.db"), resources={"catalogue": Catalogue.of(small)}) as engine:
            said = [await engine.run(reads, n) for n in range(8)]
            done = engine.journal.query("select key from events where type = 'step.completed' and key like '%recall[%'")
    assert said[0] == "read page 0"
    assert said[-1] == "read page 0", "the first page came back in the last run"
    assert done, "it is a step: a replay reads it from the journal"


async def test_gc_takes_the_turns_of_the_runs_that_it_takes(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server, "chat") as engine:
        await engine.run(turn, "old")
        await engine.run(turn, "elsewhere", None, "another")  # the newest run always stays
        await asyncio.sleep(0.05)
        assert len((await engine.gc(older_than_s=0)).runs) == 1
        assert (await engine.run(turn, "new")).startswith("heard 1")


async def test_a_thread_pays_for_all_its_turns(tmp_path: Path) -> None:
    budgets = Budgets(threads={"default": Allowance(usd=0.01)})
    models = {"chat": Served(answer=recalls)}
    async with serve(models) as server, opened(tmp_path, server, "chat", budgets=budgets) as engine:
        for thread in ("talk", "talk", "chat"):
            await engine.run(turn, "sentence", None, thread)
        rows = engine.journal.query("select name, spent_nano from accounts where kind = 'thread' order by name")
    (chat, less), (talk, more) = rows
    assert (chat, talk) == ("chat", "talk")
    assert more > less > 0


async def test_a_crash_at_every_write_loses_and_doubles_no_turn() -> None:
    async with serve({"chat": Served(answer=recalls)}) as server:
        resources = {"catalogue": catalogue(server, "chat")}

        async def scene(engine: InMemory) -> list[str]:
            return await engine.run(two_turns, id="main")

        wanted, engine = await play(scene, resources=resources)
        assert [one.partition(":")[0] for one in wanted] == ["heard 1", "heard 2"]
        for commit in range(1, engine.commits + 1):
            for when in SIDES:
                got, last = await play(scene, [Crash(commit, when)], resources=resources)
                assert got == wanted
                assert last.connection.execute("select count(*) from turns").fetchone() == (2,)
