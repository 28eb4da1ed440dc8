"""An agent of 20 calls over three models, killed at every write of the journal: the same state, and each write once.

Of its calls one is a plain `write`, which nobody can look up: where it was cut off it is not made again, and the model
is told that nobody knows whether it was made.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from segue.core.events import EventType
from segue.core.records import ToolAnswered, ToolOutcome, record_of
from segue.journal.connect import MEMORY, look
from segue.testing import Engine as InMemory
from segue.testing.provider import Provider, Served, serve
from tests.agent.durable import errand
from tests.agent.served import KEYS
from tests.forked import Forked

PARTS = 16
CALLS = sum(map(len, errand.PLAN))
END = {"put": 10, "cents": 1000, "calls": CALLS}
SHELF = ["a", "b", "c", "d", "e", "f", "g", "h", "h", "i"]
STATE = sorted(
    [f'put ["{name}", {ord(name) - 96}]' for name in SHELF] + [f"charge {cents}" for cents in (100, 200, 300, 400)]
    + ['post "h"']
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def keys() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in KEYS:
            patch.setenv(name, "test")
        yield


def served() -> dict[str, Served]:
    return {name: Served(answer=errand.plan, thinking=name == "claude") for name in errand.MODELS}


def world(path: Path) -> Path:
    path.mkdir()
    errand.WORLD.append(path)
    return path


async def scene(engine: InMemory) -> Any:
    return await engine.run(errand.errand, "Do it all.", id="main")


def done(engine: InMemory) -> list[str]:
    """The steps that have an outcome. A request's fingerprint is of the provider's ids too, which are new each time."""
    keys = [event.key or "" for event in engine.history("main") if event.type == "step.completed"]
    assert len(keys) == len(set(keys))
    return sorted(re.sub(r"ask\[[0-9a-f]*\]", "ask", key) for key in keys)


def unknown(engine: InMemory) -> list[str]:
    """The tools of the calls of which the model was told that nobody knows."""
    told = [record_of(event) for event in engine.history("main") if event.type == EventType.TOOL_ANSWERED]
    return [one.tool for one in told if isinstance(one, ToolAnswered) and one.outcome is ToolOutcome.UNKNOWN]


def without_post(what: list[str]) -> list[str]:
    return [one for one in what if "post" not in one]


class Left(NamedTuple):
    """What a process leaves that is killed at a commit: its journal, the world, and how often it has called a model."""

    at: str
    journal: bytes
    world: Path
    called: int


def things(world: Path) -> dict[str, bytes]:
    """All that is in a world."""
    return {str(path.relative_to(world)): path.read_bytes() for path in world.rglob("*") if path.is_file()}


class Photographed(InMemory):
    """An engine of which is kept what it would leave, were it killed before and after each of its commits. Where
    before one is as after the one before, in the journal and in the world, it is kept once."""

    def __init__(self, world: Path, server: Provider, **options: Any):
        super().__init__(**options)
        self.left: list[Left] = []
        self._world, self._server = world, server

    def _probe(self, when: str) -> None:
        super()._probe(when)
        at = f"{self.commits}-{when}"
        journal, called = self.connection.serialize(), calls(self._server)
        if self.left and self.left[-1].journal == journal and things(self.left[-1].world) == things(self._world):
            last = self.left.pop()  # nothing has happened since: it is one and the same death
            self.left.append(last._replace(at=f"{last.at} {at}", called=max(called, last.called)))
            return
        there = shutil.copytree(self._world, self._world.with_name(at))
        self.left.append(Left(at, journal, Path(there), called))


class Dead(InMemory):
    """An engine that is no more, with the journal that it left."""

    def __init__(self, journal: bytes):
        super().__init__()
        self._connection = look(MEMORY)
        with closing(sqlite3.connect(MEMORY)) as kept:
            kept.deserialize(journal)
            kept.backup(self._connection)


@pytest.fixture(scope="module")
def whole(keys: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[Left]]:
    """The steps of a play without a crash, and what a crash at each of its commits leaves."""

    async def played() -> tuple[list[str], list[Left]]:
        async with serve(served()) as server:
            at = world(tmp_path_factory.mktemp("whole") / "world")
            async with Photographed(at, server, resources={"catalogue": errand.catalogue(server)}) as engine:
                assert await scene(engine) == END
            assert CALLS == 20 and errand.state(at) == STATE
            requests = {name: server.counts(name).calls for name in errand.MODELS}
            assert all(requests.values()) and sum(requests.values()) == len(errand.PLAN) + 1
            return done(engine), engine.left

    return asyncio.run(played())


@pytest.mark.sampled(8)
@pytest.mark.parametrize("part", range(PARTS))
async def test_killed_at_every_write_it_ends_the_same(whole: tuple[list[str], list[Left]], part: int) -> None:
    steps, left = whole
    async with serve(served()) as server:
        resources = {"catalogue": errand.catalogue(server)}
        for dead in left[part::PARTS]:
            asked = calls(server)
            errand.WORLD.append(dead.world)
            async with InMemory(after=Dead(dead.journal), resources=resources) as engine:
                assert await scene(engine) == END, dead.at
            assert not errand.repeated(dead.world), dead.at
            if lost := unknown(engine):
                assert lost == ["post"] and done(engine) == without_post(steps), dead.at
                assert errand.state(dead.world) in (STATE, without_post(STATE)), dead.at
            else:
                assert done(engine) == steps and errand.state(dead.world) == STATE, dead.at
            assert dead.called + calls(server) - asked <= len(errand.PLAN) + 2, dead.at


def calls(server: Provider) -> int:
    return sum(server.counts(name).calls for name in errand.MODELS)


@pytest.mark.parametrize("turn", [3])
async def test_killed_for_real_in_the_middle_it_goes_on(tmp_path: Path, turn: int) -> None:
    """kill -9 while a model answers; another process takes over, and asks nothing that has an answer."""
    at, heard = world(tmp_path / "world"), asyncio.Event()
    before = sum(map(len, errand.PLAN[:turn]))

    def said(asked: Any) -> Any:
        if len(errand.results(asked)) == before and not heard.is_set():
            heard.set()
        return errand.plan(asked)

    models = {name: Served(answer=said, first_token_s=0.2) for name in errand.MODELS}
    async with serve(models) as server:
        first = await started(tmp_path, server)
        await heard.wait()
        first.kill()
        await first.gone()
        second = await started(tmp_path, server)
        assert json.loads(await second.ended()) == END
        assert errand.state(at) == STATE
        assert calls(server) <= len(errand.PLAN) + 2


async def started(path: Path, server: Provider) -> Forked:
    return await asyncio.to_thread(Forked, "module", "tests.agent.durable.errand", path, server.url, server.openai_url)
