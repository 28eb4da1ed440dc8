"""`run.stream()`: live and late, several at once, slow ones, threads, steps in steps, another process, and a kill."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from segue import Ended, Engine, Piece, Retracted, Retry, flow, gather, step, step_scope
from segue.core.streams import Joined
from segue.errors import EngineClosed
from segue.testing import Crash, play
from segue.testing import run as run_virtually
from tests.streams import flows

ROOT = Path(__file__).parents[2]
PROGRAM = "import asyncio, sys; from tests.streams import flows; asyncio.run(flows.main(sys.argv[1]))"
go: dict[str, asyncio.Event] = {}


@step(retry=Retry(attempts=6, backoff_s=0.001))
async def tell(name: str, failures: int = 0) -> str:
    for word in ("one ", "two ", "three"):
        step_scope().emit(f"{name} {word}")
        await asyncio.sleep(0)
        if word == "two " and step_scope().attempt <= failures:
            raise ConnectionError("gone")
    return f"{name} one {name} two {name} three"


@step
def tell_in_thread(name: str) -> str:
    step_scope().emit(name)
    step_scope().emit("…", "thinking")
    return name


@step
async def count() -> int:
    step_scope().emit("one, two")
    return 2


@step
async def outer() -> str:
    first, second = await asyncio.gather(tell("in", 1), tell("out"))
    return first + second


@step
async def waits(name: str) -> str:
    step_scope().emit("begun ")
    await go[name].wait()
    step_scope().emit("done")
    return "begun done"


@flow
async def many() -> list[Any]:
    return await gather(tell("a", 2), tell("b"), tell_in_thread("c"), count(), outer())


@flow
async def wait_for_it(name: str) -> str:
    return await waits(name)


async def heard(run: Any, key: str | None = None) -> tuple[Joined, list[Any]]:
    joined, events = Joined(), list[Any]()
    async for event in run.stream(key):
        events.append(event)
        joined.add(event)
    return joined, events


async def test_all_that_was_said_live_ends_as_the_results(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "x.db")) as engine:
        run = await engine.start(many)
        (joined, events), (other, _) = await asyncio.gather(heard(run), heard(run))
        assert joined.texts == other.texts
        a, b, c, _, _ = await run.result()
        assert list(joined.texts.values()).count(a) == 1
        assert {a, b, c, "one, two"} <= set(joined.texts.values())
        inner = {key: text for key, text in joined.texts.items() if "outer" in key}
        assert sorted(inner.values()) == ["in one in two in three", "out one out two out three"]
        whys = [e.why for e in events if isinstance(e, Retracted) and "outer" not in e.key]
        assert whys == ["unreachable"] * 2
        late, _ = await heard(run)
        assert {a, b, c} <= set(late.texts.values())


async def test_what_is_not_kept_is_told_as_lost_to_the_late(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "x.db")) as engine:
        run = await engine.start(many)
        await run.result()
        engine.surroundings.live.drop(run.id)
        _, events = await heard(run)
    (end,) = [e for e in events if isinstance(e, Ended) and "count" in e.key]
    assert (end.bytes_total, end.lost) == (8, 8)


async def test_a_late_consumer_gets_what_was_said_so_far_and_then_the_rest(tmp_path: Path) -> None:
    go["late"] = asyncio.Event()
    async with Engine(str(tmp_path / "x.db")) as engine:
        run = await engine.start(wait_for_it, "late")
        async with aclosing(run.stream()) as first:
            assert (await anext(first)).text == "begun "  # type: ignore[union-attr]
        async with aclosing(run.stream()) as second:
            assert (await anext(second)).text == "begun "  # type: ignore[union-attr]
            go["late"].set()
            rest = [event async for event in second]
        assert [type(e) for e in rest] == [Piece, Ended]


async def test_only_the_call_that_was_asked_for_is_followed(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "x.db")) as engine:
        run = await engine.start(many)
        await run.result()
        (key,) = [e.key async for e in run.events() if e.type == "step.completed" and "thread" in (e.key or "")]
        joined, _ = await heard(run, key)
        assert joined.texts == {key: "c"}


async def test_a_consumer_learns_that_the_engine_was_closed(tmp_path: Path) -> None:
    go["close"] = asyncio.Event()
    engine = Engine(str(tmp_path / "x.db"))
    async with engine:
        run = await engine.start(wait_for_it, "close")
        events = run.stream()
        await anext(events)
    with pytest.raises(EngineClosed):
        while True:
            await anext(events)
    await events.aclose()


@pytest.mark.parametrize("commit", range(1, 12, 2))
def test_a_crash_in_memory_is_retracted_or_whole(commit: int) -> None:
    async def scenario(engine: Any) -> Joined:
        run = await engine.start(many, id="m")
        joined, _ = await heard(run)
        assert set(map(str, (await run.result())[:3])) <= set(joined.texts.values())
        return joined

    run_virtually(play(scenario, [Crash(commit, "after")], seed=commit))


def start(database: Path) -> subprocess.Popen[bytes]:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env |= {"PYTHONPATH": os.pathsep.join([str(ROOT), env.get("PYTHONPATH", "")])}
    env.setdefault("SEGUE_TEST_PACE_S", "0.1")  # slow enough to be killed midway, also on a busy machine
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(database)], cwd=ROOT, env=env)


async def test_a_process_is_killed_while_it_speaks_and_the_resumed_attempt_is_told_apart(tmp_path: Path) -> None:
    deep = tmp_path / ("a folder with a name so long that no socket of this path could be made " * 2)
    deep.mkdir()
    database = deep / "x.db"
    killed = start(database)
    try:
        for _ in range(400):
            if database.exists() and list(deep.glob("x.db-live/*.tap")):
                break
            await asyncio.sleep(0.05)
        async with Engine(str(database)) as engine:
            run = await run_of(engine)
            joined, events = Joined(), list[Any]()
            async for event in run.stream():
                events.append(event)
                joined.add(event)
                if killed.poll() is None and len(joined.texts.get(event.key, "")) > 60:
                    killed.kill()
                    killed.wait()
            assert list(joined.texts.values()) == [await run.result()]
    finally:
        if killed.poll() is None:
            killed.kill()
        killed.wait()
    first, last = events[0], events[-1]
    (retracted,) = [e for e in events if isinstance(e, Retracted)]
    assert retracted.attempt == first.attempt < last.attempt
    before = "".join(e.text for e in events[: events.index(retracted)])
    assert before.startswith(f"[{killed.pid}] ")
    assert next(iter(joined.texts.values())) == "".join([f"[{os.getpid()}] ", *flows.WORDS])


async def run_of(engine: Engine) -> Any:
    """The run that the other process has made."""
    for _ in range(200):
        if engine.journal.find("s") is not None:
            return await engine.get("s")
        await asyncio.sleep(0.05)
    raise AssertionError("the other process did not start it")
