"""A fork of a turn hears what was said before that turn, wherever it begins: not its own answer, and nothing later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from segue import Engine, Run, Thread, ask, flow, step
from segue.core.events import EventType
from segue.models import Catalogue
from segue.testing.provider import Asked, Served, serve
from segue.testing.provider import Provider as Server
from tests.agent.served import KEYS, model
from tests.agent.test_thread_runs import recalls
from tests.behaviour.world import events_of


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


@step
async def sorted_in(text: str) -> str:
    return text.upper()


@flow
async def chats(text: str, times: int = 1) -> str:
    """Does something before it asks."""
    await sorted_in(text)
    said = [await ask(f"{text}{n or ''}", timeout_s=5, max_tokens=300) for n in range(times)]
    await sorted_in("after it")
    return said[-1]


def opened(path: Path, server: Server) -> Engine:
    return Engine(str(path / "x.db"), resources={"catalogue": Catalogue.of(model(server, "chat"))})


async def test_a_fork_from_before_the_question_hears_what_the_turn_heard(tmp_path: Path) -> None:
    """It heard its own answer, and the turns that came after it."""
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server) as engine:
        runs = [await Thread("t").start(chats, f"turn {n}") for n in range(4)]
        heard = [await run.result() for run in runs]
        assert heard[1] == "heard 2: turn 0 | turn 1"
        fork = await runs[1].fork(at=2)
        assert await fork.result() == heard[1]
        assert await (await runs[0].fork(at=2)).result() == heard[0]
        assert await (await fork.fork(at=2)).result() == heard[1], "a fork of a fork too"
        assert await (await Thread("t", engine).start(chats, "turn 4")).result() == f"heard 5{heard[3][7:]} | turn 4"


async def test_a_fork_between_two_questions_of_a_turn_hears_the_first_one(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server) as engine:
        first = await Thread("t").start(chats, "turn 0", 3)
        heard = await first.result()
        assert heard == "heard 3: turn 0 | turn 01 | turn 02"
        await (await Thread("t").start(chats, "turn 1")).result()
        fork = await first.fork(at=await after_answer(first, 1))
        assert await fork.result() == "heard 3: turn 0 | turn 01 | turn 02", engine
        edited = await Thread("t").edit(first, "turn x")
        assert await edited.result() == "heard 1: turn x"
        assert await (await edited.fork(at=2)).result() == "heard 1: turn x"


async def test_a_fork_of_a_run_that_asks_in_a_thread_hears_no_answer_of_its_own(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server) as engine:
        runs = [await engine.start(visits, "turn 0")]
        heard = [await runs[0].result()]
        for n in (1, 2):
            runs.append(await engine.start(visits, f"turn {n}"))
            heard.append(await runs[n].result())
        assert heard[1] == "heard 2: turn 0 | turn 1"
        assert await (await runs[1].fork(at=2)).result() == heard[1]


@flow
async def visits(text: str) -> str:
    await sorted_in(text)
    return await ask(text, thread="u", timeout_s=5, max_tokens=300)


async def after_answer(run: Run[Any], n: int) -> int:
    """The `seq` of the nth answer of a run, from 0."""
    events = await events_of(run)
    return [e.seq for e in events if e.type == EventType.STEP_COMPLETED and "ask[" in (e.key or "")][n]


@flow
async def hears(text: str) -> str:
    return await ask(text, thread="u", timeout_s=5, max_tokens=300)


@flow
async def has_it_asked(text: str, first: bool = True) -> str:
    """Its child asks, after it has done something else."""
    if first:
        await hears(f"{text} first")
    await sorted_in(text)
    return await hears(text)


async def test_what_a_child_of_a_fork_says_is_no_turn_and_it_hears_what_the_fork_hears(tmp_path: Path) -> None:
    """It went on in the thread itself, for everybody, and heard what its parent's child had been told."""
    async with serve({"chat": Served(answer=recalls)}) as server, opened(tmp_path, server) as engine:
        runs = [await engine.start(has_it_asked, "turn 0", False)]
        heard = [await runs[0].result()]
        for n in (1, 2):
            runs.append(await engine.start(has_it_asked, f"turn {n}"))
            heard.append(await runs[n].result())
        assert heard[1] == "heard 3: turn 0 | turn 1 first | turn 1"
        ended = [e.seq for e in await events_of(runs[1]) if e.type == EventType.CHILD_ENDED]
        fork = await runs[1].fork(at=ended[0])
        assert await fork.result() == heard[1], "the child that had ended is heard"
        assert await (await fork.fork(at=ended[0])).result() == heard[1]
        assert await (await runs[0].fork(at=2)).result() == heard[0]
        assert (await (await engine.start(hears, "turn 3")).result()).startswith("heard 6: "), "nothing was added"


@flow
async def told_of(text: str) -> str:
    return await ask(text, thread="t", timeout_s=5, max_tokens=300)


@flow
async def has_another_ask(text: str) -> str:
    return await told_of(text)


async def test_a_child_that_asks_is_not_told_that_it_is_in_flight(tmp_path: Path) -> None:
    """`do not start again` was said of the very work that it was asked for."""
    said: list[str] = []

    def notes(asked: Asked) -> str:
        said.append("\n".join(turn.text for turn in asked.turns))
        return "noted"

    async with serve({"chat": Served(answer=notes)}) as server, opened(tmp_path, server) as engine:
        for n in range(2):
            await (await Thread("t", engine).start(has_another_ask, f"turn {n}")).result()
    assert "turn 0" in said[1] and "In flight" not in said[1]
